"""`dgsnet detect`: what files say of their origin, said beside the score and never part of it; hostile metadata."""

import csv
import io
import json
import struct
import tracemalloc
import zlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from PIL.ExifTags import Base

from dgsnet.images import decode
from dgsnet.provenance import CAUTION, read, read_metadata, xmp
from dgsnet.provenance.finding import EXCERPT
from dgsnet.provenance.source_type import says
from tests.support.metadata_files import SOURCE, chunk, encoded, exif_of, with_chunks, with_gif_xmp, with_iptc, with_segments

PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description xmp:CreatorTool="{tool}">'
    f"<Iptc4xmpExt:DigitalSourceType>{SOURCE}{{source}}</Iptc4xmpExt:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta>"
)
WEB_UI = "a red cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1"


def found(data):
    return {one.kind: (one.value, one.says) for one in read(data).findings}


# --- what is read, by container ---


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_reads_a_cameras_exif_in_every_container(kind):
    exif = exif_of(Make="Nikon", Model="Z 6", Software="Ver.02.00", DateTimeOriginal="2024:05:06 07:08:09", ImageDescription="Cows")
    exif[Base.Artist] = "A Person"
    if kind == "TIFF":  # whose writer takes the directory below as a tag only
        exif[0x8769] = dict(exif.get_ifd(0x8769))
    assert found(encoded(kind, exif=exif)) == {
        "exif.Make": ("Nikon", "camera"),
        "exif.Model": ("Z 6", "camera"),
        "exif.Software": ("Ver.02.00", "unknown"),
        "exif.DateTimeOriginal": ("2024:05:06 07:08:09", "unknown"),
        "exif.ImageDescription": ("Cows", "unknown"),
    }


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_reads_xmp_in_every_container(kind):
    packet = PACKET.format(tool="Adobe Photoshop 25.0", source="trainedAlgorithmicMedia").encode()
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=True)
        data = encoded(kind, pnginfo=text)
    elif kind == "TIFF":
        exif = Image.Exif()
        exif[0x02BC] = packet
        data = encoded(kind, exif=exif)
    elif kind == "GIF":
        data = with_gif_xmp(packet)
    else:
        data = encoded(kind, xmp=packet)
    assert found(data) == {
        "xmp.DigitalSourceType": (f"{SOURCE}trainedAlgorithmicMedia", "generated"),
        "xmp.CreatorTool": ("Adobe Photoshop 25.0", "edited"),
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("trainedAlgorithmicMedia", "generated"),
        (f"{SOURCE}compositeWithTrainedAlgorithmicMedia", "ai-edited"),
        (f"{SOURCE}compositeSynthetic", "ai-edited"),
        (f"{SOURCE}humanEdits", "edited"),
        ("http://c2pa.org/digitalsourcetype/trainedAlgorithmicData", "generated"),
        ("https://schema.org/TrainedAlgorithmicMediaDigitalSource", "generated"),
        ("digsrctype:negativeFilm", "scanner"),
        ("positiveFilm", "scanner"),
        (f"{SOURCE}print/", "scanner"),
        ("multiFrameComputationalCapture", "camera"),
        ("digitalCreation", "unknown"),
        ("algorithmicMedia", "unknown"),
        ("dataDrivenMedia", "unknown"),
        ("virtualRecording", "unknown"),
        ("digsrctype:digitalCapture", "camera"),
        ("screenCapture", "unknown"),
        ("", "unknown"),
    ],
)
def test_source_types_in_plain_words(value, expected):
    assert says(value) == expected


@pytest.mark.parametrize(
    "packet",
    [
        "<a b:DigitalSourceType = 'digitalCapture'/>",
        '<b:DigitalSourceType rdf:resource="digitalCapture"/>',
        "<DigitalSourceType>\n digitalCapture </DigitalSourceType>",
        "<b:DigitalSourceType rdf:parseType='Literal'>digital&#67;apture</b:DigitalSourceType>",
    ],
)
def test_xmp_in_each_of_its_spellings(packet):
    assert xmp.properties(packet) == [("Iptc4xmpExt:DigitalSourceType", "digitalCapture")]
    assert xmp.properties(xmp.text(packet.encode("utf-16"))) == [("Iptc4xmpExt:DigitalSourceType", "digitalCapture")]


