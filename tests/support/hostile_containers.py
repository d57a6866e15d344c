"""AVIF, HEIC and JPEG XL files made to do harm, or by mistake: what goes into `hostile_files`."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from PIL import Image

from tests.support import containers
from tests.support.containers import Piece, box, coded, full_box, grid, grid_data, heif, ispe, mirrored, turned
from tests.support.hostile_parts import SIDE, picture

SCORED, LONG, MANY, BROKEN = "scored", "long", "many", "broken"
CODINGS = {"avif": b"av01", "heic": b"hvc1"}

Entry = tuple[str, Callable[[], bytes], str, tuple[int, int] | None]
"""Name, maker, what becomes of it, and its size where that matters."""


@functools.cache
def _tile(coding: bytes, side: int = SIDE) -> Piece:
    return coded(picture(side, side), coding, quality=60)


def _one(coding: bytes, *properties: tuple[bytes, bytes]) -> bytes:
    return heif([_tile(coding).plus(*properties)], coding)


def _file(kind: str) -> bytes:
    return containers.encoded({"avif": "AVIF", "heic": "HEIC", "jxl": "JXL"}[kind], picture())


def entries() -> Iterator[Entry]:
    """Yield what goes into the table."""
    for kind, coding in CODINGS.items():
        yield from _of_coding(kind, coding)
    yield "size_of_its_own.avif", _own_size, LONG, None
    yield "frames.avif", _frames, SCORED, (SIDE, SIDE)
    yield "bomb_track.avif", _track_bomb, LONG, None
    yield "no_configuration.heic", lambda: heif([_without(_tile(b"hvc1"), b"hvcC")], b"hvc1"), BROKEN, None


def _of_coding(kind: str, coding: bytes) -> Iterator[Entry]:
    yield f"whole.{kind}", functools.partial(_file, kind), SCORED, (SIDE, SIDE)
    yield f"a_{kind}.jpg", functools.partial(_file, kind), SCORED, (SIDE, SIDE)
    for tenths in range(1, 10):
        yield f"cut_{tenths}0_percent.{kind}", functools.partial(_cut, kind, tenths), BROKEN, None
    yield f"only_magic.{kind}", lambda: box(b"ftyp", containers.BRANDS[coding] + bytes(4)), BROKEN, None
    yield f"no_items.{kind}", lambda: heif([], coding), BROKEN, None
    yield f"no_primary.{kind}", lambda: heif([_tile(coding)], coding, 7), BROKEN, None
    yield f"bomb_announced_65535.{kind}", lambda: _sized(coding, 65_535, 65_535), LONG, None
    yield f"bomb_announced_16000.{kind}", lambda: _sized(coding, 16_000, 16_000), MANY, None
    yield f"bomb_announced_31_bits.{kind}", lambda: _sized(coding, 2**31 - 1, 2**31 - 1), LONG, None
    yield f"no_width.{kind}", lambda: _sized(coding, 0, SIDE), BROKEN, None
    yield f"bomb_in_a_small_frame.{kind}", lambda: heif([_bomb(coding).with_property(*ispe(SIDE, SIDE))], coding), LONG, None
    yield f"bomb_grid.{kind}", lambda: heif(_announced_grid(coding, 256, 256, 60_000, 60_000), coding), BROKEN, None
    yield f"bomb_tiles_again_and_again.{kind}", lambda: heif(_same_tile(coding), coding), BROKEN, None
    yield f"tiles_missing.{kind}", lambda: heif(_announced_grid(coding, 4, 4, 4 * SIDE, 4 * SIDE), coding), BROKEN, None
    yield f"grid_of_itself.{kind}", lambda: heif(_ring(coding), coding), BROKEN, None
    yield f"masks_in_a_ring.{kind}", lambda: heif(_masks(coding), coding), BROKEN, None
    yield f"turned.{kind}", lambda: _wide(coding, turned(1)), SCORED, (SIDE, 2 * SIDE)
    yield f"turned_and_mirrored.{kind}", lambda: _wide(coding, turned(3), mirrored(1)), SCORED, (SIDE, 2 * SIDE)
    yield f"overlay.{kind}", lambda: heif([Piece(b"iovl", bytes(20), (ispe(SIDE, SIDE),))], coding), BROKEN, None
    yield f"item_in_pieces.{kind}", lambda: _extents(coding), BROKEN, None
    yield f"entries_announced.{kind}", lambda: _file_with(coding, full_box(b"iinf", 1, struct.pack(">I", 2**32 - 1))), BROKEN, None
    yield f"ten_thousand_items.{kind}", lambda: _many_items(coding), BROKEN, None
    yield f"hundred_thousand_boxes.{kind}", lambda: _file_with(coding, *[box(b"free")] * 100_000), BROKEN, None
    yield f"boxes_in_boxes.{kind}", lambda: _nested(coding), BROKEN, None
    yield f"box_without_end.{kind}", lambda: heif([_tile(coding)], coding) + box(b"free", size=2**31), SCORED, (SIDE, SIDE)
    yield f"metadata_for_everyone.{kind}", lambda: _shared_metadata(coding), BROKEN, None
    yield f"a_megabyte_behind.{kind}", lambda: heif([_tile(coding)], coding) + box(b"mpvd", bytes(2**20)), SCORED, (SIDE, SIDE)


def jpeg_xl() -> Iterator[Entry]:
    """Yield the same for JPEG XL, which the service does not take."""
    yield "whole.jxl", lambda: _file("jxl"), SCORED, (SIDE, SIDE)
    for tenths in range(1, 10):
        yield f"cut_{tenths}0_percent.jxl", functools.partial(_cut, "jxl", tenths), BROKEN, None
    yield "bomb_65535.jxl", lambda: _jxl_sized(65_535, 65_535), LONG, None
    yield "bomb_2_to_the_30.jxl", lambda: _jxl_sized(2**30, 2**30), LONG, None
    yield "bomb_16000.jxl", lambda: _jxl_sized(16_000, 16_000), MANY, None
    yield "bomb_channels.jxl", lambda: _jxl_sized(SIDE, SIDE, channels=4000), BROKEN, None
    yield "animated.jxl", lambda: _jxl_sized(SIDE, SIDE, animated=True), BROKEN, None
    yield "only_magic.jxl", lambda: b"\xff\x0a", BROKEN, None
    yield "boxes_without_picture.jxl", lambda: b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl \0\0\0\0jxl "), BROKEN, None


def _cut(kind: str, tenths: int) -> bytes:
    data = _file(kind)
    return data[: len(data) * tenths // 10]


def _sized(coding: bytes, width: int, height: int) -> bytes:
    return heif([_tile(coding).with_property(*ispe(width, height))], coding)


def _bomb(coding: bytes) -> Piece:
    """A coded picture whose own header announces 30,000 pixels a side: that of a small one with the numbers changed."""
    if coding == b"av01":
        # reduced still picture, 16 bits for either side (AV1, 5.5.1); then the end
        bits = "0001101000" + "1111" + "1111" + f"{29_999:016b}" + f"{29_999:016b}" + "0000" * 40
        unit = int(bits[: len(bits) // 8 * 8], 2).to_bytes(len(bits) // 8)
        return replace(_tile(coding), data=b"\x12\0\x0a" + bytes([len(unit)]) + unit + b"\x32\x04" + bytes(4))
    tile = _tile(coding)
    return tile.with_property(b"hvcC", _hevc_configuration(dict(tile.properties)[b"hvcC"], 30_000))


def _hevc_configuration(old: bytes, side: int) -> bytes:
    """A configuration whose only unit is a sequence parameter set of a size (H.265, 7.3.2.2)."""
    code = f"{side + 1:b}"
    golomb = "0" * (len(code) - 1) + code
    bits = "00000001" + "01" * 48 + "1010" + golomb + golomb + "1" * 16
    bits = bits[: len(bits) // 8 * 8]
    unit = b"\x42\x01" + int(bits, 2).to_bytes(len(bits) // 8)
    return old[:22] + b"\x01\xa1" + struct.pack(">HH", 1, len(unit)) + unit


def _announced_grid(coding: bytes, rows: int, columns: int, width: int, height: int) -> list[Piece]:
    return grid([_tile(coding)] * 2, rows, columns, width, height)


def _same_tile(coding: bytes) -> list[Piece]:
    whole = Piece(b"grid", grid_data(256, 256, SIDE, SIDE), (ispe(SIDE, SIDE),), ((b"dimg", (2,) * 16_000),))
    return [whole, _tile(coding)]


def _ring(coding: bytes) -> list[Piece]:
    first = Piece(b"grid", grid_data(1, 2, SIDE, SIDE), (ispe(SIDE, SIDE),), ((b"dimg", (2, 2)),))
    return [first, replace(first, references=((b"dimg", (1, 1)),)), _tile(coding)]


def _masks(coding: bytes) -> list[Piece]:
    tile = _tile(coding)
    return [replace(tile, references=((b"auxl", (2,)),)), replace(tile, references=((b"auxl", (1,)),))]


def _wide(coding: bytes, *turns: tuple[bytes, bytes]) -> bytes:
    return heif([coded(picture(SIDE, 2 * SIDE), coding, quality=60).plus(*turns)], coding)


def _extents(coding: bytes) -> bytes:
    """An item in more pieces than the file has bytes."""
    data = heif([_tile(coding)], coding)
    at = data.index(b"iloc") + 8
    return data[: at + 8] + b"\xff\xff" + data[at + 10 :]


def _file_with(coding: bytes, *more: bytes) -> bytes:
    """A file whose table of items is followed by other boxes, where its places no longer hold."""
    data = heif([_tile(coding)], coding)
    start, size = data.index(b"meta") - 4, int.from_bytes(data[data.index(b"meta") - 4 : data.index(b"meta")])
    joined = b"".join(more)
    return data[:start] + struct.pack(">I", size + len(joined)) + data[start + 4 : start + size] + joined + data[start + size :]


def _many_items(coding: bytes) -> bytes:
    return heif([_tile(coding), *[Piece(b"mime", b"", (), (), b"\0text/plain\0")] * 10_000], coding)


def _nested(coding: bytes) -> bytes:
    inside = b""
    for _ in range(5000):
        inside = box(b"meta", inside)
    return box(b"ftyp", containers.BRANDS[coding] + bytes(4)) + inside


def _shared_metadata(coding: bytes) -> bytes:
    """A megabyte of XMP that is that of two hundred pictures."""
    shared = Piece(b"mime", bytes(2**20), (), ((b"cdsc", tuple(range(1, 201))),), b"\0application/rdf+xml\0")
    return heif([*[_tile(coding)] * 200, shared], coding)


def _without(piece: Piece, kind: bytes) -> Piece:
    return replace(piece, properties=tuple(one for one in piece.properties if one[0] != kind))


def _frames() -> bytes:
    others = [Image.new("RGB", (SIDE, SIDE), (number, 0, 0)) for number in range(40)]
    data = bytearray(containers.encoded("AVIF", picture(), save_all=True, append_images=others, speed=10))
    for kind in (b"mvhd", b"tkhd", b"mdhd"):  # which say when they were made
        at = data.index(kind) + 4
        length = 16 if data[at] else 8
        data[at + 4 : at + 4 + length] = bytes(length)
    return bytes(data)


def _own_size() -> bytes:
    """A frame that may be as large as its field can say, and says so."""
    head = "00000000000000000000000000000" + "1111" + "1111" + f"{63:016b}" + f"{63:016b}"
    head += "00000000011" + "0" * 24
    sequence = int(head[: len(head) // 8 * 8], 2).to_bytes(len(head) // 8)
    frame = int(("0001001" + "0" * 33)[:40], 2).to_bytes(5)
    data = b"\x12\0\x0a" + bytes([len(sequence)]) + sequence + b"\x32" + bytes([len(frame)]) + frame
    return heif([replace(_tile(b"av01"), data=data)])


def _track_bomb() -> bytes:
    """An image sequence whose table says 64 x 64, and whose first picture 30,000 a side."""
    picture_of = _bomb(b"av01").data
    start = box(b"ftyp", b"avis" + bytes(4) + b"msf1avis") + box(b"mdat", picture_of)
    entry = box(b"av01", bytes(24) + struct.pack(">HH", SIDE, SIDE) + bytes(50))
    table = box(
        b"stbl",
        full_box(b"stsd", 0, struct.pack(">I", 1), entry),
        full_box(b"stsz", 0, struct.pack(">II", len(picture_of), 1)),
        full_box(b"stco", 0, struct.pack(">II", 1, len(start) - len(picture_of))),
    )
    return start + box(b"moov", box(b"trak", box(b"mdia", box(b"minf", table))))


def _jxl_sized(width: int, height: int, *, channels: int = 0, animated: bool = False) -> bytes:
    """The header of a JPEG XL picture (ISO/IEC 18181-1, annex D), least significant bits first, and noise behind it."""
    fields: list[tuple[int, int]] = [(0, 1), (3, 2), (height - 1, 30), (0, 3), (3, 2), (width - 1, 30), (0, 1)]
    fields += [(1, 1), (0, 3), (0, 1), (0, 1), (1, 1), (0, 2), (0, 2), (0, 2), (0, 1)] if animated else [(0, 1)]
    fields += [(0, 1), (0, 2), (1, 1)]
    fields += [(3, 2), (channels - 1, 12)] if channels else [(0, 2)]
    value = place = 0
    for number, bits in fields:
        value |= number << place
        place += bits
    noise = np.random.default_rng(0).bytes(200)
    return b"\xff\x0a" + value.to_bytes((place + 7) // 8, "little") + noise
