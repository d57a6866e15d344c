"""`dgsnet score`: one row an input whatever happens, equal bytes scored once, failures in their own table."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from rich.console import Console

from dgsnet.core.errors import DatasetError, ScoringError
from dgsnet.core.files import sha256_file
from dgsnet.inference import resumable_parquet
from dgsnet.inference.detector import Detector
from dgsnet.score import run as scoring_run
from dgsnet.score.output import Output
from dgsnet.score.progress import ScoringProgress
from dgsnet.score.run import Summary, score
from dgsnet.score.settings import Settings, Shard

PART_ROWS = 5


@pytest.fixture(scope="module")
def pictures(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 images, two copies of one of them, two equal files that are no images."""
    root = tmp_path_factory.mktemp("pictures")
    for number, file in enumerate(files):
        shutil.copy(file, root / f"{number:02d}.png")
    for name in ("00-copy.png", "zz-copy.png"):
        shutil.copy(files[0], root / name)
    for name in ("03-broken.png", "09-broken.png"):
        (root / name).write_bytes(b"no picture")
    return root


def scored(data: Path, out: Path, model: Path, **settings: Any) -> Summary:
    return score(data, out, Settings(str(model), **{"part_rows": PART_ROWS} | settings), Console(file=io.StringIO()))[0]


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [row for part in sorted(out.glob("part*.parquet")) for row in pq.read_table(part).to_pylist()]


def contents(out: Path) -> dict[str, bytes]:
    """What a finished run leaves; no unfinished file is among it."""
    return {str(file.relative_to(out)): file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file() and "lock" not in file.name}


