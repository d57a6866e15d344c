"""AVIF, HEIC and JPEG XL: the pixels that were stored, turned once, the main picture of several, and refused by what they announce."""

from __future__ import annotations

import base64
import struct
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dgsnet.core.errors import DecodeError, MissingDecoderError, MissingPackageError, SizeError
from dgsnet.images.decode import DecodePolicy, decode
from tests.support import containers
from tests.support.containers import Piece, coded, grid, heif, ispe, mirrored, turned

CODINGS = {"AVIF": b"av01", "HEIC": b"hvc1"}
TEN_BITS = (
    "0000SW^{RQVRmU|00000VRmU|ZE0pPZE0a<0002#ZDn*}000000000XXk=`10000000000aA{+7000000000000000000004sdC7Z2$lO000310016oY;R)#0000)000"
    "310RR910RR924FCWELI3~&C~0YKW&i*H00031000_kZf0cy000000RRADb}%tRZ)|UJ00000XlZbAZ~y=RNojCnZvX%Q6lrsCWdHyG00000KmY&$FaQ7m4sdCBX#fBK0"
    "09aB000bOb}>VN09*h7000wXZ)|dIV{CW;0ssO40)PMj02gU+ZD9Za00000009621OWnr1ONa5N^N9ebP@mx1{f88znwrbwE_?TqGKljm@G_m=`&;-PSorb8u+lUlxNd"
    "UH`&SE()ZehIZIfHk1JELNNi;81b;^d#cYF}9wkJGk^Vkz*A?;PBo*KXRvvY^AREYm{gn@X?d`PW^>RDdk7kzftC8NsfxOlCMOr(h7CzDnA8e0KJA;Sa$ABvuh*IWrr2"
    "|)!WcR0^Q);&^>c&e*spC~B7#-oLO3MT<FsC+XvAsi+(gC~7EKLkL=`^pw7Zz*kCv8CuzGYsJ05Jt$jH*_ZfsRtPJ{2n&mBD!<9q#VQ|Bg;7z!LrCl&Xjul5@UOgsUwA"
    "uu>i#h8Iur4;P7x+dqsOH7e==Rf70B^G>g>6+_Jyr=F@Y&x8fWxe9dz_DMB!@j*1w2|1i4Bm-lK7h{A(eO(X6p-?@6+qR?;28+S"
)
"""64 x 48 in AVIF of 10 bits, without loss: the value of a pixel, in all three channels, is 16 times its column plus its row."""


