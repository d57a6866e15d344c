"""From logits to probabilities and verdicts: checked against scikit-learn, brute force and, end to end, a model folder."""

import json
import math
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from scipy.optimize import minimize
from sklearn.metrics import log_loss, roc_auc_score

from dgsnet import Detector
from dgsnet.artifacts import fingerprint, model_folder, names
from dgsnet.artifacts.calibration import Calibration
from dgsnet.core.errors import CalibrationError, DatasetError, ModelFolderError
from dgsnet.data.dataset import load_dataset
from dgsnet.evaluation import bootstrap, calibrate, calibration_fit, metrics
from dgsnet.evaluation.calibration_fit import fit, thresholds
from dgsnet.evaluation.interval import Interval
from dgsnet.evaluation.predictions import predict
from dgsnet.evaluation.reliability import Reliability
from dgsnet.reports import reliability_diagram


def drawn(n_real, n_fake, *, slope=1.0, offset=0.0, seed=0):
    """Logits of Gaussian classes whose log likelihood ratio is slope * (logit - offset), and labels."""
    rng = np.random.default_rng(seed)
    half = 1.0  # classes at -half and +half with variance 1 have the log likelihood ratio 2 * half * x
    x = np.concatenate([rng.normal(-half, 1, n_real), rng.normal(half, 1, n_fake)])
    return 2 * half * x / slope + offset, np.repeat([0, 1], [n_real, n_fake])


def smoothed(labels):
    n = np.bincount(labels)
    return np.where(labels == 1, (n[1] + 1) / (n[1] + 2), 1 / (n[0] + 2)), 0.5 / n[labels]


def scores_of(fitted, logits):
    return np.array([fitted.score(logit) for logit in np.asarray(logits).tolist()])


# The fit


@pytest.mark.parametrize(("n_real", "n_fake"), [(4000, 4000), (6000, 1500), (1500, 6000)])
def test_platt_finds_the_truth_whatever_the_class_balance(n_real, n_fake):
    """The log likelihood ratio is the logit at equal priors: 0.4 * (x - 3)."""
    fitted = fit(*drawn(n_real, n_fake, slope=0.4, offset=3))
    assert 1 / fitted.temperature == pytest.approx(0.4, abs=0.03)
    assert fitted.offset == pytest.approx(3, abs=0.2)
    assert (fitted.real, fitted.generated, fitted.fitted) == (0.5, 0.5, None)


@pytest.mark.parametrize(("n_real", "n_fake"), [(30, 50), (200, 20), (3, 2)])
@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_platt_is_the_minimum_of_the_smoothed_balanced_cross_entropy(n_real, n_fake, scale):
    logits, labels = drawn(n_real, n_fake, offset=1, seed=3)
    targets, weights = smoothed(labels)

    def loss(parameters):
        z = parameters[0] * logits + parameters[1]
        return weights @ (np.logaddexp(0, z) - targets * z)

    slope, constant = minimize(loss, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-15, "maxiter": 10_000}).x
    fitted = fit(logits * scale, labels)
    assert scale / fitted.temperature == pytest.approx(slope, rel=1e-4)
    assert -fitted.offset / fitted.temperature == pytest.approx(constant, abs=1e-4)


