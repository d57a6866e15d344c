"""Files that somebody might send to do harm, or by mistake, and what is to be said of each; `python -m tests.support.hostile_files FOLDER`.

Every file is made here, the same bytes on every run of the same Pillow. `FILES` is the table; `tests/service/test_hostile.py` puts it to
command line and service.
"""

from __future__ import annotations

import base64
import io
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support import hostile_containers
from tests.support.hostile_parts import (
    SIDE,
    chunk,
    directory,
    encoded,
    exif_with,
    extended,
    frame_of,
    greys,
    header,
    jpeg_sized,
    jpeg_with,
    overlapping,
    patched,
    picture,
    pixels,
    png,
    png_with,
    riff,
    rows,
    segment,
    tiff,
    webp_chunk,
)

SCORED = "scored"
MB = 2**20

# --- what is said ---


@dataclass(frozen=True)
class Answer:
    """What is said of a file."""

    cli: str
    """`SCORED`, or a part of the row's error."""
    status: int
    """Of the service."""
    code: str
    """Of the service: `SCORED` or that of the refusal."""


ANSWER = Answer(SCORED, 200, SCORED)
BROKEN = Answer("damaged", 422, "broken_image")
UNREADABLE = Answer("cannot be decoded", 422, "broken_image")
TOO_SMALL = Answer("too few to judge", 422, "too_small")
TOO_LONG = Answer("has a side longer than 16,384", 413, "image_too_large")
TOO_MANY = Answer("is more than 67,108,864 pixels", 413, "image_too_large")
TOO_LARGE = Answer("", 413, "image_too_large")
TOO_HEAVY = Answer("more than 67,108,864 bytes", 413, "file_too_large")
TOO_MANY_SCANS = Answer("scans", 413, "image_too_large")
DAMAGED = Answer("", 422, "broken_image")
"""In whatever words."""
FOREIGN = Answer("is none of JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF, HEIC, JXL", 415, "unsupported_format")
EMPTY = Answer("is empty", 415, "unsupported_format")


def on_the_command_line(answer: str) -> Answer:
    """Of a format that the service does not take."""
    return Answer(answer, 415, "unsupported_format")


BMP_TIFF = on_the_command_line(SCORED)


@dataclass(frozen=True)
class HostileFile:
    """A file, how to make it, and what is to be said of it."""

    name: str
    make: Callable[..., bytes]
    answer: Answer
    size: tuple[int, int] | None = None
    """Width and height in its row, where it is scored and they matter."""


FILES: list[HostileFile] = []


def add(name: str, make: Callable[..., bytes], answer: Answer, size: tuple[int, int] | None = None) -> None:
    """Put a file into the table."""
    FILES.append(HostileFile(name, make, answer, size))


# --- bombs: small files that announce or unfold into much ---


