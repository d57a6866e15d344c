"""Small pictures with metadata: blocks of EXIF, XMP, IPTC and text, put into each container byte by byte where Pillow has no way."""

import hashlib
import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image, PngImagePlugin
from PIL.ExifTags import Base

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
NAMESPACES = {
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
}
IPTC = {"ObjectName": 5, "Keywords": 25, "SpecialInstructions": 40, "OriginatingProgram": 65, "By-line": 80, "Headline": 105,
        "Credit": 110, "Source": 115, "CopyrightNotice": 116, "Caption": 120}  # fmt: skip
_SUB = {"DateTimeOriginal", "UserComment", "MakerNote", "FileSource", "ImageTitle", "ImageEditingSoftware", "RAWDevelopingSoftware"}
_NEW = {"ImageTitle": 0xA436, "RAWDevelopingSoftware": 0xA43A, "ImageEditingSoftware": 0xA43B}  # of EXIF 3.0
_WINDOWS = {"XPTitle", "XPComment", "XPAuthor", "XPKeywords", "XPSubject"}


def encoded(kind, **options):
    """Return a small picture of a container of Pillow's."""
    return _encoded(kind, **options) if options else _plain(kind)


@cache
def _plain(kind):
    return _encoded(kind)


def _encoded(kind, **options):
    stream = io.BytesIO()
    Image.fromarray(np.arange(48 * 48 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 48, 3)).save(stream, kind, **options)
    return stream.getvalue()


def exif_of(**tags):
    """Return EXIF with these fields, each in the directory that it belongs into."""
    exif = Image.Exif()
    for name, value in tags.items():
        number = _NEW.get(name) or Base[name]
        stored = value
        if isinstance(value, str) and name in _WINDOWS:
            stored = value.encode("utf-16-le") + b"\0\0"
        elif isinstance(value, str) and not value.isascii():  # which Pillow would write as question marks
            stored = value.encode()
        (exif.get_ifd(0x8769) if name in _SUB else exif)[number] = stored
    return exif


def comment(text, order="be"):
    """Return a user comment of EXIF in UTF-16."""
    return b"UNICODE\0" + text.encode(f"utf-16-{order}")


def chunk(kind, body):
    """Return a chunk of PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(*chunks, behind_pixels=False):
    """Return a PNG with these chunks behind its header, or at its end."""
    plain = encoded("PNG")
    place = len(plain) - 12 if behind_pixels else 33
    return plain[:place] + b"".join(chunks) + plain[place:]


def with_text(**texts):
    """Return a PNG with these text chunks."""
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_itxt(key, value)
    return encoded("PNG", pnginfo=info)


def with_segments(*segments):
    """Return a JPEG with these segments, (marker, body), behind its first marker."""
    plain = encoded("JPEG")
    return plain[:2] + b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments) + plain[2:]


def with_gif_xmp(packet):
    """Behind the header and palette: the packet as it is, then the trailer over which a reader of sub-blocks slides to the end."""
    plain = encoded("GIF")
    place = 13 + (3 << (plain[10] & 7) + 1)
    trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    return plain[:place] + b"\x21\xff\x0bXMP DataXMP" + packet + trailer + plain[place:]


def packet(inner="", **attributes):
    """Return an XMP packet; names of attributes have two underscores for the colon."""
    named = " ".join(f'{name.replace("__", ":")}="{value}"' for name, value in attributes.items())
    spaces = " ".join(f'xmlns:{prefix}="{address}"' for prefix, address in NAMESPACES.items())
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {spaces} {named}>{inner}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def xmp_segment(packet):
    """Return the segment of a JPEG that holds a packet."""
    return 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet


def with_xmp(inner="", **attributes):
    """Return a JPEG with an XMP packet, as `packet` takes it."""
    return with_segments(xmp_segment(packet(inner, **attributes)))


def extended_xmp(body, size=30_000):
    """Return the segments of an extended packet and the main one's attribute that names it."""
    digest = hashlib.md5(body).hexdigest().upper()  # noqa: S324 - the specification's
    head = b"http://ns.adobe.com/xmp/extension/\0" + digest.encode()
    parts = [(0xE1, head + struct.pack(">II", len(body), place) + body[place : place + size]) for place in range(0, len(body), size)]
    return digest, parts


def with_iptc(**datasets):
    """Return a JPEG with IPTC datasets; a name has an underscore for the hyphen."""
    pairs = [(IPTC[name.replace("_", "-")], value.encode()) for name, value in datasets.items()]
    body = b"".join(b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(value)) + value for number, value in pairs)
    return with_segments((0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(body)) + body))


def with_trailer(**blocks):
    """Return a JPEG with a trailer as Samsung's phones write it: blocks, their directory, its size."""
    body, entries = b"", []
    for name, text in blocks.items():
        block = struct.pack("<HHI", 0, 0x0BA1, len(name)) + name.encode() + text.encode()
        entries.append((len(body), len(block)))
        body += block
    directory = b"SEFH" + struct.pack("<II", 101, len(entries))
    for place, size in entries:
        directory += struct.pack("<HHII", 0, 0x0BA1, len(body) - place, size)
    return encoded("JPEG") + body + directory + struct.pack("<I", len(directory)) + b"SEFT"
