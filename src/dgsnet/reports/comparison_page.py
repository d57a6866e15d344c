"""A comparison for people: `comparison.md`, and `comparison.tex` with the tables for a paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgsnet.core.files import write_text
from dgsnet.core.format import interval
from dgsnet.evaluation.compare import COMPARISON
from dgsnet.reports import tables

_RANK_BY = "auroc"
_SHOWN = ("auroc", "ap", "balanced_acc")


def write(out: Path, result: Mapping[str, Any]) -> None:
    """Write `out/comparison.md` and `out/comparison.tex` of a result of `compare`."""
    write_text(out / f"{COMPARISON}.md", as_markdown(result))
    write_text(out / f"{COMPARISON}.tex", as_latex(result))


def as_markdown(result: Mapping[str, Any]) -> str:
    """Return the content of `comparison.json` as Markdown."""
    base = result["computed_from"]["baseline"]
    sections = ["# Comparison\n", _images(result), "## Mean over generators\n", tables.markdown(*_means(result))]
    for heading, part in (("By generator", "by_generator"), ("By source", "by_source")):
        header, rows = _differences(result, part)
        if rows:
            sections += [f"## {heading}: difference in {_metric_of(part)} to {_inline(base)}\n", tables.markdown(header, rows)]
    sections += ["## Ranking by AUROC, mean over generators\n", tables.markdown(*_ranks(result)), _notes(result)]
    return "\n".join(section for section in sections if section)


def as_latex(result: Mapping[str, Any]) -> str:
    """Return three tables for the package `booktabs`: means, differences by generator, ranking."""
    base, count = result["computed_from"]["baseline"], result["computed_from"]["images"]
    made = [
        tables.latex(*_means(result), caption=f"Means over generators, {count} images, 95 % intervals.", label="tab:means"),
        tables.latex(*_ranks(result), caption="Share of resamples in which each detector is ranked k-th by AUROC.", label="tab:ranking"),
    ]
    header, rows = _differences(result, "by_generator")
    if rows:
        made.insert(1, tables.latex(header, rows, caption=f"Difference in AUROC to {base}, 95 % intervals.", label="tab:generators"))
    return "% needs \\usepackage{booktabs}\n" + "\n".join(made)


def _images(result: Mapping[str, Any]) -> str:
    settings = result["computed_from"]
    lost = {
        name: ", ".join(
            [f"{one['dropped']} that another lacks"] * (one["dropped"] > 0)
            + [f"{one['unscored']} without score or label"] * (one["unscored"] > 0)
        )
        for name, one in result["detectors"].items()
    }
    dropped = "; ".join(f"{_inline(name)}: {why}" for name, why in lost.items() if why)
    text = f"{settings['images']} images that all scored, joined by {settings['joined_by']}. Dropped: {dropped or 'none'}.\n"
    return text + (f"\n**{settings['note']}.**\n" if "note" in settings else "")


def _inline(text: str) -> str:
    """Text from outside in running Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|" else letter for letter in " ".join(text.split()))


def _means(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    header = ["detector", *_SHOWN, *(f"{name}, difference" for name in _SHOWN[:1])]
    rows = []
    for name, own in result["detectors"].items():
        difference = result["differences"].get(name)
        means = own["mean_over_generators"]
        beside = "baseline" if difference is None else interval(difference["mean_over_generators"][_RANK_BY], 3, sign=True)
        rows.append([name, *(interval(means[metric]) for metric in _SHOWN), beside])
    return header, rows


def _metric_of(part: str) -> str:
    return "accuracy" if part == "by_source" else "AUROC"  # a source may hold one label only


def _differences(result: Mapping[str, Any], part: str) -> tuple[list[str], list[list[str]]]:
    metric = "acc" if part == "by_source" else _RANK_BY
    others = result["differences"]
    names = list(next(iter(others.values()))[part])
    rows = [[name, *(interval(one[part][name][metric], 3, sign=True) for one in others.values())] for name in names]
    return [part.removeprefix("by_"), *others], rows


def _ranks(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    entries = result["ranking"][_RANK_BY] or []
    header = ["detector", *(f"rank {number}" for number in range(1, len(result["detectors"]) + 1)), "expected rank"]
    return header, [[one["detector"], *(f"{share:.0%}" for share in one["shares"]), f"{one['expected_rank']:.2f}"] for one in entries]


def _notes(result: Mapping[str, Any]) -> str:
    settings = result["computed_from"]
    return (
        f"In brackets 95 % bootstrap intervals ({settings['resamples']} resamples); differences are paired, so one whose interval excludes "
        f"0 is evidence of a difference on images like these. Accuracies at threshold {settings['threshold']:g}. Not corrected for how "
        "many generators are looked at: of twenty true zeros one interval excludes 0. Another training seed is not in the intervals.\n"
    )