def _bombs() -> None:
    for side in (65_535, 2**31 - 1):
        add(f"bomb_{side}.png", lambda side=side: png(header(side, side), pixels()), TOO_LONG)
    add("bomb_16384.png", lambda: png(header(16_384, 16_384), pixels()), TOO_MANY)
    add("bomb_one_bit.png", lambda: png(header(16_384, 16_384, 1, 0), chunk(b"IDAT", zlib.compress(bytes(MB)))), TOO_MANY)
    add("bomb_beyond_31_bits.png", lambda: png(header(2**32 - 1, 1), pixels()), TOO_LARGE)
    add("no_width.png", lambda: png(header(0, 64), pixels()), DAMAGED)
    add("bomb_65535.jpg", lambda: jpeg_sized(65_535, 65_535), TOO_LONG)
    add("bomb_16000.jpg", lambda: jpeg_sized(16_000, 16_000), TOO_MANY)
    add("bomb_16000_progressive.jpg", lambda: jpeg_sized(16_000, 16_000, progressive=True), TOO_MANY)
    add("no_height.jpg", lambda: jpeg_sized(64, 0), UNREADABLE)
    add("bomb_extended_16m.webp", lambda: riff(extended(2**24, 255), webp_chunk(encoded("WEBP"))), TOO_LONG)
    add("bomb_extended_12000.webp", lambda: riff(extended(12_000, 12_000), webp_chunk(encoded("WEBP"))), TOO_MANY)
    add("bomb_animated_9000.webp", _animated_canvas, TOO_MANY)
    add("bomb_lossless_16384.webp", lambda: _lossless_sized(16_384, 16_384), TOO_MANY)
    add("bomb_lossy_16383.webp", lambda: _lossy_sized(16_383, 16_383), TOO_MANY)
    add("bomb_screen.gif", lambda: patched(encoded("GIF"), 6, b"\xff\xff\xff\xff"), TOO_LONG)
    add("bomb_frame_beyond_screen.gif", _gif_frame_beyond_screen, Answer("exceeds limit", 413, "image_too_large"))
    add("bomb_comments.gif", lambda: _gif(b"".join(b"!\xfe\x01a\0" for _ in range(100_000))), ANSWER)
    add("bomb_100000.bmp", lambda: patched(encoded("BMP"), 18, struct.pack("<ii", 100_000, 100_000)), on_the_command_line(TOO_LONG.cli))
    add("negative_height.bmp", lambda: patched(encoded("BMP"), 22, struct.pack("<i", -SIDE)), BMP_TIFF)
    add("lowest_height.bmp", lambda: patched(encoded("BMP"), 22, struct.pack("<i", -(2**31))), on_the_command_line(TOO_LONG.cli))
    add("bomb_run_length.bmp", _bmp_run_length, BMP_TIFF)
    add("bomb_100000.tif", lambda: tiff(greys(100_000, 40_000), bytes(4096)), on_the_command_line(TOO_LONG.cli))
    add("bomb_tile.tif", _tile_bomb, on_the_command_line("is more than 67,108,864 pixels"))
    add("bomb_strip_count.tif", lambda: tiff([*greys(64, 64)[:5], (273, 4, 2**30, 0), *greys(64, 64)[6:]], bytes(4096)), _TIFF_ERROR)
    add("bomb_samples.tif", lambda: tiff(greys(64, 64, tag277=65_535), bytes(4096)), _TIFF_ERROR)
    add("bomb_inflates_past_the_picture.png", lambda: png(header(), chunk(b"IDAT", zlib.compress(rows() + bytes(64 * MB)))), ANSWER)
    add("bomb_text.png", lambda: png_with(_compressed_text(32 * MB)), ANSWER)
    add("bomb_international_text.png", lambda: png_with(_international_text(32 * MB)), ANSWER)
    add("bomb_text_in_parts.png", lambda: png_with(*[_compressed_text(900_000)] * 100), ANSWER)
    add("bomb_text_behind_the_pixels.png", lambda: png(header(), pixels(), _compressed_text(32 * MB)), ANSWER)
    add("bomb_profile.png", lambda: png_with(chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(32 * MB)))), ANSWER)
    add("bomb_exif_overlapping.png", lambda: png_with(chunk(b"eXIf", overlapping(2 * MB))), ANSWER)
    add("bomb_exif_overlapping.webp", lambda: _webp_with(8, (b"EXIF", overlapping(2 * MB))), ANSWER)
    add("bomb_exif_overlapping.jpg", lambda: jpeg_with(segment(0xE1, b"Exif\0\0" + overlapping(65_000))), ANSWER)
    add("bomb_exif_joined.jpg", _exif_joined, ANSWER)
    add("bomb_overlapping.tif", _overlapping_tiff, on_the_command_line("expected at most 256"))
    add("bomb_scans.jpg", lambda: _scans(5000), TOO_MANY_SCANS)
    add("bomb_scans_with_comments.jpg", lambda: _scans(5000, segment(0xFE, b"\xff\xd9\xff\xda")), TOO_MANY_SCANS)
    add("bomb_scans_arithmetic.jpg", lambda: _scans(5000, data=base64.b85decode(_ARITHMETIC_PROGRESSIVE)), TOO_MANY_SCANS)
    add("hundred_thousand_chunks.png", lambda: png_with(*[chunk(b"abCd")] * 100_000), ANSWER)
    add("ten_thousand_texts.png", lambda: png_with(*[chunk(b"tEXt", b"k\0v")] * 10_000), ANSWER)
    add("ten_thousand_segments.jpg", lambda: jpeg_with(*[segment(0xE5, b"")] * 10_000), ANSWER)
    add("ten_thousand_chunks.webp", lambda: _webp_with(0, *[(b"abcd", b"")] * 10_000), ANSWER)


_TIFF_ERROR = on_the_command_line("")
_ARITHMETIC = (
    "|JeWF01!$>Nk#wx0RR9200961|JwjV02>k%7Zed27Zw*D92+1gLMtdGB`8rkJupIGRb^yfRb5+Zc$tA}agcLcU4^xVke;Kft*d8%yve$z$C;?Br2okP3kU!x04M"
    "<g5di<p00saM5C#9*00;pA002J#{{SWQ8E_P%(W{C8ZP2i8(?)hrKF?a#gWUQPtvBliEzJMf"
)
"""40 x 40 by ``jpegtran -arithmetic``: Pillow reads arithmetic coding and does not write it."""
_ARITHMETIC_PROGRESSIVE = (
    "|JeWF01!$>Nk#wx0RR9200961|JwjV02>k%7Zed27Zw*D92+1gLMtdGB`8rkJupIGRb^yfRb5+Zc$tA}agcLcU4^xVke;Kft*d8%yve$z$C;?Br2onQ3kU!x04M"
    "<g5di<p00aOK|Jncu0RaF200I6mWQaFtHkqf=_AyQefd9+@1P}%P+5iXv0RRC70s`bMam}?r|I7dc5C#9*00;pA00ut-u>Z^e1P}%P+5iXv0RRC%A=Llc00;pA0"
    "000Gx;!EO%m4%s1^?Or2mt{A0Y4Db|Je"
)
"""The same, ``-progressive``."""


def _animated_canvas() -> bytes:
    frame = bytes(6) + (63).to_bytes(3, "little") * 2 + bytes(4) + encoded("WEBP")[12:]
    return riff(extended(9000, 9000, 2), (b"ANIM", bytes(6)), (b"ANMF", frame))


def _lossless_sized(width: int, height: int) -> bytes:
    data = encoded("WEBP", lossless=True)
    return patched(data, 21, struct.pack("<I", (width - 1) | (height - 1) << 14))