@pytest.mark.parametrize("method", ["platt", "temperature"])
def test_sources_weigh_the_same_whatever_images_there_are_of_each(method):
    """The fit is that of a set in which each source's images are repeated until all sources of a class have as many."""
    logits, labels = drawn(6000, 4000, offset=1, seed=4)
    logits[:1000] -= 2  # else it would not matter how many there are of which
    sources = np.where(labels == 0, np.where(np.arange(10_000) < 1000, "a", "b"), np.where(np.arange(10_000) % 4 == 0, "c", "d"))
    counts = {name: int((sources == name).sum()) for name in "abcd"}
    assert counts == {"a": 1000, "b": 5000, "c": 1000, "d": 3000}
    even = np.concatenate([np.repeat(np.flatnonzero(sources == name), 15_000 // count) for name, count in counts.items()])
    by_source, repeated = fit(logits, labels, method, sources.tolist()), fit(logits[even], labels[even], method)
    # Smoothing counts images, so the many copies are a little surer.
    assert by_source.temperature == pytest.approx(repeated.temperature, rel=0.005)
    assert by_source.offset == pytest.approx(repeated.offset, abs=0.005)
    assert abs(by_source.temperature - fit(logits, labels, method).temperature) > 0.02


def test_temperature_is_the_minimum_on_a_grid():
    logits, labels = drawn(150, 60, slope=0.5, offset=0.3)
    targets, weights = smoothed(labels)
    grid = np.exp(np.linspace(-5, 5, 20_001))
    losses = [weights @ (np.logaddexp(0, z) - targets * z) for z in (logits / one for one in grid)]
    fitted = fit(logits, labels, "temperature")
    assert fitted.temperature == pytest.approx(grid[np.argmin(losses)], rel=1e-3)
    assert fitted.offset == 0


def test_temperature_keeps_each_image_on_its_side_of_a_half():
    logits, labels = drawn(200, 200, slope=0.5, offset=1)
    assert np.array_equal(scores_of(fit(logits, labels, "temperature"), logits) >= 0.5, logits >= 0)
    assert not np.array_equal(scores_of(fit(logits, labels), logits) >= 0.5, logits >= 0)


@pytest.mark.parametrize("method", ["platt", "temperature"])
@pytest.mark.parametrize("n", [1, 5, 500])
def test_separable_data_give_the_certainty_their_number_warrants(method, n):
    """Two points, symmetric: the fit can reach its targets exactly, and they are Platt's."""
    fitted = fit(np.repeat([-2.0, 2.0], n), np.repeat([0, 1], n), method)
    assert fitted.score(2) == pytest.approx((n + 1) / (n + 2), rel=1e-5)
    assert fitted.score(-2) == pytest.approx(1 / (n + 2), rel=1e-4)


@pytest.mark.parametrize("method", ["platt", "temperature"])
def test_a_model_that_ranks_in_reverse_is_refused(method):
    logits, labels = drawn(50, 80)
    with pytest.raises(CalibrationError, match=r"ranks in reverse on this data.* 80 generated images than for the 50 photographs"):
        fit(-logits, labels, method)
    with pytest.raises(CalibrationError, match="ranks in reverse"):
        fit(np.full(130, 2.0), labels, "platt")  # all alike: no rank at all
    with pytest.raises(CalibrationError, match="ranks in reverse"):
        fit(np.zeros(130), labels, method)


@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 40))
@settings(max_examples=60, deadline=None)
def test_the_sign_is_judged_as_the_fit_would_find_it(seed, n_real, n_fake):
    """Where the unconstrained fit has a positive slope there is a calibration, else an error."""
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=n_real + n_fake), np.repeat([0, 1], [n_real, n_fake])
    targets, weights = smoothed(labels)
    slope, _ = calibration_fit._platt(logits, targets, weights)
    if slope > 0:
        fitted = fit(logits, labels)
        assert 1 / fitted.temperature == pytest.approx(slope, rel=1e-4, abs=1e-6)
    else:
        with pytest.raises(CalibrationError, match="ranks in reverse"):
            fit(logits, labels)


def test_ranks_stay():
    logits, labels = drawn(300, 100, slope=0.3, offset=-2)
    assert roc_auc_score(labels, scores_of(fit(logits, labels), logits)) == roc_auc_score(labels, logits)


@pytest.mark.parametrize(
    ("logits", "labels", "named"),
    [
        ([1.0, 2.0], [0, 0], "but got 2 and 0"),
        ([1.0, 2.0], [1, 1], "but got 0 and 2"),
        ([1.0, math.nan], [0, 1], "1 of 2 are not"),
        ([1.0, math.inf], [0, 1], "finite"),
        ([1.0, 2.0], [0, 2], "labels 0"),
        ([1.0], [0, 1], "shapes"),
        ([], [], "but got 0 and 0"),
    ],
)
def test_what_cannot_be_fitted_is_said(logits, labels, named):
    with pytest.raises(CalibrationError, match=named):
        fit(logits, labels)


# Thresholds

GRID = st.integers(0, 20).map(lambda k: k / 21)  # ties are common; no photograph scores 1
PHOTOGRAPHS, FAKES = st.lists(GRID, min_size=1, max_size=80), st.lists(st.one_of(GRID, st.just(1.0)), min_size=1, max_size=80)
TARGETS = st.sampled_from([0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.9])


def both(photographs, fakes):
    return [*photographs, *fakes], [0] * len(photographs) + [1] * len(fakes)


@given(PHOTOGRAPHS, FAKES, TARGETS, TARGETS)
@settings(deadline=None, max_examples=300)
def test_shares_of_errors_are_at_most_the_targets(photographs, fakes, target_fpr, target_fnr):
    found = thresholds(*both(photographs, fakes), target_fpr=target_fpr, target_fnr=target_fnr)
    assert 0 <= found.real <= 0.5 <= found.generated <= 1
    verdicts = Calibration(real=found.real, generated=found.generated)
    assert sum(verdicts.verdict(score) == "ai-generated" for score in photographs) <= target_fpr * len(photographs)
    assert sum(verdicts.verdict(score) == "real" for score in fakes) <= target_fnr * len(fakes)


