"""The one interval type, and the rule that evaluation renders nothing."""

import ast
from pathlib import Path

import numpy as np
import pytest

from dgsnet import evaluation
from dgsnet.evaluation.bootstrap import draws
from dgsnet.evaluation.interval import PARTS, Interval, percentile_interval


def test_an_interval_is_written_as_its_parts():
    assert Interval(0.5, 0.25, 0.75).as_dict() == {"value": 0.5, "low": 0.25, "high": 0.75}
    assert tuple(Interval().as_dict()) == PARTS
    assert set(Interval().as_dict().values()) == {None}


def test_the_interval_holds_the_share_of_draws_asked_for():
    drawn = np.random.default_rng(0).normal(size=501)
    found = percentile_interval(0.1, drawn, 0.1)
    assert found == Interval(0.1, *(float(bound) for bound in np.quantile(drawn, [0.1, 0.9])))
    assert ((drawn >= found.low) & (drawn <= found.high)).mean() == pytest.approx(0.8, abs=0.005)


def test_draws_without_a_value_do_not_count():
    drawn = np.array([0.1, np.nan, 0.3, np.nan, 0.2])
    assert percentile_interval(0.2, drawn) == percentile_interval(0.2, drawn[~np.isnan(drawn)])
    assert percentile_interval(0.2, np.full(3, np.nan)) == Interval(0.2, 0.2, 0.2)
    assert percentile_interval(np.nan, drawn) == Interval()


def test_statistics_see_the_same_resamples():
    values, strata = np.arange(6.0), np.array([0, 0, 0, 1, 1, 1])
    (first, drawn), (_, again) = draws([lambda w: {"sum": w @ values}, lambda w: {"sum": w @ values, "size": w.sum(axis=1)}], strata, 50)
    assert first == {"sum": 15.0}
    assert drawn["sum"].shape == (50,)
    np.testing.assert_array_equal(drawn["sum"], again["sum"])
    np.testing.assert_array_equal(again["size"], 6)


def test_evaluation_renders_nothing():
    for file in Path(evaluation.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [f"{node.module}.{one.name}" for one in node.names] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.startswith(("dgsnet.reports", "matplotlib"))], file
