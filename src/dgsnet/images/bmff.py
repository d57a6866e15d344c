"""Boxes of an ISO base media file (ISO/IEC 14496-12), and the items of a HEIF picture (ISO/IEC 23008-12), read in bounded time.

HEIC, AVIF and the container of JPEG XL are such files. Nothing is decoded: this says where things stand and what a file announces.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

_MOST_BOXES = 16_384  # on one level
MOST_ITEMS = 4096
"""Items of a file: a phone's picture of 50 megapixels has two hundred tiles."""
_MOST_REFERENCES = 4 * MOST_ITEMS
_MOST_EXTENTS = 64  # pieces of one item: writers make one


class BmffError(ValueError):
    """The boxes contradict each other, end early, or are more than a picture needs."""


@dataclass(frozen=True)
class Box:
    """A box: its four-letter kind, and where its body begins and ends in the file."""

    kind: bytes
    start: int
    end: int


@dataclass
class Item:
    """An item of a HEIF file: a coded picture, a picture made of others, or metadata."""

    kind: bytes
    """``hvc1``, ``av01``, ``grid``, ``Exif``, ``mime``, ..."""
    content_type: bytes = b""
    """Of a ``mime`` item."""
    extents: list[tuple[int, int]] = field(default_factory=list)
    """Places in the file, offset and length, that its data is joined from."""
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Kind and body of its properties, such as ``ispe``, ``irot``, ``hvcC``, in their order."""


@dataclass
class Items:
    """The items of a HEIF file, by number, and what they say of each other."""

    primary: int = 0
    items: dict[int, Item] = field(default_factory=dict)
    references: list[tuple[bytes, int, tuple[int, ...]]] = field(default_factory=list)
    """Kind, from, to: ``dimg`` from a grid to its tiles, ``auxl`` from a mask to its picture, ``cdsc`` from metadata to their picture."""

    def data(self, file: bytes, number: int, longest: int) -> bytes:
        """Return the data of an item, cut to a length; empty where it has none."""
        joined = bytearray()
        for offset, length in self.items[number].extents if number in self.items else []:
            joined += file[offset : offset + min(length, longest - len(joined))]
            if len(joined) >= longest:
                break
        return bytes(joined)


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Yield the boxes of one level; those behind a damaged one are left out, a last one that is cut off ends with its parent.

    Raises:
        BmffError: there are more than any picture has.
    """
    end = len(data) if end is None else min(end, len(data))
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, body = int.from_bytes(data[start : start + 4]), start + 8
        if size == 1:
            size, body = int.from_bytes(data[start + 8 : start + 16]), start + 16
        elif size == 0:
            size = end - start
        if size < body - start or body > end:
            return
        yield Box(data[start + 4 : start + 8], body, min(start + size, end))
        start += size
    raise BmffError(f"more than {_MOST_BOXES:,} boxes")


