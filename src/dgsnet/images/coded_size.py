"""Sizes that coded pictures announce in their own headers, which decoders obey whatever the container around them says.

HEVC: ITU-T H.265 section 7.3 and ISO/IEC 14496-15 for its configuration; AV1: AV1 Bitstream & Decoding Process Specification, section 5;
JPEG XL: ISO/IEC 18181-1, annexes D and E. Nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dgsnet.images.bmff import BmffError, boxes

Size = tuple[int, int]
"""Width and height."""

_MOST_UNITS = 4096  # of one coded picture
_HEADER = 4096  # bytes of a unit that are looked at
_SPS = 33


class _Bits:
    """Bits of some bytes, most significant first; `BmffError` behind their end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def read(self, count: int) -> int:
        """Return a number of so many bits."""
        self._left -= count
        if self._left < 0:
            raise BmffError("the header of a coded picture ends early")
        return self._value >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """Return a number in Exp-Golomb code, ``ue(v)``; what AV1 calls ``uvlc()`` is the same."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 32:
                raise BmffError("the header of a coded picture is damaged")
        return (1 << zeros) - 1 + self.read(zeros)


class _LittleBits(_Bits):
    """Bits of some bytes, least significant first, as JPEG XL has them."""

    def __init__(self, data: bytes) -> None:
        super().__init__(b"")
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise BmffError("the header of a coded picture ends early")
        value = self._value & (1 << count) - 1
        self._value >>= count
        return value

    def choice(self, *options: tuple[int, int]) -> int:
        """Return a number of JPEG XL's ``U32``: two bits choose between four pairs of bits to read and what is added to them."""
        bits, more = options[self.read(2)]
        return self.read(bits) + more


# --- HEVC ---


def hevc_sizes(configuration: bytes, data: bytes) -> Iterator[Size]:
    """Yield the sizes that the parameter sets of an HEVC picture announce, those of its configuration (``hvcC``) and those in its data."""
    if len(configuration) < 23:
        raise BmffError("a picture in HEVC without its configuration")
    place = 23
    for _ in range(configuration[22]):
        units, place = int.from_bytes(configuration[place + 1 : place + 3]), place + 3
        for _ in range(units):
            size, place = int.from_bytes(configuration[place : place + 2]), place + 2
            yield from _hevc_unit(configuration[place : place + min(size, _HEADER)])
            place += size
    width, place = (configuration[21] & 3) + 1, 0
    for _ in range(_MOST_UNITS):
        if place + width > len(data):
            return
        size, place = int.from_bytes(data[place : place + width]), place + width
        yield from _hevc_unit(data[place : place + min(size, _HEADER)])
        place += size
    raise BmffError(f"a picture in HEVC of more than {_MOST_UNITS:,} units")


def _hevc_unit(unit: bytes) -> Iterator[Size]:
    if len(unit) < 3 or unit[0] >> 1 & 63 != _SPS or unit[0] & 1 or unit[1] >> 3:  # or of another layer
        return
    bits = _Bits(unit[2:].replace(b"\0\0\3", b"\0\0"))
    bits.read(4)
    layers = bits.read(3)
    bits.read(1 + 96)
    present = [(bits.read(1), bits.read(1)) for _ in range(layers)]
    bits.read(2 * (8 - layers) if layers else 0)
    for profile, level in present:
        bits.read(88 * profile + 8 * level)
    bits.golomb()
    if bits.golomb() == 3:  # 4:4:4, perhaps in three planes apart
        bits.read(1)
    width = bits.golomb()
    yield width, bits.golomb()


# --- AV1 ---


@dataclass(frozen=True)
class _Sequence:
    """What of an AV1 sequence header is needed to find out whether a frame has a size of its own."""

    reduced: bool
    size: Size
    largest: Size
    """That a frame can announce for itself."""
    time_bits: int
    id_bits: int
    screen: int
    whole: int


def av1_sizes(data: bytes) -> Iterator[Size]:
    """Yield the sizes that an AV1 picture announces; of a frame with a size of its own the largest that its field can hold."""
    sequence = None
    place = 0
    for _ in range(_MOST_UNITS):
        if place >= len(data):
            return
        head = data[place]
        place += 2 if head & 4 else 1
        size = len(data) - place
        if head & 2:
            size, place = _leb128(data, place)
        unit = data[place : place + min(size, _HEADER)]
        match head >> 3 & 15:
            case 1:
                sequence = _sequence_header(_Bits(unit))
                yield sequence.size
            case 3 | 6 | 7 if sequence and not sequence.reduced and _has_own_size(_Bits(unit), sequence):
                yield sequence.largest
        place += size
    raise BmffError(f"a picture in AV1 of more than {_MOST_UNITS:,} units")


