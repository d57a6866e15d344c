"""Labels the wrong way round are said, wherever labels and scores meet."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dgsnet.evaluation import direction, evaluate
from dgsnet.reports import evaluation_page


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [(0.1, 0.0, 0.3, True), (0.4, 0.3, 0.499, True), (0.4, 0.3, 0.5, False), (0.9, 0.8, 1.0, False), (None, None, None, False)],
)
def test_the_whole_interval_must_be_below_chance(value, low, high, said):
    text = direction.in_reverse({"value": value, "low": low, "high": high})
    assert (text is not None) is said
    assert text is None or "Check that labels are 0 real, 1 generated" in text


def test_logits_of_any_size():
    labels = np.array([0] * 20 + [1] * 20)
    logits = np.concatenate([np.linspace(900, 1000, 20), np.linspace(-1000, 800, 20)])
    assert "AUROC 0.000" in str(direction.of_logits(labels, logits, 50))
    assert direction.of_logits(labels, -logits, 50) is None
    assert direction.of_logits(labels[:20], logits[:20], 50) is None


@pytest.mark.parametrize("reverse", [True, False])
def test_it_is_in_the_metrics_and_on_the_page(tmp_path, reverse):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    scores = np.clip(0.3 + 0.4 * (labels != reverse) + rng.normal(0, 0.15, 80), 0, 1)
    rows = {"path": [f"{n}.png" for n in range(80)], "label": labels, "score": scores, "generator": ["gan"] * 80}
    pq.write_table(pa.table(rows), tmp_path / "predictions.parquet")
    result = evaluate.evaluate(tmp_path / "predictions.parquet", tmp_path, resamples=50)
    page = evaluation_page.write(tmp_path, result, tmp_path / "predictions.parquet").read_text()
    assert json.loads((tmp_path / "metrics.json").read_text())["warnings"] == result["warnings"]
    assert len(result["warnings"]) == reverse
    assert ("ranks in reverse" in page) is reverse
