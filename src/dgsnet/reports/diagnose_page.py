"""`forgetting.md`: the figures of `forgetting.json` in a table, and what they mean in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgsnet.core.files import write_text
from dgsnet.core.format import figure, interval, table_cell

FORGETTING_MD = "forgetting.md"

_MEASURES = {"cka": "CKA", "knn_overlap": "k-NN overlap", "procrustes": "Procrustes distance", "probe_retention": "probe retention"}
_BETTER = {"cka": 1, "knn_overlap": 1, "procrustes": -1, "probe_retention": 1}
"""Sign of a difference that says that more is preserved."""


def write(out: Path, result: Mapping[str, Any]) -> Path:
    """Write `out/forgetting.md` of the content of `forgetting.json`, beside its plots (`dgsnet.reports.diagnose_plots`)."""
    write_text(out / FORGETTING_MD, page(result))
    return out / FORGETTING_MD


def page(result: Mapping[str, Any]) -> str:
    """Return the page of a `forgetting.json`, Markdown."""
    models, source = result["models"], result["computed_from"]
    read = "\n".join(f"* {sentence}" for sentence in [*_alone(result), *map(_compared, result["comparisons"])])
    left_out = "".join(f"\n* Task `{table_cell(name)}` left out: {table_cell(why)}." for name, why in result["tasks_left_out"].items())
    counted = [table_cell(name) for name in result["tasks_counted"]]
    known = any(one["known"] for one in next(iter(models.values()))["tasks"].values())
    note = f"Counted in probe retention: {', '.join(counted)}" + ("" if known else "; but the frozen CLIP answers none above chance")
    failed = f"\n* {len(result['failed'])} images could not be used; `forgetting.json` names them." if result["failed"] else ""
    counts = f"{source['images']} images, {source['photographs']} photographs and {source['generated']} generated"
    return f"""# What of the frozen CLIP survives

{counts}; data fingerprint {source["data"][:16]}, dgsnet {source["dgsnet"]}. Each model's tuned tower is compared with its frozen one on
the same views of the same images. Intervals: {source["intervals"]}.

{_headline_table(models)}

{read}{left_out}{failed}

## How to read it

1 is everything and 0 nothing, but for the Procrustes distance, where 0 is nothing lost. CKA is the debiased estimator: the plain one, also
in `forgetting.json`, is near 1 for unrelated features when there are fewer images than dimensions. "Chance" is what the figures would be
if the tuned features belonged to other images. Probe retention is the mean over the counted tasks below of the probe's score on tuned
features over that on frozen ones; it can exceed 1. Read `above chance`, which is 0 when nothing is left, beside it.

Staying close to the frozen CLIP is no end in itself: a linear probe forgets nothing. It counts at equal detection.

![CKA after every block](layers.png)

![spectra of the embeddings](spectrum.png)

![t-SNE of the embeddings](tsne.png)

## Tasks for a linear probe

{f"{note}." if counted else ""}

{_task_table(models)}

## Drift of the embedding

