from __future__ import annotations

import hashlib
import struct
import threading
import warnings
import zlib
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from dgsnet.core.errors import DecodeError
from dgsnet.images.decode import FORMATS, DecodePolicy, decode
from tests.support import containers

FILL = DecodePolicy(truncated="fill")


def picture(height: int = 24, width: int = 40) -> NDArray[np.uint8]:
    """Four flat quarters of different colours: survives JPEG, and shows every turn."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (200, 30, 30)
    pixels[: height // 2, width // 2 :] = (30, 200, 30)
    pixels[height // 2 :, : width // 2] = (30, 30, 200)
    pixels[height // 2 :, width // 2 :] = (220, 220, 60)
    return pixels


def encode(image: Image.Image | NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    return containers.encoded(kind, image, **options)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand, for what Pillow does not write (16 bits in colour, broken headers). `rows` includes each row's filter byte."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
        *extra,
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


# --- Containers ---


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format(kind: str):
    exact: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98, "subsampling": 0}}
    data = containers.lossless(kind, picture()) if kind in {"AVIF", "HEIC", "JXL"} else encode(picture(), kind, **exact.get(kind, {}))
    image = decode(data)
    assert image.format == kind
    assert (image.width, image.height) == (40, 24)
    assert image.pixels.dtype == np.uint8
    assert image.pixels.flags.c_contiguous
    assert image.sha256 == hashlib.sha256(data).hexdigest()
    assert np.abs(image.pixels.astype(int) - picture()).max() <= {"JPEG": 12, "AVIF": 3}.get(kind, 0)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG", "MPO", "AVIF"])
def test_first_frame(kind: str):
    first, second = Image.new("RGB", (16, 16), (250, 0, 0)), Image.new("RGB", (16, 16), (0, 0, 250))
    image = decode(encode(first, kind, save_all=True, append_images=[second]))
    assert image.format == ("JPEG" if kind == "MPO" else kind)
    assert np.abs(image.pixels.astype(int) - (250, 0, 0)).max() <= 8


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"%PDF-1.7\n",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"P6 2 2 255\n" + bytes(12),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        encode(picture(), "ICO"),
        encode(picture(), "TGA"),
    ],
)
def test_other_formats_are_refused(data: bytes):
    with pytest.raises(DecodeError, match=r"empty|none of JPEG"):
        decode(data)


def test_the_suffix_says_nothing(tmp_path: Path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(picture(), "PNG"))
    assert decode(path).format == "PNG"


# --- Colour ---


def test_alpha_is_composited_on_white():
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[..., 0] = 100
    rgba[0, 0, 3], rgba[0, 1, 3], rgba[1, 0, 3] = 255, 0, 51
    for image in (decode(encode(rgba)), decode(rgba), decode(Image.fromarray(rgba))):
        assert image.pixels[0, 0].tolist() == [100, 0, 0]
        assert image.pixels[0, 1].tolist() == [255, 255, 255]
        assert image.pixels[1, 0].tolist() == [224, 204, 204]


def test_grey_with_alpha():
    la = Image.merge("LA", (Image.new("L", (3, 3), 40), Image.new("L", (3, 3), 0)))
    assert (decode(encode(la)).pixels == 255).all()
    la.putalpha(255)
    assert (decode(encode(la)).pixels == 40).all()


@pytest.mark.parametrize(("kind", "transparency"), [("PNG", 1), ("PNG", b"\xff\x00"), ("GIF", 1)])
def test_palette_transparency(kind: str, transparency: int | bytes):
    indexed = Image.fromarray(np.array([[0, 1]], np.uint8))
    indexed.putpalette([9, 9, 9, 80, 80, 80])
    assert decode(encode(indexed, kind, transparency=transparency)).pixels[0].tolist() == [[9, 9, 9], [255, 255, 255]]


def test_a_palette_with_alpha_is_as_transparent_in_memory_as_in_a_file():
    picture = Image.new("RGBA", (8, 8), (200, 0, 0, 0)).quantize(8)
    assert (picture.mode, picture.palette.mode) == ("P", "RGBA")
    assert (decode(picture).pixels == 255).all()
    assert (decode(encode(picture)).pixels == 255).all()


def test_colour_key_of_eight_and_sixteen_bits():
    eight = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    assert decode(encode(eight, transparency=(1, 2, 3))).pixels.tolist() == [[[255, 255, 255], [4, 5, 6]]]
    rows = b"\0" + struct.pack(">6H", 0x0102, 0x0304, 0x0506, 0x1000, 0x2000, 0x3000)
    sixteen = png(2, 1, 16, 2, rows, (b"tRNS", struct.pack(">3H", 0x0102, 0x0304, 0x0506)))
    assert decode(sixteen).pixels.tolist() == [[[255, 255, 255], [0x10, 0x20, 0x30]]]


def test_cmyk():
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        assert np.abs(decode(encode(cmyk, kind)).pixels.astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_rounded_to_eight(kind: str):
    deep = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    pixels = decode(encode(deep, kind)).pixels
    assert np.array_equal(pixels, np.repeat(np.rint(deep / 257).astype(np.uint8)[..., None], 3, axis=2))


def test_sixteen_bit_grey_with_a_key():
    data = png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 1000, 2000), (b"tRNS", struct.pack(">H", 1000)))
    assert decode(data).pixels[0, :, 0].tolist() == [255, 8]


def test_sixteen_bit_colour_keeps_the_high_byte():
    assert decode(png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 0x12FF, 0x3400, 0xFFFF))).pixels.tolist() == [[[0x12, 0x34, 0xFF]]]


def test_one_bit_and_grey_and_palette():
    grey = np.array([[0, 255], [255, 0]], np.uint8)
    for image in (Image.fromarray(grey).convert("1"), Image.fromarray(grey), Image.fromarray(grey).convert("P")):
        assert np.array_equal(decode(encode(image)).pixels, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 65_535, 257]], np.int32), [0, 255, 1]),
        (np.array([[0, 0.5, 1.01]], np.float32), None),
        (np.array([[0, 0.5, np.nan]], np.float32), None),
        (np.array([[-0.1, 0, 1]], np.float32), None),
        (np.array([[0, 65_536]], np.int32), None),
        (np.array([[-1, 3]], np.int32), None),
    ],
)
def test_float_and_32_bit(values: NDArray[Any], expected: list[int] | None):
    data = encode(values, "TIFF")
    if expected is None:
        with pytest.raises(DecodeError, match="no known scale"):
            decode(data)
    else:
        assert decode(data).pixels[0, :, 1].tolist() == expected


# --- Metadata ---


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind: str, orientation: int):
    upright = picture()
    stored = {  # how a camera held that way stores the upright picture
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, dict[str, int]] = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}
    image = decode(encode(np.ascontiguousarray(stored), kind, exif=exif.tobytes(), **options.get(kind, {})))
    assert (image.width, image.height) == (40, 24)
    assert np.abs(image.pixels.astype(int) - upright).max() <= 12


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", [b"\xff" * 40, b"MM\0*\0\0", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x0f\0" * 3, b"Exif\0\0"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_no_exif(kind: str, block: bytes):
    image = decode(encode(picture(), kind, exif=block))
    assert (image.width, image.height) == (40, 24)


def test_an_orientation_that_does_not_exist_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 77
    assert decode(encode(picture(), exif=exif.tobytes())).width == 40


def text(body: bytes, kind: bytes = b"zTXt", key: bytes = b"workflow") -> tuple[bytes, bytes]:
    """A text chunk of a PNG."""
    return kind, key + (b"\0\0" + zlib.compress(body) if kind == b"zTXt" else b"\0\1\0\0\0" + zlib.compress(body))


@pytest.mark.parametrize(
    "extra",
    [
        [text(b"a" * 2_000_000)],
        [text(b"a" * 2_000_000, b"iTXt")],
        [text(b"a" * 2_000_000, b"iTXt", b"XML:com.adobe.xmp")],
        [text(b"a" * 900_000)] * 90,
        [(b"tEXt", b"prompt\0" + b"a" * 3_000_000)] * 25,
        [(b"iCCP", b"icc\0\0" + zlib.compress(np.random.default_rng(0).bytes(1_200_000)))],
    ],
)
def test_long_texts_and_profiles_do_not_hide_a_png(extra: list[tuple[bytes, bytes]]):
    rows = b"".join(b"\0" + row.tobytes() for row in picture())
    assert np.array_equal(decode(png(40, 24, 8, 2, rows, *extra), DecodePolicy(max_bytes=2**28)).pixels, picture())


def test_texts_of_a_png_turn_it_still():
    upright = picture()
    rows = b"".join(b"\0" + row.tobytes() for row in upright)
    packet = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert decode(png(40, 24, 8, 2, rows, text(packet, b"iTXt", b"XML:com.adobe.xmp"), text(b"a" * 2_000_000))).width == 24
    assert decode(png(40, 24, 8, 2, rows, text(packet, b"iTXt", b"another"))).width == 40


def test_fifty_megapixels_and_four_thousand_pixels_in_png_pass_by_default():
    ramp = np.linspace(0, 255, 8160).astype(np.uint8)
    phone = encode(Image.fromarray(np.broadcast_to(ramp, (6144, 8160))), "JPEG", quality=90)
    assert (decode(phone).width, decode(phone).height) == (8160, 6144)
    noise_of = np.random.default_rng(0).integers(100, 140, (2160, 3840, 3), dtype=np.uint8)
    large = encode(noise_of, compress_level=0)
    assert len(large) > 20 * 2**20
    assert np.array_equal(decode(large).pixels, noise_of)


# --- Damage ---


def noisy(kind: str, **options: Any) -> bytes:
    return encode(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), kind, **options)


@pytest.mark.parametrize("kind", FORMATS)
def test_truncated_is_an_error(kind: str):
    data = noisy(kind)
    with pytest.raises(DecodeError, match=r"damaged|cannot be decoded"):
        decode(data[: len(data) * 2 // 3])


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("GIF", {"interlace": 0}), ("BMP", {}), ("TIFF", {})]
)
def test_truncated_can_be_filled(kind: str, options: dict[str, Any]):
    data = noisy(kind, **options)
    part = data[: len(data) * 2 // 3]
    filled, whole = decode(part, FILL), decode(data)
    assert filled.sha256 == hashlib.sha256(part).hexdigest()
    assert filled.pixels.shape == whole.pixels.shape
    if "progressive" not in options:  # which fills the whole picture, coarsely
        top, bottom = (slice(0, 24), slice(56, 64)) if kind != "BMP" else (slice(40, 64), slice(0, 8))  # BMP is stored bottom up
        assert np.array_equal(filled.pixels[top], whole.pixels[top])
        assert not np.array_equal(filled.pixels[bottom], whole.pixels[bottom])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("kind", FORMATS)
def test_filling_changes_no_whole_picture(kind: str):
    assert np.array_equal(decode(noisy(kind), FILL).pixels, decode(noisy(kind)).pixels)


def test_nothing_to_fill_from():
    with pytest.raises(DecodeError, match="damaged"):
        decode(png(8, 8, 8, 2, b""), FILL)
    with pytest.raises(DecodeError, match="cannot be decoded"):
        decode(noisy("WEBP")[:100], FILL)


def test_filling_in_one_thread_forgives_nothing_in_another():
    data = noisy("PNG")[:4000]
    refused = []

    def strict() -> None:
        for _ in range(20):
            try:
                decode(data)
            except DecodeError:
                refused.append(True)

    thread = threading.Thread(target=strict)
    thread.start()
    for _ in range(20):
        decode(data, FILL)
    thread.join()
    assert len(refused) == 20


SEEDS = [
    encode(
        picture(12, 16),
        kind,
        **({"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"} if kind in {"JPEG", "PNG", "WEBP"} else {}),
    )
    for kind in FORMATS
]
SEEDS += [
    encode(np.arange(64, dtype=np.uint16).reshape(8, 8)),
    encode(Image.fromarray(picture(8, 8)).convert("CMYK"), "JPEG"),
    encode(picture(8, 8), "TIFF", compression="tiff_lzw"),
]


@pytest.mark.filterwarnings("ignore")  # Pillow warns about damaged metadata
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8),
    st.integers(0, 2000),
    st.sampled_from([DecodePolicy(max_pixels=100_000), DecodePolicy(max_pixels=100_000, truncated="fill")]),
)
def test_damaged_bytes_raise_nothing_but_decode_error(data: bytes, changes: list[tuple[int, int]], cut: int, policy: DecodePolicy):
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    try:
        image = decode(bytes(damaged[: len(damaged) - cut % 64]), policy)
    except DecodeError as error:
        assert str(error).startswith("bytes: ")  # noqa: PT017
    else:
        assert image.pixels.shape == (image.height, image.width, 3)


# --- Limits ---


@pytest.mark.parametrize(
    ("policy", "match"),
    [
        (DecodePolicy(max_pixels=24 * 40 - 1), "40x24 is more than 959 pixels"),
        (DecodePolicy(max_side=39), "side longer than 39"),
        (DecodePolicy(max_bytes=100), "more than 100 bytes"),
    ],
)
@pytest.mark.parametrize("kind", ["bytes", "path", "file"])
def test_limits(kind: str, policy: DecodePolicy, match: str, tmp_path: Path):
    data = encode(picture(), "BMP")
    (tmp_path / "a.bmp").write_bytes(data)
    sources: dict[str, Any] = {"bytes": data, "path": tmp_path / "a.bmp", "file": BytesIO(data)}
    with pytest.raises(DecodeError, match=match):
        decode(sources[kind], policy)
    assert decode(data, DecodePolicy(max_pixels=24 * 40, max_side=40, max_bytes=len(data))).width == 40


def test_arrays_and_pil_images_have_the_same_limits():
    for source in (picture(), Image.fromarray(picture())):
        with pytest.raises(DecodeError, match="side longer"):
            decode(source, DecodePolicy(max_side=39))


def test_a_bomb_is_refused_from_its_header_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DecodeError, match="10000x12000 is more than"):
            decode(png(10_000, 12_000, 8, 2, b""))
        with pytest.raises(DecodeError, match="side longer"):
            decode(png(2**30, 2**30, 8, 2, b""))


def test_only_our_limit_decides(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode(encode(picture())).width == 40


def test_a_file_object_is_read_no_further_than_the_limit():
    asked = []

    class Endless(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size)
            return b"\0" * (size or 0)

    with pytest.raises(DecodeError, match="more than 50 bytes"):
        decode(Endless(), DecodePolicy(max_bytes=50))
    assert asked == [51]


# --- Sources ---


def test_path_string_file_and_bytes_agree(tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(picture()))
    with path.open("rb") as stream:
        every = [decode(path), decode(str(path)), decode(path.read_bytes()), decode(stream)]
    assert len({image.sha256 for image in every}) == 1
    assert all(np.array_equal(image.pixels, picture()) for image in every)


def test_unreadable_sources_name_themselves(tmp_path: Path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with (tmp_path / "bad.png").open("rb") as stream:
        for source in (tmp_path / "bad.png", stream, tmp_path, tmp_path / "none.png"):
            with pytest.raises(DecodeError, match=str(tmp_path)):
                decode(source)
    (tmp_path / "locked.png").touch(0)
    with pytest.raises(DecodeError, match="locked"):
        decode(tmp_path / "locked.png")


@pytest.mark.parametrize("source", [None, 3, ["a.png"], StringIO("text"), "nul\0byte"])
def test_what_is_no_source(source: Any):
    with pytest.raises(DecodeError):
        decode(source)


def test_a_closed_file_object():
    stream = BytesIO(encode(picture()))
    stream.close()
    with pytest.raises(DecodeError, match="closed"):
        decode(stream)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((2, 3), 7, np.uint8), [7, 7, 7]),
        (np.full((2, 3, 1), 7, np.uint8), [7, 7, 7]),
        (np.full((2, 3, 3), 7, np.uint8), [7, 7, 7]),
        (np.full((2, 3, 4), 255, np.uint8)[:, ::-1], [255, 255, 255]),
    ],
)
def test_arrays(array: NDArray[np.uint8], expected: list[int]):
    image = decode(array)
    assert image.format == "array"
    assert image.pixels.shape == (2, 3, 3)
    assert (image.pixels == expected).all()
    assert not np.shares_memory(image.pixels, array)


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 2)), np.zeros((2, 2, 2), np.uint8), np.zeros((3, 2, 2), np.int64), np.zeros(4, np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_arrays_that_are_no_picture(array: NDArray[Any]):
    with pytest.raises(DecodeError, match=r"no picture|no pixels"):
        decode(array)


def test_memory_is_hashed_by_shape_and_pixels():
    assert decode(picture()).sha256 == decode(Image.fromarray(picture())).sha256
    assert decode(np.zeros((2, 3, 3), np.uint8)).sha256 != decode(np.zeros((3, 2, 3), np.uint8)).sha256
    assert decode(np.zeros((2, 2, 3), np.uint8)).sha256 != decode(np.ones((2, 2, 3), np.uint8)).sha256


def test_a_pil_image_is_turned_and_left_as_it_was():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(BytesIO(encode(picture(), exif=exif.tobytes())))
    assert decode(image).width == 24
    assert decode(image).format == "pil"
    assert image.size == (40, 24)