def test_xmp_entities_are_not_expanded():
    packet = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><b:CreatorTool>&e;</b:CreatorTool><b:NoCreatorToolHere>x</b:N>'
    assert xmp.properties(packet) == [("xmp:CreatorTool", "&e;")]


def test_png_text_names_generators_and_is_cut_to_an_excerpt():
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", WEB_UI + "x" * 5000, zip=True)
    text.add_text("workflow", '{"nodes": []}')
    text.add_itxt("Description", "made with Midjourney --v 6")
    text.add_text("Software", "GIMP 2.10")
    text.add_text("Comment", "a\x1b[31m comment\n of two lines")
    result = found(encoded("PNG", pnginfo=text))
    assert {kind: word for kind, (_, word) in result.items()} == {
        "png.parameters": "generated",
        "png.workflow": "generated",
        "png.Description": "unknown",
        "png.Software": "edited",
        "png.Comment": "unknown",
    }
    assert result["png.parameters"][0].startswith("a red cat Negative prompt: dog Steps: 20")
    assert len(result["png.parameters"][0]) == EXCERPT
    assert result["png.Comment"][0] == "a [31m comment of two lines"


def test_settings_of_generators_that_name_no_generator():
    web_ui = encoded("JPEG", exif=exif_of(UserComment=b"UNICODE\0" + f"{WEB_UI}, \u732b".encode("utf-16-be")))
    assert found(web_ui)["exif.UserComment"][1] == "generated"
    comfy = encoded("WEBP", exif=exif_of(Make='workflow:{"nodes": []}', Model='prompt:{"3": {"class_type": "KSampler"}}'))
    assert {word for _, word in found(comfy).values()} == {"generated"}
    assert "exif.UserComment" not in found(encoded("JPEG", exif=exif_of(UserComment=b"ASCII\0\0\0of a holiday")))


def test_comments_and_iptc():
    assert found(encoded("JPEG", comment=b"Created with GIMP")) == {"comment": ("Created with GIMP", "edited")}
    assert found(encoded("GIF", comment=b"by DALL-E")) == {"comment": ("by DALL-E", "unknown")}
    data = with_iptc(ObjectName="a title", By_line="A Person", Credit="Made with Google AI")
    assert found(data) == {"iptc.Credit": ("Made with Google AI", "generated")}


def test_imagemagicks_raw_profiles():
    block = b"Exif\0\0" + exif_of(Make="Canon").tobytes().removeprefix(b"Exif\0\0")
    body = b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n%8d\n" % len(block) + block.hex().encode())
    assert found(with_chunks(chunk(b"zTXt", body))) == {"exif.Make": ("Canon", "camera")}


def test_extended_xmp_and_big_tiff():
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40
    assert found(with_segments((0xE1, head + b"<b:CreatorTool>Dream"), (0xE1, head + b"Studio</b:CreatorTool>"))) == {
        "xmp.CreatorTool": ("DreamStudio", "generated")
    }
    entry = struct.pack("<HHQ", Base.Make, 2, 12) + struct.pack("<Q", 52)
    assert found(struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, 1) + entry + b"\0" * 8 + b"Hasselblad\0\0") == {
        "exif.Make": ("Hasselblad", "camera")
    }


# --- the summary ---


def test_the_summary_names_what_is_claimed_and_always_cautions():
    nothing = read(encoded("PNG"))
    assert nothing.findings == []
    both = read(encoded("JPEG", exif=exif_of(Make="Canon"), xmp=PACKET.format(tool="GIMP", source="trainedAlgorithmicMedia").encode()))
    neither = read(encoded("JPEG", exif=exif_of(Software="Ver. 1")))
    assert "was AI-generated and was edited and came from a camera" in both.summary
    assert "no generator" in neither.summary
    assert all(one.summary.endswith(f"{CAUTION}.") for one in (nothing, both, neither, read(b""), read(b"no picture")))


def test_other_jumbf_is_no_manifest():
    assert found(with_segments((0xEB, b"JP\0\1\0\0\0\1\0\0\0\x50jumb\0\0\0\x20jumdother" + b"\0" * 40))) == {}


# --- hostile files ---


BOMB = zlib.compress(b"\0" * (20 << 20), 9)


