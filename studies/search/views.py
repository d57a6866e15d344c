"""Averaging the logits of several parts of a picture: is the score better or steadier?

    python -m studies.search.views DATA --images 84        results/views.{json,md}

`dgsnet-b16` looks at the centre of a picture. Here it also looks at the mirrored centre and at the four corners, at native resolution as
before, of the pictures of a test split and of their copies under the everyday perturbations. Weights and thresholds are those that ship,
and nothing is chosen by this. Logits of a picture lie in `runs/views`, so that a run goes on where it was ended.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from dgsnet import __version__
from dgsnet.core.files import replacing, write_json, write_text
from dgsnet.core.format import interval
from dgsnet.data.dataset import load_dataset
from dgsnet.evaluation import metrics
from dgsnet.evaluation.interval import percentile_interval
from dgsnet.images.augment import Pixels
from dgsnet.images.decode import decode
from dgsnet.images.multi_crop import SCORING_SEED
from dgsnet.images.perturb import suite
from dgsnet.inference.detector import Detector
from dgsnet.reports import tables
from studies.common.paths import RUNS

LOGITS, RESULTS = RUNS / "views", Path(__file__).parent / "results"
AVERAGED = {"the centre": (0,), "and mirrored": (0, 1), "the centre and four corners": (0, 2, 3, 4, 5), "all six": (0, 1, 2, 3, 4, 5)}
"""Which views are averaged, by their place in `views`."""
RESAMPLES = 2000


def views(pixels: Pixels, size: int) -> list[Pixels]:
    """Return the picture, its mirror image, and its four corners (of a picture smaller than a view: the picture)."""
    height, width = pixels.shape[:2]
    tops, lefts = ((0, max(0, side - size)) for side in (height, width))
    corners = [pixels[top : top + size, left : left + size] for top in tops for left in lefts]
    return [pixels, pixels[:, ::-1], *corners]


def logits_of(detector: Detector, data: bytes) -> NDArray[np.float64]:
    """Return (1 + perturbations, views): logits of the picture, and of each of its copies."""
    image, preprocessing = decode(data, detector.policy), detector.config.preprocessing
    changed = (perturbation.seen(image.pixels, image.sha256, detector.policy) for perturbation in suite("everyday"))
    copies = [image.pixels, *changed]
    seen = [[preprocessing(np.ascontiguousarray(view), SCORING_SEED)[None] for view in views(copy, preprocessing.size)] for copy in copies]
    return np.array([[float(detector.runtime.run(view)[1][0]) for view in row] for row in seen])


def main(data: Path, images: int) -> None:
    """Score, average, write."""
    detector, dataset = Detector.from_pretrained("dgsnet-b16"), load_dataset(data).with_split("test").balanced_subset(images, seed=0)
    given = []
    for sample in track(dataset.samples, "pictures"):
        file = LOGITS / detector.fingerprint / f"{sample.path.replace('/', '+')}.npy"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as aside, aside.open("wb") as stream:
                np.save(stream, logits_of(detector, dataset.read(sample)))
        given.append(np.load(file))
    logits, calibration = np.stack(given), detector.config.calibration  # (images, copies, views)
    labels, generators = dataset.labels(), [sample.generator for sample in dataset]
    drawn = np.random.default_rng(0).integers(len(labels), size=(RESAMPLES, len(labels)))
    found, rows = [], []
    base: NDArray[np.float64] | None = None
    for title, places in AVERAGED.items():
        mean = logits[:, :, places].mean(axis=2)
        scores = np.vectorize(calibration.score)(mean)
        verdicts = np.array([[str(calibration.verdict(score)) for score in row] for row in scores.tolist()])
        changes = (verdicts[:, 1:] != verdicts[:, :1]).mean(axis=1)
        base = scores[:, 0] if base is None else base
        figures: dict[str, Any] = {
            "auroc": vars(metrics.macro_average(labels, scores[:, 0], generators)["auroc"]),
            "minus_centre": vars(metrics.paired_macro_difference(labels, scores[:, 0], base, generators)["auroc"]),
            "changed_verdicts": vars(percentile_interval(float(changes.mean()), changes[drawn].mean(axis=1))),
            "moved_logits": float(np.abs(mean[:, 1:] - mean[:, :1]).mean()),
        }
        cells = [interval(figures[key], 3, sign=key == "minus_centre") for key in ("auroc", "minus_centre", "changed_verdicts")]
        found.append({"views": title, "count": len(places)} | figures)
        rows.append([title, str(len(places)), *cells])
    header = {
        "model": detector.fingerprint,
        "data": dataset.fingerprint(),
        "images": len(labels),
        "perturbations": [str(each) for each in suite("everyday")],
        "seed": 0,
        "dgsnet": __version__,
    }
    write_json(RESULTS / "views.json", header | {"views": found})
    titles = [
        "views that are averaged",
        "forward passes",
        "AUROC, mean over generators",
        "minus the centre, paired",
        "verdicts that change",
    ]
    write_text(RESULTS / "views.md", tables.markdown(titles, rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=84)
    arguments = parser.parse_args()
    main(arguments.data, arguments.images)
