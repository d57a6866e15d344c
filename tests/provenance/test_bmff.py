"""Metadata of HEIC, AVIF and JPEG XL: EXIF and XMP as encoders and box builders write them, a manifest store named, damage left out."""

import io

import numpy as np
import pytest
from PIL import Image

from dgsnet import provenance
from dgsnet.provenance import bmff, exif, metadata
from tests.support import containers
from tests.support.containers import Piece, box, coded, heif

CODINGS = [b"av01", b"hvc1"]
PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType='
    b'"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/></rdf:RDF></x:xmpmeta>'
)
MANIFEST = bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + bytes(4) + b"manifest\0" + bytes(8) + b"\0\0\0\x40jumb\0\0\0\x1ejumdc2pa"


def picture():
    return np.full((64, 64), 90, np.uint8)


def camera():
    block = Image.Exif()
    block[0x010F], block[0x0110] = "Maker", "Camera 7"
    return block.tobytes()


@pytest.mark.parametrize("kind", ["AVIF", "HEIC", "JXL"])
def test_as_encoders_write_it(kind):
    image = Image.fromarray(picture())
    if kind == "HEIC":
        image.info |= {"exif": camera(), "xmp": PACKET}
        data = containers.encoded(kind, image)
    else:
        data = containers.encoded(kind, image, exif=camera(), xmp=PACKET, **({"use_container": True} if kind == "JXL" else {}))
    found = metadata.read(data)
    assert exif.text(found.exif[exif.MAKE]) == "Maker"
    assert found.xmp == [PACKET.decode()]
    assert not found.c2pa
    said = {(one.kind, one.says) for one in provenance.read(data).findings}
    assert ("exif.Make", "camera") in said
    assert ("xmp.DigitalSourceType", "generated") in said


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("before", [b"\0\0\0\0", b"\0\0\0\x06Exif\0\0", b"\0\0\0\0Exif\0\0"])
def test_exif_behind_its_offset(coding, before):
    block = camera().removeprefix(b"Exif\0\0")
    found = metadata.read(heif([coded(picture(), coding), Piece(b"Exif", before + block, (), ((b"cdsc", (1,)),))], coding))
    assert exif.text(found.exif[exif.MODEL]) == "Camera 7"


@pytest.mark.parametrize("coding", CODINGS)
def test_only_xmp_is_read_of_mime_items(coding):
    about = ((b"cdsc", (1,)),)
    pieces = [coded(picture(), coding), Piece(b"mime", b"<other/>", (), about, b"\0text/xml\0"),
              Piece(b"mime", PACKET, (), about, b"\0application/rdf+xml\0")]  # fmt: skip
    assert metadata.read(heif(pieces, coding)).xmp == [PACKET.decode()]


@pytest.mark.parametrize("coding", CODINGS)
def test_a_manifest_store_is_seen(coding):
    whole = heif([coded(picture(), coding)], coding)
    assert metadata.read(whole + box(b"uuid", MANIFEST)).c2pa
    assert not metadata.read(whole + box(b"uuid", bytes(16) + MANIFEST[16:])).c2pa


def test_jpeg_xl_in_boxes():
    bare = containers.encoded("JXL", picture())
    start = b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    data = start + box(b"jumb", b"\0\0\0\x1ejumdc2pa") + box(b"jxlc", bare) + box(b"xml ", PACKET)
    data += box(b"Exif", bytes(4), camera().removeprefix(b"Exif\0\0"))
    found = metadata.read(data)
    assert (found.c2pa, found.xmp, exif.text(found.exif[exif.MAKE])) == (True, [PACKET.decode()], "Maker")
    assert list(bmff.blocks(bare)) == []


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_cut_off_or_damaged_is_left_out(coding):
    pieces = [coded(picture(), coding), Piece(b"mime", PACKET, (), (), b"\0application/rdf+xml\0")]
    data = heif(pieces, coding)
    for end in range(0, len(data), 7):
        list(bmff.blocks(data[:end]))
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data[:600])
        for at in rng.integers(0, 600, 5):
            damaged[at] = rng.integers(256)
        list(bmff.blocks(bytes(damaged)))


def test_eight_blocks_of_a_kind_each_of_a_megabyte():
    data = b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"xml ", bytes(3 << 20)) + box(b"xml ", b"x") * 20
    found = list(bmff.blocks(data))
    assert [len(block.data) for block in found] == [1 << 20, *[1] * 7]


def test_other_files_have_none():
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, "PNG")
    for data in (b"", stream.getvalue(), box(b"ftyp", b"isom" + bytes(4)) + box(b"uuid", MANIFEST)):
        assert not bmff.is_bmff(data)