def _lossy_sized(width: int, height: int) -> bytes:
    return patched(encoded("WEBP"), 26, struct.pack("<HH", width, height))


def _gif(extensions: bytes = b"") -> bytes:
    data = encoded("GIF")
    at = 13 + (3 << ((data[10] & 7) + 1))
    return data[:at] + extensions + data[at:]


def _gif_frame_beyond_screen() -> bytes:
    data = encoded("GIF")
    return patched(data, data.index(b",", 13 + (3 << ((data[10] & 7) + 1))) + 5, b"\xff\xff\xff\xff")


def _bmp_run_length() -> bytes:
    """Only escapes that move on, each by as much as it can."""
    body = b"\0\2\xff\xff" * 4096 + b"\0\1"
    palette = bytes(range(256)) * 4
    info = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 14 + 40 + 1024 + len(body), 0, 0, 14 + 40 + 1024) + info + palette + body


def _tile_bomb() -> bytes:
    entries = [one for one in greys(64, 64, tag259=8, tag322=16_384, tag323=32_768, tag324=0, tag325=99) if one[0] not in {273, 278, 279}]
    return tiff(entries, zlib.compress(bytes(MB)))


def _compressed_text(size: int) -> bytes:
    return chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(size)))


def _international_text(size: int) -> bytes:
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(size)))


def _webp_with(flags: int, *chunks: tuple[bytes, bytes]) -> bytes:
    return riff(extended(SIDE, SIDE, flags), webp_chunk(encoded("WEBP")), *chunks)


def _exif_joined() -> bytes:
    """Many EXIF segments, which Pillow joins into one block."""
    block = overlapping(2 * MB)
    return jpeg_with(*[segment(0xE1, b"Exif\0\0" + block[at : at + 65_000]) for at in range(0, len(block), 65_000)])


def _overlapping_tiff() -> bytes:
    size = 2 * MB
    entries = [*greys(SIDE, SIDE), *[(tag, 7, size, 8) for tag in range(40_000, 60_000)]]
    return tiff(entries, bytes(size))


