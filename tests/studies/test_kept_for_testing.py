"""No list of training images holds one that is kept for testing."""

import csv
from pathlib import Path

import pytest

from dgsnet.core.files import sha256_bytes
from studies.common import kept_for_testing

ROOT = Path(__file__).parents[2]
LISTS = ("studies/more_sources/more_sources.csv", "studies/corpus/manifest.csv")


@pytest.mark.parametrize("name", LISTS)
def test_no_training_image_is_kept_for_testing(name):
    with (ROOT / name).open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("split", "train") == "train"]
    assert len(rows) > 1000
    assert kept_for_testing.kept_rows(rows) == []


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(kept_for_testing, "sums", lambda: frozenset({sha256_bytes(b"a picture"), sha256_bytes(b"ann/album")}))


def test_a_file_and_a_whole_repository_are_found(kept):
    rows = [
        {"repo": "bob/renders", "path": "one.png", "sha256": sha256_bytes(b"a picture")},
        {"repo": "Ann/Album", "path": "two.png", "sha256": sha256_bytes(b"another")},
        {"repo": "bob/renders", "path": "three.png", "sha256": sha256_bytes(b"a third")},
        {"path": "four.png"},
    ]
    assert kept_for_testing.kept_rows(rows) == ["bob/renders: one.png", "Ann/Album: two.png"]


def test_a_folder_and_a_list_end_with_1_where_something_is_kept(kept, tmp_path, capsys):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "other.png").write_bytes(b"another")
    with pytest.raises(SystemExit) as ended:
        kept_for_testing.main(tmp_path)
    assert ended.value.code == 0
    (tmp_path / "below" / "one.png").write_bytes(b"a picture")
    listed = tmp_path / "list.csv"
    listed.write_text(f"repo,path,sha256\nbob/renders,one.png,{sha256_bytes(b'a picture')}\n")
    for given in (tmp_path, listed):
        with pytest.raises(SystemExit) as ended:
            kept_for_testing.main(given)
        assert ended.value.code == 1
        assert "1 of" in capsys.readouterr().out.splitlines()[-2]
