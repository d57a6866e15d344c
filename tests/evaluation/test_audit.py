"""Each column is measured on files made by hand; the audit finds the flaw it is given, and no other; copies are found across labels."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image, ImageDraw, PngImagePlugin
from PIL.ExifTags import Base

from dgsnet.core.append_log import ResultStore
from dgsnet.core.errors import DatasetError, DecodeError
from dgsnet.data import duplicates
from dgsnet.data.dataset import load_dataset
from dgsnet.evaluation.audit import audit, classifier
from dgsnet.evaluation.audit.columns import COLUMNS, Column, measure
from dgsnet.reports import audit_page
from tests.support.pictures import textured


def encoded(pixels, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def picture():
    return textured(np.random.default_rng(3), fake=False, side=192)


@pytest.fixture(scope="module")
def detailed():
    """Enough texture for a compression to leave something to find."""
    rng = np.random.default_rng(4)
    coarse = Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)).resize((256, 256), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(coarse) * 0.8 + 24 + rng.normal(0, 4, (256, 256, 1)), 2, 253).astype(np.uint8)


def test_measures_the_container_and_the_size(picture):
    png, jpeg = measure(encoded(picture[:160, :128], "PNG")), measure(encoded(picture[:101], "JPEG"))
    assert (png["container"], png["width"], png["height"], png["aspect"], png["square"]) == ("PNG", 128, 160, 0.8, False)
    assert (png["multiple_of_8"], png["multiple_of_16"], png["multiple_of_64"]) == (True, True, False)
    assert png["jpeg_quality"] is png["quantisation"] is png["chroma_subsampling"] is png["bytes_over_reencoded"] is None
    assert (jpeg["container"], jpeg["multiple_of_8"]) == ("JPEG", False)
    assert measure(encoded(picture[:, :, 0], "PNG"))["colour_mode"] == "L"
    assert png.keys() >= {column.name for column in COLUMNS}


def test_measures_how_a_jpeg_was_encoded(picture):
    for quality, subsampling, words in ((60, 2, "4:2:0"), (95, 0, "4:4:4"), (80, 1, "4:2:2")):
        row = measure(encoded(picture, "JPEG", quality=quality, subsampling=subsampling))
        assert (row["jpeg_quality"], row["chroma_subsampling"]) == (quality, words)
        assert row["bytes_over_reencoded"] == 0  # the same encoder
        assert not row["progressive"]
    assert measure(encoded(picture, "JPEG", progressive=True))["progressive"]
    assert measure(encoded(picture[:, :, 0], "JPEG"))["chroma_subsampling"] == "grey"
    tables = [measure(encoded(picture, "JPEG", quality=quality))["quantisation"] for quality in (60, 60, 61)]
    assert tables[0] == tables[1] != tables[2]


def test_bytes_beyond_the_picture_show_against_the_same_encoder(picture):
    plain = encoded(picture, "JPEG")
    assert measure(plain + b"\0" * len(plain))["bytes_over_reencoded"] == 1  # an octave
    assert (
        measure(encoded(picture, "WEBP", quality=20))["bytes_over_reencoded"]
        < measure(encoded(picture, "WEBP", quality=80))["bytes_over_reencoded"]
    )


def test_measures_metadata(picture):
    bare = measure(encoded(picture, "JPEG"))
    assert not any(bare[name] for name in ("exif", "camera", "icc", "xmp", "text", "generator_mark"))
    exif = Image.Exif()
    exif[Base.Make] = "Camera"
    full = measure(encoded(picture, "JPEG", exif=exif, icc_profile=b"p" * 200, xmp=b"<x:xmpmeta/>", comment=b"a comment"))
    assert all(full[name] for name in ("exif", "camera", "icc", "xmp", "text"))
    assert full["mark"] is None
    assert not full["generator_mark"]


def test_names_the_generator_that_metadata_name(picture):
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cat\nSteps: 20")
    row = measure(encoded(picture, "PNG", pnginfo=text))
    assert (row["text"], row["generator_mark"], row["mark"]) == (True, True, "Stable Diffusion web UI")
    text = PngImagePlugin.PngInfo()
    text.add_itxt("Description", "made with Midjourney --v 6")
    assert measure(encoded(picture, "PNG", pnginfo=text))["mark"] is None  # what people write of a picture is no mark
    exif = Image.Exif()
    exif[Base.Software] = "Adobe Firefly"
    assert measure(encoded(picture, "JPEG", exif=exif))["mark"] == "Adobe Firefly"
    xmp = b"<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia</>"
    assert measure(encoded(picture, "JPEG", xmp=xmp))["mark"] == "trainedAlgorithmicMedia"
    exif[Base.Software] = "Adobe Photoshop 25"
    assert measure(encoded(picture, "JPEG", exif=exif))["mark"] is None


def test_settings_in_make_and_model_are_no_camera(picture):
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Model] = 'workflow:{"nodes": []}', 'prompt:{"3": {"class_type": "KSampler"}}'
    row = measure(encoded(picture, "WEBP", exif=exif))
    assert (row["exif"], row["camera"], row["mark"]) == (True, False, "ComfyUI")
    exif[Base.Make], exif[Base.Model] = "Canon", "EOS R5"
    row = measure(encoded(picture, "WEBP", exif=exif))
    assert (row["exif"], row["camera"], row["mark"]) == (True, True, None)


def test_marks_of_ones_own_are_counted(run, tmp_path):
    data = tmp_path / "data"
    exif = Image.Exif()
    exif[Base.Software] = "Ver. 1"
    for folder in ("real", "fake"):
        (data / folder).mkdir(parents=True)
        for number in range(4):
            pixels = textured(np.random.default_rng(number), fake=False, side=64)
            file = encoded(pixels, "JPEG", quality=80, **({"exif": exif} if folder == "real" else {}))
            (data / folder / f"{number}.jpg").write_bytes(file)
    table = tmp_path / "marks.toml"
    table.write_text(
        '[[mark]]\nprogram = "House camera"\nsays = "generated"\nplaces = ["exif.Software"]\nwhole = ["Ver. 1"]\nsource = "our own files"\n'
    )
    for number, more in enumerate(((), ("--marks", table))):
        run("audit", data, "--out", tmp_path / "audit", *more)
        marks = json.loads((tmp_path / "audit/audit.json").read_text())["generator_marks"]
        assert marks["real"] == (0, 4)[number]
        assert {one["mark"] for one in marks["examples"]} == (set(), {"House camera"})[number]


def test_finds_the_coloured_squares_of_dalle_2(picture):
    marked = Image.fromarray(picture).resize((512, 512))
    colours = ("#FFFF66", "#42FFFF", "#51DA4C", "#FF6E3C", "#3C46FF")
    for place, colour in enumerate(colours):
        ImageDraw.Draw(marked).rectangle((472 + 8 * place, 504, 479 + 8 * place, 511), fill=colour)
    assert measure(encoded(np.asarray(marked), "JPEG", quality=90))["corner_mark"]
    assert not measure(encoded(np.asarray(marked)[::-1], "JPEG", quality=90))["corner_mark"]


def test_measures_a_frame_and_takes_no_plain_background_for_one(picture):
    boxed = picture.copy()
    boxed[:24] = boxed[-24:] = 0
    assert measure(encoded(boxed, "PNG"))["frame"] == pytest.approx(0.25, abs=0.001)
    assert measure(encoded(boxed, "JPEG", quality=80))["frame"] == pytest.approx(0.25, abs=0.1)
    assert measure(encoded(picture, "PNG"))["frame"] == 0
    product = np.full_like(picture, 255)
    product[60:120, 80:110] = picture[60:120, 80:110]  # a thing on white
    assert measure(encoded(product, "PNG"))["frame"] == 0


def test_finds_an_earlier_compression(detailed):
    once = np.asarray(Image.open(io.BytesIO(encoded(detailed, "JPEG", quality=60, subsampling=0))))
    for data in (
        encoded(once, "PNG"),
        encoded(once, "JPEG", quality=95, subsampling=0),
        encoded(np.ascontiguousarray(once[3:, 5:]), "JPEG", quality=95, subsampling=0),
    ):
        assert measure(data)["earlier_quality"] == pytest.approx(60, abs=3)
    assert measure(encoded(detailed, "PNG"))["earlier_quality"] is None
    assert measure(encoded(detailed, "JPEG", quality=60, subsampling=0))["earlier_quality"] is None
    scaled = np.asarray(Image.fromarray(once).resize((200, 200), Image.Resampling.LANCZOS))
    assert measure(encoded(scaled, "JPEG", quality=95, subsampling=0))["earlier_quality"] is None


def test_a_broken_file_is_a_decode_error():
    with pytest.raises(DecodeError):
        measure(b"\xff\xd8\xffno picture")


LABELS = np.arange(60) % 2
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=60).tolist()


def rows(**columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def test_a_column_separates_in_whatever_way():
    number, category, flag = Column("n", "number", ""), Column("c", "category", ""), Column("f", "flag", "")
    middle = [RNG.choice([1.0, 3.0]) if label else 2.0 for label in LABELS]  # neither larger nor smaller
    assert classifier.single_auc(middle, number, LABELS) > 0.99
    assert classifier.single_auc([None if label else 5.0 for label in LABELS], number, LABELS) > 0.99
    assert classifier.single_auc([f"table {label} {n % 3}" for n, label in enumerate(LABELS)], category, LABELS) > 0.99
    assert classifier.single_auc([bool(label) for label in LABELS], flag, LABELS) > 0.99
    assert classifier.single_auc(NOISE, number, LABELS) < 0.7
    assert classifier.single_auc([1.0] * 60, number, LABELS) == 0.5
    assert classifier.single_auc([None] * 60, category, LABELS) == 0.5


def test_columns_together_find_what_none_has_alone_and_chance_is_told():
    columns = [Column("a", "number", ""), Column("b", "category", "")]
    a = RNG.integers(0, 2, 60)
    exclusive = rows(a=a.tolist(), b=[str(value) for value in a ^ LABELS])
    found = classifier.shortcut(exclusive, columns, LABELS)
    assert found["value"] > 0.9
    assert 0.5 <= found["low"] <= found["value"] <= found["high"] <= 1
    nothing = classifier.shortcut(rows(a=NOISE, b=["x"] * 60), columns, LABELS)
    assert nothing["low"] == 0.5 <= nothing["value"] < 0.75
    assert nothing["value"] == max(0.5, nothing["unclipped"])
    # twenty thousand draws of 30 against 30 by lot: what one in twenty exceeds
    draws = RNG.permuted(np.tile(np.arange(60), (20_000, 1)), axis=1)[:, :30].sum(axis=1)
    aucs = (draws - 29 * 30 / 2) / 900
    assert nothing["chance_up_to"] == pytest.approx(np.quantile(aucs, 0.95), abs=0.01)


def test_across_sources_forgets_what_only_marks_a_source():
    sources = [f"{label} {number // 2 % 5}" for number, label in enumerate(LABELS)]
    width = [float(hash_of(source)) for source in sources]  # each source its own size, no order among labels
    columns, table = [Column("width", "number", "")], rows(width=width)
    assert classifier.shortcut(table, columns, LABELS)["value"] > 0.9
    assert classifier.across_sources(table, columns, LABELS, sources)["value"] < 0.75
    general = rows(width=[100.0 + label for label in LABELS])
    assert classifier.across_sources(general, columns, LABELS, sources)["value"] > 0.99
    few = classifier.across_sources(table, columns, LABELS, ["a" if label else "b" for label in LABELS])
    assert few["value"] is None
    assert few["folds"].startswith("none: 1 sources of photographs")


def hash_of(source):
    return {"0 0": 5, "1 0": 4, "0 1": 1, "1 1": 9, "0 2": 8, "1 2": 2, "0 3": 3, "1 3": 6, "0 4": 7, "1 4": 0}[source]


def seen(path, label, pixels, split=None, data=None):
    digest = data or path
    return duplicates.Fingerprinted(path, label, split, digest, duplicates.perceptual_hash(pixels), duplicates.thumbnail(pixels))


def test_finds_copies_across_labels_and_splits(picture):
    other = textured(np.random.default_rng(9), fake=False, side=192)
    small = np.asarray(Image.fromarray(picture).resize((120, 120)))
    again = np.asarray(Image.open(io.BytesIO(encoded(picture, "JPEG", quality=30))))
    flat = [np.full((64, 64, 3), level, np.uint8) for level in (10, 200)]
    found = duplicates.find(
        [
            seen("a", 0, picture, "train", "same"),
            seen("b", 1, picture, "train", "same"),
            seen("small", 0, small, "train"),
            seen("again", 0, again, "test"),
            seen("other", 1, other, "test"),
            seen("flat", 0, flat[0]),
            seen("bright", 1, flat[1]),
        ]
    )
    assert {key: found["exact"][key] for key in ("sets", "images", "across_labels", "across_splits")} == {
        "sets": 1,
        "images": 2,
        "across_labels": 1,
        "across_splits": 0,
    }
    assert (found["near"]["sets"], found["near"]["images"]) == (1, 4)
    assert (found["near"]["across_labels"], found["near"]["across_splits"]) == (1, 1)
    assert {one["path"] for one in found["near"]["examples"][0]} == {"a", "b", "small", "again"}
    assert duplicates.find([])["near"]["sets"] == 0


@pytest.fixture(scope="module")
def flawed(tmp_path_factory):
    """Photographs as JPEG, generated images as PNG, one of them under both labels; a name that no page may obey."""
    root = tmp_path_factory.mktemp("flawed")
    rng = np.random.default_rng(1)
    for number in range(12):
        for label, source in ((0, "camera"), (1, "<b>net")):
            pixels = textured(rng, fake=False, side=64 + 8 * int(rng.integers(3)))
            folder = root / ("fake" if label else "real") / source
            folder.mkdir(parents=True, exist_ok=True)
            ending = "png" if label else "jpg"
            (folder / f"{number}.{ending}").write_bytes(encoded(pixels, "PNG" if label else "JPEG"))
    (root / "fake/<b>net/copy.jpg").write_bytes((root / "real/camera/3.jpg").read_bytes())
    return root


def test_the_command_finds_the_flaw_and_strict_says_so(flawed, tmp_path, run):
    code, out, _ = run("audit", flawed, "--out", tmp_path)
    result = json.loads((tmp_path / "audit.json").read_text())
    assert code == 0
    assert "Columns, each alone" in (tmp_path / "audit.html").read_text()
    assert result["shortcut_auc"] == result["shortcut"]["value"] > 0.9
    assert {"name", "auc"} <= result["features"][0].keys()
    assert {feature["name"]: feature["auc"] for feature in result["features"]}["container"] > 0.9
    assert [feature["auc"] for feature in result["features"]] == sorted((feature["auc"] for feature in result["features"]), reverse=True)
    assert result["duplicates"]["exact"]["across_labels"] == 1
    assert (result["counts"]["real"], result["counts"]["fake"], result["unreadable"]) == (12, 13, [])
    assert "container" in out
    assert any("container" in line for line in result["advice"])
    assert str(flawed) not in (tmp_path / "audit.json").read_text()
    strict, _, err = run("audit", flawed, "--out", tmp_path, "--strict")
    assert strict == 2
    assert "--strict" in err


def test_the_page_needs_nothing_from_outside_and_obeys_no_name(flawed, tmp_path):
    text = audit_page.write(tmp_path, audit(load_dataset(flawed), tmp_path)).read_text()
    assert "<b>net" not in text
    assert "&lt;b&gt;net" in text
    assert not re.search(r"src=|href=|url\(|<script|@import", text)
    assert 'name="viewport"' in text
    assert "@media" in text


def test_an_unreadable_file_costs_a_row_and_a_second_run_measures_it_alone(flawed, tmp_path, run, monkeypatch):
    broken = flawed / "real/camera/broken.jpg"
    broken.write_bytes(b"\xff\xd8\xffno picture")
    try:
        code, _, err = run("audit", flawed, "--out", tmp_path)
        result = json.loads((tmp_path / "audit.json").read_text())
        assert code == 1
        assert "real/camera/broken.jpg" in err
        assert [row["path"] for row in result["unreadable"]] == ["real/camera/broken.jpg"]
        assert result["unreadable"][0]["label"] == 0
        asked = []
        monkeypatch.setattr("dgsnet.evaluation.audit.measure", lambda data, marks: asked.append(data) or measure(data, marks))
        again = audit(load_dataset(flawed), tmp_path)
        assert len(asked) == 1
        assert again == result
    finally:
        broken.unlink()


def test_labels_must_both_be_there(tmp_path, picture):
    (tmp_path / "real").mkdir()
    for number in range(3):
        (tmp_path / f"real/{number}.png").write_bytes(encoded(picture[number:], "PNG"))
    with pytest.raises(DatasetError, match="0 generated images could be read"):
        audit(load_dataset(tmp_path), tmp_path / "out")


def test_a_journal_drops_a_cut_line_and_refuses_other_settings(tmp_path):
    file = tmp_path / "journal.jsonl"
    with ResultStore(file, {"size": 1}) as journal:
        journal.put("a", {"x": 1})
        journal.put("b", 2)
    file.write_bytes(file.read_bytes()[:-3])
    with ResultStore(file, {"size": 1}) as journal:
        assert (journal.get("a"), journal.get("b")) == ({"x": 1}, None)
        journal.put("c", 3)
    with ResultStore(file, {"size": 1}) as journal:
        assert (journal.get("a"), journal.get("c")) == ({"x": 1}, 3)
    with pytest.raises(DatasetError, match="begun with"):
        ResultStore(file, {"size": 2})
    file.write_text("{\nno json\n")
    with pytest.raises(DatasetError, match="damaged"):
        ResultStore(file, {"size": 1})
