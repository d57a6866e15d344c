"""The shipped model on sources gathered after it: the files themselves, what a journey makes of them, and what a web pipeline does.

    python -m studies.fresh_sources read --repositories DIR     results/views.parquet: the logit of every view; may be stopped anywhere
    python -m studies.fresh_sources table                       results/fresh.{json,md}

DIR holds the listed repositories OWNER/NAME (`python -m tools.clone_sources DIR`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.progress import Progress

from dgsnet import __version__
from dgsnet.artifacts.calibration import Calibration, OperatingPoint
from dgsnet.core.errors import DecodeError
from dgsnet.core.files import write_json, write_text
from dgsnet.core.format import interval
from dgsnet.data.dataset import Dataset
from dgsnet.evaluation import metrics
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference import resumable_parquet
from dgsnet.inference.detector import Detector
from dgsnet.reports import tables
from studies.common.collection import sample_of
from studies.common.copies import COPIES, Copy, Listed, longer_list, whole
from studies.common.ranking import Floats, Strings, found_at_5_percent

HERE = Path(__file__).parent
RESULTS = HERE / "results"
VIEWS = RESULTS / "views.parquet"
BATCH = "7"
"""Of the list of images: nothing of it was listed when the model was fitted."""
MOST = 3
"""Files of a source."""
NAMES: dict[Copy, str] = {"made": "original files", "any": "travelled", "web": "web pipeline"}
POINTS: tuple[OperatingPoint, ...] = ("cautious", "balanced", "sensitive")
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.int8()),
        ("source", pa.string()),
        ("generator", pa.string()),
        ("copy", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("views", pa.list_(pa.float64())),
        ("error", pa.string()),
    ]
)


def read(repositories: Path) -> None:
    """Write the logits of the views of each file and of its copies, a row each; a file that cannot be decoded has its reason."""
    detector = Detector.from_pretrained("dgsnet-b16", threads=1)  # two of them would wait for each other beside other work
    work = [(image, copy) for copy in COPIES for image in _fresh()]
    identity = {
        "model": detector.fingerprint,
        "data": Dataset(Path(), tuple(sample_of(image, "made") for image in _fresh()), "manifest").fingerprint(),
        "dgsnet": __version__,
    }

    def rows(done: int) -> Iterator[dict[str, Any]]:
        for image, copy in work[done:]:
            row = {"key": image.key, "label": image.label, "source": image.source, "generator": image.origin, "copy": copy}
            try:
                pixels = whole(image, copy, image.read(Path(), repositories))
            except DecodeError as error:
                yield row | {"width": 0, "height": 0, "views": [], "error": str(error)}
                continue
            views = [float(detector.runtime.run(view[None])[1][0]) for view in detector.config.preprocessing.views(pixels)]
            yield row | {"width": pixels.shape[1], "height": pixels.shape[0], "views": views, "error": None}

    RESULTS.mkdir(exist_ok=True)
    with Progress() as progress:
        resumable_parquet.write(VIEWS, identity, _SCHEMA, rows, len(work), progress)


def _fresh() -> list[Listed]:
    """List the files of the batch, at most `MOST` of a source."""
    taken: dict[tuple[int, str], int] = {}
    kept = []
    for image in longer_list():
        if image.batch == BATCH and taken.setdefault((image.label, image.source), 0) < MOST:
            taken[image.label, image.source] += 1
            kept.append(image)
    return kept


def _of_new_repositories() -> set[str]:
    """Return the keys of files of repositories of which nothing was listed before: other folders of one site may share a camera."""
    listed = longer_list()
    before = {image.repo for image in listed if image.batch != BATCH}
    return {image.key for image in listed if image.batch == BATCH and image.repo not in before}


def table() -> None:
    """Write what the shipped thresholds say of them, and what five views of a large picture are worth over one."""
    rows = [row for row in pq.read_table(VIEWS).to_pylist() if row["error"] is None]
    detector = Detector.from_pretrained("dgsnet-b16")
    calibration, preprocessing = detector.config.calibration, detector.config.preprocessing
    found: dict[str, Any] = {"model": detector.fingerprint, "dgsnet": __version__, "seed": 0}
    lines, verdicts = [], []
    by_copy = {copy: [row for row in rows if row["copy"] == copy] for copy in COPIES}
    new = _of_new_repositories()
    sets = {name: by_copy[copy] for copy, name in NAMES.items()}
    sets |= {f"{name}, new repositories": [row for row in by_copy[copy] if row["key"] in new] for copy, name in NAMES.items()}
    for name, asked in sets.items():
        labels, sources = np.array([row["label"] for row in asked]), np.array([row["source"] for row in asked])
        generators = [row["generator"] if row["label"] else "" for row in asked]
        scores = _scores(asked, preprocessing, calibration)
        centre = _scores(asked, preprocessing, calibration, centre=True)
        auroc = metrics.macro_average(labels, scores, generators)["auroc"]
        over = metrics.paired_macro_difference(labels, scores, centre, generators)["auroc"]
        by_generator = metrics.by_generator(labels, scores, generators, resamples=1)
        each = {generator: report.figures["auroc"].value for generator, report in by_generator.items()}
        worst = min(each, key=lambda generator: each[generator] or 0)
        figures: dict[str, Any] = {
            "photographs": int((labels == 0).sum()),
            "generated": int((labels == 1).sum()),
            "photo_sources": len(set(sources[labels == 0])),
            "generators": len(each),
            "large": float(np.mean([len(row["views"]) > 1 for row in asked])),
            "auroc": vars(auroc),
            "minus_centre": vars(over),
            "found_at_5_percent": found_at_5_percent(labels, scores),
            "by_generator": each,
            "ece": metrics.estimate(labels, scores, resamples=1).figures["ece"].value,
            "points": {point: _shares(calibration.at(point), labels, scores, sources) for point in POINTS},
            "centre": {point: _shares(calibration.at(point), labels, centre, sources) for point in POINTS},
        }
        found[name] = figures
        counts = f"{figures['photographs']} + {figures['generated']}"
        lines.append(
            [
                name,
                counts,
                interval(figures["auroc"], 3),
                interval(figures["minus_centre"], 3, sign=True),
                f"{worst} {each[worst]:.2f}",
                f"{figures['found_at_5_percent']:.3f}",
                f"{figures['ece']:.3f}",
            ]
        )
        verdicts += [
            [f"{name}{way}", point, *(f"{figures[kind][point][key]:.3f}" for key in _SHARES)]
            for kind, way in (("points", ""), ("centre", ", one view"))
            for point in (POINTS if kind == "points" else ("balanced",))
        ]
    found["changed"] = {NAMES[copy]: _changed(by_copy["made"], by_copy[copy], preprocessing, calibration) for copy in ("any", "web")}
    found["spread"] = _spread(by_copy["made"])
    write_json(RESULTS / "fresh.json", found)
    titles = [
        "files",
        "photographs + generated",
        "AUROC, mean over model families",
        "minus one view, paired",
        "worst family",
        "found at 5 %",
        "ECE",
    ]
    changes = [[name, *(f"{value:.3f}" for value in shares.values())] for name, shares in found["changed"].items()]
    parts = (
        tables.markdown(titles, lines),
        tables.markdown(["files", "operating point", *_SHARES.values()], verdicts),
        tables.markdown(["on the way", "verdicts that change", "to the opposite"], changes),
    )
    write_text(RESULTS / "fresh.md", "\n".join(parts))


_SHARES = {
    "called_generated": "photographs called generated, mean over sources",
    "worst_source": "of the worst source",
    "inconclusive": "photographs inconclusive",
    "found": "generated found",
    "called_real": "generated called real",
}


def _scores(rows: list[dict[str, Any]], preprocessing: Preprocessing, calibration: Calibration, *, centre: bool = False) -> Floats:
    logits = [row["views"][0] if centre else preprocessing.weight(len(row["views"])) * sum(row["views"]) for row in rows]
    return np.array([calibration.score(logit) for logit in logits])


def _shares(bands: Calibration, labels: NDArray[np.int64], scores: Floats, sources: Strings) -> dict[str, float]:
    """Return what thresholds do; of photographs the mean over their sources, and the worst, which has `MOST` files at most."""
    real, called, passed = labels == 0, scores >= bands.generated, scores < bands.real
    of_source = [real & (sources == source) for source in np.unique(sources[real])]
    return {
        "called_generated": float(np.mean([called[one].mean() for one in of_source])),
        "worst_source": float(max(called[one].mean() for one in of_source)),
        "inconclusive": float(np.mean([(~called[one] & ~passed[one]).mean() for one in of_source])),
        "found": float(called[~real].mean()),
        "called_real": float(passed[~real].mean()),
    }


def _changed(
    before: list[dict[str, Any]], after: list[dict[str, Any]], preprocessing: Preprocessing, calibration: Calibration
) -> dict[str, float]:
    """Return how many files get another verdict as this copy, and how many the opposite one."""
    first = {row["key"]: score for row, score in zip(before, _scores(before, preprocessing, calibration), strict=True)}
    then = {row["key"]: score for row, score in zip(after, _scores(after, preprocessing, calibration), strict=True)}
    both = sorted(first.keys() & then.keys())
    bands = [np.digitize([scores[key] for key in both], [calibration.real, calibration.generated]) for scores in (first, then)]
    return {"another": float(np.mean(bands[0] != bands[1])), "opposite": float(np.mean(abs(bands[0] - bands[1]) == 2))}


def _spread(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the standard deviation of logits of large pictures, of one view and of the mean over five, by label."""
    found = {}
    for label, name in enumerate(("photographs", "generated")):
        views = np.array([row["views"] for row in rows if row["label"] == label and len(row["views"]) > 1])
        found[f"{name}, one view"], found[f"{name}, mean of five"] = float(views[:, 0].std()), float(views.mean(axis=1).std())
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("read").add_argument("--repositories", type=Path, required=True)
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "read":
        read(arguments.repositories)
    else:
        table()
