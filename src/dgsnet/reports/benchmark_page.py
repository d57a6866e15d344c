"""`benchmark.md`: a benchmark's table for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgsnet.core.files import write_text
from dgsnet.core.format import figure, interval
from dgsnet.evaluation.benchmarks.published import METRICS
from dgsnet.reports import tables

BENCHMARK_MD = "benchmark.md"

_NAMES = {"acc": "accuracy", "ap": "AP", "real_acc": "accuracy on photographs", "fake_acc": "accuracy on generated images"}


def write(out: Path, result: Mapping[str, Any]) -> Path:
    """Write `out/benchmark.md` of a result of `protocol.evaluate`."""
    write_text(out / BENCHMARK_MD, page(result))
    return out / BENCHMARK_MD


def page(result: Mapping[str, Any]) -> str:
    """Return the content of `benchmark.json` as Markdown."""
    sections = [
        f"# {result['title']}\n",
        _caveats(result),
        *(_by_metric(result, name) for name in METRICS),
        _leaderboard(result),
        _notes(result),
    ]
    return "\n".join(section for section in sections if section)


def _caveats(result: Mapping[str, Any]) -> str:
    lines = [result["paper"], result["note"]]
    counts = result["counts"]
    if counts["ok"] is False:
        lines.append(f"**{counts['n_real']} + {counts['n_fake']} images are here, but {counts['published']} were published.**")
    wrong = {name: one["counts"]["published"] for name, one in result["subsets"].items() if one["counts"]["ok"] is False}
    if wrong:
        lines.append(f"**Not as many images as published: {', '.join(f'{name} ({count})' for name, count in wrong.items())}.**")
    if result["missing"]:
        lines.append(f"**Missing subsets: {', '.join(result['missing'])}.** The mean is over the others.")
    if result["left_out"]:
        folders = ", ".join(f"{name} ({count})" for name, count in result["left_out"].items())
        lines.append(f"Left out, since they belong to no subset: {folders}.")
    return "".join(f"{line}\n\n" for line in lines if line)


def _by_metric(result: Mapping[str, Any], name: str) -> str:
    rows = [_row(subset, report, name) for subset, report in result["subsets"].items()]
    mean = result["mean"]
    rows.append(["mean of these", "", "", interval(mean[name]), *_published(mean, name)])
    header = ["subset", "images", "counts", f"{name} (95 %)", "published", "difference", "within"]
    over = mean["published_over"]
    partial = (
        f"\nThe published mean is over {len(over)} of these subsets, and so is its difference.\n"
        if 0 < len(over) < len(mean["over"])
        else ""
    )
    return f"## {_NAMES[name][0].upper()}{_NAMES[name][1:]}\n\n{tables.markdown(header, rows)}{partial}"


def _row(subset: str, report: Mapping[str, Any], name: str) -> list[str]:
    ok = {True: "ok", False: f"published: {report['counts']['published']}", None: "unknown"}[report["counts"]["ok"]]
    return [subset, f"{report['n_real']} + {report['n_fake']}", ok, interval(report[name]), *_published(report, name)]


def _published(report: Mapping[str, Any], name: str) -> list[str]:
    difference = report["difference"].get(name)
    within = {True: "yes", False: "no", None: ""}[report["within"].get(name)]
    return [figure(report["published"].get(name)), "-" if difference is None else f"{difference:+.3f}", within]


def _leaderboard(result: Mapping[str, Any]) -> str:
    if not result["leaderboard"]:
        return ""
    mean, absent = result["mean"], result["mean"]["absent"]
    rows = [["**this model**", "", *(figure(mean[name]["value"]) for name in METRICS), f"without {len(absent)} subsets" if absent else ""]]
    rows += [[one["method"], one["venue"], *(figure(one.get(name)) for name in METRICS), one["note"]] for one in result["leaderboard"]]
    return f"## Published means of other methods\n\n{tables.markdown(['method', 'venue', *METRICS, 'note'], rows)}"


def _notes(result: Mapping[str, Any]) -> str:
    settings = result["computed_from"]
    return (
        f"Photographs: {result['photographs']}. Accuracies at threshold {settings['threshold']} of the score. In brackets 95 % bootstrap "
        f"intervals ({settings['resamples']} resamples; photographs and generated images of each subset drawn separately). A published "
        "figure is *within* when it lies in our interval, give or take half a unit of its last digit. The interval is about the choice of "
        "images alone: it holds neither the chance of another training seed nor that of patches shuffled at random, and where our figure "
        "is exactly 1 it has no width.\n"
    )