def _scans(number: int, between: bytes = b"", data: bytes | None = None) -> bytes:
    """A progressive JPEG whose last scan comes again and again, which the decoder must apply to all of the picture each time."""
    data = data or encoded("JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    return data[:-2] + (between + scan) * number + b"\xff\xd9"


# --- cut off ---


def _truncated() -> None:
    kinds: dict[str, Callable[[], bytes]] = {
        "png": lambda: encoded("PNG"),
        "interlaced.png": lambda: png(header(interlace=1), chunk(b"IDAT", _interlaced())),
        "jpg": lambda: encoded("JPEG", quality=90),
        "progressive.jpg": lambda: encoded("JPEG", quality=90, progressive=True),
        "webp": lambda: encoded("WEBP"),
        "lossless.webp": lambda: encoded("WEBP", lossless=True),
    }
    for kind, make in kinds.items():
        for tenths in range(1, 10):

            def cut(make: Callable[[], bytes] = make, tenths: int = tenths) -> bytes:
                data = make()
                return data[: len(data) * tenths // 10]

            add(f"cut_{tenths}0_percent.{kind}", cut, DAMAGED)
    for kind in ("GIF", "BMP", "TIFF"):
        answer = DAMAGED if kind == "GIF" else on_the_command_line("")
        add(f"cut_half.{kind.lower()}", lambda kind=kind: encoded(kind)[: len(encoded(kind)) // 2], answer)


def _interlaced() -> bytes:
    """Adam7 by hand: Pillow does not write it."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    whole = picture()
    return zlib.compress(b"".join(b"\0" + row.tobytes() for left, top, right, down in passes for row in whole[top::down, left::right]))


# --- names that say something else, and files that are two things ---


def _disguised() -> None:
    for kind, suffix in (("PNG", "jpg"), ("JPEG", "png"), ("WEBP", "jpg"), ("JPEG", "gif"), ("PNG", "txt"), ("JPEG", "php")):
        add(f"a_{kind.lower()}.{suffix}", lambda kind=kind: encoded(kind), ANSWER)
    for kind in ("GIF", "BMP", "TIFF"):
        add(f"a_{kind.lower()}.jpg", lambda kind=kind: encoded(kind), ANSWER if kind == "GIF" else BMP_TIFF)
    others: dict[str, Callable[[], bytes]] = {
        "svg": lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><script>1</script></svg>',
        "svg_entities": lambda: b'<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><svg>&b;</svg>',
        "pdf": lambda: b"%PDF-1.7\n1 0 obj <</Type/Catalog>> endobj\n",
        "eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(/etc/passwd) (r) file\n",
        "dos_eps": lambda: b"\xc5\xd0\xd3\xc6" + bytes(60),
        "fits": lambda: b"SIMPLE  =                    T".ljust(2880),
        "psd": lambda: b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 64, 64, 8, 3) + bytes(64),
        "ico": lambda: encoded("ICO"),
        "icns": lambda: b"icns" + struct.pack(">I", 8),
        "jp2": lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64),
        "j2k": lambda: b"\xff\x4f\xff\x51" + bytes(64),
        "ppm": lambda: b"P6 64 64 255\n" + bytes(64 * 64 * 3),
        "pcx": lambda: encoded("PCX"),
        "tga": lambda: encoded("TGA"),
        "xbm": lambda: b"#define a_width 64\n#define a_height 64\nstatic char a_bits[] = {0};\n",
        "xpm": lambda: b'/* XPM */\nstatic char *a[] = {"1 1 1 1"};\n',
        "dds": lambda: b"DDS " + bytes(124),
        "qoi": lambda: b"qoif" + struct.pack(">IIBB", 64, 64, 3, 0),
        "wmf": lambda: b"\xd7\xcd\xc6\x9a" + bytes(40),
        "html": lambda: b"<!DOCTYPE html><script>alert(1)</script>",
        "zip": _zip,
        "gzip": lambda: b"\x1f\x8b\x08" + bytes(32),
        "elf": lambda: b"\x7fELF" + bytes(64),
        "wav": lambda: b"RIFF\x24\0\0\0WAVEfmt " + bytes(32),
        "avi": lambda: b"RIFF\x24\0\0\0AVI " + bytes(32),
        "mp4": lambda: struct.pack(">I", 24) + b"ftypisom" + bytes(12),
        "pickle": lambda: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "zeros": lambda: bytes(4096),
        "text": "ein Bild \N{FRAME WITH PICTURE}".encode,
        "space_then_png": lambda: b" " + encoded("PNG"),
        "bom_then_jpeg": lambda: b"\xef\xbb\xbf" + encoded("JPEG"),
        "pdf_then_jpeg": lambda: b"%PDF-1.7\n" + encoded("JPEG"),
        "riff_of_another_case": lambda: b"riff" + encoded("WEBP")[4:],
        "old_mac_png": lambda: encoded("PNG").replace(b"\r\n", b"\n", 1),
    }
    for name, make in others.items():
        add(f"{name}.jpg", make, FOREIGN)
    add("empty.png", lambda: b"", EMPTY)
    magic = {"jpg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n", "webp": b"RIFF\0\0\0\0WEBP", "gif": b"GIF89a"}
    for suffix, start in magic.items():
        add(f"only_magic.{suffix}", lambda start=start: start, UNREADABLE)
    for suffix, start in {"bmp": b"BM", "tif": b"II*\0", "big.tif": b"MM\0+"}.items():
        add(f"only_magic.{suffix}", lambda start=start: start, on_the_command_line(UNREADABLE.cli))
    add("jpeg_and_zip.jpg", lambda: encoded("JPEG") + _zip(), ANSWER)
    add("png_and_html.png", lambda: png_with(chunk(b"tEXt", b"Comment\0<script>alert(1)</script>")) + b"<html><script>1</script>", ANSWER)
    add("gif_and_script.gif", _gif_and_script, ANSWER, (int.from_bytes(b"/*", "little"), SIDE))
    add("jpeg_and_php.jpg", lambda: jpeg_with(segment(0xFE, b"<?php system($_GET[0]); ?>")), ANSWER)
    add("webp_and_pdf.webp", lambda: encoded("WEBP") + b"%PDF-1.7\n", ANSWER)
    add("png_and_png.png", lambda: encoded("PNG") + encoded("PNG", picture(32, 32)), ANSWER, (SIDE, SIDE))
    add("jpeg_and_jpeg.jpg", lambda: encoded("JPEG") + encoded("JPEG", picture(32, 32)), ANSWER, (SIDE, SIDE))
    for kind, suffix in (("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")):
        add(f"a_megabyte_behind.{suffix}", lambda kind=kind: encoded(kind) + bytes(range(256)) * 4096, ANSWER)
    add("one_byte_too_many.png", lambda: encoded("PNG").ljust(64 * MB + 1, b"\0"), TOO_HEAVY)
    add("as_many_bytes_as_may_be.png", lambda: encoded("PNG").ljust(64 * MB, b"\0"), ANSWER)


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("zeros"), bytes(MB))
    return stream.getvalue()


def _gif_and_script() -> bytes:
    """Its width reads ``/*`` as a script, which begins behind the picture."""
    return patched(encoded("GIF"), 6, b"/*") + b"*/=1;alert(1);"


# --- sizes, frames, colours ---


def _shapes() -> None:
    add("1x1.png", lambda: encoded("PNG", picture(1, 1)), TOO_SMALL)
    add("1x1.jpg", lambda: encoded("JPEG", picture(1, 1)), TOO_SMALL)
    add("1x1.webp", lambda: encoded("WEBP", picture(1, 1)), TOO_SMALL)
    add("31x400.png", lambda: encoded("PNG", picture(400, 31)), TOO_SMALL)
    add("32x32.png", lambda: encoded("PNG", picture(32, 32)), ANSWER, (32, 32))
    for width, height in ((1, 65_500), (65_500, 1)):
        add(f"{width}x{height}.png", lambda w=width, h=height: png(header(w, h, 8, 0), pixels(width=w, height=h, channels=1)), TOO_LONG)
        add(f"{width}x{height}.jpg", lambda w=width, h=height: encoded("JPEG", np.zeros((h, w), np.uint8)), TOO_LONG)
    add("1x16384.png", lambda: encoded("PNG", np.zeros((16_384, 1), np.uint8)), TOO_SMALL)
    for width, height in ((32, 16_384), (16_384, 32)):
        add(f"{width}x{height}.png", lambda w=width, h=height: encoded("PNG", np.zeros((h, w), np.uint8)), ANSWER, (width, height))
    add("16385x32.png", lambda: encoded("PNG", np.zeros((32, 16_385), np.uint8)), TOO_LONG)
    add("32x16383.webp", lambda: encoded("WEBP", np.zeros((16_383, 32, 3), np.uint8), method=0), ANSWER, (32, 16_383))

    add("thousand_frames.gif", lambda: _frames("GIF"), ANSWER)
    add("thousand_frames.png", lambda: _frames("PNG"), ANSWER, (SIDE, SIDE))
    add("thousand_frames.webp", lambda: _frames("WEBP", method=0), ANSWER, (SIDE, SIDE))
    add("frames_announced.png", lambda: png(header(), chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)), pixels()), ANSWER)
    add("frame_larger_than_the_picture.png", _apng_large_frame, DAMAGED)
    add("pages_in_a_ring.tif", lambda: tiff(greys(SIDE, SIDE), bytes(SIDE * SIDE), following=8), BMP_TIFF)

    add("cmyk.jpg", lambda: encoded("JPEG", Image.fromarray(picture()).convert("CMYK")), ANSWER)
    add("cmyk_without_adobe.jpg", lambda: _without(encoded("JPEG", Image.fromarray(picture()).convert("CMYK")), b"\xff\xee"), ANSWER)
    add("16_bit.png", lambda: encoded("PNG", picture()[..., 0].astype(np.uint16) * 257), ANSWER)
    add("16_bit_colour.png", lambda: png(header(depth=16), pixels(depth=16)), ANSWER)
    add("16_bit_alpha.png", lambda: png(header(depth=16, colour=6), pixels(depth=16, channels=4)), ANSWER)
    add("float.tif", lambda: encoded("TIFF", picture()[..., 0].astype(np.float32) / 255), BMP_TIFF)
    add("float_without_scale.tif", lambda: encoded("TIFF", picture()[..., 0].astype(np.float32)), on_the_command_line("no known scale"))
    add("float_not_a_number.tif", lambda: encoded("TIFF", np.full((64, 64), np.nan, np.float32)), on_the_command_line("no known scale"))
    add("palette_and_alpha.png", lambda: encoded("PNG", Image.fromarray(picture()).quantize(16), transparency=bytes(range(16))), ANSWER)
    add("palette_and_key.png", lambda: encoded("PNG", Image.fromarray(picture()).quantize(16), transparency=3), ANSWER)
    add("palette_exceeded.png", lambda: png(header(colour=3), chunk(b"PLTE", b"\1\2\3"), pixels(channels=1)), ANSWER)
    many_alphas = png(header(colour=3), chunk(b"PLTE", bytes(9)), chunk(b"tRNS", bytes(256)), pixels(channels=1))
    add("alphas_exceed_palette.png", lambda: many_alphas, ANSWER)
    add("palette_missing.png", lambda: png(header(colour=3), pixels(channels=1)), ANSWER)
    add("grey_and_alpha.png", lambda: encoded("PNG", Image.fromarray(picture()).convert("LA")), ANSWER)
    add("one_bit.png", lambda: encoded("PNG", Image.fromarray(picture()).convert("1")), ANSWER)
    add("interlaced.png", lambda: png(header(interlace=1), chunk(b"IDAT", _interlaced())), ANSWER, (SIDE, SIDE))
    add("lossless.webp", lambda: encoded("WEBP", lossless=True), ANSWER)
    add("alpha.webp", lambda: encoded("WEBP", Image.fromarray(picture()).convert("RGBA")), ANSWER)
    add("lzw.tif", lambda: encoded("TIFF", compression="tiff_lzw"), BMP_TIFF)
    add("jpeg_inside.tif", lambda: encoded("TIFF", compression="jpeg"), BMP_TIFF)


def _frames(kind: str, **options: Any) -> bytes:
    first = Image.fromarray(picture())
    others = [Image.new("RGB", (SIDE, SIDE), (number % 256, number // 4, 0)) for number in range(999)]
    return encoded(kind, first, save_all=True, append_images=others, duration=10, **options)


def _apng_large_frame() -> bytes:
    control = struct.pack(">IIIIIHHBB", 0, 60_000, 60_000, 0, 0, 1, 10, 0, 0)
    return png(header(), chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", control), pixels())


def _without(data: bytes, marker: bytes) -> bytes:
    """A JPEG without its first segment of a kind."""
    at = data.index(marker)
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4]) :]


# --- metadata ---


def _metadata() -> None:
    for orientation in range(1, 9):
        add(f"orientation_{orientation}.jpg", lambda o=orientation: encoded("JPEG", picture(48, 96), exif=_orientation(o)), ANSWER,
            (96, 48) if orientation < 5 else (48, 96))  # fmt: skip
    for orientation in (0, 9, 65_535):
        add(
            f"orientation_{orientation}.jpg", lambda o=orientation: encoded("JPEG", picture(48, 96), exif=_orientation(o)), ANSWER, (96, 48)
        )
    text = b"Exif\0\0" + exif_with((0x0112, 2, 4, int.from_bytes(b"six\0", "little")))
    add("orientation_in_words.jpg", lambda: encoded("JPEG", picture(48, 96), exif=text), ANSWER, (96, 48))
    many = b"Exif\0\0" + exif_with((0x0112, 3, 2**31, 8))
    add("orientation_many.jpg", lambda: encoded("JPEG", picture(48, 96), exif=many), ANSWER, (96, 48))

    blocks = {
        "garbage": b"\xff" * 400,
        "short": b"MM\0*\0\0",
        "ring": directory([(0x8769, 4, 1, 8), (0x8825, 4, 1, 8), (0xA005, 4, 1, 8)], 8),
        "far": b"II*\0" + struct.pack("<I", 2**32 - 1),
        "counts": exif_with(*[(tag, 5, 2**32 - 1, 8) for tag in (0x010E, 0x010F, 0x0110, 0x0112, 0x0131, 0x8298)]),
        "big": b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**64 - 1) + bytes(40),
        "zero_division": exif_with((0x0128, 3, 1, 2), (0x011A, 5, 1, 38), data=bytes(16)),
    }
    for name, block in blocks.items():
        add(f"exif_{name}.jpg", lambda b=block: jpeg_with(segment(0xE1, b"Exif\0\0" + b)), ANSWER, (SIDE, SIDE))
        add(f"exif_{name}.png", lambda b=block: png_with(chunk(b"eXIf", b)), ANSWER, (SIDE, SIDE))
        add(f"exif_{name}.webp", lambda b=block: _webp_with(8, (b"EXIF", b)), ANSWER, (SIDE, SIDE))
    add("exif_after_exif.jpg", lambda: jpeg_with(*[segment(0xE1, b"Exif\0\0" + _orientation(6)[6:])] * 40), ANSWER)
    add("profile_garbage.jpg", lambda: encoded("JPEG", icc_profile=b"\xff" * 200_000), ANSWER)
    add("profile_out_of_order.jpg", lambda: jpeg_with(*[segment(0xE2, b"ICC_PROFILE\0" + bytes([9, 2]) + bytes(99))] * 3), ANSWER)
    add("profile_garbage.png", lambda: png_with(chunk(b"iCCP", b"icc\0\0not compressed")), ANSWER)
    add("profile_of_another_method.png", lambda: png_with(chunk(b"iCCP", b"icc\0\7")), ANSWER)
    add("profile_garbage.webp", lambda: _webp_with(32, (b"ICCP", b"\xff" * 99)), ANSWER)
    laughs = b"<?xpacket?><!DOCTYPE x [" + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12)) + b"]>&a11;"
    add("xmp_of_entities.jpg", lambda: jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + laughs)), ANSWER)
    add("xmp_of_entities.png", lambda: png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + laughs)), ANSWER)
    add("xmp_no_text.webp", lambda: _webp_with(4, (b"XMP ", b"\xff\xfe<\0\xd8" * 200_000)), ANSWER)
    add(
        "xmp_patterns.jpg",
        lambda: jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b":DigitalSourceType resource=" * 2000)),
        ANSWER,
    )
    add("photoshop_garbage.jpg", lambda: jpeg_with(segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\xff\xff\xff\xff" * 100)), ANSWER)
    add("photoshop_zeros.jpg", lambda: jpeg_with(segment(0xED, b"Photoshop 3.0\x008BIM" + bytes(4000))), ANSWER)
    add("pictures_index_garbage.jpg", lambda: jpeg_with(segment(0xE2, b"MPF\0" + blocks["counts"])), ANSWER)
    add("several_pictures.mpo", lambda: encoded("MPO", save_all=True, append_images=[Image.new("RGB", (32, 32))]), ANSWER, (SIDE, SIDE))
    box = struct.pack(">I", 2**32 - 1) + b"jumb" + struct.pack(">I", 2**31) + b"jumdc2pa" + b"\xff" * 500
    add("manifest_garbage.jpg", lambda: jpeg_with(segment(0xEB, b"JP\0\1\0\0\0\1" + box)), ANSWER)
    add("manifest_garbage.png", lambda: png_with(chunk(b"caBX", box)), ANSWER)
    add("manifest_garbage.webp", lambda: _webp_with(0, (b"C2PA", box)), ANSWER)
    add("manifest_nested.png", lambda: png_with(chunk(b"caBX", _nested_boxes())), ANSWER)
    add("text_without_end.png", lambda: png_with(chunk(b"tEXt", b"x" * 100_000)), ANSWER)
    add("text_of_another_method.png", lambda: png_with(chunk(b"zTXt", b"key\0\5data")), ANSWER)
    add("text_no_text.png", lambda: png_with(chunk(b"iTXt", b"\xff\0\1\0\xff\0\xff\0\xff"), chunk(b"iTXt", b"")), ANSWER)
    add("raw_profile_garbage.png", lambda: png_with(chunk(b"tEXt", b"Raw profile type exif\0\nexif\n99999999\nzz")), ANSWER)


def _orientation(value: int) -> bytes:
    return b"Exif\0\0" + exif_with((0x0112, 3, 1, value))


def _nested_boxes(depth: int = 20_000) -> bytes:
    block = b"c2pa"
    sizes = [len(block) + 8 * (depth - number) for number in range(depth)]
    return b"".join(struct.pack(">I", size) + b"jumb" for size in sizes) + block


# --- what a container should not hold ---


def _jpeg_structure() -> None:
    add("arithmetic.jpg", lambda: base64.b85decode(_ARITHMETIC), ANSWER, (40, 40))
    add("arithmetic_progressive.jpg", lambda: base64.b85decode(_ARITHMETIC_PROGRESSIVE), ANSWER, (40, 40))
    add("progressive.jpg", lambda: encoded("JPEG", progressive=True), ANSWER, (SIDE, SIDE))
    add("hundred_scans.jpg", lambda: _scans(90), ANSWER, (SIDE, SIDE))
    add("frame_of_12_bits.jpg", lambda: _frame(4, b"\x0c"), DAMAGED)
    add("frame_of_5_components.jpg", lambda: _frame(9, b"\x05"), DAMAGED)
    add("frame_lossless.jpg", lambda: _frame(1, b"\xc3"), DAMAGED)
    add("frame_differential.jpg", lambda: _frame(1, b"\xc5"), DAMAGED)
    add("sampling_zero.jpg", lambda: _frame(11, b"\0"), DAMAGED)
    add("sampling_15.jpg", lambda: _frame(11, b"\xff"), DAMAGED)
    add("two_frames.jpg", _two_frames, DAMAGED)
    add("another_frame_behind_foreign_marker.jpg", _hidden_frame, DAMAGED)
    add("no_scan.jpg", lambda: encoded("JPEG")[: encoded("JPEG").index(b"\xff\xda")] + b"\xff\xd9", DAMAGED)
    add("no_end.jpg", lambda: encoded("JPEG")[:-2], BROKEN)
    add("no_tables.jpg", lambda: _without(_without(encoded("JPEG"), b"\xff\xdb"), b"\xff\xdb"), DAMAGED)
    add("table_cut.jpg", lambda: jpeg_with(segment(0xDB, b"\0" + bytes(10))), DAMAGED)
    add("codes_overfull.jpg", lambda: jpeg_with(segment(0xC4, b"\0" + b"\xff" * 16 + bytes(4080))), DAMAGED)
    add("segment_without_length.jpg", lambda: jpeg_with(b"\xff\xe5\0\0"), ANSWER)
    add("fill_bytes.jpg", lambda: jpeg_with(b"\xff" * 100_000), ANSWER)
    add("restart_markers.jpg", lambda: encoded("JPEG", restart_marker_blocks=1), ANSWER)


def _png_structure() -> None:
    add("interlace_7.png", lambda: png(header(interlace=7), pixels()), DAMAGED)
    add("depth_3.png", lambda: png(header(depth=3), pixels()), DAMAGED)
    add("colour_5.png", lambda: png(header(colour=5), pixels()), DAMAGED)
    add("filter_9.png", lambda: png(header(), pixels(filtered=9)), BROKEN)
    add("wrong_sum_of_header.png", lambda: patched(png(header(), pixels()), 29, bytes(4)), DAMAGED)
    add("wrong_sum_of_pixels.png", lambda: png(header(), chunk(b"IDAT", zlib.compress(rows()), 7)), ANSWER)
    add("no_pixels.png", lambda: png(header()), DAMAGED)
    add("no_header.png", lambda: png(pixels()), DAMAGED)
    add("header_empty.png", lambda: png(chunk(b"IHDR"), pixels()), DAMAGED)
    add("two_headers.png", lambda: png(header(), header(60_000, 60_000), pixels()), TOO_LARGE)
    add("header_behind_pixels.png", lambda: png(header(), pixels(), header(60_000, 60_000)), ANSWER, (SIDE, SIDE))
    add("unknown_critical.png", lambda: png_with(chunk(b"ABCD", b"x")), ANSWER)
    add("chunk_of_2_gigabytes.png", lambda: png(header(), struct.pack(">I", 2**31 - 1) + b"teXt"), DAMAGED)
    add("not_compressed.png", lambda: png(header(), chunk(b"IDAT", rows())), DAMAGED)
    add("pixels_in_single_bytes.png", _single_bytes, ANSWER, (SIDE, SIDE))


def _other_structure() -> None:
    webp = encoded("WEBP")
    add("riff_too_long.webp", lambda: riff(webp_chunk(webp), size=2**31), DAMAGED)
    add("riff_too_short.webp", lambda: riff(webp_chunk(webp), size=20), DAMAGED)
    add("chunk_too_long.webp", lambda: patched(webp, 16, struct.pack("<I", 2**32 - 2)), DAMAGED)
    add("canvas_unlike_frame.webp", lambda: riff(extended(100, 100), webp_chunk(webp)), DAMAGED)
    add("alpha_garbage.webp", lambda: riff(extended(SIDE, SIDE, 16), (b"ALPH", b"\xff" * 99), webp_chunk(webp)), DAMAGED)
    add("no_pictures.webp", lambda: riff(extended(SIDE, SIDE, 2), (b"ANIM", bytes(6))), DAMAGED)
    add("empty_frame.webp", lambda: riff((b"VP8 ", b"")), DAMAGED)
    add("frame_off_canvas.webp", _frame_off_canvas, DAMAGED)

    add("no_frames.gif", lambda: b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0, 0, 0) + b";", DAMAGED)
    add("code_size_255.gif", _code_size, DAMAGED)
    add("no_directory.tif", lambda: b"II*\0" + struct.pack("<I", 2**31), on_the_command_line(""))
    add("big_directory.tif", lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**64 - 1), on_the_command_line(""))
    add("strip_beyond_the_end.tif", lambda: tiff(greys(64, 64), b""), on_the_command_line(""))
    add("unknown_compression.tif", lambda: tiff(greys(64, 64, tag259=50_000), bytes(64)), on_the_command_line(""))
    add("no_palette.bmp", lambda: patched(encoded("BMP"), 28, b"\x08\0"), BMP_TIFF)
    add("pixels_beyond_the_end.bmp", lambda: patched(encoded("BMP"), 10, struct.pack("<I", 2**31)), on_the_command_line(""))


