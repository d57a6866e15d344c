"""Large pictures scored by their quadrants as well as by their centre, on photographs and generated images left out: the first edition.

    python -m studies.large_pictures read --repositories DIR               runs/large_pictures: features of the originals
    python -m studies.large_pictures table --corpus CORPUS --more MORE     results/large.{json,md}

Pictures are the files of `more_sources.csv` themselves, of its first four batches, not crops of them, where both sides have room for
quadrants; at most two of every second photo source and three of a source of generated images. Of the first picture of every tenth source,
copies under the perturbations `everyday` are read as well. Heads are those of `python -m studies.more_sources choose`: none saw anything of
the photo sources and of the model families it is asked about. Calibration and thresholds are those of what the heads say of the crops,
each left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from dgsnet import __version__
from dgsnet.core.errors import DecodeError
from dgsnet.core.files import replacing, write_json, write_text
from dgsnet.core.format import interval
from dgsnet.evaluation import calibration_fit, metrics
from dgsnet.images.augment import Pixels
from dgsnet.images.decode import decode
from dgsnet.images.perturb import suite
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.detector import Detector
from dgsnet.model.ridge import ridge_probe
from dgsnet.reports import tables
from studies.common import image_list
from studies.common.left_out import FOLDS, PENALTY, folds
from studies.common.paths import RUNS
from studies.common.ranking import Floats, found_at_5_percent
from studies.common.training_images import training_images

READ, RESULTS = RUNS / "large_pictures", Path(__file__).parent / "results"
MOST = {"0": 2, "1": 3}
"""Pictures of a source, by label."""
BATCHES = "1234"
"""Of which files are looked at: the fifth batch has ten pictures of one size and few subjects of each of fifty models."""
EVERY = 10
"""Sources to one of which copies are read."""
WAYS = ("centre", "centre and quadrants")
PREPROCESSING = Preprocessing(view="crop", multi_crop=True)


def read(repositories: Path) -> None:
    """Write what the head reads of each view, one file a source: `read` (pictures, views, D), `copies` (copies, views, D)."""
    runtime = Detector.from_pretrained("dgsnet-b16").runtime

    def seen(pixels: Pixels) -> NDArray[np.float32]:
        return np.concatenate([runtime.run(view[None])[0] for view in PREPROCESSING.views(pixels)]).astype(np.float32)

    rows: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in [row for row in image_list.listed() if row["batch"] in BATCHES]:
        rows.setdefault((row["label"], row["source"]), []).append(row)
    READ.mkdir(parents=True, exist_ok=True)
    for number, ((label, source), files) in track(list(enumerate(sorted(rows.items()))), "sources"):
        if (READ / f"{source}.npz").exists() or (label == "0" and number % 2):
            continue
        pictures: list[NDArray[np.float32]] = []
        copies: list[NDArray[np.float32]] = []
        for row in files:
            if len(pictures) == MOST[label]:
                break
            try:
                image = decode(image_list.content(repositories / row["repo"], row["commit"], row["path"]), image_list.POLICY)
            except DecodeError:
                continue  # those that `python -m studies.more_sources crops` names
            if len(PREPROCESSING.parts(image.height, image.width)) == 1:
                continue
            pictures.append(seen(image.pixels))
            if number % EVERY == 0 and not copies:
                changed = [perturbation.seen(image.pixels, image.sha256) for perturbation in suite("everyday")]
                # A copy scaled below the room for quadrants is scored by its centre alone, as it would be.
                copies = [np.resize(views, pictures[0].shape) if len(views) == 1 else views for views in map(seen, changed)]
        with replacing(READ / f"{source}.npz") as aside, aside.open("wb") as stream:
            np.savez(stream, read=np.array(pictures), copies=np.array(copies), label=int(label))


def table(corpus: Path, more: Path) -> None:
    """Compare one view with five, by heads that saw nothing of the source."""
    images = training_images(corpus, more)
    fold = folds(images)
    of_source: dict[str, set[int]] = {}
    for source, one in zip(images.sources.tolist(), fold.tolist(), strict=True):
        of_source.setdefault(source, set()).add(one)
    heads = [ridge_probe(images.read[fold != one], images.labels[fold != one], PENALTY) for one in range(FOLDS)]
    crops = np.array([row @ heads[at][0] + heads[at][1] for row, at in zip(images.read, fold, strict=True)])
    of_crops = images.sources.tolist()
    fitted = calibration_fit.fit(crops, images.labels, sources=of_crops)
    cut = calibration_fit.thresholds([fitted.score(one) for one in crops.tolist()], images.labels, equal_sources=of_crops)
    labels: list[int] = []
    sources: list[str] = []
    logits: list[Floats] = []
    changed: list[tuple[Floats, Floats]] = []
    for file in sorted(READ.glob("*.npz")):
        if len(of_source[file.stem]) > 1:
            continue  # several model families: each head saw some of its pictures
        weight, bias = heads[min(of_source[file.stem])]
        with np.load(file) as given:
            if not len(given["read"]):
                continue
            of_pictures = given["read"].astype(np.float64) @ weight + bias
            labels += [int(given["label"])] * len(of_pictures)
            sources += [file.stem] * len(of_pictures)
            logits += list(of_pictures)
            changed += [(of_pictures[0], copy.astype(np.float64) @ weight + bias) for copy in given["copies"]]
    found, rows, scores = {}, [], {}
    truth, origins = np.array(labels), [source if label else "" for source, label in zip(sources, labels, strict=True)]
    for way, many in zip(WAYS, (1, len(logits[0])), strict=True):
        factor = PREPROCESSING.weight(many)
        scores[way] = np.array([fitted.score(factor * float(views[:many].sum())) for views in logits])
        before, then = ([fitted.score(factor * float(views[:many].sum())) for views in each] for each in zip(*changed, strict=True))
        verdicts = [np.digitize(each, [cut.real, cut.generated]) for each in (before, then)]
        figures: dict[str, Any] = {
            "auroc": vars(metrics.macro_average(labels, scores[way], origins)["auroc"]),
            "minus_centre": vars(metrics.paired_macro_difference(labels, scores[way], scores[WAYS[0]], origins)["auroc"]),
            "found_at_5_percent": found_at_5_percent(truth, scores[way]),
            "found": float(np.mean(scores[way][truth == 1] >= cut.generated)),
            "photographs_called_generated": float(np.mean(scores[way][truth == 0] >= cut.generated)),
            "photographs_called_real": float(np.mean(scores[way][truth == 0] < cut.real)),
            "inconclusive": float(np.mean((scores[way] >= cut.real) & (scores[way] < cut.generated))),
            "changed_verdicts": float(np.mean(verdicts[0] != verdicts[1])),
            "opposite_verdicts": float(np.mean(abs(verdicts[0] - verdicts[1]) == 2)),
        }
        found[way] = figures
        shares = [f"{figures[key]:.3f}" for key in list(figures)[2:]]
        rows.append([way, interval(figures["auroc"], 3), interval(figures["minus_centre"], 3, sign=True), *shares])
    header = {
        "data": images.dataset.fingerprint(),
        "photographs": int((truth == 0).sum()),
        "generated": int((truth == 1).sum()),
        "sources": [len({source for source, one in zip(sources, labels, strict=True) if one == label}) for label in (0, 1)],
        "copies": len(changed),
        "seed": 0,
        "dgsnet": __version__,
    }
    write_json(RESULTS / "large.json", header | {"ways": found})
    titles = ["scored by", "AUROC, mean over generators", "minus centre, paired", "found at 5 % false alarms"]
    titles += ["found", "photographs called generated", "photographs called real", "inconclusive"]
    write_text(RESULTS / "large.md", tables.markdown([*titles, "verdicts of copies that change", "to the opposite"], rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("read").add_argument("--repositories", type=Path, required=True)
    table_parser = commands.add_parser("table")
    table_parser.add_argument("--corpus", type=Path, required=True)
    table_parser.add_argument("--more", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "read":
        read(arguments.repositories)
    else:
        table(arguments.corpus, arguments.more)
