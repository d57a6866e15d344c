"""scikit-learn and torchmetrics are the oracles; scores come from few values, so that ties are the rule."""

from __future__ import annotations

import json
import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as oracle
from torchmetrics.functional.classification import binary_auroc, binary_average_precision, binary_calibration_error, binary_stat_scores

from dgsnet.evaluation import bootstrap
from dgsnet.evaluation.interval import Interval
from dgsnet.evaluation.metrics import (
    METRICS,
    by_generator,
    estimate,
    macro_average,
    paired_difference,
    paired_macro_difference,
    weighted_metrics,
)

Data = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
TWO_CLASS = ("auroc", "ap", "balanced_acc", "tpr_at_fpr_1", "tpr_at_fpr_5")


@st.composite
def samples(draw: st.DrawFn, weight_from: int = 0) -> Data:
    """Labels of both classes, scores with many ties (the threshold among them), integer weights that leave both classes some."""
    n = draw(st.integers(2, 60))
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    labels[:2] = 0, 1
    steps = draw(st.sampled_from([1, 2, 4, 10, 15, 1000]))
    scores = np.array(draw(st.lists(st.integers(0, steps), min_size=n, max_size=n))) / steps
    weights = np.array(draw(st.lists(st.integers(weight_from, 4), min_size=n, max_size=n)))
    weights[:2] += weights[:2] == 0
    return labels, scores, weights


def expected(labels: NDArray[Any], scores: NDArray[Any], weights: NDArray[Any] | None = None, threshold: float = 0.5) -> dict[str, float]:
    """Every metric by scikit-learn, calibration error by a plain loop."""
    weights = np.ones(len(labels)) if weights is None else weights
    options = {"sample_weight": weights}
    called = (scores >= threshold).astype(int)
    fpr, tpr, _ = oracle.roc_curve(labels, scores, drop_intermediate=False, **options)
    recalls = oracle.recall_score(labels, called, average=None, labels=[0, 1], **options)
    return {
        "auroc": oracle.roc_auc_score(labels, scores, **options),
        "ap": oracle.average_precision_score(labels, scores, **options),
        "acc": oracle.accuracy_score(labels, called, **options),
        "real_acc": recalls[0],
        "fake_acc": recalls[1],
        "balanced_acc": oracle.balanced_accuracy_score(labels, called, **options),
        "tpr_at_fpr_1": tpr[fpr <= 0.01].max(),
        "tpr_at_fpr_5": tpr[fpr <= 0.05].max(),
        "ece": calibration_error(labels, scores, weights),
    }


def calibration_error(labels: NDArray[Any], scores: NDArray[Any], weights: NDArray[Any]) -> float:
    total = 0.0
    for k in range(15):
        inside = [(y, s, w) for y, s, w in zip(labels, scores, weights, strict=True) if k / 15 <= s and (s < (k + 1) / 15 or k == 14)]
        mass = sum(w for _, _, w in inside)
        if mass:
            mean_score = sum(w * s for _, s, w in inside) / mass
            fraction = sum(w * y for y, _, w in inside) / mass
            total += mass * abs(mean_score - fraction)
    return float(total / sum(weights))


def one_row(labels: Any, scores: Any, weights: Any = None, threshold: float = 0.5) -> dict[str, float]:
    rows = np.ones((1, len(labels))) if weights is None else np.asarray(weights)[None]
    return {name: float(values[0]) for name, values in weighted_metrics(labels, scores, rows, threshold).items()}


def blobs(n_real: int, n_fake: int, seed: int = 0, shift: float = 2.0, digits: int = 2) -> tuple[NDArray[Any], NDArray[Any]]:
    """Overlapping classes; rounded, so with ties."""
    rng = np.random.default_rng(seed)
    logits = np.concatenate([rng.normal(-shift / 2, 1, n_real), rng.normal(shift / 2, 1, n_fake)])
    return np.repeat([0, 1], [n_real, n_fake]), np.round(1 / (1 + np.exp(-logits)), digits)


def three_generators(seed: int = 0) -> tuple[NDArray[Any], NDArray[Any], list[str]]:
    labels, scores = blobs(40, 45, seed)
    return labels, scores, ["camera"] * 40 + ["sdxl"] * 10 + ["adm"] * 15 + ["flux"] * 20


@given(samples(), st.sampled_from([0.0, 0.25, 0.5, 0.6, 1.0]))
@settings(max_examples=150, deadline=None)
def test_unweighted_equals_scikit_learn(data: Data, threshold: float) -> None:
    labels, scores, _ = data
    assert one_row(labels, scores, threshold=threshold) == pytest.approx(expected(labels, scores, threshold=threshold), abs=1e-12)


