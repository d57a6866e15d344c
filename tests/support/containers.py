"""Pictures in AVIF, HEIC and JPEG XL, and HEIF files put together box by box: grids, turns, masks, metadata and lies about their size."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401 - lets Pillow write JPEG XL
from numpy.typing import NDArray
from PIL import Image

from dgsnet.images import bmff

BRANDS = {b"av01": b"avif", b"hvc1": b"heic"}


def encoded(kind: str, picture: Image.Image | NDArray[Any], **options: Any) -> bytes:
    """Return a picture as a file of a format, HEIC included; PIL's options, for HEIC those of pillow-heif."""
    stream = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    if kind == "HEIC":
        pillow_heif.from_pillow(image).save(stream, **{"quality": 90} | options)
    else:
        image.save(stream, kind, **options)
    return stream.getvalue()


def lossless(kind: str, picture: Image.Image | NDArray[Any]) -> bytes:
    """Return a picture as AVIF, HEIC or JPEG XL that keeps every pixel; Pillow's AVIF keeps grey, and colour within three."""
    options: dict[str, dict[str, Any]] = {
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
        "HEIC": {"quality": -1, "chroma": 444, "matrix_coefficients": 0},
        "JXL": {"lossless": True},
    }
    return encoded(kind, picture, **options[kind])


def box(kind: bytes, *parts: bytes, size: int | None = None) -> bytes:
    """Return a box (ISO/IEC 14496-12), perhaps of another size than it says."""
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body) if size is None else size) + kind + body


def full_box(kind: bytes, version: int, *parts: bytes, flags: int = 0) -> bytes:
    """Return a box with version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


@dataclass(frozen=True)
class Piece:
    """An item of a HEIF file to be made; its number is its place in the list, from one."""

    kind: bytes
    data: bytes
    properties: tuple[tuple[bytes, bytes], ...] = ()
    references: tuple[tuple[bytes, tuple[int, ...]], ...] = field(default=())
    name: bytes = b"\0"
    """What stands behind the kind in its entry; of ``mime`` the content type too."""

    def plus(self, *properties: tuple[bytes, bytes]) -> Piece:
        """Return it with more properties."""
        return replace(self, properties=self.properties + properties)

    def with_property(self, kind: bytes, body: bytes) -> Piece:
        """Return it with a property replaced."""
        return replace(self, properties=tuple((one, body if one == kind else old) for one, old in self.properties))


def heif(pieces: Sequence[Piece], coding: bytes = b"av01", primary: int = 1, *more: bytes, major: bytes | None = None) -> bytes:
    """Return a HEIF file of items; `more` are boxes between the table of them and their data."""
    properties = list(dict.fromkeys(one for piece in pieces for one in piece.properties))
    essential = {b"av1C", b"hvcC", b"irot", b"imir", b"clap"}
    associations = b"".join(
        struct.pack(">HB", number, len(piece.properties))
        + b"".join(struct.pack(">H", 0x8000 * (one[0] in essential) | (properties.index(one) + 1)) for one in piece.properties)
        for number, piece in enumerate(pieces, 1)
    )
    contents = b"".join(box(kind, body) for kind, body in properties)
    entries = [
        full_box(b"infe", 2, struct.pack(">HH", number, 0), piece.kind, piece.name, flags=int(piece.kind in {b"Exif", b"mime"}))
        for number, piece in enumerate(pieces, 1)
    ]
    references = [
        box(kind, struct.pack(f">HH{len(targets)}H", number, len(targets), *targets))
        for number, piece in enumerate(pieces, 1)
        for kind, targets in piece.references
    ]

    def file(start: int) -> bytes:
        places, at = b"", start
        for number, piece in enumerate(pieces, 1):
            places += struct.pack(">HHHII", number, 0, 1, at, len(piece.data))
            at += len(piece.data)
        meta = full_box(
            b"meta", 0,
            full_box(b"hdlr", 0, bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", 0, struct.pack(">H", primary)),
            full_box(b"iloc", 0, b"\x44\0", struct.pack(">H", len(pieces)), places),
            full_box(b"iinf", 0, struct.pack(">H", len(pieces)), *entries),
            box(b"iprp", box(b"ipco", contents), full_box(b"ipma", 0, struct.pack(">I", len(pieces)), associations, flags=1)),
            *([full_box(b"iref", 0, *references)] if references else []),
        )  # fmt: skip
        brand = major or BRANDS[coding]
        return box(b"ftyp", brand, bytes(4), b"mif1miaf", BRANDS[coding]) + meta + b"".join(more)

    start = len(file(0)) + 8
    return file(start) + box(b"mdat", *(piece.data for piece in pieces))


def coded(picture: NDArray[np.uint8], coding: bytes = b"av01", **options: Any) -> Piece:
    """Return a coded picture as an item, without loss where nothing else is asked for."""
    kind = "AVIF" if coding == b"av01" else "HEIC"
    data = encoded(kind, picture, **options) if options else lossless(kind, picture)
    found = bmff.read_items(data)
    item = found.items[found.primary]
    return Piece(item.kind, found.data(data, found.primary, len(data)), tuple(item.properties))


def ispe(width: int, height: int) -> tuple[bytes, bytes]:
    """Return the property that announces a size."""
    return b"ispe", struct.pack(">III", 0, width, height)


def turned(quarters: int) -> tuple[bytes, bytes]:
    """Return the property that turns a picture by so many quarters, against the clock."""
    return b"irot", bytes([quarters])


def mirrored(axis: int) -> tuple[bytes, bytes]:
    """Return the property that mirrors a picture: 0 top to bottom, 1 left to right."""
    return b"imir", bytes([axis])


def grid_data(rows: int, columns: int, width: int, height: int) -> bytes:
    """Return the data of a grid (ISO/IEC 23008-12, 6.6.2.3.2)."""
    return bytes([0, 1, rows - 1, columns - 1]) + struct.pack(">II", width, height)


def grid(tiles: Sequence[Piece], rows: int, columns: int, width: int, height: int) -> list[Piece]:
    """Return the items of a picture of tiles, row by row: the grid first."""
    common = tuple(one for one in tiles[0].properties if one[0] in {b"colr", b"pixi"})
    whole = Piece(
        b"grid", grid_data(rows, columns, width, height), (ispe(width, height), *common), ((b"dimg", tuple(range(2, len(tiles) + 2))),)
    )
    return [whole, *tiles]
