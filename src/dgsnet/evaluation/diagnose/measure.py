"""`dgsnet diagnose`: features first, then every figure from them, and what the plots show."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from dgsnet import __version__
from dgsnet.core.errors import DatasetError
from dgsnet.core.files import write_json
from dgsnet.data.dataset import Dataset, Sample
from dgsnet.evaluation import metrics
from dgsnet.evaluation.diagnose import retention, similarity
from dgsnet.evaluation.diagnose.jackknife import Floats, jackknife, mean_leaving_one_out
from dgsnet.evaluation.diagnose.towers import Keys, TowerFeatures, Towers
from dgsnet.inference.detector import Detector
from dgsnet.inference.writers import printable

FORGETTING_JSON, FEATURES = "forgetting.json", "features.sqlite"
HEADLINES = ("cka", "knn_overlap", "procrustes", "probe_retention")
_RANGE = {"cka": (-math.inf, 1.0), "knn_overlap": (0.0, 1.0), "procrustes": (0.0, 1.0), "probe_retention": (0.0, math.inf)}
NEIGHBOURS = 10
FEWEST = 8
"""Images below which there is nothing to compare."""


@dataclass(frozen=True)
class Diagnosis:
    """The result of `diagnose`.

    Attributes:
        figures: the content of `forgetting.json`.
        samples: the N images that were compared.
        frozen: embeddings (N, D) of each frozen tower, by name; models of one backbone and one preprocessing share one.
        tuned: embeddings (N, D) of each model, by its name.
        spectra: singular values of all these, falling, by the same names.
    """

    figures: dict[str, Any]
    samples: tuple[Sample, ...]
    frozen: dict[str, Floats]
    tuned: dict[str, Floats]
    spectra: dict[str, Floats]


@dataclass(frozen=True)
class _Measured:
    """A model: its part of `forgetting.json`, the headlines without each image, and what comparisons and plots need.

    `counted` are the tasks whose mean is `probe_retention`. `embeddings` and `spectra` are of the `frozen` and the `tuned` tower; models of
    one `frozen_space` have the same frozen ones.
    """

    name: str
    threshold: float
    scores: Floats
    figures: dict[str, Any]
    headlines: dict[str, tuple[float, Floats]]
    embeddings: dict[str, Floats]
    spectra: dict[str, Floats]
    frozen_space: str
    counted: frozenset[str]


def diagnose(
    detectors: Mapping[str, Detector],
    dataset: Dataset,
    out: Path,
    *,
    tasks: Mapping[str, Dataset] | None = None,
    features: Path | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Compare each model's tuned tower with its frozen one, and the first model with the others.

    An image that one model cannot see is left out for all, so that every figure is of the same images.

    Args:
        detectors: models by name, at least one.
        dataset: labelled images.
        out: folder of `forgetting.json`.
        tasks: folders of images whose subfolders are classes, by name: further tasks for the probes.
        features: file of features; default: `features.sqlite` in `out`.
        progress: shows how far it is.

    Returns:
        The content of `forgetting.json`, and beside it what the plots show. The content: the headlines `cka`, `knn_overlap`, `procrustes`
        and `probe_retention` of the first model, null where undefined; everything of each model in `models`; differences of the first
        from each other model in `comparisons`; in `tasks_counted` the tasks that retention is the mean of, those that the first model's
        frozen features answer above chance, or all where they answer none; images that could not be used in `failed`; and
        `computed_from`.

    Raises:
        DatasetError: images without a label, fewer than `FEWEST` usable images, or a task that cannot be posed.
    """
    labels = dataset.labels()
    for name, folder in (tasks or {}).items():  # before an image is shown
        _posed(name, folder, range(len(folder)))
    store = features or out / FEATURES
    towers = {name: Towers(detector, store) for name, detector in detectors.items()}
    kept, keys, failed = _extract(towers, dataset, progress)
    if len(kept) < FEWEST:
        raise DatasetError(f"{dataset.root}: {len(kept)} usable images are too few to compare; expected {FEWEST} or more")
    folders = {name: (folder, *_extract(towers, folder, progress)) for name, folder in (tasks or {}).items()}
    for name, (_, _, _, unusable) in folders.items():
        failed |= {f"{name}/{path}": why for path, why in unusable.items()}
    chosen = replace(dataset, samples=tuple(dataset.samples[place] for place in kept))
    posed, skipped = retention.tasks_of(chosen.samples)
    questions = [_Question(task, 0, keys) for task in posed]
    begin = len(kept)
    for name, (folder, places, folder_keys, _) in folders.items():
        questions.append(_Question(_posed(name, folder, places), begin, folder_keys))
        begin += len(places)

    wanted = labels[kept]
    measured: list[_Measured] = []
    for name, detector in detectors.items():
        step = _steps(progress, f"figures of {name}")
        counted = measured[0].counted if measured else None  # one choice of tasks, or retentions would not compare
        measured.append(_measure(name, detector, towers[name], chosen, keys, questions, begin, counted, step))
    first = measured[0]
    result: dict[str, Any] = {headline: first.figures[headline]["value"] for headline in HEADLINES}
    result |= {
        "model": first.name,
        "models": {one.name: one.figures for one in measured},
        "comparisons": [_compare(first, other, wanted) for other in measured[1:]],
        "tasks_counted": sorted(first.counted),
        "tasks_left_out": skipped,
        "failed": failed,
        "computed_from": {
            "data": dataset.fingerprint(),
            "images": len(kept),
            "photographs": int((wanted == 0).sum()),
            "generated": int((wanted == 1).sum()),
            "intervals": "95 %, jackknife over images; of the detection figures bootstrap",
            "dgsnet": __version__,
        },
    }
    write_json(out / FORGETTING_JSON, result)
    return _diagnosis(result, measured, chosen)


