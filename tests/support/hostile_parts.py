"""Pieces of picture files, and whole ones with a piece more or changed: what `hostile_files` is made of."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

SIDE = 64


def picture(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Coarse colours and some noise: (H, W, 3) uint8."""
    rng = np.random.default_rng(height * 100_003 + width)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(coarse, np.int16) + rng.integers(-9, 10, (height, width, 3)), 0, 255).astype(np.uint8)


def encoded(kind: str, image: Image.Image | np.ndarray | None = None, **options: Any) -> bytes:
    """A whole file of a format."""
    stream = io.BytesIO()
    image = picture() if image is None else image
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def chunk(name: bytes, body: bytes = b"", crc: int | None = None) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body) if crc is None else crc)


def header(width: int = SIDE, height: int = SIDE, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    """The first chunk of a PNG."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def rows(width: int = SIDE, height: int = SIDE, channels: int = 3, depth: int = 8, filtered: int = 0) -> bytes:
    """Rows of a PNG before compression, each behind its filter byte."""
    return b"".join(bytes([filtered]) + bytes([y * 255 // height]) * (width * channels * depth // 8) for y in range(height))


def png(*chunks: bytes) -> bytes:
    """A PNG of chunks; its end is added."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND")


def pixels(**options: int) -> bytes:
    """The data chunk of a PNG."""
    return chunk(b"IDAT", zlib.compress(rows(**options)))


def png_with(*chunks: bytes) -> bytes:
    """A whole PNG that has some chunks more, before its pixels."""
    return png(header(), *chunks, pixels())


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg_with(*segments: bytes, **options: Any) -> bytes:
    """A whole JPEG that has some segments more, right behind its start."""
    return b"\xff\xd8" + b"".join(segments) + encoded("JPEG", **options)[2:]


def frame_of(data: bytes) -> int:
    """Where the frame header of a JPEG stands."""
    return next(data.index(marker) for marker in (b"\xff\xc0\x00\x11", b"\xff\xc2\x00\x11") if marker in data)


def jpeg_sized(width: int, height: int, **options: Any) -> bytes:
    """A JPEG whose header announces another size."""
    data, at = encoded("JPEG", **options), frame_of(encoded("JPEG", **options))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """Bytes replaced."""
    return data[:at] + new + data[at + len(new) :]


def riff(*chunks: tuple[bytes, bytes], size: int | None = None) -> bytes:
    """A WebP of chunks."""
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def extended(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    """The header of an extended WebP."""
    return b"VP8X", struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def webp_chunk(data: bytes) -> tuple[bytes, bytes]:
    """The only chunk of a simple WebP."""
    return data[12:16], data[20:]


def directory(entries: list[tuple[int, int, int, int]], following: int = 0, start: int = 8) -> bytes:
    """A TIFF directory: tag, type, count, value or place."""
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", start) + bytes(start - 8) + body


def tiff(entries: list[tuple[int, int, int, int]], data: bytes = b"", following: int = 0) -> bytes:
    """A TIFF of one directory, with data at its end, where places are counted from there."""
    size = len(directory(entries))
    placed = [(tag, kind, count, value + size if tag in {273, 324} else value) for tag, kind, count, value in entries]
    return directory(placed, following) + data


def greys(width: int, height: int, **changed: int) -> list[tuple[int, int, int, int]]:
    """The directory of a grey TIFF in one strip."""
    wanted = {256: (4, width), 257: (4, height), 258: (3, 8), 259: (3, 1), 262: (3, 1), 273: (4, 0), 277: (3, 1), 278: (4, height),
              279: (4, width * height)}  # fmt: skip
    wanted |= {int(name.removeprefix("tag")): (4, value) for name, value in changed.items()}
    return [(tag, kind, 1, value) for tag, (kind, value) in sorted(wanted.items())]


def exif_with(*entries: tuple[int, int, int, int], data: bytes = b"") -> bytes:
    """An EXIF block without its name."""
    return directory(list(entries)) + data


def overlapping(size: int) -> bytes:
    """An EXIF block of many entries, each of which claims all of it."""
    entries = [(tag, 7, size - 8, 0) for tag in range(1, 60_000)]
    return (exif_with((0x0112, 3, 1, 1), *entries[: (size - 100) // 12]) + bytes(size))[:size]