@given(PHOTOGRAPHS, FAKES, TARGETS, TARGETS)
@settings(deadline=None, max_examples=300)
def test_thresholds_are_the_least_strict_that_the_rule_permits(photographs, fakes, target_fpr, target_fnr):
    """Brute force over all thresholds that make a difference. The rule, counted with one image more, itself an error:
    (errors + 1) / (n + 1) <= target; with too few images, no error at all."""
    found = thresholds(*both(photographs, fakes), target_fpr=target_fpr, target_fnr=target_fnr)

    def permitted(errors, n, target):
        return errors == 0 or (errors + 1) / (n + 1) <= target + 1e-12

    lowest = min(
        t
        for t in (0.5, *(math.nextafter(s, 2) for s in photographs))
        if t >= 0.5 and permitted(sum(s >= t for s in photographs), len(photographs), target_fpr)
    )
    highest = max(t for t in (0.5, *fakes) if t <= 0.5 and permitted(sum(s < t for s in fakes), len(fakes), target_fnr))
    assert (found.generated, found.real) == (lowest, highest)


def test_a_further_photograph_is_called_generated_at_most_as_often_as_asked():
    """The promise is about images to come: over calibration sets of 120, the mean rate on fresh ones is below the target; that of the rule
    'as many as the target allows among these' is above it."""
    rng = np.random.default_rng(0)
    target, n, rates, naive = 0.05, 119, [], []
    for _ in range(2000):
        photographs = rng.uniform(0.5, 1, n)
        found = thresholds(*both(photographs, [0.9]), target_fpr=target)
        rates.append((1 - found.generated) / 0.5)
        naive.append((1 - np.sort(photographs)[-math.floor(target * n) - 1]) / 0.5)
    assert np.mean(rates) == pytest.approx(target, abs=4 * float(np.std(rates)) / math.sqrt(len(rates)))
    assert np.mean(naive) > np.mean(rates)


def test_exact_ranks():
    """99 photographs at 0.500, 0.505, ...: 0.02 * 100 allows the 2nd highest as the bound, so one photograph reaches the threshold."""
    photographs, fakes = [0.5 + k / 200 for k in range(99)], [k / 200 for k in range(99)]
    found = thresholds(*both(photographs, fakes), target_fpr=0.02, target_fnr=0.05)
    assert found.generated == math.nextafter(photographs[97], 1)
    assert found.real == fakes[4]
    assert found.warnings == ()


@pytest.mark.parametrize(("n", "warned"), [(48, True), (49, False)])
def test_too_few_images_for_the_target_is_a_warning(n, warned):
    photographs = [0.6 + k / 1000 for k in range(n)]
    found = thresholds(*both(photographs, [0.1] * 19), target_fpr=0.02, target_fnr=0.05)
    assert found.generated == math.nextafter(max(photographs), 1)
    assert [("48 photographs" in text, "expected at least 49" in text) for text in found.warnings] == [(True, True)] * warned
    few = thresholds(*both(photographs, [0.3, 0.2]), target_fpr=0.5, target_fnr=0.05)
    assert few.real == 0.2
    assert "2 generated images are too few" in few.warnings[0]
    assert "expected at least 19" in few.warnings[0]


def test_the_band_is_empty_when_the_classes_are_far_apart():
    found = thresholds(*both([0.01] * 200, [0.99] * 200))
    assert (found.real, found.generated, found.warnings) == (0.5, 0.5, ())


def test_the_target_can_hold_for_every_source():
    """One source of three scores high: pooled, it may have all the false alarms; by itself, no more than the others."""
    rng = np.random.default_rng(1)
    photographs = np.concatenate([rng.uniform(0, 0.4, 400), rng.uniform(0.3, 0.95, 100)])
    sources = ["phone"] * 400 + ["scan"] * 100 + ["decoder"] * 5
    data = both(photographs.tolist(), [0.97] * 5)
    pooled, strict = thresholds(*data, target_fpr=0.05), thresholds(*data, target_fpr=0.05, sources=sources)
    scans = photographs[400:]
    assert np.mean(photographs >= pooled.generated) <= 0.05 < np.mean(scans >= pooled.generated)
    assert strict.generated == thresholds(*both(scans.tolist(), [0.97] * 5), target_fpr=0.05).generated > pooled.generated
    tiny = thresholds(*data, target_fpr=0.05, sources=["phone"] * 497 + ["[film]"] * 3 + ["x"] * 5)
    assert any("3 photographs from [film] are too few" in text for text in tiny.warnings)


FROM_SOURCES = st.lists(st.tuples(GRID, st.sampled_from("abc")), min_size=1, max_size=60)


