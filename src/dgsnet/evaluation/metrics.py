"""Metrics of a binary detector and their bootstrap intervals, from labels and scores and nothing else.

Label 1 is AI-generated, the positive class ("fake"); label 0 is a photograph ("real"). A score is the probability of label 1.

One weighted implementation serves everything. A bootstrap resample is a vector of integer weights, how often each sample was drawn, so R
resamples are a matrix (R, N), and the point estimate is the row of ones. Scores are sorted once, whatever R is.

The bootstrap is stratified: photographs and fakes are resampled separately, since how many there are of each is the design of the data set,
not chance. It draws samples one by one, or clusters of them where samples hang together (frames of a film, variants of one prompt): drawn
one by one such samples pretend to more evidence than there is. Intervals are percentile intervals over samples; they do not cover the
chance of training. Two known limits: no resample shows an error that the data does not, so a figure of exactly 1 gets the interval [1, 1];
and resampling adds noise to every bin, so the interval of `ece` lies too high for a well calibrated detector on few samples and may even
exclude the value.

Results do not depend on the order of samples (but for rounding), only on the samples and the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dgsnet.evaluation.bootstrap import Figures, Statistic, draws
from dgsnet.evaluation.interval import Interval, percentile_interval

METRICS: tuple[str, ...] = ("auroc", "ap", "acc", "real_acc", "fake_acc", "balanced_acc", "tpr_at_fpr_1", "tpr_at_fpr_5", "ece")
"""Names of all figures, in the order of every report."""

ECE_BINS = 15
"""Equal-width bins of the calibration error; bin k holds the scores in [k/15, (k+1)/15), the last one 1.0 too."""


Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Report:
    """All figures of one set of samples: `figures` by the names in `METRICS`, and the size of each class."""

    figures: dict[str, Interval]
    n_real: int
    n_fake: int

    def as_dict(self) -> dict[str, dict[str, float | None] | int]:
        """Return the report as `metrics.json` holds it: `{metric: {"value", "low", "high"}, ..., "n_real", "n_fake"}`."""
        return {**{name: figure.as_dict() for name, figure in self.figures.items()}, "n_real": self.n_real, "n_fake": self.n_fake}


def weighted_metrics(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike, threshold: float = 0.5) -> Figures:
    """Compute every metric under R weightings of the same N samples; weight k means the same as repeating a sample k times.

    With TP(t) and FP(t) the weight of fakes and of photographs with score >= t, P and N their totals, TPR = TP/P and FPR = FP/N:

    - `auroc` = P(score of a fake > score of a photograph) + 1/2 P(equal).
    - `ap` = sum over distinct scores t, falling, of (increase of TPR at t) * TP(t) / (TP(t) + FP(t)): average precision, not interpolated.
    - `fake_acc` = TPR and `real_acc` = 1 - FPR at `threshold`; `balanced_acc` their mean; `acc` = (TP + N - FP) / (P + N).
    - `tpr_at_fpr_1`, `tpr_at_fpr_5` = highest TPR over thresholds with FPR <= 0.01, 0.05: attainable thresholds only, not interpolated.
    - `ece` = sum over `ECE_BINS` bins of the score of (share of weight) * |mean score - fraction of fakes|: reliability of the
      probability of label 1, not of the confidence in the predicted label ("top-label" ECE).

    Args:
        labels: (N,), 0 or 1.
        scores: (N,), 0..1.
        weights: (R, N), finite, not negative.
        threshold: a score of at least this is called AI-generated.

    Returns:
        For each name in `METRICS` an array (R,), values 0..1; NaN where a class the metric needs has no weight. `acc` and `ece` need any
        sample, `real_acc` and `fake_acc` their class, the others both classes.

    Raises:
        ValueError: an input is empty, of another shape, or outside its range.
    """
    statistic, count = pooled(labels, scores, threshold), np.asarray(labels).size
    weights = np.asarray(weights, dtype=np.float64)
    if weights.ndim != 2 or weights.shape[1] != count:
        raise ValueError(f"expected weights of shape (R, {count}) but got {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("expected finite weights of at least 0 but got others")
    return statistic(weights)


def pooled(labels: ArrayLike, scores: ArrayLike, threshold: float = 0.5) -> Statistic:
    """Return the metrics of (N,) samples as a statistic of their weights; see `weighted_metrics`, whose weights it does not check."""
    is_fake, (checked,) = _check(labels, (scores,), threshold)
    return _Ranking.of(is_fake, checked, threshold).metrics


def mean_over_parts(labels: ArrayLike, scores: ArrayLike, parts: Sequence[NDArray[np.intp]], threshold: float = 0.5) -> Statistic:
    """Return the mean over parts of every metric as a statistic of the weights of all samples: the one macro average there is.

    Samples may belong to several parts, as photographs do that all generators share: one draw of them serves all, so that what they do to
    every part at once does not average out.

    Args:
        labels: (N,), 0 or 1.
        scores: (N,), 0..1.
        parts: for each the indices of its samples; without any every figure is NaN.
        threshold: a score of at least this is called AI-generated.

    Raises:
        ValueError: an input is empty, of another shape, or outside its range.
    """
    truth, column = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    statistics = [pooled(truth[part], column[part], threshold) for part in parts]

    def mean(weights: Floats) -> Figures:
        if not statistics:
            return {name: np.full(len(weights), np.nan) for name in METRICS}
        found = [statistic(weights[:, part]) for statistic, part in zip(statistics, parts, strict=True)]
        return {name: np.mean([one[name] for one in found], axis=0) for name in METRICS}

    return mean


class Options(TypedDict, total=False):
    """Options of every figure with an interval.

    `threshold` (0.5): a score of at least this is called AI-generated. `resamples` (1000) of the bootstrap, at least 1. `seed` (0), at
    least 0: the same seed gives the same intervals. `clusters` (None), (N,) whole numbers: samples of one number are drawn together, as
    the frames of one film should be; None: each on its own.
    """

    threshold: float
    resamples: int
    seed: int
    clusters: ArrayLike | None


def estimate(labels: ArrayLike, scores: ArrayLike, **options: Unpack[Options]) -> Report:
    """Compute every metric of (N,) labels, 0 or 1, and scores, 0..1, with bootstrap intervals.

    Raises:
        ValueError: an input is empty, of another length, or outside its range.
    """
    samples = _Samples.of(labels, (scores,), **options)
    n_fake = int(samples.is_fake.sum())
    return Report(samples.bootstrap(samples.pooled(0)), n_real=len(samples.is_fake) - n_fake, n_fake=n_fake)


def by_generator(labels: ArrayLike, scores: ArrayLike, generators: Sequence[str], **options: Unpack[Options]) -> dict[str, Report]:
    """Compute one report per generator, by name in alphabetical order: the generator's fakes pooled with all photographs.

    `generators` (N,) names the generator of each fake; what it says of a photograph is not read. Otherwise as `estimate`.
    """
    samples = _Samples.of(labels, (scores,), generators, **options)
    reports = {}
    for code, name in enumerate(samples.names, start=1):
        kept = samples.with_photographs(code)
        options["clusters"] = None if samples.clusters is None else samples.clusters[kept]
        reports[name] = estimate(samples.is_fake[kept], samples.scores[0][kept], **options)
    return reports


def macro_average(labels: ArrayLike, scores: ArrayLike, generators: Sequence[str], **options: Unpack[Options]) -> dict[str, Interval]:
    """Compute the mean over generators of each figure of `by_generator`, every generator counting the same; None throughout without fakes.

    Fakes are resampled within each generator, and one resample of the photographs serves all generators: sharing photographs makes their
    figures vary together, which averaging independent intervals would miss. Arguments and errors as `by_generator`.
    """
    samples = _Samples.of(labels, (scores,), generators, **options)
    return samples.bootstrap(samples.macro(0))


def paired_difference(labels: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike, **options: Unpack[Options]) -> dict[str, Interval]:
    """Compute each metric of detector a minus that of detector b, -1..1, both scoring the same (N,) samples.

    Both are resampled together, so what makes a sample hard for both cancels out: the interval is that of the difference, and one that
    excludes 0 is evidence of a difference. Otherwise as `estimate`.
    """
    samples = _Samples.of(labels, (scores_a, scores_b), **options)
    return samples.bootstrap(_difference(samples.pooled(0), samples.pooled(1)))


def paired_macro_difference(
    labels: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike, generators: Sequence[str], **options: Unpack[Options]
) -> dict[str, Interval]:
    """Compute each `macro_average` of detector a minus that of detector b, -1..1, on the same resamples; see `paired_difference`."""
    samples = _Samples.of(labels, (scores_a, scores_b), generators, **options)
    return samples.bootstrap(_difference(samples.macro(0), samples.macro(1)))


@dataclass(frozen=True)
class _Ranking:
    """All that weightings of the same samples share: their order by falling score, and where ties and bins begin in it."""

    order: NDArray[np.intp]  # (N,) indices of samples
    is_fake: NDArray[np.bool_]  # (N,) in that order, as the next two
    gap: Floats  # (N,) score - label
    tie_starts: NDArray[np.intp]  # (G,) first position of each distinct score
    bin_starts: NDArray[np.intp]  # (<= ECE_BINS,) first position of each bin that is not empty
    called: int  # how many distinct scores reach the threshold

    @classmethod
    def of(cls, is_fake: NDArray[np.bool_], scores: Floats, threshold: float) -> _Ranking:
        order = np.argsort(-scores, kind="stable")
        is_fake, scores = is_fake[order], scores[order]
        bins = np.searchsorted(np.arange(1, ECE_BINS) / ECE_BINS, scores, side="right")
        tie_starts = _run_starts(scores)
        called = int((scores[tie_starts] >= threshold).sum())
        return cls(order, is_fake, scores - is_fake, tie_starts, _run_starts(bins), called)

    def metrics(self, weights: Floats) -> Figures:
        """Take weights (R, N), in the samples' own order, to one array (R,) per metric; formulas in `weighted_metrics`."""
        weights = weights[:, self.order]
        tp = self._cumulative(weights * self.is_fake)
        fp = self._cumulative(weights * ~self.is_fake)
        fakes, reals = tp[:, -1], fp[:, -1]
        both = np.where((fakes > 0) & (reals > 0), 1.0, np.nan)
        hits, alarms = tp[:, self.called], fp[:, self.called]
        gained = np.diff(tp, axis=1)
        precision = np.divide(tp, tp + fp, out=np.zeros_like(tp), where=tp > 0)[:, 1:]
        off = np.abs(np.add.reduceat(weights * self.gap, self.bin_starts, axis=1)).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):  # 0/0 is NaN, which is what a missing class should give
            fpr = fp / reals[:, None]
            real_acc, fake_acc = (reals - alarms) / reals, hits / fakes
            return {
                # A fake beats the photographs below its score and ties with those at it: trapezoids under the ROC curve.
                "auroc": (gained * (reals[:, None] - (fp[:, 1:] + fp[:, :-1]) / 2)).sum(axis=1) / (fakes * reals),
                "ap": (gained * precision).sum(axis=1) / fakes * both,
                "acc": (hits + reals - alarms) / (fakes + reals),
                "real_acc": real_acc,
                "fake_acc": fake_acc,
                "balanced_acc": (real_acc + fake_acc) / 2,
                "tpr_at_fpr_1": np.where(fpr <= 0.01, tp, 0).max(axis=1) / fakes * both,
                "tpr_at_fpr_5": np.where(fpr <= 0.05, tp, 0).max(axis=1) / fakes * both,
                "ece": off / (fakes + reals),
            }

    def _cumulative(self, weights: Floats) -> Floats:
        """(R, N) to (R, G + 1): weight of the samples at the k highest distinct scores, k = 0..G."""
        curve = np.zeros((len(weights), len(self.tie_starts) + 1))
        np.cumsum(np.add.reduceat(weights, self.tie_starts, axis=1), axis=1, out=curve[:, 1:])
        return curve


