"""Damage done to pictures with their format in mind: chunks and segments moved, changed and mixed, sums and lengths made right again.

Blind damage mostly ends at the first check sum; these files get further into the readers.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np

Part = tuple[bytes, bytes]

_NUMBERS = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_MOST_PARTS = 200
_PNG = b"\x89PNG\r\n\x1a\n"


def mutated(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A file damaged in one to four places, perhaps with pieces of another file."""
    for _ in range(int(rng.integers(1, 5))):
        by_format = _of_format(data)
        data = by_format(data, other, rng) if by_format and rng.random() < 0.7 else _bytes(data, other, rng)
    return data


def _of_format(data: bytes) -> Callable[[bytes, bytes, np.random.Generator], bytes] | None:
    if data.startswith(_PNG):
        return _png
    if data.startswith(b"\xff\xd8"):
        return _jpeg
    if data[4:8] == b"ftyp" or data[4:8] == b"JXL ":
        return _bmff
    return _webp if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


_PARENTS = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"iinf": 6, b"iref": 4, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0}
"""Boxes of boxes, and how many bytes stand before these."""


def _bmff(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Damage the boxes of one level, from the file's own down to those of its tables."""
    parts, others = _boxes(data), _boxes(other) if other[4:8] == b"ftyp" else []
    below = [number for number, (kind, _) in enumerate(parts) if kind in _PARENTS]
    if below and rng.random() < 0.7:
        number = below[int(rng.integers(len(below)))]
        kind, body = parts[number]
        skip = _PARENTS[kind]
        parts[number] = kind, body[:skip] + _bmff(body[skip:], b"", rng)
    else:
        parts = _moved(parts, others, rng)
    return b"".join(struct.pack(">I", 8 + len(body)) + kind + body for kind, body in parts)


def _boxes(data: bytes) -> list[Part]:
    parts: list[Part] = []
    place = 0
    while place + 8 <= len(data) and len(parts) < _MOST_PARTS:
        size = int.from_bytes(data[place : place + 4])
        size = size if 8 <= size <= len(data) - place else len(data) - place
        parts.append((data[place + 4 : place + 8].ljust(4, b"\0"), data[place + 8 : place + size]))
        place += size
    return parts


def _png(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    parts = _png_parts(data)
    parts = _moved(parts, _png_parts(other) if other.startswith(_PNG) else [], rng)
    if rng.random() < 0.3:
        parts = [_recompressed(part, rng) if part[0] == b"IDAT" and rng.random() < 0.5 else part for part in parts]
    right = rng.random() < 0.9
    return _PNG + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) if right else 7) for kind, body in parts
    )


def _png_parts(data: bytes) -> list[Part]:
    parts: list[Part] = []
    place = 8
    while place + 12 <= len(data) and len(parts) < _MOST_PARTS:
        size = int.from_bytes(data[place : place + 4])
        parts.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    return parts


def _recompressed(part: Part, rng: np.random.Generator) -> Part:
    try:
        rows = zlib.decompressobj().decompress(part[1], 2**20)
    except zlib.error:
        return part
    return part[0], zlib.compress(_changed(rows, rng), 1)


def _jpeg(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    parts, rest = _jpeg_parts(data)
    parts = _moved(parts, _jpeg_parts(other)[0] if other.startswith(b"\xff\xd8") else [], rng)
    if rng.random() < 0.4:
        rest = _changed(rest, rng)
    return b"\xff\xd8" + b"".join(b"\xff" + kind + struct.pack(">H", min(65_535, len(body) + 2)) + body for kind, body in parts) + rest


def _jpeg_parts(data: bytes) -> tuple[list[Part], bytes]:
    """Segments, and from the second scan's header or the first scan's data on the rest."""
    parts: list[Part] = []
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and len(parts) < _MOST_PARTS:
        size = int.from_bytes(data[place + 2 : place + 4])
        parts.append((data[place + 1 : place + 2], data[place + 4 : place + 2 + size]))
        place += 2 + max(2, size)
        if parts[-1][0] == b"\xda":
            break
    return parts, data[place:]


def _webp(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    parts = _moved(_webp_parts(data), _webp_parts(other) if other[8:12] == b"WEBP" else [], rng)
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for kind, body in parts)
    return b"RIFF" + struct.pack("<I", len(body) if rng.random() < 0.9 else _number(rng)) + body


def _webp_parts(data: bytes) -> list[Part]:
    parts: list[Part] = []
    place = 12
    while place + 8 <= len(data) and len(parts) < _MOST_PARTS:
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        parts.append((data[place : place + 4], data[place + 8 : place + 8 + size]))
        place += 8 + size + size % 2
    return parts


def _moved(parts: list[Part], others: list[Part], rng: np.random.Generator) -> list[Part]:
    """One part changed, dropped, doubled, moved, renamed, or taken from elsewhere."""
    if not parts:
        return others[:]
    parts, at, to = parts[:], int(rng.integers(len(parts))), int(rng.integers(len(parts) + 1))
    match int(rng.integers(7)):
        case 0:
            del parts[at]
        case 1:
            parts.insert(to, parts[at])
        case 2:
            parts.insert(min(to, len(parts) - 1), parts.pop(at))
        case 3:
            parts[at] = (parts[to % len(parts)][0], parts[at][1])
        case 4 if others:
            parts.insert(to, others[int(rng.integers(len(others)))])
        case _:
            parts[at] = (parts[at][0], _changed(parts[at][1], rng))
    return parts


def _changed(body: bytes, rng: np.random.Generator) -> bytes:
    return _bytes(body, body[::-1], rng)


def _bytes(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, numbers that programs stumble over put in, a piece cut out, doubled or taken from elsewhere, the end cut off."""
    if not data:
        return other[: int(rng.integers(1, 64))]
    changed, at = bytearray(data), int(rng.integers(len(data)))
    length = int(min(len(data) - at, rng.geometric(0.02)))
    match int(rng.integers(6)):
        case 0:
            for _ in range(int(rng.integers(1, 9))):
                changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
        case 1:
            width = int(rng.choice([1, 2, 4]))
            changed[at : at + width] = _number(rng).to_bytes(4, "big" if rng.random() < 0.5 else "little")[:width]
        case 2:
            del changed[at : at + length]
        case 3:
            changed[at:at] = data[at : at + length] * int(rng.integers(1, 20))
        case 4:
            start = int(rng.integers(len(other) + 1))
            changed[at : at + length] = other[start : start + length]
        case _:
            del changed[at:]
    return bytes(changed)


def _number(rng: np.random.Generator) -> int:
    return int(rng.choice(_NUMBERS))
