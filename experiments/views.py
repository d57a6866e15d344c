"""Would a picture's score be better or steadier if several parts of it were looked at, and the logits averaged?

    python experiments/views.py DATA --images 84        results/search/views.{json,md}

`dgsnet-b16` looks at the centre of a picture. Here it also looks at the mirrored centre and at the four corners, at native resolution as
before, of the pictures of a test split and of their copies under the everyday perturbations. Weights and thresholds are those that ship,
and nothing is chosen by this. Logits of a picture lie in `runs/views`, so that a run goes on where it was ended.
"""

from __future__ import annotations

import argparse
from pathlib import Path

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
from dgsnet.images.perturb import suite
from dgsnet.images.preprocess import SCORING_SEED
from dgsnet.inference.detector import Detector, answer
from dgsnet.reports import tables

HERE = Path(__file__).parent
LOGITS, RESULTS = HERE.parent / "runs" / "views", HERE.parent / "results" / "search"
LOOKS = {"the centre": (0,), "and mirrored": (0, 1), "the centre and four corners": (0, 2, 3, 4, 5), "all six": (0, 1, 2, 3, 4, 5)}
"""Which views are averaged, by their place in `views`."""
RESAMPLES = 2000


def views(pixels: Pixels, size: int) -> list[Pixels]:
    """The picture, its mirror image, and its four corners (of a picture smaller than a view: the picture)."""
    height, width = pixels.shape[:2]
    tops, lefts = ((0, max(0, side - size)) for side in (height, width))
    corners = [pixels[top : top + size, left : left + size] for top in tops for left in lefts]
    return [pixels, pixels[:, ::-1], *corners]


def logits_of(detector: Detector, data: bytes) -> NDArray[np.float64]:
    """(1 + perturbations, views): of the picture, and of each of its copies."""
    image, look = decode(data, detector.policy), detector.config.preprocessing
    changed = (perturbation.seen(image.pixels, image.sha256, detector.policy) for perturbation in suite("everyday"))
    copies = [image.pixels, *changed]
    seen = [[look(np.ascontiguousarray(view), SCORING_SEED)[None] for view in views(copy, look.size)] for copy in copies]
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
    for title, looks in LOOKS.items():
        mean = logits[:, :, looks].mean(axis=2)
        scores = np.vectorize(calibration.score)(mean)
        said = np.array([[str(answer(score, calibration)) for score in row] for row in scores.tolist()])
        changes = (said[:, 1:] != said[:, :1]).mean(axis=1)
        base = scores[:, 0] if base is None else base
        figures = {
            "auroc": vars(metrics.macro_average(labels, scores[:, 0], generators)["auroc"]),
            "minus_centre": vars(metrics.paired_macro_difference(labels, scores[:, 0], base, generators)["auroc"]),
            "changed_verdicts": vars(percentile_interval(float(changes.mean()), changes[drawn].mean(axis=1))),
            "moved_logits": float(np.abs(mean[:, 1:] - mean[:, :1]).mean()),
        }
        cells = [interval(figures[key], 3, sign=key == "minus_centre") for key in ("auroc", "minus_centre", "changed_verdicts")]
        found.append({"views": title, "count": len(looks)} | figures)
        rows.append([title, str(len(looks)), *cells])
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