@dataclass(frozen=True)
class _Samples:
    """Checked samples in canonical order, by stratum and then by score, so that resamples do not depend on the order they came in."""

    is_fake: NDArray[np.bool_]  # (N,)
    scores: tuple[Floats, ...]  # one (N,) per detector
    strata: NDArray[np.intp]  # (N,), rising: 0 photographs, k >= 1 fakes of generator names[k - 1]
    names: list[str]
    clusters: NDArray[np.intp] | None  # (N,) what is drawn together
    threshold: float
    resamples: int
    seed: int

    @classmethod
    def of(
        cls,
        labels: ArrayLike,
        scores: Sequence[ArrayLike],
        generators: Sequence[str] | None = None,
        *,
        threshold: float = 0.5,
        resamples: int = 1000,
        seed: int = 0,
        clusters: ArrayLike | None = None,
    ) -> _Samples:
        is_fake, checked = _check(labels, scores, threshold)
        strata, names = is_fake.astype(np.intp), [] if generators is None else sorted({str(g) for g in _of_fakes(generators, is_fake)})
        if generators is not None:
            codes = {name: code for code, name in enumerate(names, start=1)}
            strata[is_fake] = [codes[str(g)] for g in _of_fakes(generators, is_fake)]
        order = np.lexsort((*reversed(checked), strata))
        together = None if clusters is None else _whole(clusters, len(is_fake))[order]
        return cls(is_fake[order], tuple(s[order] for s in checked), strata[order], names, together, threshold, resamples, seed)

    def with_photographs(self, code: int) -> NDArray[np.intp]:
        """Return indices of all photographs and the fakes of one generator."""
        return np.flatnonzero((self.strata == 0) | (self.strata == code))

    def pooled(self, detector: int) -> Statistic:
        """Return the metrics of all samples together."""
        return pooled(self.is_fake, self.scores[detector], self.threshold)

    def macro(self, detector: int) -> Statistic:
        """Return the mean over generators of the metrics of each."""
        members = [self.with_photographs(code) for code in range(1, len(self.names) + 1)]
        return mean_over_parts(self.is_fake, self.scores[detector], members, self.threshold)

    def bootstrap(self, statistic: Statistic) -> dict[str, Interval]:
        """Return point estimate and percentile interval of each figure, resampling within each stratum."""
        if self.resamples < 1:
            raise ValueError(f"expected at least 1 resample but got {self.resamples}")
        ((point, drawn),) = draws([statistic], self.strata, self.resamples, self.seed, self.clusters)
        return {name: percentile_interval(point[name], drawn[name]) for name in METRICS}