@given(samples(), st.sampled_from([0.25, 0.5, 0.6]))
@settings(max_examples=100, deadline=None)
def test_unweighted_equals_torchmetrics(data: Data, threshold: float) -> None:
    labels, scores, _ = data
    # Float64, and just below the threshold: torchmetrics calls a score fake from above its threshold on, we from the threshold on.
    truth, given_scores = torch.from_numpy(labels), torch.from_numpy(scores.astype(np.float64))
    tp, fp, tn, fn, _ = binary_stat_scores(given_scores, truth, threshold=float(np.nextafter(threshold, 0))).double().tolist()
    theirs = {
        "auroc": float(binary_auroc(given_scores, truth)),
        "ap": float(binary_average_precision(given_scores, truth)),
        "acc": (tp + tn) / (tp + fp + tn + fn),
        "real_acc": tn / (tn + fp),
        "fake_acc": tp / (tp + fn),
        "balanced_acc": (tn / (tn + fp) + tp / (tp + fn)) / 2,
    }
    ours = one_row(labels, scores, threshold=threshold)
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, abs=2e-6)  # it accumulates in float32


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0.001, 0.999)), min_size=1, max_size=60))
@settings(max_examples=50, deadline=None)
def test_calibration_error_equals_torchmetrics_off_the_edges_of_bins(rows: list[tuple[int, float]]) -> None:
    """An edge belongs to the bin above for us and below for them; theirs is of the probability of label 1 as well."""
    kept = [(label, score) for label, score in rows if min(score * 15 % 1, 1 - score * 15 % 1) > 1e-4] or [(1, 0.5)]
    labels, scores = (np.array(column) for column in zip(*kept, strict=True))
    theirs = float(binary_calibration_error(torch.from_numpy(scores), torch.from_numpy(labels), n_bins=15, norm="l1"))
    assert one_row(labels, scores)["ece"] == pytest.approx(theirs, abs=2e-6)


@given(samples(weight_from=1))
@settings(max_examples=100, deadline=None)
def test_weighted_equals_scikit_learn(data: Data) -> None:
    labels, scores, weights = data
    assert one_row(labels, scores, weights) == pytest.approx(expected(labels, scores, weights), abs=1e-12)


@given(samples())
@settings(max_examples=100, deadline=None)
def test_integer_weights_equal_repeated_samples(data: Data) -> None:
    labels, scores, weights = data
    repeated = expected(np.repeat(labels, weights), np.repeat(scores, weights))
    assert one_row(labels, scores, weights) == pytest.approx(repeated, abs=1e-12)


