"""From a list of images to crops: repositories are cloned at their commit, and what is missing is named."""

import csv
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studies.common import image_list
from studies.corpus import __main__ as corpus
from studies.more_sources.crops import crops
from tools import clone_sources

ROOT = Path(__file__).parents[2]
COLUMNS = ("label", "source", "generator", "repo", "commit", "path", "license", "sha256", "related", "batch")


def git(folder: Path, *command: str) -> str:
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.invalid")
    return subprocess.run(["git", "-C", str(folder), *identity, *command], check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "pictures")
    return git(folder, "rev-parse", "HEAD")


def write(file: Path, rows: list[dict[str, str]]) -> Path:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """Two repositories OWNER/NAME, each with a photograph and a later commit that takes it away."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("ann/album", "bob/renders")):
        folder = tmp_path / "remote" / name
        folder.mkdir(parents=True)
        git(folder, "init", "-q")
        Image.fromarray(rng.integers(0, 256, (300 + number, 420, 3), np.uint8)).save(folder / "one.png")
        Image.fromarray(rng.integers(0, 256, (100, 100, 3), np.uint8)).save(folder / "small.png")
        (folder / ".commit").write_text("")
        commit(folder)
    return tmp_path / "remote"


@pytest.fixture
def listed(remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Two pictures and one that is too small to be cropped, in the list that the studies read."""
    rows = []
    for label, (repo, path) in enumerate((("ann/album", "one.png"), ("bob/renders", "one.png"), ("bob/renders", "small.png"))):
        sha256 = hashlib.sha256((remote / repo / path).read_bytes()).hexdigest()
        values = (str(min(label, 1)), repo.partition("/")[2], "", repo, git(remote / repo, "rev-parse", "HEAD"), path, "", sha256, "0", "1")
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    for repo in ("ann/album", "bob/renders"):
        (remote / repo / "one.png").unlink()
        commit(remote / repo)  # what is listed is not the newest
    monkeypatch.setattr(image_list, "LISTED", write(tmp_path / "list.csv", rows))
    return rows


def clone(folder: Path, file: Path, remote: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.clone_sources", str(folder), "--list", str(file), "--remote", f"file://{remote}/"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)


def test_listed_pictures_are_cloned_and_cropped(remote, listed, tmp_path, capsys):
    repositories, out = tmp_path / "repositories", tmp_path / "more"
    assert clone(repositories, image_list.LISTED, remote).returncode == 0
    crops(repositories, out, "1")
    with (out / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["label"], row["source"]) for row in rows] == [("0", "album"), ("1", "renders")]
    assert [row["path"] for row in rows] == [image_list.crop_path(row) for row in listed[:2]]
    assert all(Image.open(out / row["path"]).size == (256, 256) for row in rows)
    assert "small.png: 100x100 pixels are too few" in capsys.readouterr().out
    first = (out / rows[0]["path"]).read_bytes()
    (out / rows[0]["path"]).unlink()
    crops(repositories, out, "1")
    assert (out / rows[0]["path"]).read_bytes() == first, "a crop depends on the picture alone"


def test_a_second_clone_goes_on(remote, listed, tmp_path):
    repositories = tmp_path / "repositories"
    repo, at = listed[0]["repo"], listed[0]["commit"]
    assert clone_sources.clone(repositories, repo, at, f"file://{remote}/") is None
    done = clone(repositories, image_list.LISTED, remote)
    assert (done.returncode, "1 of 2 repositories are there" in done.stderr) == (0, True)


def test_a_repository_that_cannot_be_had_is_named(remote, listed, tmp_path):
    file = write(tmp_path / "other.csv", [*listed, listed[0] | {"repo": "eve/gone"}])
    done = clone(tmp_path / "repositories", file, remote)
    assert done.returncode == 1
    assert "1 of 3 cannot be had" in done.stderr
    assert f"eve/gone at {listed[0]['commit']}: " in done.stderr
    assert image_list.has_commit(tmp_path / "repositories" / "ann/album", listed[0]["commit"])


def test_crops_name_the_repositories_that_are_missing(remote, listed, tmp_path):
    repositories = tmp_path / "repositories"
    clone_sources.clone(repositories, "ann/album", listed[0]["commit"], f"file://{remote}/")
    with pytest.raises(SystemExit, match=r"lacks 1 of 2 repositories at the commits that are listed: bob/renders\n.*clone_sources"):
        crops(repositories, tmp_path / "more", "1")
    assert not (tmp_path / "more").exists()


def test_a_folder_inside_another_repository_is_no_clone(remote, tmp_path):
    (remote / "ann/album" / "inside").mkdir()
    head = git(remote / "ann/album", "rev-parse", "HEAD")
    assert image_list.has_commit(remote / "ann/album", head)
    assert not image_list.has_commit(remote / "ann/album" / "inside", head)


def test_a_file_that_is_not_the_listed_one_stops_the_crops(remote, listed, tmp_path, monkeypatch):
    monkeypatch.setattr(image_list, "LISTED", write(tmp_path / "changed.csv", [listed[0] | {"sha256": "0" * 64}]))
    clone_sources.clone(tmp_path / "repositories", "ann/album", listed[0]["commit"], f"file://{remote}/")
    with pytest.raises(SystemExit, match=r"ann/album: one\.png is not the file that was listed"):
        crops(tmp_path / "repositories", tmp_path / "more", "1")


def test_the_corpus_is_rebuilt_from_its_manifest(tmp_path, monkeypatch):
    folder = tmp_path / "repositories" / "ann/sheets"
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    sheet = np.zeros((1024, 1024, 3), np.uint8)
    sheet[:512, 512:] = 200  # column 1, row 0
    Image.fromarray(sheet).save(folder / "sheet.png")
    head, sha1 = commit(folder), hashlib.sha1((folder / "sheet.png").read_bytes()).hexdigest()  # noqa: S324 - as the manifest has it
    row = {"label": "1", "split": "train", "source": "sheets", "repo": "ann/sheets", "commit": head, "sha256": "unlike this one"}
    rows = [
        {"path": "train/whole.jpg", "repo_path": "sheet.png", "sha1": sha1} | row,
        {"path": "train/tile.jpg", "repo_path": "sheet.png#tile10", "sha1": "12" * 20} | row,
    ]
    monkeypatch.setattr(corpus, "MANIFEST", write(tmp_path / "manifest.csv", rows))
    corpus.rebuild(tmp_path / "repositories", tmp_path / "corpus")
    with (tmp_path / "corpus" / "manifest.csv").open(newline="") as stream:
        made = list(csv.DictReader(stream))
    assert made == [{name: value for name, value in row.items() if name != "sha256"} for row in rows]
    tile = np.asarray(Image.open(tmp_path / "corpus" / "train/tile.jpg"))
    assert (tile.shape, int(tile.min()) > 190) == ((256, 256, 3), True)


def test_the_committed_lists_name_a_commit_and_a_hash_of_every_image():
    with corpus.MANIFEST.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3444
    assert all(len(row["commit"]) == 40 and len(row["sha1"]) == 40 and len(row["sha256"]) == 64 for row in rows)
    assert len({row["path"] for row in rows}) == 3444
    listed = image_list.listed()
    assert {row["related"] for row in listed} == {"0", "1"}
    assert all(len(row["commit"]) == 40 and len(row["sha256"]) == 64 for row in listed)
    assert len(clone_sources.wanted(clone_sources.LISTS)) == len({(row["repo"], row["commit"]) for row in [*rows, *listed]}) == 414