def _difference(a: Statistic, b: Statistic) -> Statistic:
    def statistic(weights: Floats) -> Figures:
        of_a, of_b = a(weights), b(weights)
        return {name: of_a[name] - of_b[name] for name in METRICS}

    return statistic


def _run_starts(values: NDArray[np.float64] | NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the first index of each run of equal values; `values` (N,) sorted, N >= 1."""
    return np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))


def _whole(clusters: ArrayLike, count: int) -> NDArray[np.intp]:
    given = np.asarray(clusters)
    if given.shape != (count,) or not np.issubdtype(given.dtype, np.integer):
        raise ValueError(f"expected {count} whole numbers as clusters, one a label, but got {given.dtype} of shape {given.shape}")
    return given.astype(np.intp)


def _of_fakes(generators: Sequence[str], is_fake: NDArray[np.bool_]) -> list[str]:
    if len(generators) != len(is_fake):
        raise ValueError(f"expected {len(is_fake)} generators, one a label, but got {len(generators)}")
    return [name for name, fake in zip(generators, is_fake, strict=True) if fake]


def _check(labels: ArrayLike, scores: Sequence[ArrayLike], threshold: float) -> tuple[NDArray[np.bool_], tuple[Floats, ...]]:
    """Return labels as booleans and scores as float64, all (N,)."""
    given = np.asarray(labels)
    if given.ndim != 1 or given.size == 0:
        raise ValueError(f"expected labels of shape (N,) with N >= 1 but got {given.shape}")
    wrong = given[~np.isin(given, (0, 1))]
    if wrong.size:
        raise ValueError(f"expected labels 0 or 1 but got {wrong[0]}")
    checked = tuple(np.asarray(one, dtype=np.float64) for one in scores)
    for one in checked:
        if one.shape != given.shape:
            raise ValueError(f"expected scores of shape {given.shape}, one a label, but got {one.shape}")
        outside = one[~((one >= 0) & (one <= 1))]  # NaN compares false, so it is outside too
        if outside.size:
            raise ValueError(f"expected scores in 0..1 but got {outside[0]}")
    if np.isnan(threshold):
        raise ValueError(f"expected a number as threshold but got {threshold}")
    return given == 1, checked
