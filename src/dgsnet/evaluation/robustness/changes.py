"""Changes of verdicts and logits under perturbations: flips and their rates, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgsnet.evaluation.bootstrap import weightings
from dgsnet.evaluation.interval import interval_of_draws

CHANGE = ("flip_rate", "opposite_rate", "inconclusive_rate", "mean_abs_delta_logit")
"""Figures of one perturbation. `flip_rate` is the sum of the next two; the last is the mean of |logit - logit of the clean image|."""

MEAN_CHANGE = ("mean_flip_rate", "mean_opposite_rate", "mean_inconclusive_rate", "mean_abs_delta_logit")
"""The means of those over several perturbations, each counting the same."""

SEED = 0
_LABELS = ("real", "fake")  # by label 0, 1

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Changes:
    """Changes that P perturbations made to N labelled images that were scored as they are; NaN where the perturbed image has no score."""

    labels: NDArray[np.int64]  # (N,)
    flips: Floats  # (N, P) 0 or 1
    opposite: Floats  # (N, P) 0 or 1
    logits: Floats  # (N, P) absolute difference

    @classmethod
    def of(cls, clean: list[dict[str, Any]], perturbed: list[list[dict[str, Any]]]) -> Changes:
        """Compare labelled rows of the clean images with those of each perturbation, joined by path."""
        images = [row for row in clean if row["score"] is not None]
        places = {row["path"]: number for number, row in enumerate(images)}
        flips, opposite, logits = (np.full((len(images), len(perturbed)), np.nan) for _ in range(3))
        for column, rows in enumerate(perturbed):
            for row in rows:
                place = places.get(row["path"])
                if place is None or row["score"] is None:
                    continue
                before, after = images[place]["verdict"], row["verdict"]
                flips[place, column] = before != after
                opposite[place, column] = {before, after} == {"real", "ai-generated"}
                logits[place, column] = abs(row["logit"] - images[place]["logit"])
        return cls(np.array([row["label"] for row in images], dtype=np.int64), flips, opposite, logits)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Return (N, P): where an image has a score under a perturbation."""
        return ~np.isnan(self.flips)


@dataclass(frozen=True)
class ChangeFigures:
    """The figures of `CHANGE` and `MEAN_CHANGE`, with intervals of `resamples` resamples."""

    changes: Changes
    resamples: int

    @cached_property
    def _means(self) -> _Resampled:
        """Return `CHANGE` of each perturbation: columns (P, 4), flattened."""
        one = self.changes
        values = np.stack([one.flips, one.opposite, one.flips - one.opposite, one.logits], axis=2)
        return _Resampled.of(values.reshape(len(one.labels), -1), one.labels, self.resamples)

    def of_one(self, column: int) -> dict[str, Any]:
        """Return `CHANGE` of the perturbation in this column, how many images that is over, and the same by label."""
        known = self.changes.known[:, column]
        return self._by_label(known, lambda labels: dict(zip(CHANGE, self._change([column], labels), strict=True)))

    def of_group(self, columns: list[int]) -> dict[str, Any]:
        """Return any flip, the means over these perturbations of `CHANGE`, how many images are scored under all, and the same by label."""
        known: NDArray[np.bool_] = np.all(self.changes.known[:, columns], axis=1)
        anywhere = [np.where(known, one[:, columns].max(axis=1), np.nan) for one in (self.changes.flips, self.changes.opposite)]
        resampled = _Resampled.of(np.stack(anywhere, axis=1), self.changes.labels, self.resamples)

        def figures(labels: list[int]) -> dict[str, Any]:
            any_flip, any_opposite = (interval_of_draws(one).as_dict() for one in resampled.means(labels).T)
            means = dict(zip(MEAN_CHANGE, self._change(columns, labels), strict=True))
            return {"flips_any": any_flip, "opposite_any": any_opposite, **means}

        return self._by_label(known, figures)

    def _change(self, columns: list[int], labels: list[int]) -> list[dict[str, float | None]]:
        """Return means over perturbations of each figure of `CHANGE`; a perturbation under which nothing could be scored does not count."""
        means = self._means.means(labels)
        chosen = means.reshape(len(means), -1, len(CHANGE))[:, columns]
        counted = ~np.isnan(chosen)
        with np.errstate(invalid="ignore"):
            over = np.where(counted, chosen, 0).sum(axis=1) / counted.sum(axis=1)
        return [interval_of_draws(one).as_dict() for one in over.T]

    def _by_label(self, known: NDArray[np.bool_], figures: Callable[[list[int]], dict[str, Any]]) -> dict[str, Any]:
        parts = {
            name: {"images": int((known & (self.changes.labels == label)).sum()), **figures([label])} for label, name in enumerate(_LABELS)
        }
        return {"images": int(known.sum()), **figures([0, 1]), "by_label": parts}


@dataclass(frozen=True)
class _Resampled:
    """Weighted sums of K columns over the images of each label, and of the weights of those that have a value there.

    Both are (2, 1 + R, K): by label; then the images as they are and R resamples of them; then column.
    """

    sums: Floats
    weights: Floats

    @classmethod
    def of(cls, values: Floats, labels: NDArray[np.int64], resamples: int) -> _Resampled:
        """Resample values (N, K), NaN where an image has none, and labels (N,). The same labels get the same resamples."""
        sums, weights = (np.zeros((len(_LABELS), 1 + resamples, values.shape[1])) for _ in range(2))
        known, filled = (~np.isnan(values)).astype(np.float64), np.nan_to_num(values)
        done = 0
        for drawn in chain([np.ones((1, len(labels)))], weightings(labels, resamples, SEED)):
            rows = slice(done, done + len(drawn))
            done = rows.stop
            for label in range(len(_LABELS)):
                members = labels == label
                sums[label, rows], weights[label, rows] = drawn[:, members] @ filled[members], drawn[:, members] @ known[members]
        return cls(sums, weights)

    def means(self, labels: list[int]) -> Floats:
        """Return (1 + R, K) means over the images of these labels; NaN where there are none."""
        with np.errstate(invalid="ignore"):
            means: Floats = self.sums[labels].sum(axis=0) / self.weights[labels].sum(axis=0)
        return means