@given(FROM_SOURCES, FROM_SOURCES, TARGETS, TARGETS)
@settings(deadline=None, max_examples=300)
def test_targets_can_hold_on_average_over_sources(photographs, fakes, target_fpr, target_fnr):
    """Brute force: the least strict thresholds at which the mean of the sources' shares of errors is within the target, or no error is."""
    given = photographs + fakes
    scores, labels = both([score for score, _ in photographs], [score for score, _ in fakes])
    found = thresholds(scores, labels, target_fpr=target_fpr, target_fnr=target_fnr, equal_sources=[source for _, source in given])

    def permitted(images, sign, threshold, target):
        wrong = [(score >= threshold if sign > 0 else score < threshold, of) for score, of in images]
        shares = [np.mean([error for error, of in wrong if of == source]) for source in {of for _, of in wrong}]
        return not any(shares) or np.mean(shares) <= target + 1e-9

    levels = [0.5, *(math.nextafter(score, 2) for score, _ in photographs)]
    assert found.generated == min(t for t in levels if t >= 0.5 and permitted(photographs, 1, t, target_fpr))
    levels = [0.5, *(score for score, _ in fakes)]
    assert found.real == max(t for t in levels if t <= 0.5 and permitted(fakes, -1, t, target_fnr))


def test_a_large_source_does_not_set_the_threshold_of_all():
    """Half of 400 scans score high, none of 40 other photographs from four sources: 0.4 of an image, 0.1 of a source on average."""
    scans, others = np.linspace(0.5, 0.9, 400), np.linspace(0.1, 0.4, 40)
    data = both([*scans.tolist(), *others.tolist()], [0.97] * 5)
    sources = ["scan"] * 400 + [f"camera {number % 4}" for number in range(40)] + ["decoder"] * 5
    pooled, equal = (thresholds(*data, target_fpr=0.1, equal_sources=given).generated for given in (None, sources))
    assert np.mean(scans >= pooled) == pytest.approx(0.11, abs=0.01)
    assert np.mean(scans >= equal) == pytest.approx(0.5, abs=0.01)
    few = thresholds(*both([0.6, 0.7], [0.9]), target_fpr=0.02, equal_sources=["a", "b", "c"])
    assert any("2 photographs are too few" in text for text in few.warnings)


def test_photographs_that_all_score_1_are_refused():
    with pytest.raises(CalibrationError, match="score exactly 1"):
        thresholds(*both([1.0] * 5 + [0.2] * 5, [1.0]), target_fpr=0.1)
    thresholds(*both([1.0] + [0.2] * 99, [1.0]), target_fpr=0.1)


@pytest.mark.parametrize("target", [0, 1, -0.1, math.nan])
def test_targets_are_shares(target):
    for name in ("target_fpr", "target_fnr"):
        with pytest.raises(CalibrationError, match=name):
            thresholds([0.1, 0.9], [0, 1], **{name: target})


# Figures


def test_figures_are_those_of_others_at_equal_priors():
    logits, labels = drawn(90, 30, slope=2)
    scores = 1 / (1 + np.exp(-logits))
    found = Reliability(labels, scores, resamples=200).figures()
    weights = np.where(labels == 1, 0.5 / 30, 0.5 / 90)
    assert found["log_loss"].value == pytest.approx(log_loss(labels, scores, sample_weight=weights))
    assert found["ece"].value == pytest.approx(metrics.weighted_metrics(labels, scores, weights[None])["ece"][0])
    assert found["ece"].value != pytest.approx(metrics.weighted_metrics(labels, scores, np.ones((1, 120)))["ece"][0], abs=1e-3)
    for figure in found.values():
        assert figure.low < figure.value < figure.high
    repeated = Reliability(np.r_[labels, np.zeros(180, int)], np.r_[scores, scores[:90], scores[:90]], 10).figures()
    assert repeated["log_loss"].value == pytest.approx(found["log_loss"].value)  # more of the same photographs change nothing


def test_intervals_are_as_wide_as_chance():
    """The mean log loss of each class has the standard error of a mean."""
    logits, labels = drawn(150, 50)
    scores = 1 / (1 + np.exp(-logits))
    loss = -np.log(np.where(labels == 1, scores, 1 - scores))
    error = 0.5 * math.hypot(loss[labels == 0].std() / math.sqrt(150), loss[labels == 1].std() / math.sqrt(50))
    found = Reliability(labels, scores, resamples=4000).figures()["log_loss"]
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert Reliability(labels, scores, resamples=4000).figures()["log_loss"] == found


def test_chunks_change_nothing(monkeypatch):
    logits, labels = drawn(20, 30)
    one = Reliability(labels, scores_of(Calibration(), logits), 50)
    whole, bins = one.figures(), one.bins()
    monkeypatch.setattr(bootstrap, "_CHUNK_CELLS", 150)  # three resamples at a time
    assert {k: vars(v) for k, v in one.figures().items()} == {k: pytest.approx(vars(v)) for k, v in whole.items()}
    assert [b.images for b in one.bins()] == [b.images for b in bins]