def noise(height: int = 48, width: int = 80, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def grey(height: int = 48, width: int = 80, seed: int = 0) -> NDArray[np.uint8]:
    """Noise that each of the three keeps without loss."""
    return np.repeat(noise(height, width, seed)[..., :1], 3, axis=2)


def stored(kind: str, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a test hands to the encoder: one channel where only that is kept without loss."""
    return pixels[..., 0] if kind == "AVIF" else pixels


# --- pixels ---


@pytest.mark.parametrize("kind", ["AVIF", "HEIC", "JXL"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 47), (64, 128), (255, 31)])
def test_pixels_stored_without_loss_come_back(kind: str, height: int, width: int):
    pixels = grey(height, width)
    image = decode(containers.lossless(kind, stored(kind, pixels)))
    assert image.format == kind
    assert np.array_equal(image.pixels, pixels)


@pytest.mark.parametrize(("kind", "off"), [("AVIF", 3), ("HEIC", 0), ("JXL", 0)])
def test_colour(kind: str, off: int):
    pixels = noise()
    assert np.abs(decode(containers.lossless(kind, pixels)).pixels.astype(int) - pixels).max() <= off


@pytest.mark.parametrize("kind", ["AVIF", "HEIC", "JXL"])
def test_alpha_is_composited_on_white(kind: str):
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:, 16:] = (90, 90, 90, 255)
    image = decode(containers.lossless(kind, pixels))
    assert (image.pixels[:, :12] >= 253).all()
    assert np.abs(image.pixels[:, 20:].astype(int) - 90).max() <= 3


def test_ten_bits_of_avif_are_rounded():
    rows, columns = np.mgrid[:48, :64]
    expected = np.rint((16 * columns + rows).clip(0, 1023) / 1023 * 255).astype(np.uint8)
    assert np.array_equal(decode(base64.b85decode(TEN_BITS)).pixels, np.repeat(expected[..., None], 3, axis=2))


def test_ten_bits_of_heic_keep_the_high_ones():
    import io

    import pillow_heif

    deep = np.random.default_rng(0).integers(0, 1024, (48, 64, 3)).astype("<u2")
    stream = io.BytesIO()
    picture = pillow_heif.from_bytes("RGB;16", (64, 48), (deep << 6).tobytes())
    picture.save(stream, quality=-1, chroma=444, matrix_coefficients=0)
    assert np.array_equal(decode(stream.getvalue()).pixels, (deep >> 2).astype(np.uint8))


# --- turns ---


@pytest.mark.parametrize("kind", CODINGS)
@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_turned_against_the_clock_then_mirrored(kind: str, quarters: int, axis: int | None):
    pixels = grey()
    turns = [turned(quarters)] if quarters else []
    turns += [] if axis is None else [mirrored(axis)]
    piece = coded(stored(kind, pixels), CODINGS[kind]).plus(*turns)
    expected = np.rot90(pixels, quarters)
    expected = expected if axis is None else expected[::-1] if axis == 0 else expected[:, ::-1]
    assert np.array_equal(decode(heif([piece], CODINGS[kind])).pixels, expected)


@pytest.mark.parametrize("kind", CODINGS)
@pytest.mark.parametrize("quarters", [0, 3])
def test_an_exif_or_xmp_orientation_turns_no_heif_picture_again(kind: str, quarters: int):
    pixels = grey()
    exif = b"\0\0\0\0" + b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + bytes(4)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    piece = coded(stored(kind, pixels), CODINGS[kind]).plus(*([turned(quarters)] if quarters else []))
    about = ((b"cdsc", (1,)),)
    for metadata in (Piece(b"Exif", exif, (), about), Piece(b"mime", xmp, (), about, b"\0application/rdf+xml\0")):
        assert np.array_equal(decode(heif([piece, metadata], CODINGS[kind])).pixels, np.rot90(pixels, quarters))


def test_orientation_as_pillow_writes_it_into_an_avif():
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = grey()
    data = containers.encoded("AVIF", pixels[..., 0], quality=100, exif=exif.tobytes())
    assert b"irot" in data
    assert np.array_equal(decode(data).pixels, np.rot90(pixels, -1))


# --- grids, sequences, pictures beside others ---


@pytest.mark.parametrize("kind", CODINGS)
def test_tiles_are_joined_row_by_row_and_cut(kind: str):
    tiles = [grey(64, 64, seed) for seed in range(6)]
    whole = np.vstack([np.hstack(tiles[:3]), np.hstack(tiles[3:])])
    pieces = grid([coded(stored(kind, tile), CODINGS[kind]) for tile in tiles], 2, 3, 180, 120)
    assert np.array_equal(decode(heif(pieces, CODINGS[kind])).pixels, whole[:120, :180])


def test_a_phone_writes_tiles():
    pixels = noise(300, 700)
    data = containers.encoded("HEIC", pixels, quality=-1, chroma=444, matrix_coefficients=0, tile_size=256)
    assert np.array_equal(decode(data).pixels, pixels)


@pytest.mark.parametrize("kind", CODINGS)
def test_the_primary_picture_is_meant(kind: str):
    first, second = grey(seed=1), grey(seed=2)
    pieces = [coded(stored(kind, pixels), CODINGS[kind]) for pixels in (first, second)]
    assert np.array_equal(decode(heif(pieces, CODINGS[kind], 2)).pixels, second)


def test_first_frame_of_an_animated_avif():
    frames = [Image.new("RGB", (64, 64), (level, level, level)) for level in (200, 90, 10)]
    data = containers.encoded("AVIF", frames[0], save_all=True, append_images=frames[1:])
    assert data[8:12] == b"avis"
    assert np.abs(decode(data).pixels.astype(int) - 200).max() <= 2


def test_an_ultra_hdr_jpeg_and_a_motion_photo_show_their_main_picture():
    main = containers.encoded("JPEG", noise(), quality=95)
    gain_map = containers.encoded("JPEG", noise(24, 40)[..., 0], quality=80)
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description hdrgm:Version='1.0' GCamera:MotionPhoto='1'/></x:xmpmeta>"
    index = b"MPF\0MM\0*\0\0\0\x08\0\x01\xb0\x01\0\x04\0\0\0\x01\0\0\0\x02\0\0\0\0"
    segments = b"".join(bytes([0xFF, code]) + struct.pack(">H", len(body) + 2) + body for code, body in ((0xE1, xmp), (0xE2, index)))
    film = containers.box(b"ftyp", b"mp42" + bytes(4)) + containers.box(b"mdat", b"\xff\xda" * 5000)
    for behind in (gain_map, film):
        image = decode(main[:2] + segments + main[2:] + behind)
        assert np.array_equal(image.pixels, decode(main).pixels)
        assert image.jpeg_quality == 95


def test_a_motion_photo_in_heic():
    pixels = grey()
    data = containers.lossless("HEIC", pixels) + containers.box(b"mpvd", containers.box(b"ftyp", b"mp42" + bytes(4)), bytes(5000))
    assert np.array_equal(decode(data).pixels, pixels)


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"msf1"])
def test_heic_of_other_brands(brand: bytes):
    pixels = grey()
    assert decode(heif([coded(pixels, b"hvc1")], b"hvc1", major=brand)).format == "HEIC"


def test_avif_of_the_general_brand():
    assert decode(heif([coded(grey()[..., 0])], major=b"mif1")).format == "AVIF"


@pytest.mark.parametrize("cut", [3, 5, 9])
def test_a_jpeg_xl_whose_header_is_in_two_boxes(cut: int):
    pixels = noise(200, 300)
    bare = containers.lossless("JXL", pixels)
    start = b"\0\0\0\x0cJXL \r\n\x87\n" + containers.box(b"ftyp", b"jxl \0\0\0\0jxl ")
    data = start + containers.box(b"jxlp", bytes(4), bare[:cut]) + containers.box(b"jxlp", b"\x80\0\0\x01", bare[cut:])
    assert np.array_equal(decode(data).pixels, pixels)
    with pytest.raises(SizeError, match="300x200"):
        decode(data, DecodePolicy(max_side=299))


# --- limits ---


@pytest.mark.parametrize("kind", ["AVIF", "HEIC", "JXL"])
@pytest.mark.parametrize(
    ("limits", "said"), [(DecodePolicy(max_pixels=200 * 300 - 1), "pixels"), (DecodePolicy(max_side=299), "longer than 299")]
)
def test_size_is_refused_from_the_header(kind: str, limits: DecodePolicy, said: str):
    data = containers.encoded(kind, noise(200, 300))
    assert decode(data, DecodePolicy(max_pixels=200 * 300, max_side=300)).width == 300
    with pytest.raises(SizeError, match=f"300x200 .*{said}"):
        decode(data, limits)


@pytest.mark.parametrize("kind", CODINGS)
def test_what_the_coded_picture_announces_counts(kind: str):
    """A container that says 64 x 64 around a coded picture of 640 x 640."""
    piece = coded(grey(640, 640)[..., 0], CODINGS[kind], quality=30).with_property(*ispe(64, 64))
    with pytest.raises(SizeError, match="pixels"):
        decode(heif([piece], CODINGS[kind]), DecodePolicy(max_pixels=100_000))


@pytest.mark.parametrize("kind", CODINGS)
def test_what_the_container_announces_counts(kind: str):
    piece = coded(grey()[..., 0], CODINGS[kind]).with_property(*ispe(16_000, 16_000))
    with pytest.raises(SizeError, match="pixels"):
        decode(heif([piece], CODINGS[kind]))


@pytest.mark.parametrize("kind", CODINGS)
def test_tiles_count_together(kind: str):
    tile = coded(grey(64, 64)[..., 0], CODINGS[kind])
    pieces = grid([tile] * 100, 10, 10, 64, 64)
    with pytest.raises(SizeError, match="parts"):
        decode(heif(pieces, CODINGS[kind]), DecodePolicy(max_pixels=100_000))


@pytest.mark.parametrize("kind", CODINGS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_cut_off(kind: str, share: float):
    tiles = [grey(64, 64, seed) for seed in range(4)]
    data = heif(grid([coded(stored(kind, tile), CODINGS[kind]) for tile in tiles], 2, 2, 128, 128), CODINGS[kind])
    with pytest.raises(DecodeError):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", CODINGS)
def test_pictures_of_another_coding_are_refused(kind: str):
    piece = Piece(b"jpeg", containers.encoded("JPEG", noise()), (ispe(80, 48),))
    with pytest.raises(DecodeError, match="coded as 'jpeg'"):
        decode(heif([piece], CODINGS[kind]))


# --- what an installation may lack ---


@pytest.mark.parametrize(("kind", "package", "extra"), [("HEIC", "pillow_heif", "heif"), ("JXL", "pillow_jxl", "jxl")])
def test_a_missing_package_is_said(kind: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch):
    data = containers.encoded(kind, noise())
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Absent(package), *sys.meta_path])
    with pytest.raises(MissingDecoderError, match=rf"{package}.*pip install 'dgsnet\[{extra}\]'") as error:
        decode(data)
    assert isinstance(error.value, DecodeError)
    assert isinstance(error.value, MissingPackageError)


class _Absent:
    """Finds no package of a name, as where it is not installed."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == self._package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_packages_are_loaded_by_the_picture_that_needs_them_alone():
    program = (
        "import sys; from dgsnet.images.decode import decode, DecodePolicy; from dgsnet.core.errors import FormatError\n"
        "data = sys.stdin.buffer.read()\n"
        "try: decode(data, DecodePolicy(formats=('JPEG', 'PNG', 'HEIC')))\n"
        "except FormatError: pass\n"
        "assert 'pillow_heif' not in sys.modules and 'pillow_jxl' not in sys.modules\n"
        "assert decode(data).format == 'JXL' and 'pillow_jxl' in sys.modules and 'pillow_heif' not in sys.modules"
    )
    ended = subprocess.run([sys.executable, "-c", program], input=containers.encoded("JXL", noise()), capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