{_drift_table(models)}
"""


def verdict(comparison: Mapping[str, Any]) -> str:
    """Return whether the first model of a comparison preserves ``more`` or ``less`` than the other, ``mixed``, or ``alike``.

    A measure counts where the interval of its difference leaves out 0; `more` and `less` need that no measure says the opposite.
    """
    signs = {_sign(comparison[name]) * better for name, better in _BETTER.items()} - {0}
    return {frozenset(): "alike", frozenset({1}): "more", frozenset({-1}): "less"}.get(frozenset(signs), "mixed")


def _sign(estimate: Mapping[str, float | None]) -> int:
    low, high = estimate["low"], estimate["high"]
    if low is None or high is None or low <= 0 <= high:
        return 0
    return 1 if low > 0 else -1


def _alone(result: Mapping[str, Any]) -> list[str]:
    sentences = []
    for name, one in result["models"].items():
        rank, drift = one["effective_rank"], one["drift"]["overall"]
        untouched = drift["relative_distance"] == 0
        fate = "is the frozen CLIP, bit for bit" if untouched else f"keeps a CKA of {interval(one['cka'], 3)} with the frozen CLIP"
        sentences.append(
            f"**{table_cell(name)}** {fate}; effective rank {rank['frozen']:.1f} before and {rank['tuned']:.1f} after, mean length of the "
            f"embedding {drift['norm_frozen']:.2f} and {drift['norm_tuned']:.2f}. It ranks these images with AUROC "
            f"{interval(one['detection']['auroc'])}."
        )
    return sentences


def _compared(comparison: Mapping[str, Any]) -> str:
    mine, theirs = table_cell(comparison["model"]), table_cell(comparison["other"])
    words = {
        "more": f"**{mine} preserves more than {theirs}**",
        "less": f"**{mine} preserves less than {theirs}**",
        "mixed": f"**{mine} and {theirs} preserve different things**: the measures disagree",
        "alike": f"**no difference between {mine} and {theirs} is shown** in what they preserve",
    }[verdict(comparison)]
    measures = ", ".join(f"{long} {interval(comparison[short], 3, sign=True)}" for short, long in _MEASURES.items())
    auroc = comparison["auroc"]
    equal = {
        0: f"On these images neither is shown to detect better (AUROC {interval(auroc, 3, sign=True)}), so this is at equal detection",
        1: f"{mine} detects better on these images (AUROC {interval(auroc, 3, sign=True)}), so this is not at equal detection",
        -1: f"{theirs} detects better on these images (AUROC {interval(auroc, 3, sign=True)}), so this is not at equal detection",
    }[_sign(auroc)]
    if auroc["value"] is None:
        equal = "Detection cannot be compared, since one label is missing"
    accuracy = interval(comparison["balanced_acc"], 3, sign=True)
    return f"{words} (differences: {measures}). {equal}; balanced accuracy at each model's own threshold {accuracy}."


def _headline_table(models: Mapping[str, Any]) -> str:
    lines = ["| | AUROC | balanced accuracy | " + " | ".join(_MEASURES.values()) + " |", "|---|---|---|" + "---|" * len(_MEASURES)]
    for name, one in models.items():
        cells = [one["detection"]["auroc"], one["detection"]["balanced_acc"], *(one[measure] for measure in _MEASURES)]
        lines.append(f"| {table_cell(name)} | " + " | ".join(interval(cell, 3) for cell in cells) + " |")
        lines.append(
            f"| {table_cell(name)}, chance | | | " + " | ".join(figure(one["chance"].get(measure)) for measure in _MEASURES) + " |"
        )
    return "\n".join(lines)


def _task_table(models: Mapping[str, Any]) -> str:
    lines = ["| model | task | images | classes | score | chance | frozen | tuned | ratio | above chance |", "|---" * 10 + "|"]
    for name, one in models.items():
        for task, row in one["tasks"].items():
            scores = " | ".join(interval(row[part]) for part in ("frozen", "tuned", "ratio"))
            facts = f"{row['images']} | {row['classes']} | {row['measure']} | {row['chance']:.3f}"
            lines.append(f"| {table_cell(name)} | {table_cell(task)} | {facts} | {scores} | {figure(row['above_chance'])} |")
    return "\n".join(lines) if len(lines) > 2 else "None could be posed with this data."


def _drift_table(models: Mapping[str, Any]) -> str:
    lines = [
        "| model | images of | images | cosine with frozen | moved, of its length | k-NN overlap | length, frozen | tuned |",
        "|---" * 8 + "|",
    ]
    for name, one in models.items():
        drift = one["drift"]
        groups = {"all": drift["overall"], **drift["by_label"], **drift["by_source"], **drift["by_generator"]}
        for group, row in groups.items():
            shares = " | ".join(figure(row[part]) for part in ("cosine", "relative_distance", "knn_overlap"))
            lengths = f"{row['norm_frozen']:.2f} | {row['norm_tuned']:.2f}"
            lines.append(f"| {table_cell(name)} | {table_cell(group)} | {row['images']} | {shares} | {lengths} |")
    return "\n".join(lines)
