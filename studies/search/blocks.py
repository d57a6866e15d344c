"""Blocks that generalise: linear probes on frozen CLIP, each judged on a generator and a photo source it was not trained on.

    python -m studies.search.blocks features --data CORPUS      runs/search/features.npz: the features of every block (once)
    python -m studies.search.blocks probes --data CORPUS        results/blocks.{json,md}

Choices see the splits `train` and `val` only (`features --split test` is for `curves.py`). For each generator g and photo source s a ridge
probe, both labels weighing the same, is fitted to all images but those of g and s, and ranks g against s; the mean AUROC over all (g, s)
says how a choice fares on what is new.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from dgsnet import __version__
from dgsnet.core.files import replacing, write_json, write_text
from dgsnet.data.dataset import load_dataset
from dgsnet.images.decode import decode
from dgsnet.images.preprocess import Preprocessing
from dgsnet.model.backbone import Backbone
from studies.common.paths import RUNS
from studies.common.ranking import Floats, leave_pairs_out

FEATURES, RESULTS = RUNS / "search" / "features.npz", Path(__file__).parent / "results"
CHOICES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    **{f"class token after block {block}": ((), (block,)) for block in (2, 4, 6, 8, 10, 12)},
    **{f"mean patch token after block {block}": ((block,), ()) for block in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12)},
    **{f"mean patch token after block {block}, class token after 12": ((block,), (12,)) for block in (3, 4, 5, 6, 7, 8)},
    "mean patch tokens after blocks 4 and 6, class token after 12": ((4, 6), (12,)),
    "mean patch tokens after blocks 5 and 7, class token after 12": ((5, 7), (12,)),
}
"""Name: (blocks whose mean patch token is read, blocks whose class token is)."""

PENALTY = 0.1
"""Of the ridge, on standardised features."""


@torch.inference_mode()
def features(data: Path, file: Path, splits: tuple[str, ...]) -> None:
    """Write class token and mean patch token after every block, of the native centre crop: (N, blocks + 1, 2, width) float16."""
    dataset, backbone = load_dataset(data).with_split(*splits), Backbone.load("clip-vit-b16")
    preprocessing = Preprocessing(view="crop")
    rows = []
    for sample in track(dataset.samples, "frozen CLIP"):
        pixels = torch.from_numpy(preprocessing(decode(dataset.read(sample)).pixels))[None]
        states = backbone.vision(pixel_values=pixels, output_hidden_states=True).hidden_states
        rows.append(np.stack([[state[0, 0].numpy(), state[0, 1:].mean(dim=0).numpy()] for state in states]).astype(np.float16))
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as aside, aside.open("wb") as stream:
        np.savez(stream, features=np.stack(rows), data=dataset.fingerprint(), backbone=backbone.fingerprint)


def stored_features(file: Path, data: Path, splits: tuple[str, ...]) -> tuple[NDArray[np.float16], str]:
    """Read what `features` wrote, and the backbone's fingerprint."""
    with np.load(file) as stored:
        if str(stored["data"]) != load_dataset(data).with_split(*splits).fingerprint():
            raise SystemExit(f"{file} is of other data: delete it and run `features` again")
        return stored["features"], str(stored["backbone"])


def probes(data: Path) -> None:
    """Judge every choice of `CHOICES` on what it was not trained on."""
    dataset = load_dataset(data).with_split("train", "val")
    half, backbone = stored_features(FEATURES, data, ("train", "val"))
    states = half.astype(np.float64)
    labels = dataset.labels()
    origins = np.array([sample.generator or sample.source for sample in dataset])
    found: dict[str, Any] = {}
    for name, (patches, classes) in track(CHOICES.items(), "probes", total=len(CHOICES)):
        read = np.concatenate([*(states[:, block, 1] for block in patches), *(states[:, block, 0] for block in classes)], axis=1)

        def score(left_out: NDArray[np.bool_], read: Floats = read) -> Floats:
            return ridge(read[~left_out], labels[~left_out].astype(np.float64))(read[left_out])

        found[name] = leave_pairs_out(labels, origins, score)
    header = {"data": dataset.fingerprint(), "backbone": backbone, "view": "crop", "penalty": PENALTY, "dgsnet": __version__}
    write_json(RESULTS / "blocks.json", header | {"choices": found})
    write_text(RESULTS / "blocks.md", _markdown(found))


def ridge(read: Floats, labels: Floats) -> Callable[[Floats], Floats]:
    """Fit a ridge probe, both labels weighing the same; return a function from features (N, D) to scores (N,)."""
    mean, scale = read.mean(axis=0), read.std(axis=0) + 1e-6
    standard = (read - mean) / scale
    weights = np.where(labels == 1, 0.5 / labels.sum(), 0.5 / (1 - labels).sum())
    centred = standard - weights @ standard
    covariance = centred.T @ (centred * weights[:, None]) + PENALTY * np.eye(read.shape[1])
    slope = np.linalg.solve(covariance, centred.T @ (weights * (labels - weights @ labels)))
    return lambda other: ((other - mean) / scale) @ slope


def _markdown(found: dict[str, Any]) -> str:
    one = next(iter(found.values()))
    generators = list(one["by_generator"])
    lines = ["| read | mean AUROC | " + " | ".join(generators) + " |", "|---|---|" + "---|" * len(generators)]
    for name, result in found.items():
        cells = " | ".join(f"{result['by_generator'][generator]:.2f}" for generator in generators)
        lines.append(f"| {name} | {result['mean']:.3f} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("features", "probes"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", choices=("test",), help="features of this split instead of train and val")
    arguments = parser.parse_args()
    if arguments.command == "probes":
        probes(arguments.data)
    elif arguments.split:
        features(arguments.data, FEATURES.with_stem(f"features-{arguments.split}"), (arguments.split,))
    else:
        features(arguments.data, FEATURES, ("train", "val"))