def test_bins_of_the_diagram():
    """Two bins are filled: 3 photographs + 1 fake at 0.1, 1 photograph + 3 fakes at 0.9; at equal priors 1/4 and 3/4 are fakes."""
    labels, scores = np.array([0, 0, 0, 1, 0, 1, 1, 1]), np.array([0.1] * 4 + [0.9] * 4)
    bins = Reliability(labels, scores, 300).bins()
    assert len(bins) == metrics.ECE_BINS
    filled = [one for one in bins if one.images]
    assert [one.images for one in filled] == [4, 4]
    assert [one.mean for one in filled] == pytest.approx([0.1, 0.9])
    assert [one.fraction.value for one in filled] == pytest.approx([0.25, 0.75])
    assert all(0 <= one.fraction.low < one.fraction.value < one.fraction.high <= 1 for one in filled)
    assert all(math.isnan(one.mean) and one.fraction == Interval() for one in bins if not one.images)
    doubled = Reliability(np.r_[labels, [0] * 4], np.r_[scores, [0.1, 0.1, 0.1, 0.9]], 10).bins()
    assert [one.fraction.value for one in doubled if one.images] == pytest.approx([0.25, 0.75])


# The score


def test_a_calibration_is_checked():
    for wrong in ({"real": 0.6}, {"temperature": 0}, {"offset": math.inf}, {"temperature": math.nan}):
        with pytest.raises(ValidationError):
            Calibration(**wrong)
    assert Calibration(real=0.7, generated=0.7).offset == 0


@pytest.mark.parametrize(("logit", "expected"), [(3, 0.5), (5, 1 / (1 + math.exp(-1))), (1, 1 / (1 + math.e)), (1e6, 1), (-1e6, 0)])
def test_offset_and_temperature_make_the_score(logit, expected):
    assert Calibration(offset=3, temperature=2).score(logit) == pytest.approx(expected, abs=1e-15)


# End to end


@pytest.fixture(scope="module")
def scored(tiny_model, corpus, tmp_path_factory):
    """A copy of the tiny model, and its predictions on the test split."""
    folder = shutil.copytree(tiny_model, tmp_path_factory.mktemp("scored") / "tiny")
    return folder, calibrate.predict_uncalibrated(folder, load_dataset(corpus).with_split("test"))


@pytest.fixture
def model(scored, tmp_path):
    """A copy to calibrate, whose predictions exist."""
    return shutil.copytree(scored[0], tmp_path / "model")


@pytest.fixture
def predictions(model, scored):
    return model / scored[1].relative_to(scored[0])


def test_the_folder_is_calibrated_and_the_detector_uses_it(model, predictions, corpus):
    before = Detector.from_pretrained(model)
    written = calibrate.calibrate(model, predictions, resamples=50)
    after = Detector.from_pretrained(model)
    assert after.config.calibration == written != before.config.calibration
    assert after.fingerprint != before.fingerprint
    assert {name: value for name, value in after.config if name != "calibration"} == {n: v for n, v in before.config if n != "calibration"}
    rows = pq.read_table(predictions).to_pylist()
    fitted = fit([row["logit"] for row in rows], [row["label"] for row in rows])
    assert (written.temperature, written.offset) == (fitted.temperature, fitted.offset)
    for row in rows:
        verdict = after.detect(corpus / row["path"])
        assert verdict.logit == row["logit"]
        assert verdict.score == pytest.approx(1 / (1 + np.exp(-(verdict.logit - written.offset) / written.temperature)), abs=1e-12)
        assert verdict.verdict == written.verdict(verdict.score)


def test_what_is_recorded_is_what_the_detector_does(model, predictions, corpus):
    facts = calibrate.calibrate(model, predictions, target_fpr=0.4, target_fnr=0.3, resamples=50).fitted
    detector, rows = Detector.from_pretrained(model), pq.read_table(predictions).to_pylist()
    verdicts = [detector.detect(corpus / row["path"]).verdict for row in rows]
    for label, word in ((0, "real"), (1, "fake")):
        said = [verdict for verdict, row in zip(verdicts, rows, strict=True) if row["label"] == label]
        assert facts[f"n_{word}"] == len(said) == 6
        assert facts["shares"][word] == {name: said.count(name) / 6 for name in ("ai-generated", "inconclusive", "real")}
    assert facts["shares"]["fpr_by_source"] == {"camera": {"n": 6, "fpr": facts["shares"]["real"]["ai-generated"]}}
    assert facts["shares"]["real"]["ai-generated"] <= 0.4
    assert facts["shares"]["fake"]["real"] <= 0.3
    assert facts["after"]["log_loss"]["value"] <= facts["before"]["log_loss"]["value"]
    assert facts["data"] == load_dataset(corpus).with_split("test").fingerprint()
    assert (facts["method"], facts["target_fpr"], facts["target_fnr"], facts["resamples"]) == ("platt", 0.4, 0.3, 50)
    json.dumps(facts, allow_nan=False)


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def calibrated(model, predictions, **settings):
    """Calibrate a model folder and draw its diagram, as the command does."""
    calibration = calibrate.calibrate(model, predictions, **settings)
    reliability_diagram.write(model, calibration, predictions)
    return calibration


