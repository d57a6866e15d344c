"""`dgsnet detect --provenance`: what files say of their origin, said beside the score and never part of it; hostile metadata."""

import csv
import datetime
import http.server
import io
import json
import struct
import sys
import threading
import tracemalloc
import zlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from PIL.ExifTags import Base

from dgsnet.evaluation.audit.metadata import generator_mark
from dgsnet.images import decode
from dgsnet.provenance import CAUTION, read, read_metadata, xmp
from dgsnet.provenance import c2pa as c2pa_findings
from dgsnet.provenance.finding import EXCERPT
from dgsnet.provenance.source_type import says

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description xmp:CreatorTool="{tool}">'
    f"<Iptc4xmpExt:DigitalSourceType>{SOURCE}{{source}}</Iptc4xmpExt:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta>"
)
WEB_UI = "a red cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1"


def encoded(kind, **options):
    stream = io.BytesIO()
    Image.fromarray(np.arange(48 * 48 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 48, 3)).save(stream, kind, **options)
    return stream.getvalue()


def found(data):
    return {one.kind: (one.value, one.says) for one in read(data).findings}


def exif_of(**tags):
    exif = Image.Exif()
    for name, value in tags.items():
        if name in {"DateTimeOriginal", "UserComment"}:
            exif.get_ifd(0x8769)[Base[name]] = value
        else:
            exif[Base[name]] = value
    return exif


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(*chunks):
    plain = encoded("PNG")
    return plain[:33] + b"".join(chunks) + plain[33:]


def with_segments(*segments):
    plain = encoded("JPEG")
    return plain[:2] + b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments) + plain[2:]


def with_gif_xmp(packet):
    """Behind the header and palette: the packet as it is, then the trailer over which a reader of sub-blocks slides to the end."""
    plain = encoded("GIF")
    place = 13 + (3 << (plain[10] & 7) + 1)
    trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    return plain[:place] + b"\x21\xff\x0bXMP DataXMP" + packet + trailer + plain[place:]


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
        (f"{SOURCE}compositeWithTrainedAlgorithmicMedia", "edited"),
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
    assert xmp.properties(packet) == [("DigitalSourceType", "digitalCapture")]
    assert xmp.properties(xmp.text(packet.encode("utf-16"))) == [("DigitalSourceType", "digitalCapture")]


def test_xmp_entities_are_not_expanded():
    packet = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><b:CreatorTool>&e;</b:CreatorTool><b:NoCreatorToolHere>x</b:N>'
    assert xmp.properties(packet) == [("CreatorTool", "&e;")]


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
        "png.Description": "generated",
        "png.Software": "edited",
        "png.Comment": "unknown",
    }
    assert result["png.parameters"][0].startswith("a red cat Negative prompt: dog Steps: 20")
    assert len(result["png.parameters"][0]) == EXCERPT
    assert result["png.Comment"][0] == "a [31m comment of two lines"


MARKS = [
    ("PNG", "parameters", "a red cat"),
    ("PNG", "prompt", "{}"),
    ("PNG", "workflow", "{}"),
    ("PNG", "Dream", "a red cat"),
    ("PNG", "sd-metadata", "{}"),
    ("PNG", "invokeai_graph", "{}"),
    ("PNG", "generation_data", "{}"),
    ("PNG", "generation_time", "3 s"),
    ("PNG", "fooocus_scheme", "1"),
    *(
        ("JPEG", "Software", name)
        for name in ("Midjourney", "DALL-E 3", "Stable Diffusion XL", "ComfyUI", "InvokeAI", "NovelAI", "DreamStudio")
    ),
    *(
        ("JPEG", "Software", name)
        for name in ("Fooocus 2", "Adobe Firefly", "OpenAI", "ChatGPT", "gpt-image-1", "Google Imagen", "Ideogram")
    ),
    *(("JPEG", "Software", name) for name in ("Leonardo.Ai", "Black Forest Labs", "FLUX.1", "Bing Image Creator", "Made with Google AI")),
]
"""What a generator leaves: container, field, value."""


@pytest.mark.parametrize(("kind", "name", "value"), MARKS)
def test_every_mark_of_a_generator_says_generated(kind, name, value):
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text(name, value)
        data = encoded("PNG", pnginfo=text)
    else:
        data = encoded("JPEG", exif=exif_of(**{name: value}))
    assert {said for _, said in found(data).values()} == {"generated"}


def test_settings_of_generators_that_name_no_generator():
    web_ui = encoded("JPEG", exif=exif_of(UserComment=b"UNICODE\0" + f"{WEB_UI}, \u732b".encode("utf-16-be")))
    assert found(web_ui)["exif.UserComment"][1] == "generated"
    comfy = encoded("WEBP", exif=exif_of(Make='workflow:{"nodes": []}', Model='prompt:{"3": {"class_type": "KSampler"}}'))
    assert {word for _, word in found(comfy).values()} == {"generated"}
    assert "exif.UserComment" not in found(encoded("JPEG", exif=exif_of(UserComment=b"ASCII\0\0\0of a holiday")))


