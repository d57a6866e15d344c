"""Directories of a TIFF structure: values as they are written, and little read of what claims to be much."""

import struct

import pytest

from dgsnet.images.tiff import first_directory

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
