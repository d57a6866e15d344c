"""Content-aligned pairs: does a head learn anything general from photographs and their reconstructions?

    python -m studies.reconstructions make --corpus CORPUS --out PAIRS                  decoders fitted to `train` photographs; both images
    python -m studies.more_sources features --data PAIRS reconstructions                features by the tower of `dgsnet-b16`
    python -m studies.reconstructions judge --corpus CORPUS --more MORE --pairs PAIRS   results/reconstructions.{json,md}

The five decoders of `dgsnet.demo.reconstruction` differ in how they get from a latent grid to pixels. Does a head that learnt the
reconstructions of four of them find those of the fifth (photographs parted too)? Do reconstructions beside the generated images help with
generators and photo sources that were left out? The figures beside which they stand are those of `python -m studies.more_sources choose`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.progress import Progress
from sklearn.metrics import roc_auc_score

from dgsnet import __version__
from dgsnet.core.files import write_json, write_text
from dgsnet.data.dataset import load_dataset
from dgsnet.demo.reconstruction import decoders
from dgsnet.demo.reconstruction.fitting import Fit, fit
from dgsnet.demo.reconstruction.pairs import Original, write_pairs
from dgsnet.images.decode import decode
from dgsnet.model.ridge import ridge_probe
from dgsnet.reports import tables
from studies.common.left_out import PENALTY, left_out
from studies.common.training_images import TrainingImages, features_of, training_images

RESULTS = Path(__file__).parent / "results"
PHOTOGRAPHS, FITTED = 60, 40
"""Photographs with reconstructions, balanced over the sources, and how many of them the decoders are fitted to."""
SHARES = (0.0, 0.25, 0.5, 1.0)


def make(corpus: Path, out: Path) -> None:
    """Write photographs of `train`, and the reconstructions that every decoder makes of each."""
    photographs = replace(load_dataset(corpus), samples=tuple(s for s in load_dataset(corpus).with_split("train") if s.label == 0))
    by_source: dict[str, list[Original]] = {}
    names = tuple(decoders.available())
    for sample in photographs:
        pixels = decode(photographs.read(sample)).pixels
        one = Original(Path(sample.path).stem, pixels, "train", "", sample.group, names)
        by_source.setdefault(sample.source, []).append(one)
    each = PHOTOGRAPHS // len(by_source)
    originals = [one for source in sorted(by_source) for one in by_source[source][:each]]
    with Progress() as progress:
        models = {name: decoders.create(name, 0) for name in names}
        for name, model in models.items():
            quality = fit(model, [one.pixels for one in originals[:: len(originals) // FITTED]], Fit(), progress)
            progress.console.print(f"{name}: {quality:.1f} dB")
        write_pairs(out, originals, models, progress)


def judge(corpus: Path, more: Path, pairs: Path) -> None:
    """Answer both questions."""
    images, dataset = training_images(corpus, more), load_dataset(pairs)
    read = features_of("reconstructions", dataset)
    labels, sources = dataset.labels(), np.array([sample.source for sample in dataset])
    groups = np.array([sample.path.rpartition("/")[2] for sample in dataset])
    rng = np.random.default_rng(0)
    half = np.isin(groups, rng.permutation(np.unique(groups))[: len(np.unique(groups)) // 2])
    families = sorted(set(sources[labels == 1]))
    transfer = {}
    for family in families:
        cells = {}
        for name, learnt in (("of the other four", (sources != family)), ("of all five", np.ones_like(half))):
            scores = np.zeros(len(labels))
            for asked in (half, ~half):
                weight, bias = ridge_probe(read[~asked & learnt], labels[~asked & learnt], PENALTY)
                scores[asked] = read[asked] @ weight + bias
            one = (labels == 0) | (sources == family)
            cells[name] = float(roc_auc_score(labels[one], scores[one]))
        weight, bias = ridge_probe(images.read, images.labels, PENALTY)
        one = (labels == 0) | (sources == family)
        cells["none, generated images"] = float(roc_auc_score(labels[one], (read @ weight + bias)[one]))
        transfer[family] = cells
    mixed = {}
    for share in SHARES:
        chosen = (labels == 1) & np.isin(groups, rng.permutation(np.unique(groups))[: round(share * len(np.unique(groups)))])
        mixed[f"{share:g}"] = {"reconstructions": int(chosen.sum())} | left_out(_with(images, read[chosen], sources[chosen]), None, PENALTY)
    header = {"data": [images.dataset.fingerprint(), dataset.fingerprint()], "penalty": PENALTY, "seed": 0, "dgsnet": __version__}
    write_json(RESULTS / "reconstructions.json", header | {"transfer": transfer, "mixed": mixed})
    first = tables.markdown(
        ["AUROC, reconstructions by", *next(iter(transfer.values()))],
        [[name, *(f"{it:.3f}" for it in cells.values())] for name, cells in transfer.items()],
    )
    rows = [[str(one["reconstructions"]), f"{one['auroc']:.3f}", f"{one['tpr_at_fpr_5']:.3f}"] for one in mixed.values()]
    second = tables.markdown(
        ["reconstructions beside the generated images", "AUROC, left-out generators", "found at 5 % false alarms"], rows
    )
    write_text(RESULTS / "reconstructions.md", first + "\n" + second)


def _with(images: TrainingImages, read: np.ndarray, sources: np.ndarray) -> TrainingImages:
    """Return the images and reconstructions as training images that no fold asks about."""
    return replace(
        images,
        read=np.concatenate([images.read, read]),
        labels=np.concatenate([images.labels, np.ones(len(read), np.int64)]),
        sources=np.concatenate([images.sources, sources]),
        new=np.concatenate([images.new, np.zeros(len(read), bool)]),
        never_asked=np.concatenate([np.zeros(len(images.read), bool), np.ones(len(read), bool)]),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    make_parser, judge_parser = commands.add_parser("make"), commands.add_parser("judge")
    for one in (make_parser, judge_parser):
        one.add_argument("--corpus", type=Path, required=True)
    make_parser.add_argument("--out", type=Path, required=True)
    judge_parser.add_argument("--more", type=Path, required=True)
    judge_parser.add_argument("--pairs", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "make":
        make(arguments.corpus, arguments.out)
    else:
        judge(arguments.corpus, arguments.more, arguments.pairs)
