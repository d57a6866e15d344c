"""The blocks of metadata in an encoded image, by container. Nothing is decoded but text, and no pixel.

Whatever the bytes are, nothing is raised: what is damaged is left out, and reading ends after a bounded number of blocks, each cut to a
bounded length, compressed text while it is inflated.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field

from dgsnet.provenance import bmff, exif, iptc, samsung, xmp
from dgsnet.provenance.generators import LONGEST

_BLOCK = 2**20  # bytes of a block that are kept
_MOST_BLOCKS = 65_536  # chunks or segments looked at
_MOST_TEXTS = 64
_MOST_SUB_BLOCKS = 200_000  # of a GIF: 255 bytes each, so more than in any file that `DecodePolicy` allows by default

_XMP_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_XMP_PNG = "XML:com.adobe.xmp"
_RAW_PROFILE = "Raw profile type "  # ImageMagick's way to keep in a PNG what PNG had no chunk for
_MARKER = re.compile(rb"\xff+([^\xff\x00])")  # fill bytes and the marker
_STANDALONE = {0x01, *range(0xD0, 0xD9)}


@dataclass
class FileMetadata:
    """The blocks of metadata found in a file."""

    has_exif: bool = False
    """There is an EXIF block, whatever is in it."""
    exif: dict[int, bytes] = field(default_factory=dict)
    """Raw values by tag, see `dgsnet.provenance.exif`."""
    xmp: list[str] = field(default_factory=list)
    """Packets."""
    iptc: list[tuple[str, str]] = field(default_factory=list)
    """IIM datasets."""
    texts: list[tuple[str, str]] = field(default_factory=list)
    """PNG text chunks, ComfyUI's own among them, key and value."""
    comments: list[str] = field(default_factory=list)
    """Comments of a JPEG or GIF."""
    trailer: list[tuple[str, str]] = field(default_factory=list)
    """Blocks behind a JPEG, see `dgsnet.provenance.samsung`."""
    labels: list[str] = field(default_factory=list)
    """Segments of a JPEG that are a label of generated content, see `dgsnet.provenance.aigc_label`."""
    c2pa: bool = False
    """There is a C2PA manifest store."""


