"""Figures that others published on the benchmarks: data files of the package, described in `published/README.md` beside them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from dgsnet.evaluation.benchmarks import names
from dgsnet.evaluation.benchmarks.registry import Benchmark
from dgsnet.evaluation.interval import Interval

METRICS = ("acc", "ap", "real_acc", "fake_acc")
"""Figures that are published, by the names of `dgsnet.evaluation.metrics`; accuracies at threshold 0.5."""


@dataclass(frozen=True)
class Figure:
    """A published figure, 0..1, and how far rounding may have moved it."""

    value: float
    rounding: float

    @classmethod
    def printed(cls, percent: str) -> Figure:
        """Read a figure as printed, in per cent: ``99.0`` is 0.99, give or take 0.0005."""
        digits = len(percent.partition(".")[2])
        return cls(round(float(percent) / 100, digits + 2), 0.5 / 10 ** (digits + 2))

    def agrees(self, ours: Interval) -> bool | None:
        """Return whether a figure as printed may be one of our interval; None where we have none."""
        if ours.low is None or ours.high is None:
            return None
        return ours.low - self.rounding <= self.value <= ours.high + self.rounding


@dataclass(frozen=True)
class Entry:
    """Published figures of one method, by the names in `METRICS`; those that were not published are left out."""

    method: str
    figures: Mapping[str, Figure]
    source: str
    venue: str = ""
    note: str = ""


def by_subset(benchmark: Benchmark) -> dict[str, Entry]:
    """Return what was published of the released DGS-Net checkpoint, by our name of the subset."""
    own = {names.key(other): subset.name for subset in benchmark.subsets for other in (subset.name, *subset.other_names)}
    entries = {}
    for row in _rows("dgsnet_by_subset.csv"):
        if row["benchmark"] == benchmark.name:
            name = names.generator(row["subset"])
            entries[own.get(names.key(name), name)] = Entry("DGS-Net", _figures(row), row["source"])
    for entry in leaderboard(benchmark):
        if len(benchmark.subsets) == 1 and entry.method == "DGS-Net":  # the mean over one subset is that subset
            entries.setdefault(benchmark.subsets[0].name, entry)
    return entries


def leaderboard(benchmark: Benchmark) -> list[Entry]:
    """Return what was published of all methods, as means over the benchmark's subsets, in the order of the source."""
    return [
        Entry(row["method"], _figures(row), row["source"], row["venue"], row["note"])
        for row in _rows("leaderboards.csv")
        if row["benchmark"] == benchmark.name
    ]


def mean(entries: Iterable[Entry]) -> dict[str, Figure]:
    """Average published figures, of each metric that all entries have. Rounding errors may all point one way, so they do not shrink."""
    figures = [entry.figures for entry in entries]
    shared = [name for name in METRICS if figures and all(name in one for one in figures)]
    return {
        name: Figure(sum(one[name].value for one in figures) / len(figures), max(one[name].rounding for one in figures)) for name in shared
    }


def _figures(row: Mapping[str, str]) -> dict[str, Figure]:
    return {name: Figure.printed(row[name]) for name in METRICS if row[name]}


@cache
def _rows(file: str) -> tuple[dict[str, str], ...]:
    text = resources.files("dgsnet.evaluation.benchmarks").joinpath("published", file).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