def many_entries():
    """A directory of thousands of entries, each pointing at all of the block, as deep directories that point at themselves do."""
    number, size = 60_000, 4 << 20
    entries = b"".join(struct.pack("<HHII", tag, 2, size, 0) for tag in (Base.Make, Base.Model, 0x02BC) * (number // 3))
    return struct.pack("<2sHIH", b"II", 42, 8, number) + entries + struct.pack("<HHII", 0x8769, 4, 1, 8) + b"\0" * size


HOSTILE = {
    "bombs": lambda: with_chunks(chunk(b"zTXt", b"Comment\0\0" + BOMB) * 200),
    "xmp bombs": lambda: with_chunks(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB) * 200),
    "raw profile bombs": lambda: with_chunks(chunk(b"zTXt", b"Raw profile type exif\0\0" + BOMB) * 200),
    "small chunks": lambda: with_chunks(chunk(b"tEXt", b"") * 800_000),
    "xmp of names": lambda: with_segments(*[(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b":Make=" * 10_000)] * 40),
    "xmp of open tags": lambda: with_segments(*[(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<DigitalSourceType " * 3400)] * 40),
    "xmp of quotes": lambda: with_segments(*[(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<Model='" * 8000)] * 40),
    "small segments": lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 1_000_000,
    "fill bytes": lambda: b"\xff\xd8" + b"\xff" * (8 << 20),
    "many entries": many_entries,
    "a png of them": lambda: with_chunks(*[chunk(b"eXIf", many_entries())]),
    "iptc": lambda: with_segments(*[(0xED, b"Photoshop 3.0\0" + b"\x1c\x02\x6e\xff\xff" * 12_000)] * 40),
    "gif of sub-blocks": lambda: b"GIF89a" + b"\1\0\1\0\0\0\0" + b"\x21\xfe" + b"\1a" * 4_000_000,
    "gif of comments": lambda: b"GIF89a" + b"\1\0\1\0\0\0\0" + b"\x21\xfe\1a\0" * 1_000_000,
    "webp of chunks": lambda: b"RIFF\0\0\0\0WEBP" + b"EXIF\0\0\0\0" * 1_000_000,
    "digits": lambda: with_chunks(chunk(b"tEXt", b"parameters\0" + b"Steps: 1" * 100_000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_read_to_an_end_and_say_little(name):
    provenance = read(HOSTILE[name]())
    assert len(provenance.findings) <= 64
    assert len(json.dumps([(one.kind, one.value) for one in provenance.findings])) < 100_000


@pytest.mark.parametrize("name", ["bombs", "xmp bombs", "raw profile bombs", "a png of them"])
def test_bombs_are_not_inflated(name):
    data = HOSTILE[name]()
    tracemalloc.start()
    try:
        read_metadata(data)
        assert tracemalloc.get_traced_memory()[1] < len(data) + (48 << 20)
    finally:
        tracemalloc.stop()


def full_of_metadata(kind):
    exif = exif_of(Make="Nikon", Software="GIMP", DateTimeOriginal="2024:05:06 07:08:09", UserComment=b"UNICODE\0" + b"\0a" * 9)
    packet = PACKET.format(tool="x", source="digitalCapture").encode()
    options = {"exif": exif, "xmp": packet, "comment": b"a comment"}
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", packet.decode())
        options["pnginfo"].add_text("Comment", WEB_UI, zip=True)
        options["pnginfo"].add_itxt("Description", "of a cow", zip=True)
    return encoded(kind, **options)


WHOLE = {kind: full_of_metadata(kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF")}
BYTES = st.one_of(
    st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x80\0\0\0", b"\x7f\xff\xff\xff", b"\xff" * 8])
)
CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), BYTES, st.sampled_from(["put over", "insert", "cut"])), max_size=6)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(kind=st.sampled_from(list(WHOLE)), changes=CHANGES, length=st.floats(0, 1))
def test_damaged_metadata_raise_nothing(kind, changes, length):
    data = WHOLE[kind]
    for place, put, how in changes:
        at = int(place * min(len(data), 1200))  # metadata come first
        data = data[:at] + (b"" if how == "cut" else put) + data[at + (0 if how == "insert" else len(put)) :]
    data = data[: int(len(data) * length)] if length < 0.5 else data
    provenance = read(data)
    assert len(provenance.findings) <= 64
    assert all(len(one.value) <= EXCERPT and one.value.isprintable() and one.kind.isprintable() for one in provenance.findings)
    assert provenance == read(data)
    json.dumps([one.value for one in provenance.findings], ensure_ascii=False).encode()


# --- the command ---


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "<b>a cat</b>")
    (folder / "a.png").write_bytes(encoded("PNG", pnginfo=text))
    (folder / "b.jpg").write_bytes(encoded("JPEG"))
    (folder / "broken.png").write_bytes(b"not a picture")
    return folder


EXPECTED = {"kind": "png.parameters", "value": "<b>a cat</b>", "says": "generated"}


def test_rows_gain_one_column_and_change_in_nothing_else(run, tiny_model, pictures, tmp_path):
    common = ("detect", pictures, "--model", tiny_model, "--json")
    plain = [json.loads(line) for line in run(*common, "--no-provenance")[1].splitlines()]
    target = tmp_path / "rows.jsonl"
    code, out, _ = run(*common, "--out", target)
    assert out == run(*common, "--provenance")[1]
    assert (code, target.read_text()) == (1, out)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [list(row) for row in rows] == [[*plain[0], "provenance"]] * 3
    assert [row["provenance"] and row["provenance"]["findings"] for row in rows] == [[EXPECTED], [], None]
    assert [{name: row[name] for name in plain[0]} for row in rows] == plain


def test_csv_and_parquet_hold_the_same(run, tiny_model, pictures, tmp_path):
    table, parquet = tmp_path / "rows.csv", tmp_path / "rows.parquet"
    common = ("detect", pictures, "--model", tiny_model, "--json", "--out")
    rows = [json.loads(line) for line in run(*common, table)[1].splitlines()]
    run(*common, parquet)
    assert pq.read_table(parquet).to_pylist() == rows
    with table.open(newline="") as stream:
        cells = [row["provenance"] for row in csv.DictReader(stream)]
    assert [json.loads(cell) if cell else None for cell in cells] == [row["provenance"] for row in rows]
    assert run(*common, tmp_path / "rows.txt")[0] == 2


def test_the_table_and_the_report_show_it(run, tiny_model, pictures, tmp_path):
    page = tmp_path / "page.html"
    plain = run("detect", pictures, "--model", tiny_model, "--report", page, "--no-provenance")[1]
    assert "What the file says" not in page.read_text()
    out = run("detect", pictures, "--model", tiny_model, "--report", page)[1]
    assert out.startswith(plain)
    assert out.removeprefix(plain).splitlines()[-1].split(maxsplit=3)[1:] == ["generated", "png.parameters", "<b>a cat</b>"]
    content = page.read_text()
    assert content.count("What the file says of its origin") == 2
    assert "<b>generated</b>: &lt;b&gt;a cat&lt;/b&gt;" in content
    assert content.count(CAUTION) == 2


def test_each_file_is_read_and_decoded_once_and_one_that_is_refused_read_again(run, tiny_model, pictures, tmp_path, monkeypatch):
    reads, decoded = [], []
    read_file, from_bytes = decode.read_file, decode._from_bytes
    monkeypatch.setattr(decode, "read_file", lambda path, policy: reads.append(str(path)) or read_file(path, policy))
    monkeypatch.setattr(decode, "_from_bytes", lambda *given: decoded.append(given[0]) or from_bytes(*given))
    paths = [str(pictures / name) for name in ("a.png", "b.jpg", "broken.png")]
    for more in ((), ("--heatmap", tmp_path / "maps", "--report", tmp_path / "page.html")):
        run("detect", *paths, "--model", tiny_model, *more)
        assert (sorted(reads), len(decoded)) == ([*paths, paths[-1]], 3)
        reads.clear()
        decoded.clear()


def test_a_detector_reads_it_where_it_is_asked_for(detector, pictures):
    contents = [(pictures / name).read_bytes() for name in ("a.png", "b.jpg")]
    grey = np.full((64, 64, 3), 128, np.uint8)
    sources = [*contents, io.BytesIO(contents[0]), grey, b"no picture"]
    rows = list(detector.detect_many(sources, provenance=True))
    assert [row.provenance for row in rows] == [*(read(one) for one in (*contents, contents[0])), None, None]
    sources[2].seek(0)
    plain = list(detector.detect_many(sources))
    assert [row.provenance for row in plain] == [None] * 5
    assert [row.as_dict() for row in rows] == [row.as_dict() for row in plain]


def test_a_picture_too_small_to_judge_keeps_its_own(detector):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    (row,) = detector.detect_many([stream.getvalue()], provenance=True)
    assert (row.error is None, row.provenance) == (False, read(stream.getvalue()))