@pytest.fixture(scope="module")
def whole(pictures: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    out = tmp_path_factory.mktemp("whole")
    assert scored(pictures, out, tiny_model) == Summary(inputs=16, scored=14, failed=2, duplicates=2, parts=4)
    return out


def test_one_row_an_input_in_order_and_as_detect_gives_it(whole, pictures, detector):
    rows = rows_of(whole)
    assert [row["key"] for row in rows] == sorted(file.name for file in pictures.iterdir())
    alone = [verdict.as_dict() for verdict in detector.detect_many([pictures / row["key"] for row in rows])]
    said = [{name: value for name, value in row.items() if name != "key"} for row in rows]
    expected = pa.Table.from_pylist(alone, schema=pq.read_schema(next(whole.glob("part*.parquet"))).remove(0).remove_metadata())
    assert said == expected.to_pylist()
    assert [pq.read_metadata(part).num_rows for part in sorted(whole.glob("part*.parquet"))] == [5, 5, 5, 1]


def test_failures_have_a_table_of_their_own_with_the_reason(whole, pictures):
    failed = [row for file in sorted((whole / "errors").iterdir()) for row in pq.read_table(file).to_pylist()]
    assert [row["key"] for row in failed] == ["03-broken.png", "09-broken.png"]
    for row in failed:
        assert row["path"] == str(pictures / row["key"])
        assert row["reason"].startswith(f"{row['path']}: ")


def test_equal_bytes_are_scored_once(pictures, tiny_model, tmp_path, monkeypatch):
    seen: Counter[bytes] = Counter()
    detect_many = Detector.detect_many

    def counting(self: Detector, sources: Any, batch_size: int, **options: Any) -> Any:
        def each() -> Any:
            for source in sources:
                seen[source.read(1 << 30)] += 1
                yield source

        return detect_many(self, each(), batch_size, **options)

    monkeypatch.setattr(Detector, "detect_many", counting)
    scored(pictures, tmp_path / "out", tiny_model, part_rows=100)
    assert len(seen) == 13  # 12 images, and what is none
    assert set(seen.values()) == {1}


@pytest.mark.parametrize("deaths", [(1, 1, 1), (4, 5, 2, 3), (15,), (16,)])
def test_kills_change_not_one_byte(whole, pictures, tiny_model, tmp_path, deaths):
    out = tmp_path / "out"
    for rows in deaths:  # rows that are on disk when the process dies
        child = os.fork()
        if child == 0:
            _die_after(rows)
            scored(pictures, out, tiny_model)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
    before = {file: file.stat().st_mtime_ns for file in out.glob("part*.parquet")}
    assert scored(pictures, out, tiny_model).inputs == 16
    assert contents(out) == contents(whole)
    assert all(file.stat().st_mtime_ns == time for file, time in before.items())


def _die_after(rows: int) -> None:
    """SIGKILL to this process when it asks for the row after these."""
    counted, left = scoring_run._counted, [rows]

    def dying(*given: Any) -> Any:
        for row in counted(*given):
            yield row
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    scoring_run._counted = dying  # type: ignore[assignment]


def test_a_finished_run_is_left_as_it_is(whole, pictures, tiny_model, monkeypatch):
    monkeypatch.setattr(Detector, "detect_many", None)  # nothing is scored
    before = contents(whole)
    assert scored(pictures, whole, tiny_model).inputs == 16
    assert contents(whole) == before


def test_shards_together_are_the_whole(whole, pictures, tiny_model, tmp_path):
    shards = [scored(pictures, tmp_path, tiny_model, shard=Shard.parse(f"{number}/3")) for number in (1, 2, 3)]
    assert sum(shard.inputs for shard in shards) == 16
    assert sorted(rows_of(tmp_path), key=lambda row: row["key"]) == rows_of(whole)
    assert Shard.parse("0/3") == Shard.parse("3/3")


@pytest.mark.parametrize("text", ["4/3", "1/0", "-1/3", "1", "a/b"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ScoringError, match="expected i/n"):
        Shard.parse(text)


def test_another_model_other_data_or_other_parts_are_refused(whole, pictures, tiny_model, tmp_path):
    out, other, more = tmp_path / "out", tmp_path / "model", tmp_path / "more"
    shutil.copytree(whole, out)
    shutil.copytree(pictures, more)
    shutil.copy(pictures / "00.png", more / "one-more.png")
    shutil.copytree(tiny_model, other)
    config = other / "config.json"
    config.write_text(re.sub(r'"generated": [0-9.]+', '"generated": 0.987', config.read_text()))
    before = contents(out)
    for data, model, settings, said in (
        (more, tiny_model, {}, "run of data"),
        (pictures, other, {}, "threshold"),
        (pictures, tiny_model, {"part_rows": 4}, "part_rows 5"),
        (pictures, tiny_model, {"shard": Shard.parse("1/2")}, "shards 1"),
    ):
        with pytest.raises(ScoringError, match=said):
            scored(data, out, model, **settings)
    assert {name: data for name, data in contents(out).items() if not name.startswith(".work")} == before


def test_a_second_process_at_the_same_shard_is_refused(pictures, tiny_model, tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(ScoringError, match="another process is writing"):
        scored(pictures, tmp_path, tiny_model)


def test_other_data_under_the_same_names_is_refused(whole, pictures, tiny_model, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    shutil.copytree(whole, out)
    shutil.copytree(pictures, other)
    shutil.copy(pictures / "01.png", other / "08.png")
    with pytest.raises(ScoringError, match="run of data"):
        scored(other, out, tiny_model)


@pytest.mark.parametrize("bad", [["02.png"], ["00.png", "05.png", "zz-copy.png"]])
def test_an_image_at_which_something_raises_costs_its_row(whole, pictures, tiny_model, detector, tmp_path, monkeypatch, bad):
    """In the runtime, behind everything that answers damaged files; and the rest has its rows to the bit."""
    views, see = [detector._prepare(str(pictures / name)).views for name in bad], Detector._see

    def raising(self: Detector, shown: list[Any], size: int) -> Any:
        if any(np.array_equal(picture.views, view) for picture in shown for view in views):
            raise RuntimeError("no such shape")
        return see(self, shown, size)

    monkeypatch.setattr(Detector, "_see", raising)
    summary = scored(pictures, tmp_path / "out", tiny_model)
    wrong = {row["key"] for row in rows_of(whole) if row["sha256"] in {sha256_file(pictures / name) for name in bad}}
    assert (summary.inputs, summary.failed) == (16, 2 + len(wrong))
    for row, expected in zip(rows_of(tmp_path / "out"), rows_of(whole), strict=True):
        if row["key"] in wrong:
            assert row["error"] == f"{pictures / row['key']}: cannot be scored (RuntimeError: no such shape); leave it out"
        else:
            assert row == expected


def test_a_model_that_can_score_nothing_ends_the_run(pictures, tiny_model, tmp_path, monkeypatch):
    def broken(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Detector, "_see", broken)
    with pytest.raises(ScoringError, match=r"cannot score a plain picture \(RuntimeError: out of memory\)"):
        scored(pictures, tmp_path / "out", tiny_model)


def test_what_is_left_out_is_named_and_ends_with_1(run, pictures, tiny_model, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(pictures / "00.png", data / "photo")
    shutil.copy(pictures / "01.png", data / "1.png")
    (data / "notes.txt").write_text("nothing")
    code, _, err = run("score", "--data", data, "--out", tmp_path / "one", "--model", tiny_model)
    assert (code, err.count("left out: ")) == (0, 1)
    shutil.make_archive(str(data / "more"), "gztar", pictures)
    code, _, err = run("score", "--data", data, "--out", tmp_path / "two", "--model", tiny_model)
    assert code == 1
    assert f"left out: shards, or the rest of them (1): {data}/more.tar.gz (is compressed" in err
    assert [row["key"] for row in rows_of(tmp_path / "two")] == ["1.png", "photo"]
    code, _, err = run("detect", data, "--model", tiny_model)
    assert code == 1
    assert f"{data}/more.tar.gz" in err


def test_an_empty_folder_is_refused(tiny_model, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no images"):
        scored(tmp_path / "empty", tmp_path / "out", tiny_model)


def _as_tar(pictures: Path, target: Path) -> Path:
    with tarfile.open(target / "a.tar", "w") as tar:
        for file in sorted(pictures.iterdir()):
            tar.add(file, file.name)
    return target


def _as_parquet(pictures: Path, target: Path) -> Path:
    images = [{"bytes": file.read_bytes(), "path": file.name} for file in sorted(pictures.iterdir())]
    pq.write_table(pa.table({"image": images}), target / "a.parquet", row_group_size=3)
    return target


def _as_manifest(pictures: Path, target: Path) -> Path:
    (target / "manifest.csv").write_text("path\n" + "".join(f"{file}\n" for file in sorted(pictures.iterdir())))
    return target


@pytest.mark.parametrize("written", [_as_tar, _as_parquet, _as_manifest])
def test_shards_and_manifests_give_the_rows_of_the_folder(whole, pictures, tiny_model, tmp_path, written):
    data = tmp_path / "data"
    data.mkdir()
    assert scored(written(pictures, data), tmp_path / "out", tiny_model) == Summary(16, 14, 2, 2, 4)
    told = ("sha256", "logit", "score", "verdict", "warnings")
    assert [[row[name] for name in told] for row in rows_of(tmp_path / "out")] == [[row[name] for name in told] for row in rows_of(whole)]


def test_the_command_says_what_failed_and_ends_with_1(run, pictures, tiny_model, tmp_path):
    code, _, err = run("score", "--data", pictures, "--out", tmp_path / "out", "--model", tiny_model)
    assert code == 1
    assert err.count("not scored: ") == 2
    assert "16 rows" in err
    assert "2 with the bytes of an earlier image" in err


def test_progress_counts_from_where_the_run_was_left():
    console = Console(file=io.StringIO())
    with ScoringProgress(console, total=10, done=4) as progress:
        assert progress.line(1) == "4 of 10, 0.0 images/s, no end in sight"
        for _ in range(3):
            progress.advance()
        assert progress.line(2) == "7 of 10, 1.5 images/s, 0:00:02 left"


def test_what_a_kill_between_part_and_journal_leaves_is_deleted(tmp_path):
    """The part is renamed into place first, its journal deleted after that."""
    output = Output(tmp_path, "", {})
    output.part(0).touch()
    finished, begun = (resumable_parquet.partial_file(output.part(number)) for number in (0, 1))
    for left in (finished, begun):
        left.touch()
    output.delete_leftovers()
    assert not finished.exists()
    assert begun.exists()
