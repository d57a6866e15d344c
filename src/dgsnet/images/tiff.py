"""Directories of a TIFF structure, which a TIFF file is as a whole and an EXIF block holds, read in bounded time.

Pillow's reader copies what every entry of a directory points at, and thousands of entries of a small block may point at all of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace

_ORDERS = {b"II": "<", b"MM": ">"}
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