def test_calibrating_again_gives_the_same_bytes(model, predictions, corpus):
    calibrated(model, predictions, resamples=20)
    first = content(model)
    assert "reliability.png" in first
    calibrated(model, predictions, resamples=20)
    assert content(model) == first
    calibrated(model, predictions, method="temperature", resamples=20)
    assert content(model)["config.json"] != first["config.json"]
    assert calibrate.predict_uncalibrated(model, load_dataset(corpus).with_split("test")) == predictions  # whatever the calibration
    calibrated(model, predictions, resamples=20)
    assert content(model) == first


def test_finished_predictions_are_reused(model, predictions, corpus, monkeypatch):
    written = predictions.stat().st_mtime_ns
    monkeypatch.setattr(Detector, "detect_many", None)
    test = load_dataset(corpus).with_split("test")
    assert calibrate.predict_uncalibrated(model, test) == predictions
    assert predictions.stat().st_mtime_ns == written
    with pytest.raises(TypeError):  # other data are scored, into a folder of their own
        calibrate.predict_uncalibrated(model, load_dataset(corpus).with_split("val"))


def test_the_card_tells_what_the_score_means(model, predictions):
    plain = (model / "README.md").read_text()
    assert "| calibration | none: the score is the sigmoid of the logit, the threshold 0.5 |" in plain
    assert "## Calibration" not in plain
    written = calibrated(model, predictions, resamples=20)
    card = (model / "README.md").read_text()
    assert f"| calibration | platt on 6 photographs, 6 generated images: score = sigmoid((logit - {written.offset:.4g})" in card
    assert "equal numbers of photographs and generated images" in card
    assert "6\nphotographs and 6 generated images" in card
    assert f"| {written.generated:.4f} and above | `ai-generated` |" in card
    assert "| camera | 6 |" in card
    assert "6 photographs are too few" in card
    assert card.startswith(plain.split("| calibration |")[0])
    with Image.open(model / "reliability.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 500
    assert "](reliability.png)" in card


@pytest.mark.parametrize("step", ["model_card", "write_text", "write_json"])
def test_a_failed_write_leaves_the_old_calibration(model, predictions, monkeypatch, step):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    before = content(model)
    with monkeypatch.context() as patch:
        patch.setattr(model_folder, step, full_disk)
        with pytest.raises(OSError, match="No space"):
            calibrate.calibrate(model, predictions, resamples=20)
    assert content(model)["config.json"] == before["config.json"]
    assert not list(model.glob(".*part"))
    model_folder.load(model)


def test_folders_of_the_first_version_load(model):
    config = json.loads((model / "config.json").read_text())
    config["calibration"] = {"temperature": 1.0, "real": 0.5, "generated": 0.5}
    (model / "config.json").write_text(json.dumps(config))
    assert model_folder.load_config(model).calibration == Calibration()
    config["calibration"] = {"temperature": 1.0, "real": 0.6, "generated": 0.5}
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFolderError, match=r"config\.json cannot be read(.|\n)*real to be at most generated"):
        model_folder.load_config(model)


def with_identity(source, target, **changes):
    table = pq.read_table(source)
    identity = json.loads(table.schema.metadata[b"dgsnet"]) | changes
    pq.write_table(table.replace_schema_metadata({"dgsnet": json.dumps({k: v for k, v in identity.items() if v})}), target)
    return target


def test_predictions_of_another_model_are_refused(model, predictions, tmp_path):
    before = content(model)
    for changes, named in (
        ({"model": "f" * 64}, "was not made with the model"),
        ({"model": None}, "does not say of which model"),
        ({"perturbations": "jpeg"}, "perturbed copies"),
    ):
        with pytest.raises(CalibrationError, match=named):
            calibrate.calibrate(model, with_identity(predictions, tmp_path / "p.parquet", **changes))
    with pytest.raises(DatasetError, match="cannot be read"):
        calibrate.calibrate(model, tmp_path / "none.parquet")
    assert content(model) == before


def test_predictions_of_evaluate_serve_before_and_after(model, corpus, tmp_path):
    """Those of the plain and of the calibrated model hold the same logits, so they give the same fit; each serves twice."""
    test, found = load_dataset(corpus).with_split("test"), []
    for name in ("plain", "calibrated"):
        made = predict(Detector.from_pretrained(model), test, tmp_path / name)
        for _ in range(2):
            found.append(calibrate.calibrate(model, made, resamples=20))
    assert len({(one.temperature, one.offset, one.real, one.generated) for one in found}) == 1
    assert found[0].fitted["model"] != found[2].fitted["model"]


