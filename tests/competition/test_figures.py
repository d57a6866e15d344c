"""Figures of a competition against plain counting."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dgsnet.competition import figures


@pytest.fixture
def field():
    labels = np.array([0] * 6 + [1] * 7)
    return figures.Field(labels, ("",) * 6 + ("a",) * 4 + ("b",) * 3)


@pytest.fixture
def scores(field):
    rng = np.random.default_rng(0)
    return np.round(rng.random((3, len(field.labels))) + 0.4 * field.labels, 1)  # with ties


def auroc(field, row, name):
    asked = (field.labels == 0) | (np.array(field.generators) == name)
    return roc_auc_score(field.labels[asked], row[asked])


def test_the_mean_is_over_seeds_and_generators(field, scores):
    drawn = figures.draw(field, {"one": scores}, resamples=10)
    expected = {name: np.mean([auroc(field, row, name) for row in scores]) for name in ("a", "b")}
    assert figures.by_generator(field, scores) == pytest.approx(expected)
    assert drawn.interval("one").value == pytest.approx(np.mean(list(expected.values())))


def test_entries_are_drawn_alike_so_that_equals_differ_by_nothing(field, scores):
    drawn = figures.draw(field, {"one": scores, "two": scores.copy(), "worse": scores - field.labels}, resamples=200)
    difference = drawn.difference("one", ["two"])
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert drawn.difference("one", ["worse"]).low > 0
    mean = drawn.difference("one", ["two", "worse"])
    assert mean.value == pytest.approx(drawn.difference("one", ["worse"]).value / 2)


def test_seeds_generators_and_images_are_all_drawn(field):
    """What varies in one of them alone widens the interval."""
    clear = np.where(field.labels, 0.9, 0.1)
    names = np.array(field.generators)

    def width(scores):
        found = figures.draw(field, {"one": np.array(scores)}, resamples=400).interval("one")
        return found.high - found.low

    assert width([clear, clear]) == 0
    assert width([clear, 1 - clear]) > 0.5  # the second seed ranks in reverse
    assert width([np.where(names == "b", 0.0, clear)] * 2) > 0.5  # a generator does
    of_images = clear.copy()
    of_images[[0, 6, 10]] = 0.5, 0.05, 0.05  # some images of each are
    assert width([of_images] * 2) > 0.1


def test_draws_depend_on_their_seed_alone(field, scores):
    first, again = (figures.draw(field, {"one": scores}, resamples=20) for _ in range(2))
    assert np.array_equal(first.drawn, again.drawn)
    assert not np.array_equal(first.drawn, figures.draw(field, {"one": scores}, resamples=20, seed=1).drawn)


def test_shares_at_thresholds(field):
    row = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.5, 0.4, 0.8, 0.9, 0.1, 0.75, 0.65])
    assert figures.balanced_accuracy(field, row[None]) == pytest.approx(np.mean([(4 / 6 + 3 / 4) / 2, (4 / 6 + 2 / 3) / 2]))
    cut = np.quantile(row[:6], 0.95)
    assert figures.found_at_5_percent(field, row[None]) == pytest.approx(np.mean([(row[6:10] > cut).mean(), (row[10:] > cut).mean()]))
