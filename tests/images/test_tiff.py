"""Directories of a TIFF structure: values as they are written, and little read of what claims to be much."""

import struct

import numpy as np
import pytest
import tifffile

from dgsnet.core.errors import DecodeError, SizeError
from dgsnet.images.decode import DecodePolicy, decode
from dgsnet.images.tiff import first_directory, without_64_bits

TAGS = {0x010F, 0x0110, 0x8769}


def block(*entries, order="<", data=b""):
    """A directory of entries (tag, type, count, value or place) at place 8, and data behind it."""
    body = struct.pack(f"{order}H", len(entries)) + b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
    return {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8) + body + bytes(4) + data


@pytest.mark.parametrize("order", ["<", ">"])
def test_values_stand_in_the_entry_or_behind(order):
    inline = struct.unpack(f"{order}I", b"abc\0")[0]
    place = 8 + 2 + 3 * 12 + 4
    entries = [(0x010F, 2, 4, inline), (0x0110, 2, 6, place), (0x0112, 3, 1, 6)]
    directory = first_directory(block(*entries, order=order, data=b"camera"))
    assert directory.entries() == 3
    assert list(directory.values(TAGS)) == [(0x010F, b"abc\0"), (0x0110, b"camera")]
    assert list(directory.values({0x0112})) == []  # numbers are not read


def test_a_directory_below():
    below = block((0x010F, 2, 4, int.from_bytes(b"abc\0", "little")))[8:]
    data = block((0x8769, 4, 1, 8 + 2 + 12 + 4), data=below)
    ((_, pointer),) = first_directory(data).values(TAGS)
    assert list(first_directory(data).below(pointer).values(TAGS)) == [(0x010F, b"abc\0")]


def test_of_equal_tags_the_first_is_read_and_of_a_long_value_the_beginning():
    data = block(*[(0x010F, 1, 3 << 20, 0)] * 1000, data=bytes(3 << 20))
    ((tag, value),) = first_directory(data).values(TAGS)
    assert (tag, len(value)) == (0x010F, 1 << 20)


def test_values_beyond_the_end_are_left_out():
    assert list(first_directory(block((0x010F, 2, 2**32 - 1, 8), (0x0110, 2, 8, 2**32 - 1))).values(TAGS)) == []


@pytest.mark.parametrize(
    "data", [b"", b"II", b"XX*\0" + bytes(20), b"II*\0\x08\0", b"II*\0" + b"\xff" * 20, b"II+\0\x08\0\0\0" + b"\xff" * 8]
)
def test_what_is_none_or_ends_early_says_so(data):
    with pytest.raises(struct.error):
        first_directory(data).entries()


def test_a_directory_that_ends_early_gives_what_stands_before():
    values = first_directory(block((0x010F, 2, 4, 0), (0x0110, 2, 4, 0))[: 8 + 2 + 12 + 3]).values(TAGS)
    assert next(values) == (0x010F, bytes(4))
    with pytest.raises(struct.error):
        next(values)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "options", [{}, {"rowsperstrip": 5}, {"tile": (16, 16)}, {"compression": "zlib"}, {"compression": "zlib", "predictor": 2}]
)
@pytest.mark.parametrize("kind", ["grey", "colour", "sixteen"])
def test_bigtiff_of_both_orders(order, options, kind, tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65_536, (40, 56), dtype=np.uint16) if kind == "sixteen" else rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    pixels = pixels[..., 0] if kind == "grey" else pixels
    file = tmp_path / "a.tif"
    photometric = "rgb" if kind == "colour" else "minisblack"
    tifffile.imwrite(file, pixels, bigtiff=True, byteorder=order, photometric=photometric, description="x" * 300, **options)
    image = decode(file)
    expected = np.rint(pixels / 257).astype(np.uint8) if kind == "sixteen" else pixels
    assert image.format == "TIFF"
    assert np.array_equal(image.pixels, expected if kind == "colour" else np.repeat(expected[..., None], 3, axis=2))


def test_bigtiff_is_turned_and_limited(tmp_path):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, np.zeros((40, 56), np.uint8), bigtiff=True, byteorder=">", extratags=[(0x0112, 3, 1, 6, True)])
    assert (decode(file).width, decode(file).height) == (40, 56)
    with pytest.raises(SizeError, match="40x56 is more than"):
        decode(file, DecodePolicy(max_pixels=56 * 40 - 1))


def big(*entries, data=b""):
    """A big-endian BigTIFF of entries (tag, type, count, eight bytes)."""
    body = b"".join(struct.pack(">HHQ", tag, kind, count) + value for tag, kind, count, value in entries)
    return b"MM\0+\0\x08\0\0" + struct.pack(">QQ", 16, len(entries)) + body + bytes(8) + data


def test_other_files_are_left_as_they_are():
    for data in (b"", b"II*\0", b"MM\0*" + bytes(20), b"II+\0\x08\0\0\0" + bytes(20)):
        assert without_64_bits(data, 256) is data


@pytest.mark.parametrize(
    "entry",
    [(273, 16, 1, struct.pack(">Q", 2**40)), (273, 16, 2**40, struct.pack(">Q", 16)), (273, 16, 9, struct.pack(">Q", 2**63))],
)
def test_places_that_no_file_has_are_damage(entry):
    with pytest.raises(struct.error):
        without_64_bits(big(entry), 256)
    with pytest.raises(DecodeError):
        decode(big(entry))


def test_entries_that_all_claim_the_file_are_not_copied():
    data = bytes(80_000)
    with pytest.raises(struct.error, match="overlap"):
        without_64_bits(big(*[(300 + tag, 16, 9_000, struct.pack(">Q", 5_000)) for tag in range(200)], data=data), 256)