@dataclass(frozen=True)
class _Question:
    """A task, where its images begin among all images of the run, and their keys."""

    task: retention.Task
    begin: int
    keys: Sequence[str]


def _posed(name: str, folder: Dataset, places: Sequence[int]) -> retention.Task:
    task = retention.folder_task(name, folder, places)
    if isinstance(task, str):
        raise DatasetError(f"{folder.root}: {task}; give --task a folder whose subfolders are classes")
    return task


def _extract(towers: Mapping[str, Towers], dataset: Dataset, progress: Progress | None) -> tuple[list[int], list[str], dict[str, str]]:
    """Return the places of the images that every model has seen, their keys, and why others are missing, by path."""
    keys = Keys.of(dataset)
    failed: dict[int, str] = {}
    for tower in towers.values():
        failed = tower.extract(dataset, keys, progress) | failed
    kept = [place for place in range(len(dataset)) if place not in failed]
    return (
        kept,
        [keys.keys[place] for place in kept],
        {printable(dataset.samples[place].path): printable(failed[place]) for place in sorted(failed)},
    )


def _steps(progress: Progress | None, description: str) -> Callable[[float], None]:
    """Return a function to call with the share, 0..1, that is done."""
    if progress is None:
        return lambda _share: None
    number = progress.add_task(description, total=1.0)
    return lambda share: progress.update(number, completed=share)