def test_comments_and_iptc():
    assert found(encoded("JPEG", comment=b"Created with GIMP")) == {"comment": ("Created with GIMP", "edited")}
    assert found(encoded("GIF", comment=b"by DALL-E")) == {"comment": ("by DALL-E", "generated")}
    datasets = b"".join(b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(value)) + value for number, value in (
        (5, b"a title"), (80, b"A Person"), (110, b"Made with Google AI"),
    ))  # fmt: skip
    block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(datasets)) + datasets
    assert found(with_segments((0xED, block))) == {"iptc.Credit": ("Made with Google AI", "generated")}


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


# --- C2PA ---


@pytest.fixture(scope="module")
def sign():
    """Sign an encoded image with a certificate made here: (data, media type, source type, action) -> signed data."""
    import c2pa
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)

    def name(common):
        return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests"), x509.NameAttribute(NameOID.COMMON_NAME, common)])

    def certificate(common, key, is_root):
        usage = x509.KeyUsage(not is_root, False, False, False, False, is_root, is_root, False, False)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(common)).issuer_name(name("Root")).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_root, None), True)
            .add_extension(usage, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), False)
        )  # fmt: skip
        if not is_root:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return builder.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    chain = certificate("Leaf", leaf, False) + certificate("Root", root, True)
    private = leaf.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, private, None))

    def signed(data, media, source="trainedAlgorithmicMedia", action="c2pa.created"):
        actions = [{"action": "c2pa.created", "digitalSourceType": SOURCE + "digitalCapture"}] * (action != "c2pa.created")
        actions.append({"action": action, "digitalSourceType": SOURCE + source})
        manifest = {
            "claim_generator_info": [{"name": "Adobe Firefly", "version": "1"}],
            "assertions": [{"label": "c2pa.actions", "data": {"actions": actions}}],
        }
        stream = io.BytesIO()
        c2pa.Builder(json.dumps(manifest)).sign(signer, media, io.BytesIO(data), stream)
        return stream.getvalue()

    return signed