def _leb128(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for number, byte in enumerate(data[place : place + 8]):
        value |= (byte & 0x7F) << 7 * number
        if not byte & 0x80:
            return value, place + number + 1
    raise BmffError("the length of a unit of AV1 is damaged")


def _sequence_header(bits: _Bits) -> _Sequence:
    bits.read(3 + 1)
    reduced = bool(bits.read(1))
    time_bits = 0
    if reduced:
        bits.read(5)
    else:
        time_bits = _operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    width = bits.read(width_bits) + 1
    size = width, bits.read(height_bits) + 1
    id_bits, screen, whole = 0, 2, 2
    if not reduced and bits.read(1):
        id_bits = bits.read(4) + bits.read(3) + 3
    bits.read(3)
    if not reduced:
        bits.read(4)
        if bits.read(1):
            bits.read(2)
        screen = 2 if bits.read(1) else bits.read(1)
        whole = (2 if bits.read(1) else bits.read(1)) if screen else 2
    return _Sequence(reduced, size, (1 << width_bits, 1 << height_bits), time_bits, id_bits, screen, whole)


def _operating_points(bits: _Bits) -> int:
    """Read timing and operating points, and return the bits of a frame's time."""
    time_bits = delay_bits = 0
    if bits.read(1):
        bits.read(64)
        equal = bits.read(1)
        if equal:
            bits.golomb()
        if bits.read(1):
            delay_bits = bits.read(5) + 1
            bits.read(32 + 5)
            time_bits = bits.read(5) + 1
            if equal:
                time_bits = 0
    display_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if display_delay and bits.read(1):
            bits.read(4)
    return time_bits


def _has_own_size(bits: _Bits, sequence: _Sequence) -> bool:
    if bits.read(1):  # a frame that was decoded before
        return False
    kind, shown = bits.read(2), bits.read(1)
    bits.read(sequence.time_bits if shown else 1)
    if not (kind == 3 or (kind == 0 and shown)):
        bits.read(1)
    bits.read(1)
    screen = bits.read(1) if sequence.screen == 2 else sequence.screen
    if screen and sequence.whole == 2:
        bits.read(1)
    bits.read(sequence.id_bits)
    return kind == 3 or bool(bits.read(1))


# --- JPEG XL ---

_JXL_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"


@dataclass(frozen=True)
class JxlHeader:
    """The facts of a JPEG XL picture that decide what decoding it costs."""

    size: Size
    """As it is stored, before it is turned."""
    extra_channels: int
    """Beyond grey or colour, alpha being one."""
    animated: bool


def jxl_header(data: bytes) -> JxlHeader:
    """Read the header of a JPEG XL file, bare or in boxes.

    Raises:
        BmffError: it ends early, or there is none.
    """
    bits = _LittleBits(_codestream(data)[2:])
    size = _jxl_size(bits)
    if bits.read(1):  # all is as usual
        return JxlHeader(size, 0, animated=False)
    animated = False
    if bits.read(1):
        bits.read(3)  # orientation
        if bits.read(1):
            _jxl_size(bits)
        if bits.read(1):
            _jxl_preview(bits)
        animated = bool(bits.read(1))
        if animated:
            bits.choice((0, 100), (0, 1000), (10, 1), (30, 1))
            bits.choice((0, 1), (0, 1001), (8, 1), (10, 1))
            bits.choice((0, 0), (3, 0), (16, 0), (32, 0))
            bits.read(1)
    if bits.read(1):
        bits.choice((0, 32), (0, 16), (0, 24), (6, 1))
        bits.read(4)
    else:
        bits.choice((0, 8), (0, 10), (0, 12), (6, 1))
    bits.read(1)
    return JxlHeader(size, bits.choice((0, 0), (0, 1), (4, 2), (12, 1)), animated)


def _codestream(data: bytes) -> bytes:
    """Return the beginning of the codestream: of the file, or of its boxes that hold the parts of it."""
    if data.startswith(_JXL_CONTAINER):
        joined = b""
        for box in boxes(data):
            if box.kind in {b"jxlc", b"jxlp"} and len(joined) < _HEADER:
                start = box.start + (4 if box.kind == b"jxlp" else 0)
                joined += data[start : min(box.end, start + _HEADER)]
        data = joined
    if data[:2] != b"\xff\x0a":
        raise BmffError("a JPEG XL file without a picture")
    return data[:_HEADER]


def _jxl_size(bits: _LittleBits) -> Size:
    eighths = bits.read(1)

    def side() -> int:
        return 8 * (bits.read(5) + 1) if eighths else bits.choice((9, 1), (13, 1), (18, 1), (30, 1))

    height = side()
    return _jxl_width(bits.read(3), height) or side(), height


def _jxl_preview(bits: _LittleBits) -> None:
    eighths = bits.read(1)

    def side() -> int:
        return 8 * bits.choice((0, 16), (0, 32), (5, 1), (9, 33)) if eighths else bits.choice((6, 1), (8, 65), (10, 321), (12, 1345))

    height = side()
    _ = _jxl_width(bits.read(3), height) or side()


def _jxl_width(ratio: int, height: int) -> int:
    """Return the width that a ratio of the sides stands for; 0 where it is written by itself."""
    across, down = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio]
    return height * across // down