def _frame(at: int, new: bytes) -> bytes:
    data = encoded("JPEG")
    return patched(data, frame_of(data) + at, new)


def _two_frames() -> bytes:
    data = encoded("JPEG")
    at = frame_of(data)
    return data[:at] + segment(0xC2, data[at + 4 : at + 5] + struct.pack(">HH", 65_500, 65_500) + data[at + 9 : at + 19]) + data[at:]


def _hidden_frame() -> bytes:
    """A large progressive frame for the decoder in what Python's reader takes for another segment."""
    data = encoded("JPEG")
    at = frame_of(data)
    large = segment(0xC2, data[at + 4 : at + 5] + struct.pack(">HH", 65_500, 65_500) + data[at + 9 : at + 19])
    return jpeg_with(b"\xff\xf0" + struct.pack(">H", 2) + large)


def _single_bytes() -> bytes:
    data = zlib.compress(rows(), 0)
    return png(header(), *[chunk(b"IDAT", data[at : at + 1]) for at in range(len(data))])


def _frame_off_canvas() -> bytes:
    frame = (9000).to_bytes(3, "little") * 2 + (SIDE - 1).to_bytes(3, "little") * 2 + bytes(4) + encoded("WEBP")[12:]
    return riff(extended(SIDE, SIDE, 2), (b"ANIM", bytes(6)), (b"ANMF", frame))