def brands(data: bytes) -> tuple[bytes, ...]:
    """Return the brands of a file's first box, the major one first; none where it is no such file.

    Args:
        data: a file, or its first kilobyte.
    """
    size = int.from_bytes(data[:4])
    if data[4:8] != b"ftyp" or size < 16:
        return ()
    named = data[8 : min(size, 1024)]
    return tuple(named[at : at + 4] for at in range(0, len(named) // 4 * 4, 4) if at != 4)  # the second word is a version


def read_items(data: bytes) -> Items:
    """Read the items of a HEIF file; one without, such as a plain film, has none.

    Raises:
        BmffError: they end early, or are more than `MOST_ITEMS`.
    """
    found = Items()
    properties: list[tuple[bytes, bytes]] = []
    try:
        for meta in boxes(data):
            if meta.kind != b"meta":
                continue
            below = list(boxes(data, meta.start + 4, meta.end))
            inside = next((box.start for box in below if box.kind == b"idat"), None)
            for box in sorted(below, key=lambda one: one.kind != b"iinf"):  # which tells what the others speak of
                body = _Reader(data, box.start, box.end)
                match box.kind:
                    case b"pitm":
                        found.primary = body.number(2 if body.version() == 0 else 4)
                    case b"iinf":
                        _read_entries(data, box, found)
                    case b"iloc":
                        _read_locations(body, inside, found)
                    case b"iref":
                        _read_references(data, box, found)
                    case b"iprp":
                        properties = _read_properties(data, box, found, properties)
            break  # a second one is nobody's
    except struct.error as error:
        raise BmffError("a box ends early") from error
    return found


class _Reader:
    """Big-endian numbers of a box's body, one after the other; `struct.error` behind its end."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data, self.place, self._end = data, start, end

    def number(self, size: int) -> int:
        """Return a number of so many bytes, 0 of none."""
        place = self.place
        self.place += size
        if self.place > self._end:
            raise struct.error
        return int.from_bytes(self._data[place : self.place])

    def version(self) -> int:
        """Read version and flags of a full box, and return the version."""
        return self.number(4) >> 24


def _read_entries(data: bytes, box: Box, found: Items) -> None:
    head = _Reader(data, box.start, box.end)
    head.number(2 if head.version() == 0 else 4)
    for entry in boxes(data, head.place, box.end):
        body = _Reader(data, entry.start, entry.end)
        version = body.version() if entry.kind == b"infe" else 0
        if version not in (2, 3):  # older ones have no kind, and no picture
            continue
        number = body.number(2 if version == 2 else 4)
        body.number(2)  # protection
        kind = body.number(4).to_bytes(4)
        rest = data[body.place : entry.end][:256].split(b"\0")
        found.items[number] = Item(kind, rest[1] if kind == b"mime" and len(rest) > 1 else b"")
        if len(found.items) > MOST_ITEMS:
            raise BmffError(f"more than {MOST_ITEMS:,} items")


def _read_locations(body: _Reader, inside: int | None, found: Items) -> None:
    version, sizes = body.version(), body.number(2)
    of_offset, of_length, of_base, of_index = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15
    for _ in range(body.number(4 if version == 2 else 2)):
        number = body.number(4 if version == 2 else 2)
        method = body.number(2) & 15 if version else 0
        body.number(2)  # a number of another file, where 0 is this one
        base, count = body.number(of_base), body.number(2)
        if count > _MOST_EXTENTS:
            raise BmffError(f"an item in {count:,} pieces")
        for _ in range(count):
            body.number(of_index if version else 0)
            offset, length = base + body.number(of_offset), body.number(of_length)
            if number in found.items and method in (0, 1):
                if method == 1:
                    if inside is None:
                        raise BmffError("the data of an item stands in a box that is missing")
                    offset += inside
                found.items[number].extents.append((offset, length))


def _read_references(data: bytes, box: Box, found: Items) -> None:
    head = _Reader(data, box.start, box.end)
    size, left = 2 if head.version() == 0 else 4, _MOST_REFERENCES
    for one in boxes(data, head.place, box.end):
        body = _Reader(data, one.start, one.end)
        source, count = body.number(size), body.number(2)
        left -= count + 1
        if left < 0:
            raise BmffError(f"more than {_MOST_REFERENCES:,} references")
        found.references.append((one.kind, source, tuple(body.number(size) for _ in range(count))))


def _read_properties(data: bytes, box: Box, found: Items, known: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    below, left = list(boxes(data, box.start, box.end)), 4 * _MOST_REFERENCES
    for one in below:
        if one.kind == b"ipco":
            known = [(each.kind, data[each.start : each.end]) for each in boxes(data, one.start, one.end)]
    for one in below:
        if one.kind != b"ipma":
            continue
        body = _Reader(data, one.start, one.end)
        head = body.number(4)
        for _ in range(body.number(4)):
            number = body.number(2 if head >> 24 == 0 else 4)
            for _ in range(body.number(1)):
                left -= 1
                if left < 0:
                    raise BmffError("more properties than any picture has")
                index = body.number(2) & 0x7FFF if head & 1 else body.number(1) & 0x7F
                if number in found.items and 0 < index <= len(known):
                    found.items[number].properties.append(known[index - 1])
    return known