def test_predictions_on_another_build_of_the_backbone_serve_with_a_warning(model, predictions, tmp_path):
    made = with_identity(predictions, tmp_path / "p.parquet", model=f"{fingerprint.of_model_folder(model)}+{'a' * 16}")
    assert any("another build" in text for text in calibrate.calibrate(model, made, resamples=20).fitted["warnings"])
    assert not any("another build" in text for text in calibrate.calibrate(model, predictions, resamples=20).fitted["warnings"])


def test_training_images_are_a_warning(model, predictions, tmp_path):
    data = model_folder.load_config(model).data["fingerprint"]
    made = with_identity(predictions, tmp_path / "p.parquet", data=data)
    assert "trained on these very images" in calibrate.calibrate(model, made, resamples=20).fitted["warnings"][0]


def test_the_command(run, model, corpus):
    code, out, err = run("calibrate", "--model", model, "--data", corpus, "--target-fpr", "0.3", "--resamples", "20")
    assert code == 0, err
    assert "split 'val': 8 of 44 images" in err
    fitted = model_folder.load_config(model).calibration
    assert (fitted.fitted["n_real"], fitted.fitted["n_fake"], fitted.fitted["target_fpr"]) == (4, 4, 0.3)
    lines = {line.strip().split("  ")[0]: line for line in out.splitlines()}
    assert f"{fitted.fitted['before']['log_loss']['value']:.3f}" in lines["log loss (95 %)"]
    assert f"{fitted.fitted['after']['log_loss']['value']:.3f}" in lines["log loss (95 %)"]
    assert f"{fitted.temperature:.4g}" in lines["temperature"]
    assert f"{fitted.generated:.4f}" in lines["ai-generated from"]
    assert "camera" in lines
    assert "warning: 4 generated images are too few" in err
    before = content(model)
    assert run("calibrate", "--model", model, "--data", corpus, "--target-fpr", "0.3", "--resamples", "20")[:2] == (0, out)
    assert content(model) == before


def test_the_command_with_predictions(run, model, predictions):
    code, out, err = run("calibrate", "--model", model, "--predictions", predictions, "--method", "temperature", "--split", "test")
    assert (code, "photographs" in out) == (0, True), err
    fitted = model_folder.load_config(model).calibration
    assert (fitted.offset, fitted.fitted["method"], fitted.fitted["split"]) == (0, "temperature", "test")
    code, _, err = run("calibrate", "--model", model, "--predictions", predictions, "--split", "val")
    assert code == 2
    assert "no image of split 'val': it has test" in err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "either --data or --predictions"),
        (("--data", "x", "--predictions", "y"), "either --data or --predictions"),
        (("--predictions", "nowhere.parquet"), "nowhere.parquet"),
        (("--predictions", "nowhere.parquet", "--method", "isotonic"), "isotonic"),
    ],
)
def test_wrong_use_of_the_command(run, model, arguments, named):
    code, out, err = run("calibrate", "--model", model, *arguments)
    assert (code, out) == (2, "")
    assert named in err


def test_a_model_on_the_hub_cannot_be_calibrated(run, corpus):
    code, _, err = run("calibrate", "--model", "owner/name", "--data", corpus)
    assert code == 2
    assert "owner/name is no model folder" in err


def test_data_with_splits_but_no_val_need_a_choice(run, model, corpus, tmp_path):
    copy = shutil.copytree(corpus, tmp_path / "data")
    manifest = copy / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",val,", ",other,"))
    code, _, err = run("calibrate", "--model", model, "--data", copy)
    assert code == 2
    assert "splits other, test, train and no `val`" in err


def test_images_that_cannot_be_scored_are_left_out_and_said(run, model, corpus, tmp_path):
    copy = shutil.copytree(corpus, tmp_path / "data")
    (copy / "val" / "real" / "0.png").write_bytes(b"no picture")
    code, _, err = run("calibrate", "--model", model, "--data", copy, "--resamples", "20")
    assert code == 1
    assert "not scored: val/real/0.png" in err
    assert model_folder.load_config(model).calibration.fitted["n_real"] == 3


def test_out_of_fold_predictions_may_speak_for_a_model_and_the_card_says_so(model, predictions, tmp_path):
    others = with_identity(predictions, tmp_path / "p.parquet", model="f" * 64)
    found = calibrate.calibrate(model, others, out_of_fold=True, resamples=20)
    own = calibrate.calibrate(model, predictions, resamples=20)
    assert (found.temperature, found.offset, found.generated) == (own.temperature, own.offset, own.generated)
    assert found.fitted["stand_ins"]
    assert any("stand-ins" in text for text in found.fitted["warnings"])
    assert not own.fitted["stand_ins"]
    with pytest.raises(CalibrationError, match="perturbed copies"):
        calibrate.calibrate(model, with_identity(predictions, tmp_path / "q.parquet", perturbations="jpeg"), out_of_fold=True)


