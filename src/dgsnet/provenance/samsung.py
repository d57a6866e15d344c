"""The trailer that Samsung's phones write behind a JPEG: named blocks and, at the very end, their directory.

The format is not published; this follows ExifTool's reader (lib/Image/ExifTool/Samsung.pm, ProcessSamsung).
"""

from __future__ import annotations

import struct
from contextlib import suppress

WANTED = frozenset({"PhotoEditor_Re_Edit_Data"})
"""Blocks that tell of origin: JSON of the photo editor."""

_ENTRY = 12  # bytes: two that vary, type, distance back from the directory, size
_MOST, _LONGEST = 64, 64 * 1024


def blocks(data: bytes) -> list[tuple[str, str]]:
    """Return names and texts of the wanted blocks of a file; none where it ends without such a directory."""
    if not data.endswith(b"SEFT"):
        return []
    found: list[tuple[str, str]] = []
    with suppress(struct.error):  # it points outside the file
        (size,) = struct.unpack_from("<I", data, len(data) - 8)
        start = len(data) - 8 - size
        if start < 0 or data[start : start + 4] != b"SEFH":
            return []
        (count,) = struct.unpack_from("<I", data, start + 8)
        for number in range(min(count, _MOST)):
            distance, length = struct.unpack_from("<II", data, start + 12 + _ENTRY * number + 4)
            block = data[start - distance : start - distance + length] if 8 <= distance <= start else b""
            if len(block) < 8:
                continue
            (of_name,) = struct.unpack_from("<I", block, 4)
            name = block[8 : 8 + min(of_name, 100)].decode("latin-1")
            if name in WANTED:
                found.append((name, block[8 + of_name :][:_LONGEST].decode("utf-8", "replace")))
    return found