def _measure(
    name: str,
    detector: Detector,
    towers: Towers,
    dataset: Dataset,
    keys: Sequence[str],
    questions: Sequence[_Question],
    total: int,
    counted: frozenset[str] | None,
    step: Callable[[float], None],
) -> _Measured:
    frozen, tuned = towers.features(keys)
    old, new = frozen.embedding, tuned.embedding
    k = min(NEIGHBOURS, (len(keys) - 1) // 2)
    overlaps = similarity.knn_overlap(old, new, k)
    cka, distance = similarity.linear_cka(old, new), similarity.procrustes(old, new)
    layers = []
    for block in range(1, frozen.blocks + 1):
        layers.append(_layer(frozen, tuned, block))
        step(0.7 * block / frozen.blocks)
    answers = []
    for number, question in enumerate(questions, 1):
        read = (frozen, tuned) if question.keys is keys else towers.features(question.keys)
        answers.append((retention.answer(question.task, read[0].embedding, read[1].embedding), question.begin))
        step(0.7 + 0.3 * number / len(questions))
    step(1)
    if counted is None:
        counted = frozenset(one.task.name for one, _ in answers if one.answered) or frozenset(one.task.name for one, _ in answers)
    headlines = {
        "cka": (cka.value, cka.leave_one_out),
        "knn_overlap": mean_leaving_one_out(overlaps, np.zeros(len(keys), np.intp)),
        "procrustes": (distance.value, distance.leave_one_out),
        "probe_retention": retention.mean_ratio([one for one in answers if one[0].task.name in counted], total),
    }
    assert tuned.logits is not None  # noqa: S101 - a tuned tower has them
    scores = np.array([detector.config.calibration.score(logit) for logit in tuned.logits.tolist()])
    spectra = {"frozen": similarity.singular_values(old), "tuned": similarity.singular_values(new)}
    figures = {
        **{name: jackknife(*headlines[name], least=_RANGE[name][0], most=_RANGE[name][1]).as_dict() for name in HEADLINES},
        "chance": _chance(old, new, k),
        "cka_biased": _plain(similarity.biased_cka(old, new)),
        "neighbours": k,
        "layers": layers,
        "read_blocks": list(detector.method.backbone.blocks),
        "tasks": {one.task.name: _task(one) for one, _ in answers},
        "effective_rank": {which: _plain(similarity.effective_rank(values)) for which, values in spectra.items()},
        "drift": _drift(dataset, old, new, overlaps),
        "detection": _detection(dataset.labels(), scores, detector.config.calibration.generated),
        "fingerprint": detector.fingerprint,
        "method": detector.config.method,
        "backbone": detector.config.backbone["name"],
        "warnings": list(detector.warnings),
    }
    space = f"{detector.method.backbone.fingerprint} {detector.config.preprocessing.model_dump_json()}"
    return _Measured(
        name, detector.config.calibration.generated, scores, figures, headlines, {"frozen": old, "tuned": new}, spectra, space, counted
    )


def _layer(frozen: TowerFeatures, tuned: TowerFeatures, block: int) -> dict[str, Any]:
    """Return CKA of both tokens after a block."""
    found: dict[str, Any] = {"block": block}
    for token, read in (("class_token", TowerFeatures.class_token), ("patch_token", TowerFeatures.patch_token)):
        old, new = read(frozen, block), read(tuned, block)
        cka = similarity.linear_cka(old, new)
        found[token] = jackknife(cka.value, cka.leave_one_out, most=1).as_dict() | {"biased": _plain(similarity.biased_cka(old, new))}
    return found


def _chance(old: Floats, new: Floats, k: int) -> dict[str, float | None]:
    """Return what the figures would be if the tuned features belonged to other images: the floor each has at this N and D."""
    mixed = new[np.random.default_rng(0).permutation(len(new))]
    return {
        "cka": _plain(similarity.linear_cka(old, mixed).value),
        "cka_biased": _plain(similarity.biased_cka(old, mixed)),
        "knn_overlap": k / (len(old) - 1),
        "procrustes": _plain(similarity.procrustes(old, mixed).value),
    }


def _task(one: retention.Answer) -> dict[str, Any]:
    return {
        "measure": one.task.measure,
        "images": len(one.task.members),
        "classes": one.task.classes,
        "chance": one.task.chance,
        "frozen": jackknife(one.frozen, one.frozen_leave_one_out, least=0, most=1).as_dict(),
        "tuned": jackknife(one.tuned, one.tuned_leave_one_out, least=0, most=1).as_dict(),
        "ratio": jackknife(one.ratio, one.ratio_leave_one_out, least=0).as_dict(),
        "known": one.answered,
        "above_chance": _plain(one.above_chance),
    }


def _drift(dataset: Dataset, old: Floats, new: Floats, overlaps: Floats) -> dict[str, Any]:
    """Return how far features moved: of all images, of each label, of each generator and of each source of photographs."""
    cosines, lengths = similarity.cosine(old, new), (np.linalg.norm(old, axis=1), np.linalg.norm(new, axis=1))
    moved = np.linalg.norm(new - old, axis=1) / np.maximum(lengths[0], np.finfo(np.float64).tiny)

    def over(rows: NDArray[np.bool_]) -> dict[str, Any]:
        return {
            "images": int(rows.sum()),
            "cosine": float(cosines[rows].mean()),
            "relative_distance": float(moved[rows].mean()),
            "knn_overlap": float(overlaps[rows].mean()),
            "norm_frozen": float(lengths[0][rows].mean()),
            "norm_tuned": float(lengths[1][rows].mean()),
        }

    labels = dataset.labels()
    sources = np.array([sample.source for sample in dataset])  # of a generated image its generator
    groups = {"by_generator": 1, "by_source": 0}
    return {
        "overall": over(np.ones(len(labels), bool)),
        "by_label": {name: over(labels == label) for name, label in (("real", 0), ("fake", 1)) if (labels == label).any()},
        **{
            name: {printable(str(one)): over((labels == label) & (sources == one)) for one in np.unique(sources[labels == label])}
            for name, label in groups.items()
        },
    }


def _detection(labels: NDArray[np.int64], scores: Floats, threshold: float) -> dict[str, Any]:
    report = metrics.estimate(labels, scores, threshold=threshold).as_dict()
    return {"threshold": threshold} | {name: report[name] for name in ("auroc", "balanced_acc", "real_acc", "fake_acc")}


def _compare(first: _Measured, other: _Measured, labels: NDArray[np.int64]) -> dict[str, Any]:
    """Subtract other from first, on the same images; the detection figures each at its model's own threshold."""
    differences: dict[str, Any] = {}
    for headline in HEADLINES:
        (mine, mine_left_out), (theirs, theirs_left_out) = first.headlines[headline], other.headlines[headline]
        differences[headline] = jackknife(mine - theirs, mine_left_out - theirs_left_out).as_dict()
    auroc = metrics.paired_difference(labels, first.scores, other.scores)["auroc"]
    called = [(one.scores >= one.threshold).astype(np.float64) for one in (first, other)]
    balanced = metrics.paired_difference(labels, called[0], called[1])["balanced_acc"]
    return {"model": first.name, "other": other.name, **differences, "auroc": auroc.as_dict(), "balanced_acc": balanced.as_dict()}


def _diagnosis(figures: dict[str, Any], measured: Sequence[_Measured], dataset: Dataset) -> Diagnosis:
    """Gather what plots show; models of one backbone and one preprocessing share one frozen tower."""
    towers: dict[str, _Measured] = {}
    for one in measured:
        towers.setdefault(one.frozen_space, one)
    references = {f"frozen CLIP as {one.name} sees" if len(towers) > 1 else "frozen CLIP": one for one in towers.values()}
    return Diagnosis(
        figures,
        dataset.samples,
        frozen={name: one.embeddings["frozen"] for name, one in references.items()},
        tuned={one.name: one.embeddings["tuned"] for one in measured},
        spectra={name: one.spectra["frozen"] for name, one in references.items()} | {one.name: one.spectra["tuned"] for one in measured},
    )


def _plain(value: float) -> float | None:
    """Return None for NaN, which JSON does not have."""
    return None if math.isnan(value) else float(value)