def test_the_option_has_two_names(run, model, predictions, tmp_path):
    others = with_identity(predictions, tmp_path / "p.parquet", model="f" * 64)
    written = []
    for option in ("--out-of-fold", "--stand-ins"):
        code, _, err = run("calibrate", "--model", model, "--predictions", others, option, "--resamples", "20")
        assert code == 0, err
        written.append(content(model))
    assert written[0] == written[1]
    strange = with_identity(predictions, tmp_path / "q.parquet", model="e" * 64)
    code, _, err = run("calibrate", "--model", model, "--predictions", strange)
    assert (code, "say --out-of-fold if" in err) == (2, True)
    code, _, err = run("calibrate", "--model", model, "--data", tmp_path, "--stand-ins")
    assert (code, "--out-of-fold says whose" in err) == (2, True)


def test_a_diagram_needs_a_calibration_that_was_fitted(model, predictions):
    with pytest.raises(CalibrationError, match="set by hand"):
        calibrate.reliabilities(Calibration(temperature=2.0), predictions)
    fitted = calibrate.calibrate(model, predictions, resamples=20)
    before, after = calibrate.reliabilities(model_folder.load_config(model).calibration, predictions)
    assert {name: one.as_dict() for name, one in before.figures().items()} == fitted.fitted["before"]
    assert {name: one.as_dict() for name, one in after.figures().items()} == fitted.fitted["after"]


def test_out_of_fold_all_sources_weigh_the_same_and_the_card_says_so(model, predictions, tmp_path):
    table = pq.read_table(predictions)
    labels = table["label"].to_pylist()
    rank = [sum(one == label for one in labels[:number]) for number, label in enumerate(labels)]
    logits = [place + 0.5 * label for place, label in zip(rank, labels, strict=True)]  # the classes overlap
    half = labels.count(0) // 2
    sources = ["decoder" if label else "scan" if place >= half else f"camera {place}" for place, label in zip(rank, labels, strict=True)]
    for name, column in (("source", sources), ("logit", logits)):
        table = table.set_column(table.column_names.index(name), name, pa.array(column))
    pq.write_table(table, tmp_path / "p.parquet")
    found = calibrate.calibrate(model, tmp_path / "p.parquet", out_of_fold=True, target_fpr=0.3, target_fnr=0.3, resamples=20)
    fitted = fit(logits, labels, sources=sources)
    scores = [fitted.score(logit) for logit in logits]
    pooled, equal = (thresholds(scores, labels, target_fpr=0.3, target_fnr=0.3, equal_sources=given) for given in (None, sources))
    assert (found.temperature, found.generated, found.real) == (fitted.temperature, equal.generated, equal.real)
    assert equal.generated != pooled.generated
    assert "each of which weighs the same" in (model / names.CARD).read_text()


def test_operating_points_trade_errors_for_answers(model, predictions):
    found = calibrate.calibrate(model, predictions, target_fpr=0.3, target_fnr=0.3, resamples=20)
    cautious, sensitive = found.at("cautious"), found.at("sensitive")
    assert found.at("balanced") is found
    assert cautious.generated >= found.generated >= sensitive.generated
    assert cautious.real <= found.real == sensitive.real
    assert cautious.generated - cautious.real > found.generated - found.real
    assert (cautious.temperature, cautious.offset) == (found.temperature, found.offset)
    shares = found.fitted["points"]
    assert list(shares) == ["cautious", "balanced", "sensitive"]
    assert shares["balanced"] == {word: found.fitted["shares"][word] for word in ("real", "fake")}
    for word in ("real", "fake"):
        assert [sum(shares[point][word].values()) for point in shares] == pytest.approx([1, 1, 1])
        called = [shares[point][word]["ai-generated"] for point in shares]
        assert called == sorted(called)
    card = (model / "README.md").read_text()
    for point, share in shares.items():
        assert re.search(rf"\| `{point}` \| .* \| {share['fake']['ai-generated']:.1%} \|", card)


def test_a_detector_takes_the_thresholds_of_its_operating_point(model, predictions, files):
    found = calibrate.calibrate(model, predictions, target_fpr=0.3, target_fnr=0.3, resamples=20)
    for point in ("cautious", "balanced", "sensitive"):
        detector = Detector.from_pretrained(model, operating_point=point)
        for verdict in detector.detect_many(files):
            assert verdict.score == found.score(verdict.logit)
            assert verdict.verdict == found.at(point).verdict(verdict.score)


def test_a_model_without_operating_points_has_the_balanced_one_alone(tiny_model):
    assert Calibration().at("balanced") == Calibration()
    with pytest.raises(CalibrationError, match="no operating point 'cautious': `dgsnet calibrate` finds it"):
        Detector.from_pretrained(tiny_model, operating_point="cautious")