KINDS = [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")]


@pytest.mark.parametrize(("kind", "media"), KINDS)
def test_a_signed_file_is_validated(sign, kind, media):
    result = found(sign(encoded(kind), media))
    assert result["c2pa.validation"][0].startswith("valid: ")
    assert "not checked against any trust list" in result["c2pa.validation"][0]
    assert result["c2pa.signer"] == ("Tests, Leaf", "unknown")
    assert result["c2pa.claim_generator"] == ("Adobe Firefly 1", "generated")
    assert result["c2pa.digitalSourceType"] == (f"{SOURCE}trainedAlgorithmicMedia (c2pa.created)", "generated")


@pytest.mark.parametrize(("kind", "media"), KINDS)
def test_a_file_changed_after_it_was_signed_is_believed_nothing(sign, kind, media):
    data = bytearray(sign(encoded(kind), media))
    manifest = data.find(b"c2pa.actions")
    place = len(data) - 30 if kind != "WEBP" else 40  # in the pixels; a WebP has its manifest behind them
    assert manifest > 0
    data[place] ^= 1
    provenance = read(bytes(data))
    assert next(one.value for one in provenance.findings if one.kind == "c2pa.validation").startswith(
        "invalid: assertion.dataHash.mismatch"
    )
    assert {one.says for one in provenance.findings} == {"unknown"}
    assert "signature does not hold" in provenance.summary


def test_a_generated_part_put_into_a_photograph_is_an_edit(sign):
    data = sign(encoded("JPEG"), "image/jpeg", action="c2pa.edited")
    claims = {one.value.rsplit("/", 1)[-1]: one.says for one in read(data).findings if one.kind == "c2pa.digitalSourceType"}
    assert claims == {"digitalCapture (c2pa.created)": "camera", "trainedAlgorithmicMedia (c2pa.edited)": "edited"}


@pytest.fixture
def listener():
    """A web server on this machine that notes who asks: (its address, paths asked for)."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_POST = do_GET  # noqa: N815 - the name the server looks for

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("offline", [True, False])
def test_nothing_is_fetched(listener, offline, monkeypatch):
    """With the library's own settings, which the last case shows to ask, the test would see the request."""
    address, asked = listener
    packet = (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{address}/remote"/></rdf:RDF></x:xmpmeta>'
    )
    if not offline:
        monkeypatch.setattr(c2pa_findings, "_OFFLINE", {})
    (one,) = c2pa_findings.findings(encoded("JPEG", xmp=packet.encode()))
    assert one.value.startswith("present but not readable")
    assert asked == ([] if offline else ["/remote"])


@pytest.mark.parametrize(
    "data",
    [
        with_segments((0xEB, b"JP\0\1\0\0\0\1\0\0\0\x50jumb\0\0\0\x20jumdc2pa" + b"\0" * 40)),
        with_chunks(chunk(b"caBX", b"\0\0\0\x50jumb\0\0\0\x20jumdc2pa" + b"\0" * 40)),
    ],
)
def test_presence_alone_where_the_manifest_cannot_be_checked(data, monkeypatch):
    assert generator_mark(data) == "content credentials"
    value, word = found(data)["c2pa.manifest"]
    assert value.startswith("present")
    assert "signature not checked" in value
    assert word == "unknown"
    monkeypatch.setitem(sys.modules, "c2pa", None)  # as where it is not installed
    assert found(data) == {"c2pa.manifest": ("present; signature not checked: c2pa-python is not installed", "unknown")}


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


@pytest.fixture(scope="module")
def signed_png(sign):
    return sign(encoded("PNG"), "image/png")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(place=st.floats(0, 1, exclude_max=True), put=BYTES)
def test_damaged_manifests_raise_nothing(signed_png, place, put):
    data = signed_png
    start, end = data.find(b"caBX"), data.find(b"IDAT")
    at = start + int(place * (end - start))
    read(data[:at] + put + data[at + len(put) :])


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
    plain = [json.loads(line) for line in run("detect", pictures, "--model", tiny_model, "--json")[1].splitlines()]
    target = tmp_path / "rows.jsonl"
    code, out, _ = run("detect", pictures, "--model", tiny_model, "--json", "--provenance", "--out", target)
    assert (code, target.read_text()) == (1, out)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [list(row) for row in rows] == [[*plain[0], "provenance"]] * 3
    assert [row["provenance"] and row["provenance"]["findings"] for row in rows] == [[EXPECTED], [], None]
    assert [{name: row[name] for name in plain[0]} for row in rows] == plain


def test_csv_and_parquet_hold_the_same(run, tiny_model, pictures, tmp_path):
    table, parquet = tmp_path / "rows.csv", tmp_path / "rows.parquet"
    common = ("detect", pictures, "--model", tiny_model, "--provenance", "--json", "--out")
    rows = [json.loads(line) for line in run(*common, table)[1].splitlines()]
    run(*common, parquet)
    assert pq.read_table(parquet).to_pylist() == rows
    with table.open(newline="") as stream:
        cells = [row["provenance"] for row in csv.DictReader(stream)]
    assert [json.loads(cell) if cell else None for cell in cells] == [row["provenance"] for row in rows]
    assert run(*common, tmp_path / "rows.txt")[0] == 2


def test_the_table_and_the_report_show_it(run, tiny_model, pictures, tmp_path):
    page = tmp_path / "page.html"
    plain = run("detect", pictures, "--model", tiny_model, "--report", page)[1]
    assert "What the file says" not in page.read_text()
    out = run("detect", pictures, "--model", tiny_model, "--report", page, "--provenance")[1]
    assert out.startswith(plain)
    assert out.removeprefix(plain).splitlines()[-1].split(maxsplit=3)[1:] == ["generated", "png.parameters", "<b>a cat</b>"]
    content = page.read_text()
    assert content.count("What the file says of its origin") == 2
    assert "<b>generated</b>: &lt;b&gt;a cat&lt;/b&gt;" in content
    assert content.count(CAUTION) == 2


def test_each_file_is_read_and_decoded_once(run, tiny_model, pictures, tmp_path, monkeypatch):
    reads, decoded = [], []
    read_file, from_bytes = decode.read_file, decode._from_bytes
    monkeypatch.setattr(decode, "read_file", lambda path, policy: reads.append(str(path)) or read_file(path, policy))
    monkeypatch.setattr(decode, "_from_bytes", lambda *given: decoded.append(given[0]) or from_bytes(*given))
    paths = [str(pictures / name) for name in ("a.png", "b.jpg", "broken.png")]
    for more in ((), ("--heatmap", tmp_path / "maps", "--report", tmp_path / "page.html")):
        run("detect", *paths, "--model", tiny_model, "--provenance", *more)
        assert (sorted(reads), len(decoded)) == (paths, 3)
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


def test_a_picture_too_small_to_judge_has_none(detector):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    (row,) = detector.detect_many([stream.getvalue()], provenance=True)
    assert (row.error is None, row.provenance) == (False, None)


def test_signed_files_are_read_by_many_threads_at_once(sign, detector):
    signed = [sign(encoded(kind), media) for kind, media in KINDS]
    expected = [read(data) for data in signed]
    assert all(len(one.findings) >= 4 for one in expected)
    rows = list(detector.detect_many(signed * 20, workers=8, provenance=True))
    assert [row.provenance for row in rows] == expected * 20
