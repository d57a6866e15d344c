"""The blocks of metadata in an ISO base media file: HEIC, AVIF and the container of JPEG XL.

A HEIF file keeps EXIF and XMP as items (ISO/IEC 23008-12, annex A), JPEG XL as boxes (ISO/IEC 18181-2, 9), both a C2PA manifest store as a
box (C2PA 2.2, A.4 and A.5). Nothing is raised: what is damaged is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dgsnet.images import bmff

_LONGEST = 2**20  # bytes of a block that are kept
_LONGEST_MANIFEST = 2**16  # its first boxes say what it is
_MOST = 8  # blocks of each kind
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # the box that holds a manifest store, or says where one is
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_KINDS = {b"Exif", b"xml ", b"jumb", b"uuid"}
_JXL = b"\0\0\0\x0cJXL \r\n\x87\n"


@dataclass(frozen=True)
class Block:
    """A block of metadata."""

    kind: str
    """``exif``, ``xmp`` or ``c2pa``."""
    data: bytes
    """An EXIF block without its name, an XMP packet, or the beginning of a manifest store."""


def is_bmff(data: bytes) -> bool:
    """Tell whether a file is a HEIC, an AVIF, or a JPEG XL in boxes."""
    return data.startswith(_JXL) or any(
        brand[:3] in {b"hei", b"hev"} or brand in {b"mif1", b"msf1", b"avif", b"avis"} for brand in bmff.brands(data)
    )


def blocks(data: bytes) -> Iterator[Block]:
    """Yield the blocks of metadata of a file, at most eight of a kind, each cut to a megabyte."""
    left: dict[str, int] = {}
    try:
        for block in _of_boxes(data) if data.startswith(_JXL) else _of_heif(data):
            left[block.kind] = left.get(block.kind, _MOST) - 1
            if block.data and left[block.kind] >= 0:
                yield block
    except bmff.BmffError:
        return


def _of_heif(data: bytes) -> Iterator[Block]:
    yield from _of_boxes(data)
    found = bmff.read_items(data)
    for number, item in found.items.items():
        if item.kind == b"Exif":
            yield Block("exif", _without_offset(found.data(data, number, _LONGEST)))
        elif item.kind == b"mime" and item.content_type == b"application/rdf+xml":
            yield Block("xmp", found.data(data, number, _LONGEST))


def _of_boxes(data: bytes) -> Iterator[Block]:
    for box in bmff.boxes(data):
        body = data[box.start : min(box.end, box.start + _LONGEST)] if box.kind in _KINDS else b""
        match box.kind:
            case b"Exif":
                yield Block("exif", _without_offset(body))
            case b"xml ":
                yield Block("xmp", body)
            case b"jumb":
                yield Block("c2pa", b"jumb" + body[:_LONGEST_MANIFEST])
            case b"uuid" if body.startswith(_C2PA):
                yield Block("c2pa", body[:_LONGEST_MANIFEST])
            case b"uuid" if body.startswith(_XMP):
                yield Block("xmp", body[16:])


def _without_offset(block: bytes) -> bytes:
    """Return an EXIF block without what stands before it: four bytes that say how much follows them, and often its name. Some writers of
    JPEG XL leave both out."""
    if block[:4] in {b"II*\0", b"MM\0*"}:
        return block
    start = 4 + int.from_bytes(block[:4])
    return (block[start:] if start < len(block) else block[4:]).removeprefix(b"Exif\0\0")
