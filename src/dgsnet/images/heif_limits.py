"""What a HEIC or AVIF file announces, by everything a decoder would obey: its items, its tiles, and the coded pictures' own headers."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from dgsnet.images.bmff import MOST_ITEMS, BmffError, Box, Items, boxes, read_items
from dgsnet.images.coded_size import Size, av1_sizes, hevc_sizes

_LONGEST = 2**28  # bytes of an item
_DERIVED = {b"grid", b"iden"}
_MOST_METADATA = 2**26  # bytes that all pictures of a file have together: a reader copies them for each


@dataclass(frozen=True)
class Announced:
    """What a file announces."""

    sizes: set[Size] = field(default_factory=set)
    """Of every picture in it, part of one, and of what these announce themselves."""
    pixels: int = 0
    """That are decoded for its first picture, with its tiles and its mask."""
    whole: bool = True
    """The data of these lies within the file; where it does not, readers leave tiles out without a word."""


def announced(data: bytes, coding: bytes) -> Announced:
    """Read what a file announces.

    Args:
        data: the file.
        coding: the only one its picture may have, ``hvc1`` or ``av01``.

    Raises:
        BmffError: it is damaged, of another coding, or made of more pieces than any picture.
    """
    found = read_items(data)
    sizes: set[Size] = set()
    coded: dict[int, int] = {}  # pixels by item
    for number, item in found.items.items():
        own = {struct.unpack(">II", body[4:12]) for kind, body in item.properties if kind == b"ispe" and len(body) >= 12}
        if item.kind == b"grid":
            size, tiles = _grid(found.data(data, number, 16))
            own.add(size)
            if tiles > sum(len(targets) for kind, source, targets in found.references if kind == b"dimg" and source == number):
                raise BmffError("a grid with fewer tiles than it has places")
        if item.kind == coding:
            content = found.data(data, number, _LONGEST)
            configuration = next((body for kind, body in item.properties if kind == b"hvcC"), b"")
            own.update(hevc_sizes(configuration, content) if coding == b"hvc1" else av1_sizes(content))
            coded[number] = max((width * height for width, height in own), default=0)
        sizes.update((int(width), int(height)) for width, height in own)
    for width, height in _track_sizes(data) if coding == b"av01" else ():
        sizes.add((width, height))
        coded[0] = max(coded.get(0, 0), width * height)
    _check_metadata(found)
    decoded = list(_decoded(found, coding)) if found.items else []
    whole = all(offset + length <= len(data) for number in set(decoded) for offset, length in found.items[number].extents)
    return Announced(sizes, sum(coded[number] for number in decoded) + coded.get(0, 0), whole)


def _grid(data: bytes) -> tuple[Size, int]:
    """Read the size of a picture made of tiles, and their number (ISO/IEC 23008-12, 6.6.2.3)."""
    wide = len(data) > 1 and data[1] & 1
    if len(data) < (12 if wide else 8):
        raise BmffError("a grid of tiles that ends early")
    width, height = struct.unpack_from(">II" if wide else ">HH", data, 4)
    return (int(width), int(height)), (data[2] + 1) * (data[3] + 1)


def _decoded(found: Items, coding: bytes) -> Iterator[int]:
    """Yield the coded items that the first picture is made of, masks included, each as often as it is decoded."""
    parts: dict[int, list[int]] = {}
    masks: dict[int, list[int]] = {}
    for kind, source, targets in found.references:
        if kind == b"dimg":
            parts.setdefault(source, []).extend(targets)
        elif kind == b"auxl":
            for target in targets:
                masks.setdefault(target, []).append(source)
    left, waiting = MOST_ITEMS, [found.primary]
    while waiting:
        number = waiting.pop()
        left -= 1
        if left < 0:
            raise BmffError(f"a picture of more than {MOST_ITEMS:,} parts")
        item = found.items.get(number)
        if item is None:
            raise BmffError(f"the picture needs an item {number}, which is missing")
        if item.kind == coding:
            yield number
        elif item.kind in _DERIVED:
            waiting += parts.get(number, [])
        else:
            raise BmffError(f"coded as {item.kind.decode('latin-1')!r}, which is not read here")
        waiting += masks.get(number, [])


def _check_metadata(found: Items) -> None:
    """Refuse metadata that many pictures share: a reader copies it for each of them."""
    total = 0
    for kind, source, targets in found.references:
        if kind == b"cdsc" and source in found.items:
            total += len(targets) * sum(length for _, length in found.items[source].extents)
    if total > _MOST_METADATA:
        raise BmffError(f"more than {_MOST_METADATA:,} bytes of metadata")


def _track_sizes(data: bytes) -> Iterator[Size]:
    """Yield the sizes of the tracks of an image sequence, and those that the first picture of each announces."""
    for movie in _below(data, None, b"moov"):
        for track in _below(data, movie, b"trak"):
            for table in _below(data, track, b"mdia", b"minf", b"stbl"):
                first: dict[bytes, int] = {}
                for box in boxes(data, table.start, table.end):
                    body = data[box.start : min(box.end, box.start + 64)]
                    if box.kind == b"stsd" and len(body) >= 44:  # of its first entry: past the box's head and 24 bytes
                        yield int.from_bytes(body[40:42]), int.from_bytes(body[42:44])
                    elif box.kind == b"stsz" and len(body) >= 12:
                        first[box.kind] = int.from_bytes(body[4:8]) or int.from_bytes(body[12:16])
                    elif box.kind in {b"stco", b"co64"} and len(body) >= 12:
                        first[b"place"] = int.from_bytes(body[8 : 12 if box.kind == b"stco" else 16])
                if b"place" in first and b"stsz" in first:
                    yield from av1_sizes(data[first[b"place"] : first[b"place"] + min(first[b"stsz"], _LONGEST)])


def _below(data: bytes, parent: Box | None, *path: bytes) -> Iterator[Box]:
    """Yield the boxes at the end of a path of kinds."""
    for box in boxes(data, parent.start, parent.end) if parent else boxes(data):
        if box.kind == path[0]:
            if len(path) == 1:
                yield box
            else:
                yield from _below(data, box, *path[1:])
