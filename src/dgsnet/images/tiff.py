"""Directories of a TIFF structure, which a TIFF file is as a whole and an EXIF block holds, read in bounded time.

Pillow's reader copies what every entry of a directory points at, and thousands of entries of a small block may point at all of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace

_ORDERS = {b"II": "<", b"MM": ">"}
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value of each type."""
_NARROWED = {16: (4, "I"), 17: (9, "i"), 18: (4, "I")}  # types of 64 bits and those of 32 that stand for them
_DIRECTORIES_BELOW = {330, 34_665, 34_853, 40_965}
_BIG = 43  # BigTIFF, with 64-bit places
# bytes of a value of each type: bytes, text (UTF-8 too, EXIF 3.0) and pointers, nothing else is wanted
_SIZES = {1: 1, 2: 1, 4: 4, 7: 1, 13: 4, 16: 8, 18: 8, 129: 1}
_MOST_ENTRIES = 4096
_LONGEST = 2**20  # bytes of a value


@dataclass(frozen=True)
class Directory:
    """A directory of a TIFF structure. Methods raise `struct.error` where the structure ends early."""

    block: bytes
    order: str
    """Byte order, as `struct` writes it."""
    big: bool
    """BigTIFF."""
    start: int

    def entries(self) -> int:
        """Return the number of entries that the directory announces."""
        return self._unpack("Q" if self.big else "H", self.start)

    def values(self, wanted: Set[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the wanted tags and their raw bytes, cut to 1 MiB: the first entry of each tag whose values are bytes, text or pointers."""
        pointer, entry, head, inline = ("Q", "HHQ", 8, 8) if self.big else ("I", "HHI", 2, 4)
        place = self.start + head
        seen: set[int] = set()  # thousands of entries of one tag would else be thousands of copies
        for _ in range(min(self.entries(), _MOST_ENTRIES)):
            tag, kind, count = struct.unpack_from(self.order + entry, self.block, place)
            place += struct.calcsize(self.order + entry)
            if tag in wanted - seen and kind in _SIZES:
                seen.add(tag)
                size = count * _SIZES[kind]
                at = self._unpack(pointer, place) if size > inline else place
                if at + size <= len(self.block):
                    yield tag, self.block[at : at + min(size, _LONGEST)]
            place += inline

    def below(self, pointer: bytes) -> Directory:
        """Return the directory that a value of this one points at."""
        return replace(self, start=struct.unpack_from(self.order + ("Q" if len(pointer) >= 8 else "I"), pointer)[0])

    def after(self) -> Directory | None:
        """Return the next directory in the file's chain of pages; None behind the last."""
        head, entry = (8, 20) if self.big else (2, 12)
        start = self._unpack("Q" if self.big else "I", self.start + head + entry * self.entries())
        return replace(self, start=start) if start else None

    def _unpack(self, code: str, place: int) -> int:
        if place > len(self.block):  # struct takes no offset beyond what an index can hold
            raise struct.error
        return int(struct.unpack_from(self.order + code, self.block, place)[0])


def directories(block: bytes) -> Iterator[Directory]:
    """Yield the directories of a TIFF structure, one a page; a chain that comes back to where it was ends there.

    Raises:
        struct.error: `block` is none, or ends early.
    """
    directory: Directory | None = first_directory(block)
    seen: set[int] = set()
    while directory is not None and directory.start not in seen:
        seen.add(directory.start)
        yield directory
        directory = directory.after()


def first_directory(block: bytes, *, plain: bool = False) -> Directory:
    """Return the first directory of a TIFF structure, which with `plain` is taken for no BigTIFF whatever it says.

    Raises:
        struct.error: `block` is none, or ends early.
    """
    order = _ORDERS.get(block[:2])
    if order is None:
        raise struct.error("no TIFF structure")
    big = struct.unpack_from(f"{order}H", block, 2)[0] == _BIG and not plain
    (start,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", block, 8 if big else 4)
    return Directory(block, order, big, start)


def without_64_bits(data: bytes, most_entries: int) -> bytes:
    """Return a big-endian BigTIFF as a plain TIFF of the same pixels, any other file as it is.

    Pillow reads little-endian BigTIFF and takes a big-endian one for a plain TIFF. Every place in a file below 4 GiB can be written in 32
    bits, and the samples stay where they are, so that a plain directory behind the end is all that is needed. It has no directories below
    it, which only metadata have.

    Raises:
        struct.error: the directory ends early, or its values do not fit 32 bits.
    """
    if data[:4] != b"MM\0+":
        return data
    directory = first_directory(data)
    count = directory.entries()
    if count > most_entries:
        raise struct.error(f"a TIFF of {count:,} tags; expected at most {most_entries}")
    entries: list[tuple[int, int, int, bytes]] = []
    for number in range(count):
        tag, kind, values, inline = struct.unpack_from(">HHQ8s", data, directory.start + 8 + 20 * number)
        if kind in _WIDTHS and tag not in _DIRECTORIES_BELOW:
            entries.append((tag, kind, values, inline))
    start = len(data) + len(data) % 2
    behind = start + 2 + 12 * len(entries) + 4
    lines, moved = b"", bytearray()
    for tag, kind, values, stored in entries:
        inline = stored
        size, new_kind = values * _WIDTHS[kind], kind
        place = struct.unpack(">Q", inline)[0] if size > 8 else None
        if place is not None and place + size > len(data):
            raise struct.error(f"the values of tag {tag} lie beyond the end")
        if kind in _NARROWED or (place is None and size > 4):
            value = inline[:size] if place is None else data[place : place + size]
            if kind in _NARROWED:
                new_kind, code = _NARROWED[kind]
                value = struct.pack(f">{values}{code}", *struct.unpack(f">{values}{'q' if kind == 17 else 'Q'}", value))
            place = behind + len(moved) if len(value) > 4 else None
            inline = value.ljust(4, b"\0")
            moved += value if place is not None else b""
            if len(moved) > len(data):
                raise struct.error("directory entries overlap")
        lines += struct.pack(">HHI", tag, new_kind, values) + (inline[:4] if place is None else struct.pack(">I", place))
    head = b"MM\0*" + struct.pack(">I", start)
    return b"".join([head, data[8:], bytes(len(data) % 2), struct.pack(">H", len(entries)), lines, bytes(4), bytes(moved)])