@given(samples(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_order_of_samples_does_not_matter(data: Data, random: Any) -> None:
    labels, scores, weights = data
    order = np.array(random.sample(range(len(labels)), len(labels)))
    assert one_row(labels[order], scores[order], weights[order]) == pytest.approx(one_row(labels, scores, weights), abs=1e-12)


def test_rows_of_weights_are_independent() -> None:
    labels, scores = blobs(30, 20)
    weights = np.random.default_rng(0).integers(0, 3, (7, 50))
    together = weighted_metrics(labels, scores, weights)
    for row in range(7):
        assert {name: values[row] for name, values in together.items()} == one_row(labels, scores, weights[row])


def test_low_false_positive_rates_with_many_photographs() -> None:
    labels, scores = blobs(1000, 300, digits=3)
    figures = one_row(labels, scores)
    assert figures == pytest.approx(expected(labels, scores), abs=1e-12)
    assert 0 < figures["tpr_at_fpr_1"] < figures["tpr_at_fpr_5"] < 1


@pytest.mark.parametrize(("n_real", "allowed"), [(100, 1), (700, 7), (99, 0)])
def test_a_rate_of_exactly_one_percent_is_allowed(n_real: int, allowed: int) -> None:
    # One photograph, then one fake, and so on down: each allowed false positive lets one more fake be caught.
    scores = np.linspace(1, 0, 2 * n_real)
    labels = np.tile([0, 1], n_real)
    assert one_row(labels, scores)["tpr_at_fpr_1"] == allowed / n_real


def test_known_values() -> None:
    labels, scores = [0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9]
    figures = one_row(labels, scores)
    assert figures["auroc"] == 3.5 / 4
    assert figures["ap"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert (figures["real_acc"], figures["fake_acc"], figures["acc"]) == (0.5, 1.0, 0.75)
    assert figures["tpr_at_fpr_5"] == 0.5
    assert figures["ece"] == pytest.approx((0.1 + 2 * 0 + 0.1) / 4)
    assert one_row(labels, scores, threshold=math.nextafter(0.5, 1))["real_acc"] == 1.0


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only(label: int) -> None:
    report = estimate([label] * 4, [0.2, 0.4, 0.6, 0.9], resamples=50)
    present, missing = ("fake_acc", "real_acc") if label else ("real_acc", "fake_acc")
    for name in (*TWO_CLASS, missing):
        assert report.figures[name] == Interval(None, None, None)
    assert report.figures["acc"] == report.figures[present]
    assert report.figures["acc"].value == 0.5
    assert report.figures["ece"].value == pytest.approx(calibration_error(np.full(4, label), np.array([0.2, 0.4, 0.6, 0.9]), np.ones(4)))
    assert (report.n_real, report.n_fake) == ((0, 4) if label else (4, 0))


@pytest.mark.filterwarnings("error")
def test_a_class_without_weight_is_missing() -> None:
    rows = weighted_metrics([0, 0, 1], [0.1, 0.7, 0.8], [[1, 1, 0], [0, 0, 1], [0, 0, 0], [1, 0, 1]])
    for name in TWO_CLASS:
        assert np.isnan(rows[name]).tolist() == [True, True, True, False]
    for name in ("acc", "ece"):
        assert np.isnan(rows[name]).tolist() == [False, False, True, False]
    assert np.isnan(rows["real_acc"]).tolist() == [False, True, True, False]
    assert np.isnan(rows["fake_acc"]).tolist() == [True, False, True, False]


def test_report_is_json_of_the_contract() -> None:
    for labels in ([0, 0, 1, 1], [1, 1, 1, 1]):
        document = estimate(labels, [0.1, 0.6, 0.4, 0.9], resamples=20).as_dict()
        assert json.loads(json.dumps(document, allow_nan=False)) == document
        assert list(document) == [*METRICS, "n_real", "n_fake"]
        for name in METRICS:
            figure = document[name]
            assert isinstance(figure, dict)
            assert list(figure) == ["value", "low", "high"]
            assert len({value is None for value in figure.values()}) == 1


def test_interval_is_the_percentiles_of_a_plain_bootstrap() -> None:
    labels, scores = blobs(30, 60)
    rng = np.random.default_rng(5)
    drawn: dict[str, list[float]] = {name: [] for name in METRICS}
    for _ in range(2000):
        chosen = np.concatenate([rng.choice(30, 30), 30 + rng.choice(60, 60)])
        for name, value in expected(labels[chosen], scores[chosen]).items():
            drawn[name].append(value)
    for name, figure in estimate(labels, scores, resamples=2000).figures.items():
        assert figure.value == pytest.approx(expected(labels, scores)[name], abs=1e-12)
        low, high = bounds(figure)
        # A coarse figure takes few values, each with a share of its own: the tail holds about a fortieth, with or without its bound.
        for outside, values, bound in (("low", np.array(drawn[name]), low), ("high", -np.array(drawn[name]), -high)):
            assert np.mean(values < bound - 1e-9) <= 0.04, (name, outside)
            assert np.mean(values <= bound + 1e-9) >= 0.01, (name, outside)


def test_clusters_are_drawn_whole() -> None:
    """Ten copies of each image are no more evidence than the image; drawn one by one they pretend to be."""
    labels, scores = blobs(30, 30, seed=3)
    order = np.random.default_rng(0).permutation(600)
    copied_labels, copied_scores, images = (np.repeat(column, 10)[order] for column in (labels, scores, np.arange(60)))

    def width(one: Interval) -> float:
        assert one.low is not None
        assert one.high is not None
        return one.high - one.low

    once = estimate(labels, scores).figures["auroc"]
    together = estimate(copied_labels, copied_scores, clusters=images).figures["auroc"]
    assert together.value == pytest.approx(once.value)
    assert width(together) == pytest.approx(width(once), rel=0.15)
    assert width(estimate(copied_labels, copied_scores).figures["auroc"]) < 0.5 * width(once)
    generators = ["a" if image % 2 else "b" for image in images]
    for name, report in by_generator(copied_labels, copied_scores, generators, clusters=images).items():
        kept = (labels == 0) | (np.arange(60) % 2 == (name == "a"))
        assert width(report.figures["auroc"]) == pytest.approx(width(estimate(labels[kept], scores[kept]).figures["auroc"]), rel=0.2)
    mean = macro_average(copied_labels, copied_scores, generators, clusters=images)["auroc"]
    assert width(mean) > 1.5 * width(macro_average(copied_labels, copied_scores, generators)["auroc"])


def test_clusters_of_one_are_no_clusters() -> None:
    labels, scores = blobs(20, 25)
    drawn = [list(bootstrap.weightings(labels, 50, 1, clusters)) for clusters in (None, np.arange(45))]
    assert all(np.array_equal(*pair) for pair in zip(*drawn, strict=True))
    with pytest.raises(ValueError, match="expected 45 whole numbers as clusters"):
        estimate(labels, scores, clusters=np.arange(44))


def test_classes_are_resampled_separately() -> None:
    # Everything is called fake, so accuracy is the share of fakes: fixed by design, not by chance.
    assert estimate([0] * 5 + [1] * 15, [0.9] * 20, resamples=100).figures["acc"] == Interval(0.75, 0.75, 0.75)


def test_interval_covers_the_truth() -> None:
    shift, simulations = 1.2, 200
    normal = NormalDist()
    truth = {"acc": normal.cdf(shift / 2), "auroc": normal.cdf(shift / math.sqrt(2))}
    covered = dict.fromkeys(truth, 0)
    for seed in range(simulations):
        figures = estimate(*blobs(50, 50, seed, shift, digits=9), resamples=200, seed=seed).figures
        for name, value in truth.items():
            low, high = bounds(figures[name])
            covered[name] += low <= value <= high
    for count in covered.values():
        assert 0.90 <= count / simulations <= 0.99


def test_seed_decides_and_order_does_not() -> None:
    labels, scores, generators = three_generators()
    order = np.random.default_rng(1).permutation(len(labels))
    shuffled = labels[order], scores[order], [generators[i] for i in order]
    first = estimate(labels, scores, resamples=100, seed=3)
    assert first == estimate(labels, scores, resamples=100, seed=3)
    assert first != estimate(labels, scores, resamples=100, seed=4)
    assert_close(estimate(*shuffled[:2], resamples=100, seed=3).figures, first.figures)
    assert_close(macro_average(*shuffled, resamples=100), macro_average(labels, scores, generators, resamples=100))


def test_chunks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, scores, generators = three_generators()
    whole = estimate(labels, scores, resamples=101).figures, macro_average(labels, scores, generators, resamples=101)
    for cells in (1, 700):
        monkeypatch.setattr(bootstrap, "_CHUNK_CELLS", cells)
        assert_close(estimate(labels, scores, resamples=101).figures, whole[0])
        assert_close(macro_average(labels, scores, generators, resamples=101), whole[1])


def test_each_generator_is_pooled_with_all_photographs() -> None:
    labels, scores, generators = three_generators()
    reports = by_generator(labels, scores, generators, resamples=60, seed=2, threshold=0.4)
    assert list(reports) == ["adm", "flux", "sdxl"]
    for name, report in reports.items():
        kept = np.array([label == 0 or generator == name for label, generator in zip(labels, generators, strict=True)])
        alone = estimate(labels[kept], scores[kept], resamples=60, seed=2, threshold=0.4)
        assert_close(report.figures, alone.figures)
        assert (report.n_real, report.n_fake) == (40, {"adm": 15, "flux": 20, "sdxl": 10}[name])


def test_macro_average_is_the_mean_of_the_generators() -> None:
    labels, scores, generators = three_generators()
    macro = macro_average(labels, scores, generators, resamples=20, threshold=0.4)
    reports = by_generator(labels, scores, generators, resamples=20, threshold=0.4)
    for name in METRICS:
        assert macro[name].value == pytest.approx(np.mean([report.figures[name].value for report in reports.values()]), abs=1e-12)


def test_macro_average_of_one_generator_is_its_report() -> None:
    labels, scores = blobs(30, 20)
    assert_close(macro_average(labels, scores, ["adm"] * 50, resamples=80), estimate(labels, scores, resamples=80).figures)


def test_macro_average_shares_photographs_and_resamples_fakes_apart() -> None:
    # The accuracy on photographs is the same figure for every generator: averaging must not narrow it.
    labels, scores = blobs(30, 30)
    shared = macro_average(labels, scores, ["camera"] * 30 + ["adm", "flux", "sdxl"] * 10, resamples=200)
    alone = estimate(labels[:30], scores[:30], resamples=200).figures
    assert_close({"real_acc": shared["real_acc"]}, {"real_acc": alone["real_acc"]})
    # One generator always caught, one never: resampled within each, the mean stays at half.
    extreme = macro_average([0, 1, 1, 1, 1], [0.1, 0.9, 0.9, 0.2, 0.2], ["", "adm", "adm", "flux", "flux"], resamples=100)
    assert extreme["fake_acc"] == Interval(0.5, 0.5, 0.5)


def test_nothing_to_average() -> None:
    nothing = Interval(None, None, None)
    assert by_generator([0, 0], [0.1, 0.2], ["", ""]) == {}
    assert macro_average([0, 0], [0.1, 0.2], ["", ""], resamples=5) == dict.fromkeys(METRICS, nothing)
    without_photographs = macro_average([1, 1], [0.1, 0.7], ["adm", "flux"], resamples=5)
    assert without_photographs["auroc"] == nothing
    assert without_photographs["fake_acc"].value == 0.5


def test_identical_detectors_differ_by_exactly_nothing() -> None:
    labels, scores, generators = three_generators()
    nothing = dict.fromkeys(METRICS, Interval(0.0, 0.0, 0.0))
    assert paired_difference(labels, scores, scores.copy(), resamples=100) == nothing
    assert paired_macro_difference(labels, scores, scores.copy(), generators, resamples=100) == nothing


def test_difference_is_a_minus_b() -> None:
    labels, a, generators = three_generators(0)
    b = three_generators(1)[1]
    options: dict[str, Any] = {"resamples": 30, "threshold": 0.45}
    pooled, macro = paired_difference(labels, a, b, **options), paired_macro_difference(labels, a, b, generators, **options)
    of_a, of_b = (estimate(labels, scores, **options).figures for scores in (a, b))
    macro_a, macro_b = (macro_average(labels, scores, generators, **options) for scores in (a, b))
    for name in METRICS:
        assert pooled[name].value == (of_a[name].value or 0) - (of_b[name].value or 0)
        assert macro[name].value == pytest.approx((macro_a[name].value or 0) - (macro_b[name].value or 0), abs=1e-12)
    assert paired_difference([1, 1], [0.1, 0.9], [0.2, 0.8], resamples=5)["auroc"] == Interval(None, None, None)


def test_pairing_cancels_what_both_detectors_share() -> None:
    labels, a = blobs(80, 80, shift=1.0, digits=6)
    b = np.clip(a + np.random.default_rng(0).normal(0, 0.02, 160), 0, 1)
    paired, alone = paired_difference(labels, a, b, resamples=300)["auroc"], estimate(labels, a, resamples=300).figures["auroc"]
    assert np.ptp(bounds(paired)) < np.ptp(bounds(alone)) / 5


@pytest.mark.parametrize(
    ("labels", "scores", "options", "message"),
    [
        ([], [], {}, r"expected labels of shape \(N,\) with N >= 1 but got \(0,\)"),
        ([[0, 1]], [[0.1, 0.2]], {}, r"expected labels of shape \(N,\)"),
        ([0, 2], [0.1, 0.2], {}, "expected labels 0 or 1 but got 2"),
        ([0, 1], [0.1], {}, r"expected scores of shape \(2,\), one a label, but got \(1,\)"),
        ([0, 1], [0.1, 1.2], {}, "expected scores in 0..1 but got 1.2"),
        ([0, 1], [-0.1, 0.2], {}, "expected scores in 0..1 but got -0.1"),
        ([0, 1], [0.1, math.nan], {}, "expected scores in 0..1 but got nan"),
        ([0, 1], [math.inf, 0.1], {}, "expected scores in 0..1 but got inf"),
        ([0, 1], [0.1, 0.2], {"threshold": math.nan}, "expected a number as threshold but got nan"),
        ([0, 1], [0.1, 0.2], {"resamples": 0}, "expected at least 1 resample but got 0"),
    ],
)
def test_wrong_input_is_refused(labels: Any, scores: Any, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate(labels, scores, **options)  # type: ignore[arg-type]


def test_wrong_weights_and_generators_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected weights of shape \(R, 2\) but got \(2,\)"):
        weighted_metrics([0, 1], [0.1, 0.2], [1, 1])
    for wrong in (-1, math.nan):
        with pytest.raises(ValueError, match="expected finite weights of at least 0"):
            weighted_metrics([0, 1], [0.1, 0.2], [[1, wrong]])
    with pytest.raises(ValueError, match="expected 2 generators, one a label, but got 1"):
        macro_average([0, 1], [0.1, 0.2], ["adm"])
    with pytest.raises(ValueError, match=r"expected scores of shape \(2,\)"):
        paired_difference([0, 1], [0.1, 0.2], [0.1])


def bounds(figure: Interval) -> tuple[float, float]:
    assert figure.low is not None
    assert figure.high is not None
    return figure.low, figure.high


def assert_close(left: dict[str, Interval], right: dict[str, Interval]) -> None:
    assert left.keys() == right.keys()
    for name, figure in left.items():
        for field in ("value", "low", "high"):
            assert getattr(figure, field) == pytest.approx(getattr(right[name], field), abs=1e-12), (name, field)
