"""Tell picture files from others, by name where it says so, by their first bytes where it does not.

A name is enough to give a file its row: should it be no picture, the row says so. Names as downloads have them (``photo``,
``D1a.jpg_large``, ``image.php``) say nothing, so there the signature decides, for pictures of formats that are not read here too: those
get a row with an error, not silence.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from dgsnet.data.sample import IMAGE_SUFFIXES

HEAD = 32
"""Bytes that `is_picture` looks at."""

_OTHER_SUFFIXES = frozenset((".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".psd"))
"""Of pictures that are not decoded here."""

_MARKED = re.compile(r"(\.[0-9a-z]+)[^0-9a-z.].*", re.DOTALL)
"""A suffix with something behind it: ``.jpg_large``, ``.jpg:large``, ``.png!w640``."""

_SIGNATURE = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|RIFF.{4}WEBP"
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"  # with the size of a known header: two letters alone begin many a text
    rb"|II[*+]\0|MM\0[*+]"  # TIFF, and the raw files that are TIFF
    rb"|.{4}ftyp(?:hei[cxms]|hev[cxms]|mi[af]\d|mif1|msf1|avi[fos]|crx )"  # HEIF, AVIF, Canon's raw files
    rb"|\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a"  # JPEG XL
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"  # JPEG 2000
    rb"|8BPS|IIU\0|IIR[OS]|FUJIFILMCCD-RAW",
    re.DOTALL,
)


def has_picture_name(name: str) -> bool:
    """Tell whether the suffix of a name, in whatever case, is that of a picture."""
    suffix = PurePosixPath(name).suffix.lower()
    marked = _MARKED.fullmatch(suffix)
    return suffix in IMAGE_SUFFIXES or suffix in _OTHER_SUFFIXES or (marked is not None and marked[1] in IMAGE_SUFFIXES)


def is_picture(head: bytes) -> bool:
    """Tell whether the first bytes of a file, `HEAD` of them, are those of a picture."""
    return _SIGNATURE.match(head) is not None