def _code_size() -> bytes:
    data = encoded("GIF")
    return patched(data, data.index(b",", 13 + (3 << ((data[10] & 7) + 1))) + 10, b"\xff")


# --- containers that other packages read ---


def _containers() -> None:
    answers = {"scored": ANSWER, "long": TOO_LONG, "many": TOO_MANY, "broken": DAMAGED}
    for name, make, became, size in hostile_containers.entries():
        add(name, make, answers[became], size)
    for name, make, became, size in hostile_containers.jpeg_xl():
        add(name, make, on_the_command_line(answers[became].cli), size)
    add("large_text.png", lambda: png_with(_compressed_text(2 * MB)), ANSWER, (SIDE, SIDE))
    add("large_profile.png", lambda: png_with(chunk(b"iCCP", b"icc\0\0" + zlib.compress(_noise(2 * MB)))), ANSWER, (SIDE, SIDE))
    add("big_endian_big.tif", lambda: _big_endian(SIDE, SIDE), BMP_TIFF, (SIDE, SIDE))
    add("bomb_big_endian_big.tif", lambda: _big_endian(16_000, 16_000), on_the_command_line(TOO_MANY.cli))
    add("big_endian_big_cut.tif", lambda: _big_endian(SIDE, SIDE)[:3000], on_the_command_line(""))
    add("big_endian_big_overlapping.tif", lambda: _big_endian(SIDE, SIDE, 100_000), on_the_command_line("expected at most 256"))


