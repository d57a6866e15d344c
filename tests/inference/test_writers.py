"""Rows arrive as they were, in every kind of file, and a file name cannot break them."""

import csv
import json
import re

import pyarrow.parquet as pq
import pytest

from dgsnet.core.errors import DgsnetError
from dgsnet.inference.parquet_writer import SCHEMA
from dgsnet.inference.verdict import COLUMNS, Verdict
from dgsnet.inference.writers import TerminalTable, open_sink, printable
from dgsnet.provenance import Provenance

ODD = "odd\udcff.png"  # what Python makes of a file name that is no UTF-8
VERDICTS = [
    Verdict("a.png", "0f", 0.1 + 0.2, -1e-17, "real", ["low_resolution", "other"], 640, 480, "PNG", "tiny"),
    Verdict('日本, "naïve"\n.jpg', "1e", 1.0, 800.0, "ai-generated", [], 32, 32, "JPEG", "tiny"),
    Verdict("[red]x[/].jpg", score=0.5, verdict="inconclusive", model="tiny"),
    Verdict(None, model="tiny", error="bytes: is empty"),
]


def write(target, verdicts):
    with open_sink(target) as sink:
        for verdict in verdicts:
            sink.write(verdict)
    return target


def test_json_lines_give_verdicts_back(tmp_path):
    lines = write(tmp_path / "deep" / "rows.jsonl", [*VERDICTS, Verdict(ODD)]).read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    assert [Verdict(**json.loads(line)) for line in lines] == [*VERDICTS, Verdict(ODD)]
    assert "日本" in lines[1]


def test_csv_gives_rows_back(tmp_path):
    with write(tmp_path / "rows.CSV", VERDICTS).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(COLUMNS)
    for row, verdict in zip(rows, VERDICTS, strict=True):
        expected = {name: "" if value is None else str(value) for name, value in verdict.as_dict().items()}
        assert row == expected | {"warnings": ";".join(verdict.warnings)}


@pytest.mark.parametrize("group", [1, 3, 1024])
def test_parquet_gives_verdicts_back(tmp_path, monkeypatch, group):
    monkeypatch.setattr("dgsnet.inference.parquet_writer._ROW_GROUP", group)
    table = pq.read_table(write(tmp_path / "rows.parquet", VERDICTS))
    assert table.schema.equals(SCHEMA)
    assert SCHEMA.names == list(COLUMNS)
    assert [Verdict(**row) for row in table.to_pylist()] == VERDICTS


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_file_name_that_is_no_utf8_is_shown_escaped(tmp_path, name):
    target = write(tmp_path / name, [Verdict(ODD), Verdict("a")])
    paths = pq.read_table(target)["path"].to_pylist() if target.suffix == ".parquet" else target.read_text().split(",")
    assert any(r"odd\udcff.png" in path for path in paths)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_no_rows_are_an_empty_file(tmp_path, name):
    target = write(tmp_path / name, [])
    assert target.exists()
    if target.suffix == ".parquet":
        assert pq.read_table(target).num_rows == 0


@pytest.mark.parametrize("name", ["rows.txt", "rows", "rows.json"])
def test_another_ending_is_refused_before_anything_is_made(tmp_path, name):
    with pytest.raises(DgsnetError, match=r"\.jsonl, \.csv, \.parquet"):
        open_sink(tmp_path / "new" / name)
    assert not (tmp_path / "new").exists()


def test_parquet_is_whole_or_absent(tmp_path):
    def interrupted():
        yield VERDICTS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "rows.parquet", interrupted())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "head"), [("rows.jsonl", 0), ("rows.csv", 1)])
def test_text_rows_are_on_disk_one_by_one(tmp_path, name, head):
    with open_sink(tmp_path / name) as sink:
        for number in range(1, 4):
            sink.write(VERDICTS[0])
            assert len((tmp_path / name).read_text().splitlines()) == number + head


def shown(capsys, verdicts):
    table = TerminalTable()
    for verdict in verdicts:
        table.write(verdict)
    table.show()
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


def test_a_piped_table_has_one_line_an_image(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    long = "folder/" * 40 + "x.jpg"
    lines = shown(capsys, [*VERDICTS, Verdict(long, error=f"{long}: no such file"), Verdict(ODD)])
    assert lines[0].split() == ["image", "verdict", "score", "notes"]
    assert re.fullmatch(r"a\.png +real +0\.300 +low_resolution, other *", lines[1])
    assert lines[2].startswith(r'日本, "naïve"\n.jpg ')
    assert re.fullmatch(r"\[red\]x\[/\]\.jpg +inconclusive +0\.500 *", lines[3])
    assert re.fullmatch(r"- +not scored +- +bytes: is empty *", lines[4])
    assert re.fullmatch(rf"{long} +not scored +- +no such file *", lines[5])
    assert lines[6].startswith(r"odd\udcff.png ")
    assert len(lines) == 7


def test_a_narrow_terminal_folds_and_loses_nothing(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("FORCE_COLOR", "1")
    name = "[bold]" + "n" * 30 + "[/bold].jpg"
    lines = shown(capsys, [Verdict(name, score=0.25, verdict="ai-generated", warnings=["low_resolution"])])
    assert max(len(line) for line in lines) <= 50
    verdict_column = lines[0].index("verdict")
    assert "".join(line[:verdict_column].strip() for line in lines[1:]) == name
    assert "ai-generated  0.250" in lines[1]


def test_control_characters_do_not_reach_the_terminal():
    assert printable("a\x1b[2J\nb\udcff é 日本") == r"a\x1b[2J\nb\udcff é 日本"


CLAIMS = ("generated", "ai-edited", "edited", "camera", "scanner")


@pytest.mark.parametrize(
    ("verdict", "says", "agrees"),
    [
        ("real", ["generated"], False),
        ("real", ["generated", "camera"], False),
        ("real", ["camera"], True),
        ("real", ["ai-edited", "camera"], True),
        ("real", ["ai-edited"], None),
        ("real", ["edited"], None),
        ("real", [], None),
        ("ai-generated", ["camera"], False),
        ("ai-generated", ["edited", "camera"], False),
        ("ai-generated", ["ai-edited", "camera"], None),
        ("ai-generated", ["generated"], True),
        ("ai-generated", ["generated", "camera"], True),
        ("ai-generated", ["scanner"], None),
        ("ai-generated", [], None),
        *((None, [claim], None) for claim in CLAIMS),
        *(("inconclusive", [claim], None) for claim in CLAIMS),
    ],
)
def test_whether_pixels_and_file_agree(verdict, says, agrees, tmp_path, capsys):
    row = Verdict("a", verdict=verdict, provenance=Provenance(says=says))
    assert row.as_dict(provenance=True)["provenance"] == {
        "summary": Provenance().summary, "says": says, "signature": "none", "signer": "none", "findings": [], "agrees": agrees,
    }  # fmt: skip
    assert "provenance" not in row.as_dict()
    assert Verdict("a", verdict=verdict).as_dict(provenance=True)["provenance"] is None
    table = TerminalTable(provenance=True)
    table.write(row)
    table.show()
    assert ("contradiction" in capsys.readouterr().out) is (agrees is False)
    with open_sink(tmp_path / "rows.parquet", provenance=True) as sink:
        sink.write(row)
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == [row.as_dict(provenance=True)]
