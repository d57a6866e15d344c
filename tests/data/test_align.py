"""Aligned images tell nothing by their files; the same data gives the same bytes, whole or after a kill; nothing is lost in silence."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from PIL.ExifTags import Base
from PIL.JpegImagePlugin import JpegImageFile

from dgsnet.core.errors import DatasetError
from dgsnet.data.align import Settings, align
from dgsnet.data.dataset import load_dataset
from dgsnet.evaluation.audit import audit
from dgsnet.images.decode import decode
from tests.support.pictures import textured

SETTINGS = Settings(size=64)


def save(file, pixels, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **options)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """20 + 20 pictures of one kind: photographs as JPEG of assorted sizes and qualities with EXIF, generated ones as square PNG."""
    root = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[Base.Make] = "Camera"
    for number in range(20):
        height, width = rng.integers(96, 140, 2)
        photograph = textured(rng, fake=False, side=140)[:height, :width]
        options = {"quality": int(rng.integers(50, 96)), "exif": exif, "comment": b"holiday"}
        save(root / f"real/camera{number % 2}/{number}.jpg", photograph, **options)
        save(root / f"fake/net{number % 2}/{number}.png", textured(rng, fake=False, side=128))
    return root


def rows_of(file):
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def content(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_aligned_files_are_all_alike_and_the_audit_finds_nothing(raw, tmp_path):
    before = audit(load_dataset(raw), tmp_path / "before")
    result = align(load_dataset(raw), tmp_path / "aligned", SETTINGS)
    aligned = load_dataset(tmp_path / "aligned")
    assert (result["real"]["kept"], result["fake"]["kept"], len(aligned)) == (20, 20, 40)
    for sample in aligned:
        with JpegImageFile(tmp_path / "aligned" / sample.path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 64))
            assert decode(aligned.read(sample)).jpeg_quality == 95
            assert {layer[1:3] for layer in image.layer} == {(1, 1)}  # 4:4:4
            assert not image.getexif()
            assert not image.info.keys() & {"comment", "icc_profile", "exif", "xmp"}
    after = audit(aligned, tmp_path / "after")
    assert before["shortcut_auc"] > 0.95
    assert after["shortcut_auc"] <= 0.65  # 20 + 20: luck alone exceeds 0.65 once in twenty times


def test_the_manifest_keeps_what_is_known_and_names_tell_nothing(tmp_path):
    rng = np.random.default_rng(2)
    lines: list[list[Any]] = [["path", "label", "split", "source", "generator", "caption", "group"]]
    for number in range(4):
        save(tmp_path / f"in/{number}.png", textured(rng, fake=False, side=128))
        lines.append([f"{number}.png", number % 2, "val", f"s{number}", "", f"a, {number}", "twins"])
    with (tmp_path / "in/manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(lines)
    align(load_dataset(tmp_path / "in"), tmp_path / "out", SETTINGS)
    aligned = load_dataset(tmp_path / "out")
    facts = sorted((sample.label, sample.split, sample.source, sample.caption, sample.group) for sample in aligned)
    assert facts == sorted((number % 2, "val", f"s{number}", f"a, {number}", "twins") for number in range(4))
    assert [sample.path for sample in aligned] == sorted(sample.path for sample in aligned)
    assert all(sample.path.startswith("images/") and "real" not in sample.path for sample in aligned)


def test_files_depend_on_content_and_seed_alone(raw, tmp_path):
    moved = tmp_path / "moved"
    for number, file in enumerate(sorted(raw.rglob("*.*"))[::-1]):
        label = "real" if "real" in file.parts else "fake"
        (moved / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, moved / label / f"{number}{file.suffix}")
    for name, data, settings in (("a", raw, SETTINGS), ("b", moved, SETTINGS), ("c", raw, Settings(size=64, seed=1))):
        align(load_dataset(data), tmp_path / name, settings)
    images = [{path for path in content(tmp_path / name) if path.startswith("images")} for name in "abc"]
    assert images[0] == images[1]
    assert not images[0] & images[2]


def test_after_kill_9_the_same_call_does_the_rest(raw, tmp_path):
    align(load_dataset(raw), tmp_path / "whole", SETTINGS)
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "dgsnet", "align", str(raw), "--out", str(out), "--size", "64"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(out.glob("images/*/*.jpg"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    first = {file: file.stat().st_mtime_ns for file in out.glob("images/*/[!.]*.jpg")}
    assert len(first) >= 3
    result = align(load_dataset(raw), out, SETTINGS)
    written = {path: data for path, data in content(out).items() if not path.endswith(".part")}
    assert written.keys() == content(tmp_path / "whole").keys()
    assert {path: data for path, data in written.items() if ".aligned" not in path} == {
        path: data for path, data in content(tmp_path / "whole").items() if ".aligned" not in path
    }
    redone = sum(file.stat().st_mtime_ns != then for file, then in first.items())
    assert redone <= 1  # the one that was written and not yet noted
    assert result["real"]["kept"] == 20


def test_other_settings_need_another_folder(raw, tmp_path):
    align(load_dataset(raw), tmp_path, SETTINGS)
    with pytest.raises(DatasetError, match="begun with"):
        align(load_dataset(raw), tmp_path, Settings(size=64, quality=90))


@pytest.fixture
def mixed(tmp_path):
    """What collections hold besides: a broken file, one that is too small, copies under one label, in two splits, under both labels."""
    rng = np.random.default_rng(5)
    root = tmp_path / "mixed"
    for name in ("train/real/a", "train/fake/b", "test/fake/c", "train/real/both"):
        save(root / f"{name}.png", textured(rng, fake=False, side=128))
    save(root / "train/fake/tiny.png", textured(rng, fake=False, side=48))
    save(root / "train/real/close.png", textured(rng, fake=False, side=66))
    (root / "train/real/broken.jpg").write_bytes(b"\xff\xd8\xffno picture")
    shutil.copy(root / "train/real/both.png", root / "train/fake/both.png")
    shutil.copy(root / "test/fake/c.png", root / "train/fake/c.png")
    with Image.open(root / "train/real/a.png") as image:
        image.save(root / "train/fake/again.jpg", quality=70)
    return root


def test_what_is_left_out_is_named_with_its_reason(mixed, tmp_path, run):
    code, out, err = run("align", mixed, "--out", tmp_path / "out", "--size", "64")
    assert code == 1
    assert "train/real/broken.jpg" in err
    skipped = {row["original"]: row for row in rows_of(tmp_path / "out/skipped.csv")}
    assert {path: row["kind"] for path, row in skipped.items()} == {
        "train/real/broken.jpg": "unreadable",
        "train/fake/tiny.png": "too small",
        "train/real/both.png": "duplicate",
        "train/fake/both.png": "duplicate",
        "train/fake/c.png": "duplicate",  # the copy in the test split stays
    }
    assert "48 pixels" in skipped["train/fake/tiny.png"]["reason"]
    assert "other label" in skipped["train/fake/both.png"]["reason"]
    kept = {row["original"]: row for row in rows_of(tmp_path / "out/manifest.csv")}
    assert kept.keys() == {"train/real/a.png", "train/fake/b.png", "test/fake/c.png", "train/real/close.png", "train/fake/again.jpg"}
    assert kept["train/real/close.png"]["scale"] == "1.0"
    result = json.loads((tmp_path / "out/align.json").read_text())
    assert result["real"] | {"median_factor": 0} == {
        "kept": 2,
        "unscaled": 1,
        "median_factor": 0,
        "skipped": {"unreadable": 1, "too small": 0, "duplicate": 1},
    }
    assert result["duplicates"]["near"]["across_labels"] == 1
    assert "1 times the same picture across labels" in err
    assert "2 aligned" in out


def test_files_that_give_the_same_crop_stand_in_the_manifest_once(tmp_path):
    pixels, flat = textured(np.random.default_rng(7), fake=False, side=64), np.full((64, 64, 3), 128, np.uint8)
    for name, text in (("train/real/a", "one"), ("test/real/b", "other")):
        save(tmp_path / f"in/{name}.png", pixels, pnginfo=said(text))
    for name, text in (("train/real/c", "one"), ("train/fake/d", "other")):
        save(tmp_path / f"in/{name}.png", flat, pnginfo=said(text))
    save(tmp_path / "in/train/fake/e.png", textured(np.random.default_rng(8), fake=True, side=64))
    align(load_dataset(tmp_path / "in"), tmp_path / "out", SETTINGS)
    assert len(load_dataset(tmp_path / "out")) == 2
    assert {row["original"] for row in rows_of(tmp_path / "out/manifest.csv")} == {"test/real/b.png", "train/fake/e.png"}
    skipped = {row["original"]: row["reason"] for row in rows_of(tmp_path / "out/skipped.csv")}
    assert skipped["train/real/a.png"] == "same crop as test/real/b.png"
    assert "train/real/c.png, which has the other label" in skipped["train/fake/d.png"]


def said(text):
    """Metadata that say something."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text)
    return info


