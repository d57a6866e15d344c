"""How much of the frozen CLIP survives in several trained models, on the same images of the test split.

    python -m studies.forgetting run --data CORPUS MODEL_FOLDER...     results/ (restartable)

The first model is compared with each of the others; the frozen CLIP is the reference of all. Features stay in runs/forgetting. Each image
passes the frozen tower once for all models that share its view, and the tuned tower once for each model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from dgsnet.data.dataset import load_dataset
from dgsnet.evaluation.diagnose import measure
from dgsnet.inference.detector import Detector
from dgsnet.reports import diagnose_page, diagnose_plots
from studies.common.paths import RUNS

RESULTS, FEATURES = Path(__file__).parent / "results", RUNS / "forgetting" / measure.FEATURES


def run(data: Path, models: list[Path], split: str, limit: int, caption_column: str, out: Path, features: Path) -> None:
    """Diagnose the models together into `out`."""
    if len({model.absolute().name for model in models}) < len(models):
        raise SystemExit("two of the model folders have the same name: give each its own")
    dataset = load_dataset(data, caption_column=caption_column).with_split(split)
    if len(dataset) > limit:
        dataset = dataset.balanced_subset(limit, seed=0)
    detectors = {model.absolute().name: Detector.from_pretrained(model, provider="torch") for model in models}
    with Progress(console=Console(stderr=True)) as progress:
        diagnosis = measure.diagnose(detectors, dataset, out, features=features, progress=progress)
        diagnose_plots.write(out, diagnosis, progress)
    result = diagnosis.figures
    diagnose_page.write(out, result)
    for name, one in result["models"].items():
        print(name, {headline: one[headline]["value"] for headline in measure.HEADLINES})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run",))
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL_FOLDER")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, default=1000, help="images at most, as many of each label, evenly over sources")
    parser.add_argument("--caption-column", default="caption")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--features", type=Path, default=FEATURES)
    given = parser.parse_args()
    run(given.data, given.models, given.split, given.limit, given.caption_column, given.out, given.features)