def read(data: bytes) -> FileMetadata:
    """Read the metadata of an encoded JPEG, PNG, WebP, GIF, TIFF, HEIC, AVIF or JPEG XL; anything else has none."""
    found = FileMetadata()
    if data.startswith(b"\xff\xd8\xff"):
        _read_jpeg(data, found)
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        _read_png(data, found)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _read_webp(data, found)
    elif data[:6] in {b"GIF87a", b"GIF89a"}:
        _read_gif(data, found)
    elif data[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        _read_exif(data, found)
    elif bmff.is_bmff(data):
        _read_bmff(data, found)
    return found


def _read_bmff(data: bytes, found: FileMetadata) -> None:
    for block in bmff.blocks(data):
        match block.kind:
            case "exif":
                _read_exif(block.data, found)
            case "xmp":
                _add_xmp(block.data, found)
            case "c2pa":
                found.c2pa |= _is_manifest(block.data)


def _read_jpeg(data: bytes, found: FileMetadata) -> None:
    place, manifest = 2, bytearray()
    extension: list[tuple[bytes, int, bytes]] = []  # digest of the whole, place in it, part
    for _ in range(_MOST_BLOCKS):
        marker = _MARKER.match(data, place)
        if marker is None or marker[1] in {b"\xda", b"\xd9"}:  # what follows are pixels
            break
        if marker[1][0] in _STANDALONE:
            place = marker.end()
            continue
        size = int.from_bytes(data[marker.end() : marker.end() + 2])
        body = data[marker.end() + 2 : marker.end() + size]
        place = marker.end() + max(size, 2)
        match marker[1]:
            case b"\xe1" if body.startswith(b"Exif\0"):
                _read_exif(body[6:], found)
            case b"\xe1" if body.startswith(_XMP_JPEG):
                _add_xmp(body[len(_XMP_JPEG) :], found)
            case b"\xe1" if body.startswith(_XMP_EXTENSION):
                head, part = body[len(_XMP_EXTENSION) :][:40], body[len(_XMP_EXTENSION) + 40 :]
                extension.append((head[:32], int.from_bytes(head[36:40]), part))
            case b"\xeb" if body.startswith(b"JP") and len(manifest) < LONGEST:
                manifest += body
            case b"\xed" if body.startswith(b"Photoshop"):
                _add_iptc(body, found)
            case b"\xfe":
                _add_comment(body, found)
            case _ if body.startswith(b"AIGC") and len(found.labels) < 4:
                found.labels.append(body[:LONGEST].decode("utf-8", "replace"))
    _add_extended_xmp(extension, found)
    found.trailer = samsung.blocks(data)
    found.c2pa = _is_manifest(manifest)


def _read_png(data: bytes, found: FileMetadata) -> None:
    place, texts = 8, 0
    for _ in range(_MOST_BLOCKS):
        size, kind = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        start = place + 8
        if len(kind) < 4 or start + size > len(data):
            break
        if kind in {b"tEXt", b"zTXt", b"iTXt"} and texts < _MOST_TEXTS:
            texts += 1
            _read_png_text(kind, data[start : start + size], found)
        elif kind == b"comf" and texts < _MOST_TEXTS:  # ComfyUI's, of animated PNG: like tEXt
            texts += 1
            _read_png_text(b"tEXt", data[start : start + size], found)
        elif kind == b"eXIf":  # by its standard without the header, which some programs write all the same
            _read_exif(data[start : start + size].removeprefix(b"Exif\0\0"), found)
        elif kind == b"caBX":
            found.c2pa |= _is_manifest(data[start : start + min(size, LONGEST)])
        place = start + size + 4


def _read_png_text(kind: bytes, body: bytes, found: FileMetadata) -> None:
    key_bytes, _, rest = body.partition(b"\0")
    key = key_bytes[:79].decode("latin-1")
    longest = _BLOCK if key == _XMP_PNG or key.startswith(_RAW_PROFILE) else 4 * LONGEST
    compressed, code = kind == b"zTXt", "latin-1"
    if compressed:
        rest = rest[1:]
    elif kind == b"iTXt":
        compressed, code = rest[:1] == b"\1", "utf-8"
        _, _, rest = rest[2:].partition(b"\0")  # the language
        _, _, rest = rest.partition(b"\0")  # the key translated
    value = _inflated(rest, longest) if compressed else rest[:longest]
    if key == _XMP_PNG:
        _add_xmp(value, found)
    elif key.startswith(_RAW_PROFILE):
        _read_raw_profile(key.removeprefix(_RAW_PROFILE), value, found)
    else:
        left = _BLOCK - sum(len(text) for _, text in found.texts)  # of all together
        found.texts.append((key, value.decode(code, "replace")[: min(LONGEST, left)]))


def _inflated(data: bytes, longest: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, longest)
    except zlib.error:
        return b""


def _read_raw_profile(kind: str, value: bytes, found: FileMetadata) -> None:
    """Read three lines: the name, the length and hexadecimal digits."""
    digits = b"".join(value.strip().split(b"\n")[2:]).replace(b" ", b"")
    try:
        block = bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))
    except ValueError:
        return
    if kind in {"exif", "APP1"} and block.startswith(b"Exif\0"):
        _read_exif(block[6:], found)
    elif kind in {"xmp", "APP1"}:
        _add_xmp(block.removeprefix(_XMP_JPEG), found)
    elif kind in {"iptc", "8bim"}:
        _add_iptc(block, found)


