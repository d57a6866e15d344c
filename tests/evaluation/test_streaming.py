"""Predictions of any number of images: memory stays flat, a kill at any moment costs nothing, and metrics read only what they use."""

from __future__ import annotations

import importlib.util
import os
import signal
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dgsnet.core.errors import DatasetError
from dgsnet.evaluation import evaluate
from dgsnet.evaluation.predictions import PREDICTION_SCHEMA, PREDICTIONS, columns_of, failures, names_in, read_predictions
from dgsnet.inference import resumable_parquet
from dgsnet.inference.parquet_writer import arrow_table

IDENTITY = {"model": "f", "data": "d", "threshold": "0.5", "dgsnet": "0"}


def rows(start: int, stop: int) -> Iterator[dict[str, Any]]:
    for at in range(start, stop):
        facts = {"label": at % 2, "split": "test", "source": "s", "generator": f"g{at % 3}" * (at % 2), "group": f"{at}.png"}
        verdict = {"sha256": f"{at:064x}", "score": (at % 10) / 10, "logit": 0.0, "verdict": "real", "warnings": ["low_resolution"]}
        yield facts | verdict | {"path": f"{at}.png", "width": 8, "height": 8, "format": "PNG", "model": "m", "error": None}


def write(out: Path, count: int) -> Path:
    return resumable_parquet.write(out / PREDICTIONS, IDENTITY, PREDICTION_SCHEMA, lambda done: rows(done, count), count)


@pytest.mark.parametrize(("count", "groups"), [(0, [0]), (1, [1]), (4, [4]), (9, [4, 4, 1]), (12, [4, 4, 4])])
def test_rows_reach_parquet_in_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int, groups: list[int]) -> None:
    monkeypatch.setattr(resumable_parquet, "_ROW_GROUP", 4)
    target = write(tmp_path, count)
    file = pq.ParquetFile(target)
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == groups
    assert file.schema_arrow.equals(PREDICTION_SCHEMA)
    assert pq.read_table(target).to_pylist() == list(rows(0, count))
    assert resumable_parquet.read_identity(target) == IDENTITY
    assert [one.name for one in tmp_path.iterdir()] == [PREDICTIONS]


def test_memory_does_not_grow_with_the_number_of_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resumable_parquet, "_ROW_GROUP", 100)

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            write(tmp_path / str(count), count)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(200)  # what is imported or compiled once
    assert peak(2000) < 1.3 * peak(500)


def test_a_kill_while_parquet_is_written_costs_no_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resumable_parquet, "_ROW_GROUP", 4)
    whole = write(tmp_path / "whole", 10)
    child = os.fork()
    if child == 0:
        calls = []
        table = arrow_table

        def dying(*given: Any) -> pa.Table:
            calls.append(1)
            if len(calls) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return table(*given)

        monkeypatch.setattr(resumable_parquet, "arrow_table", dying)
        write(tmp_path / "killed", 10)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert not (tmp_path / "killed" / PREDICTIONS).exists()
    asked: list[int] = []

    def rows_from(done: int) -> Iterator[dict[str, Any]]:
        asked.append(done)
        return rows(done, 10)

    resumed = resumable_parquet.write(tmp_path / "killed" / PREDICTIONS, IDENTITY, PREDICTION_SCHEMA, rows_from, 10)
    assert asked == [10]
    assert resumed.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("cut", [1, 2, 40, 200])
def test_a_line_that_was_cut_anywhere_is_scored_again(tmp_path: Path, cut: int) -> None:
    whole = write(tmp_path / "whole", 6)
    partial = tmp_path / "cut" / ".predictions.partial.jsonl"

    def dying(done: int) -> Iterator[dict[str, Any]]:
        yield from rows(done, 5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resumable_parquet.write(tmp_path / "cut" / PREDICTIONS, IDENTITY, PREDICTION_SCHEMA, dying, 6)
    os.truncate(partial, partial.stat().st_size - cut)
    assert write(tmp_path / "cut", 6).read_bytes() == whole.read_bytes()


def test_a_file_that_was_cut_in_its_first_line_is_named(tmp_path: Path) -> None:
    (tmp_path / ".predictions.partial.jsonl").write_text('{"model": "f"')
    with pytest.raises(DatasetError, match=r"partial.jsonl is damaged .*: delete it to start again"):
        write(tmp_path, 3)


def test_metrics_read_no_column_they_do_not_use(tmp_path: Path) -> None:
    predictions = write(tmp_path, 30)
    expected = evaluate.evaluate(predictions, tmp_path / "whole", resamples=10)
    columns = pq.read_metadata(predictions).row_group(0)
    data = bytearray(predictions.read_bytes())
    for at in range(columns.num_columns):
        chunk = columns.column(at)
        if chunk.path_in_schema.split(".")[0] not in {"label", "score", "generator"}:
            start = min(one for one in (chunk.dictionary_page_offset, chunk.data_page_offset) if one)
            data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    predictions.write_bytes(data)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_predictions(predictions)
    assert evaluate.evaluate(predictions, tmp_path / "damaged", resamples=10) == expected


def test_columns_are_read_by_name_and_may_be_lacking(tmp_path: Path) -> None:
    predictions = write(tmp_path, 3)
    assert read_predictions(predictions, ("score", "nonsense", "label")).column_names == ["score", "label"]
    assert columns_of(predictions) == PREDICTION_SCHEMA.names
    assert names_in(pa.chunked_array([["a", None, ""], ["a"]])) == ["a", "unknown", "unknown", "a"]


def test_failures_are_listed_in_order(tmp_path: Path) -> None:
    table = pa.table({"label": [0, 1, 1], "score": [None, 0.5, None], "error": ["b: broken", None, "a: broken"]})
    pq.write_table(table, tmp_path / "p.parquet")
    assert failures(tmp_path / "p.parquet") == ["b: broken", "a: broken"]
    pq.write_table(table.drop(["error"]), tmp_path / "q.parquet")
    assert failures(tmp_path / "q.parquet") == []


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """The experiment in small; its result file has 600 simulations."""
    file = Path(__file__).parents[2] / "studies" / "bootstrap_coverage" / "__main__.py"
    spec = importlib.util.spec_from_file_location("bootstrap_coverage", file)
    assert spec is not None
    assert spec.loader is not None
    experiment = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(experiment)
    for name, share in experiment.coverage(50, simulations=40, resamples=100).items():
        assert 0.8 <= share <= 1, name
