"""Weight interpolation: the weights between it and the fine-tuned model, judged on other sources.

    python -m studies.dgsnet_b16 half --data CORPUS dgs 0|1                    trains a model on each half of the sources
    python -m studies.search.interpolation features --data CORPUS --half 0|1   runs/interpolation/HALF-STRENGTH.npz (restartable)
    python -m studies.search.interpolation table                               results/interpolation.{json,md}

A low-rank update scaled by a strength between 0 and 1 lies between the frozen weights and the fine-tuned ones (WiSE-FT, arXiv 2109.01903)
of the fine-tuned model. At each strength the other half's images are ranked by three heads: one between the teacher's and the trained
one, at the same strength; a ridge in closed form, fitted to the features of the half's training images at that strength; and the sum of the
logits of one of these and of the ridge on frozen features, each over its spread on training images (an ensemble: a forward pass more).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from sklearn.metrics import roc_auc_score

from dgsnet import __version__
from dgsnet.core.files import replacing, write_json, write_text
from dgsnet.data.dataset import Dataset, load_dataset
from dgsnet.images.decode import decode
from dgsnet.images.multi_crop import SCORING_SEED
from dgsnet.inference.detector import Detector
from dgsnet.model.ridge import ridge_probe
from dgsnet.reports.tables import markdown
from studies.common.halves import other_half
from studies.common.paths import MODELS, RUNS
from studies.common.ranking import Floats

FEATURES, RESULTS = RUNS / "interpolation", Path(__file__).parent / "results"
STRENGTHS = (0.0, 1.0, 0.5, 0.25, 0.75)
FITTED = 400
"""Training images of the half that the ridge is fitted to, balanced over sources."""
SCORED = 350
"""Images of the other half, balanced over its sources."""
PENALTIES = (0.01, 0.03)


@torch.inference_mode()
def features(data: Path, half: int, strengths: tuple[float, ...]) -> None:
    """Write what the heads read of the half's training images and of the other half's, at each strength."""
    model = MODELS / "shipped" / "halves" / str(half)
    detector = Detector.from_pretrained(model, provider="torch")
    corpus = load_dataset(data)
    trained = load_dataset(model.with_suffix(".csv")).with_split("train").balanced_subset(FITTED, seed=0)
    left_out = other_half(corpus, half, SCORED)
    weights = {name: value.clone() for name, value in detector.method.named_parameters() if "lora_B" in name}
    FEATURES.mkdir(parents=True, exist_ok=True)
    for strength in strengths:
        file = FEATURES / f"{half}-{strength}.npz"
        if file.exists():
            continue
        for name, value in detector.method.named_parameters():
            if name in weights:
                value.copy_(strength * weights[name])
        heads: dict[str, Any] = {name: _head(detector, name) for name in ("teacher", "head")}
        seen: dict[str, Any] = {
            f"{part}_{key}": value for part, of in (("fit", trained), ("new", left_out)) for key, value in _read(detector, of).items()
        }
        with replacing(file) as aside, aside.open("wb") as stream:
            np.savez(stream, model=detector.fingerprint, data=corpus.fingerprint(), **(seen | heads))


def _read(detector: Detector, dataset: Dataset) -> dict[str, NDArray[Any]]:
    rows = []
    for sample in track(dataset.samples, "images"):
        view = detector.config.preprocessing(decode(dataset.read(sample)).pixels, SCORING_SEED)
        rows.append(detector.method.embed(torch.from_numpy(view)[None])[0].numpy())
    origins = np.array([sample.generator or sample.source for sample in dataset])
    return {"read": np.stack(rows), "labels": dataset.labels(), "origins": origins}


def _head(detector: Detector, name: str) -> Floats:
    layer: Any = detector.method.get_submodule(name)
    return np.append(layer.weight[0].double().numpy(), float(layer.bias))


def table() -> None:
    """Write the figures of every strength and head, averaged over the two halves."""
    found: dict[str, dict[str, list[float]]] = {}
    identities = set()
    for half in (0, 1):
        frozen = _stored(half, 0.0)
        identities.add((str(frozen["model"]), str(frozen["data"])))
        ridge = {penalty: _ridge(frozen, penalty) for penalty in PENALTIES}
        for strength in sorted(STRENGTHS):
            if not (FEATURES / f"{half}-{strength}.npz").exists():
                continue
            stored = _stored(half, strength)
            trained = (1 - strength) * stored["teacher"] + strength * stored["head"]
            heads = {"trained head": trained} | {f"ridge {penalty:g}": _ridge(stored, penalty) for penalty in PENALTIES}
            for name, head in heads.items():
                title = f"{name}, strength {strength:g}"
                _note(found, title, frozen, _logits(stored, "new", head))
                for penalty, other in ridge.items() if strength else ():
                    both = _logits(stored, "new", head) / np.std(_logits(stored, "fit", head))
                    both += _logits(frozen, "new", other) / np.std(_logits(frozen, "fit", other))
                    _note(found, f"{title}, with frozen ridge {penalty:g}", frozen, both)
    rows = [[name, *(f"{np.mean(values):.3f}" for values in figures.values())] for name, figures in found.items()]
    columns = list(next(iter(found.values())))
    header = {"models_and_data": sorted(identities), "fitted": FITTED, "scored": SCORED, "seed": 0, "dgsnet": __version__}
    write_json(RESULTS / "interpolation.json", header | {"heads": found})
    write_text(RESULTS / "interpolation.md", markdown(["head", *columns], rows))


def _stored(half: int, strength: float) -> dict[str, Any]:
    with np.load(FEATURES / f"{half}-{strength}.npz") as stored:
        return dict(stored)


def _ridge(stored: dict[str, Any], penalty: float) -> Floats:
    weight, bias = ridge_probe(stored["fit_read"].astype(np.float64), stored["fit_labels"], penalty)
    return np.append(weight, bias)


def _logits(stored: dict[str, Any], part: str, head: Floats) -> Floats:
    return np.asarray(stored[f"{part}_read"].astype(np.float64) @ head[:-1] + head[-1])


def _note(found: dict[str, dict[str, list[float]]], name: str, stored: dict[str, Any], logits: Floats) -> None:
    """Mean AUROC over (generator, photo source) of the other half, and the worst generator's, appended for this half."""
    labels, origins = stored["new_labels"], stored["new_origins"]
    each: dict[str, list[float]] = {}
    for generator in np.unique(origins[labels == 1]):
        for source in np.unique(origins[labels == 0]):
            chosen = ((labels == 1) & (origins == generator)) | ((labels == 0) & (origins == source))
            each.setdefault(str(generator), []).append(float(roc_auc_score(labels[chosen], logits[chosen])))
    means = [float(np.mean(values)) for values in each.values()]
    figures = found.setdefault(name, {"mean AUROC": [], "worst generator": []})
    figures["mean AUROC"].append(round(float(np.mean(means)), 4))
    figures["worst generator"].append(round(min(means), 4))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    features_parser = commands.add_parser("features")
    features_parser.add_argument("--data", type=Path, required=True)
    features_parser.add_argument("--half", type=int, choices=(0, 1), required=True)
    features_parser.add_argument("--strength", type=float, action="append", choices=STRENGTHS)
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "features":
        features(arguments.data, arguments.half, tuple(arguments.strength or STRENGTHS))
    else:
        table()