def _read_webp(data: bytes, found: FileMetadata) -> None:
    place = 12
    for _ in range(_MOST_BLOCKS):
        kind, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        start = place + 8
        if len(kind) < 4 or start + size > len(data):
            break
        if kind == b"EXIF":
            _read_exif(data[start : start + size].removeprefix(b"Exif\0\0"), found)
        elif kind == b"XMP ":
            _add_xmp(data[start : start + size], found)
        elif kind == b"C2PA":
            found.c2pa |= _is_manifest(data[start : start + min(size, LONGEST)])
        place = start + size + size % 2


def _read_gif(data: bytes, found: FileMetadata) -> None:
    if len(data) < 13:
        return
    place, left = 13 + _palette(data[10]), _MOST_SUB_BLOCKS
    while left > 0 and place + 10 <= len(data):
        start = place
        if data[place] == 0x2C:  # an image: its place and size, a palette, the code size, then data
            place += 11 + _palette(data[place + 9])
        elif data[place] == 0x21:
            place += 2
        else:
            return
        first = place
        while place < len(data) and data[place] and left > 0:
            place, left = place + 1 + data[place], left - 1
        if data[start : start + 2] == b"\x21\xfe":
            _add_comment(_joined(data[first : min(place, first + _BLOCK)]), found)
        elif data[start : start + 14] == b"\x21\xff\x0bXMP DataXMP":
            _add_xmp(data[first + 12 : place], found)  # not cut into sub-blocks; a trailer lets readers walk through as if it were
        elif data[start : start + 11] == b"\x21\xff\x0bC2PA_GIF":
            found.c2pa |= _is_manifest(_joined(data[first + 12 : min(place, first + LONGEST)]))  # behind three more bytes of its name
        place, left = place + 1, left - 1


def _palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _joined(blocks: bytes) -> bytes:
    parts, place = [], 0
    while place < len(blocks):
        parts.append(blocks[place + 1 : place + 1 + blocks[place]])
        place += 1 + blocks[place]
    return b"".join(parts)


def _read_exif(block: bytes, found: FileMetadata) -> None:
    if found.exif:  # one is all a file may have
        return
    found.has_exif = found.has_exif or bool(block)
    found.exif = exif.tags(block)
    if packet := found.exif.pop(exif.XMP, None):
        _add_xmp(packet, found)
    if datasets := found.exif.pop(exif.IPTC, None):
        _add_iptc(datasets, found)
    found.c2pa |= _is_manifest(found.exif.pop(exif.C2PA, b"")[:LONGEST])


def _add_xmp(packet: bytes, found: FileMetadata) -> None:
    left = _BLOCK - sum(map(len, found.xmp))  # of all packets together
    if packet and left > 0:
        found.xmp.append(xmp.text(packet[:left]))


def _add_extended_xmp(parts: list[tuple[bytes, int, bytes]], found: FileMetadata) -> None:
    """Join the parts of an extended packet by their places, in whatever order they stand (XMP specification part 3, 1.1.3.1).

    Of several extensions that counts which the main packet names; where it names none of them, the first.
    """
    if not parts:
        return
    named = {guid.encode("ascii", "replace").upper() for packet in found.xmp if (guid := xmp.extended_guid(packet))}
    guids = [guid for guid, _, _ in parts]
    of = next((guid for guid in guids if guid.upper() in named), guids[0])
    joined, seen = bytearray(), set()
    for part in sorted((one for one in parts if one[0] == of), key=lambda one: one[1]):
        if part not in seen and len(joined) < _BLOCK:
            seen.add(part)
            joined += part[2]
    _add_xmp(bytes(joined), found)


def _add_iptc(block: bytes, found: FileMetadata) -> None:
    if not found.iptc:
        found.iptc = iptc.datasets(block[:_BLOCK])


def _add_comment(body: bytes, found: FileMetadata) -> None:
    if len(found.comments) < 4 and (text := body[:LONGEST].decode("utf-8", "replace").strip("\0 \r\n\t")):
        found.comments.append(text)


def _is_manifest(block: bytes | bytearray) -> bool:
    """Look for two words, which both stand in the first boxes of a manifest store; other JUMBF has the first only."""
    return b"jumb" in block and b"c2pa" in block