def test_the_exif_turn_is_applied_and_transparency_is_white(tmp_path):
    pixels = np.zeros((96, 128, 3), np.uint8)
    pixels[:48] = 255
    exif = Image.Exif()
    exif[Base.Orientation] = 6  # the top of the stored picture is the right side
    save(tmp_path / "in/real/a.jpg", pixels, quality=95, exif=exif)
    save(tmp_path / "in/fake/b.png", np.zeros((96, 96, 4), np.uint8))
    align(load_dataset(tmp_path / "in"), tmp_path / "out", Settings(size=95, downscale=1))
    kept = {row["label"]: decode(tmp_path / "out" / row["path"]).pixels for row in rows_of(tmp_path / "out/manifest.csv")}
    assert kept["0"][:, 60:].min() > 200
    assert kept["0"][:, :40].max() < 60
    assert kept["1"].min() > 250


def test_factors_are_of_one_range_for_both_labels(tmp_path):
    rng = np.random.default_rng(6)
    for number in range(12):
        save(tmp_path / f"in/real/{number}.png", textured(rng, fake=False, side=400))
        save(tmp_path / f"in/fake/{number}.png", textured(rng, fake=False, side=80))
    result = align(load_dataset(tmp_path / "in"), tmp_path / "out", SETTINGS)
    factors = {label: [float(row["scale"]) for row in rows_of(tmp_path / "out/manifest.csv") if row["label"] == label] for label in "01"}
    assert result["factors"] == {"low": 0.8, "high": 0.9}  # what 80 pixels leave room for, though 400 would allow 0.5
    assert all(0.8 <= factor <= 0.9 for label in "01" for factor in factors[label])
    assert len(set(factors["0"])) == 12


def test_png_holds_the_pixels_of_the_crop(tmp_path, raw):
    align(load_dataset(raw), tmp_path, Settings(size=96, format="png", downscale=1))
    row = next(row for row in rows_of(tmp_path / "manifest.csv") if row["label"] == "1")
    crop, whole = decode(tmp_path / row["path"]), decode(raw / row["original"]).pixels
    assert crop.format == "PNG"
    windows = np.lib.stride_tricks.sliding_window_view(whole, (96, 96, 3))[:, :, 0]
    assert (windows[..., 0, 0, :] == crop.pixels[0, 0]).all(-1).any()
    assert any((window == crop.pixels).all() for line in windows for window in line)


def test_nothing_to_align_is_an_error(tmp_path, raw):
    with pytest.raises(DatasetError, match="no image could be aligned"):
        align(load_dataset(raw), tmp_path, Settings(size=512))
    with pytest.raises(DatasetError, match="cannot scale down"):
        Settings(downscale=0.95)
    assert len(rows_of(tmp_path / "skipped.csv")) == 40