def _noise(size: int) -> bytes:
    return np.random.default_rng(0).bytes(size)


def _big_endian(width: int, height: int, more: int = 0) -> bytes:
    """A grey BigTIFF of big-endian order, whose single strip is as long as 64 x 64 pixels are."""
    wanted = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 16, 0), (277, 3, 1), (278, 4, height),
              (279, 16, SIDE * SIDE), *[(tag % 60_000 + 300, 16, 1) for tag in range(more)]]  # fmt: skip
    start = 16 + 8 + 20 * len(wanted) + 8
    entries = b"".join(
        struct.pack(">HHQ", tag, kind, 1) + struct.pack({3: ">H6x", 4: ">I4x", 16: ">Q"}[kind], start if tag == 273 else value)
        for tag, kind, value in wanted
    )
    head = b"MM\0+\0\x08\0\0" + struct.pack(">QQ", 16, len(wanted))
    return head + entries + bytes(8) + bytes(range(256)) * (SIDE * SIDE // 256)


_bombs()
_truncated()
_disguised()
_shapes()
_metadata()
_jpeg_structure()
_png_structure()
_other_structure()
_containers()


def write(folder: Path) -> list[Path]:
    """Write all files into a folder, which is made: their paths, in the order of `FILES`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / file.name for file in FILES]
    for path, file in zip(paths, FILES, strict=True):
        path.write_bytes(file.make())
    return paths


if __name__ == "__main__":
    print(len(write(Path(sys.argv[1]))), "files in", sys.argv[1])  # noqa: T201
