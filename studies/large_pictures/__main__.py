"""Large pictures scored by their quadrants as well as by their centre, on photographs and generated images left out.

    python -m studies.large_pictures read --corpus CORPUS --repositories DIR     runs/large_pictures: tokens of the originals' views
    python -m studies.large_pictures table --corpus CORPUS                       results/large.{json,md}

Pictures are the files of `more_sources.csv` themselves, not crops, where both sides have room for quadrants, one of each source. The
heads are those of the second edition (`studies/second_edition`); none saw anything of the photo source, or of the model family, that it is
asked about. Calibration and thresholds are the shipped model's, which are of crops.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from dgsnet import __version__
from dgsnet.artifacts import model_folder
from dgsnet.core.errors import DecodeError
from dgsnet.core.files import replacing, write_json, write_text
from dgsnet.core.format import interval
from dgsnet.data.dataset import Dataset
from dgsnet.evaluation import metrics
from dgsnet.images.decode import decode
from dgsnet.images.preprocess import Preprocessing
from dgsnet.reports import tables
from dgsnet.training import refit_head
from studies.common import image_list
from studies.common.collection import Collection, sample_of
from studies.common.copies import Listed, images
from studies.common.heads import MODEL, SHIPPED, SHIPPED_COPIES, Candidate
from studies.common.paths import RUNS
from studies.common.ranking import found_at_5_percent
from studies.common.tokens import open_tokens

READ, RESULTS = RUNS / "large_pictures", Path(__file__).parent / "results"
TRIED = 3
"""Files of a source that are opened for one that is large."""
WAYS = {"centre": 1, "centre and quadrants": 5}
PREPROCESSING = Preprocessing(view="crop", multi_crop=True)


def read(given: list[Listed], repositories: Path) -> None:
    """Write the tokens of each view of the first large picture of every source, one file a source: `tokens` (views, D), `key`."""
    tokens = open_tokens()
    sources: dict[tuple[int, str], list[Listed]] = {}
    for image in given:
        if image.repo:
            sources.setdefault((image.label, image.source), []).append(image)
    READ.mkdir(parents=True, exist_ok=True)
    for (label, source), of_source in track(sources.items(), "sources"):
        file = READ / f"{label}-{source}.npz"
        if file.exists():
            continue
        found: list[NDArray[np.float32]] = []
        key = ""
        for image in of_source[:TRIED]:
            try:
                pixels = decode(image.read(Path(), repositories), image_list.POLICY).pixels
            except DecodeError:
                continue
            if len(PREPROCESSING.parts(*pixels.shape[:2])) > 1:
                key, found = image.key, [tokens(view) for view in PREPROCESSING.views(pixels)]
                break
        with replacing(file) as aside, aside.open("wb") as stream:
            np.savez(stream, tokens=np.array(found), key=key)


def table(given: list[Listed]) -> None:
    """Compare one view with five, by heads that saw nothing of the source or of the family."""
    collection, by_key = Collection.load(given), {image.key: image for image in given}
    rows = collection.of(*SHIPPED_COPIES)
    features, samples = [collection.features[rows]], list(collection.only(rows).samples)
    pictures: list[Listed] = []
    for file in sorted(READ.glob("*.npz")):
        with np.load(file) as stored:
            if len(stored["tokens"]):
                pictures.append(by_key[str(stored["key"])])
                features.append(collection.standardise(stored["tokens"].copy()))
                samples += [sample_of(pictures[-1], f"view {number}") for number in range(len(stored["tokens"]))]
    taught = np.arange(len(samples)) < rows.sum()
    fit = Candidate("all tokens", "mlp", SHIPPED_COPIES, size=SHIPPED.mlp).fit()
    logits = refit_head.out_of_fold_logits(np.concatenate(features), Dataset(Path(), tuple(samples), "manifest"), fit, taught)
    if logits is None:
        raise SystemExit("both labels need two sources at least")
    views = logits[int(rows.sum()) :].reshape(len(pictures), -1)
    calibration = model_folder.load_config(MODEL).calibration
    truth, origins = np.array([one.label for one in pictures]), [one.source if one.label else "" for one in pictures]
    found, lines, scores = {}, [], {}
    for way, many in WAYS.items():
        factor = PREPROCESSING.weight(many)
        scores[way] = np.array([calibration.score(factor * float(one[:many].sum())) for one in views])
        real, between = truth == 0, (scores[way] >= calibration.real) & (scores[way] < calibration.generated)
        figures: dict[str, Any] = {
            "auroc": vars(metrics.macro_average(truth, scores[way], origins)["auroc"]),
            "minus_centre": vars(metrics.paired_macro_difference(truth, scores[way], scores["centre"], origins)["auroc"]),
            "found_at_5_percent": found_at_5_percent(truth, scores[way]),
            "found": float(np.mean(scores[way][~real] >= calibration.generated)),
            "photographs_called_generated": float(np.mean(scores[way][real] >= calibration.generated)),
            "photographs_called_real": float(np.mean(scores[way][real] < calibration.real)),
            "generated_called_real": float(np.mean(scores[way][~real] < calibration.real)),
            "photographs_inconclusive": float(np.mean(between[real])),
        }
        found[way] = figures
        shares = [f"{figures[key]:.3f}" for key in list(figures)[2:]]
        lines.append([way, interval(figures["auroc"], 3), interval(figures["minus_centre"], 3, sign=True), *shares])
    photographs = views[truth == 0]
    spread = {way: float(np.std(PREPROCESSING.weight(many) * photographs[:, :many].sum(axis=1))) for way, many in WAYS.items()}
    header = {"photographs": int((truth == 0).sum()), "generated": int((truth == 1).sum()), "spread_of_photographs_logits": spread}
    write_json(RESULTS / "large.json", header | {"seed": 0, "dgsnet": __version__, "ways": found})
    titles = ["by", "AUROC, mean over generated sources", "minus the centre's, paired", "found at 5 %", "found"]
    titles += ["photographs called generated", "photographs called real", "generated called real", "photographs inconclusive"]
    write_text(RESULTS / "large.md", tables.markdown(titles, lines))


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("read", "table"):
        command = commands.add_parser(name)
        command.add_argument("--corpus", type=Path, required=True)
        if name == "read":
            command.add_argument("--repositories", type=Path, required=True)
    arguments = parser.parse_args()
    given = images(arguments.corpus)
    if arguments.command == "read":
        read(given, arguments.repositories)
    else:
        table(given)


if __name__ == "__main__":
    main()
