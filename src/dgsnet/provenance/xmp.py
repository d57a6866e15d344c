"""Properties of an XMP packet (ISO 16684-1).

Read tag by tag with patterns, not by an XML parser: hostile packets then expand no entity and fetch nothing, and packets that are not
well-formed, which are common, are read too.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

NAMESPACES: Mapping[str, str] = {
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
}
PROPERTIES = (
    "Iptc4xmpExt:DigitalSourceType", "xmp:CreatorTool", "photoshop:Credit", "Iptc4xmpExt:AISystemUsed", "Iptc4xmpExt:AISystemVersionUsed",
    "Iptc4xmpExt:AIPromptInformation", "Iptc4xmpExt:AIPromptWriterName", "plus:DataMining", "tiff:Make", "tiff:Model",
)  # fmt: skip
"""Properties that are always shown."""

_VALUE = 16_384  # characters of a value that are kept
_MOST = 4  # values of a property
_MOST_VALUES = 4096  # of all properties, before those that are the same are told
_MOST_TAGS = 50_000
# Names and quoted values hold no "<", so that a tag left open ends at the next one; possessive, so that nothing is tried twice.
_TAG = re.compile(r"<(/?)([\w.-]{1,100}+)(?::([\w.-]{1,100}+))?((?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+')*+)>([^<]*+)")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)(?:\]\]>|\Z)", re.DOTALL)
_ATTRIBUTE = re.compile(r"([\w.-]{1,100}+)(?::([\w.-]{1,100}+))?\s*+=\s*+(?:\"([^\"<]*+)\"|'([^'<]*+)')")
_HOLDERS = {"Alt", "Bag", "Seq", "li", "value"}  # of RDF: what stands in them is a value of the property around them
_OF_OTHERS = {"Pantry"}  # metadata of the parts of a composite


def properties(packet: str, names: Iterable[str] = PROPERTIES, namespaces: Mapping[str, str] = NAMESPACES) -> list[tuple[str, str]]:
    """Return the wanted properties and their values, in the order of the packet, at most four different values of each.

    Args:
        packet: text of the packet.
        names: ``prefix:name``, with a prefix of `namespaces`, which is not that of the packet.
        namespaces: addresses by prefix. A prefix that the packet does not declare is taken for any.
    """
    wanted: dict[str, list[str]] = {}
    for name in names:
        wanted.setdefault(name.partition(":")[2], []).append(name)
    if not any(local in packet for local in wanted):
        return []
    declared: dict[str, set[str]] = {}
    found = list(islice(_values(packet, wanted, declared), _MOST_VALUES))
    kept: dict[tuple[str, str], None] = {}
    counts: dict[str, int] = {}
    for prefix, local, value in found:
        for name in wanted[local]:
            if (name, value) in kept or counts.get(name, 0) >= _MOST:
                continue
            if not declared.get(prefix) or _bare(namespaces[name.partition(":")[0]]) in declared[prefix]:
                kept[name, value] = None
                counts[name] = counts.get(name, 0) + 1
                break
    return list(kept)


def text(packet: bytes) -> str:
    """Decode a packet: UTF-8, or UTF-16 or UTF-32, without a byte order mark of Latin letters."""
    if packet.startswith((b"\xfe\xff", b"\xff\xfe")) and packet[2:4] != b"\0\0":
        return packet.decode("utf-16", "replace")
    return packet.replace(b"\0", b"").decode("utf-8", "replace")


def extended_guid(packet: str) -> str | None:
    """Return the digest that a main packet names as that of its extension (XMP specification part 3, 1.1.3.1)."""
    found = properties(packet, ("xmpNote:HasExtendedXMP",), {"xmpNote": "http://ns.adobe.com/xmp/note/"})
    return found[0][1] if found else None


def _values(packet: str, wanted: Mapping[str, object], declared: dict[str, set[str]]) -> Iterator[tuple[str, str, str]]:
    """Yield prefix, local name and value of wanted properties, and note the namespaces that the packet declares, by prefix."""
    packet = _CDATA.sub(lambda match: html.escape(match[1]), _COMMENT.sub("", packet))
    looked_for = [name for name in (*wanted, "xmlns", "resource") if name in packet]
    owner, closes = ("", ""), ""  # the property that values belong to; the tag behind whose end reading goes on
    for tag in islice(_TAG.finditer(packet), _MOST_TAGS):
        prefix, local = _name(tag[2], tag[3])
        if closes:
            closes = "" if tag[1] and local == closes else closes
        elif tag[1]:
            owner = owner if local in _HOLDERS else ("", "")
        elif local in _OF_OTHERS and not tag[4].endswith("/"):
            closes = local
        else:
            owner = owner if local in _HOLDERS else (prefix, local)
            if any(name in tag[4] for name in looked_for):
                yield from _attributes(tag[4], owner, wanted, declared)
            if owner[1] in wanted and (value := _clean(tag[5])):
                yield *owner, value


def _attributes(
    text: str, owner: tuple[str, str], wanted: Mapping[str, object], declared: dict[str, set[str]]
) -> Iterator[tuple[str, str, str]]:
    for attribute in _ATTRIBUTE.finditer(text):
        prefix, name = _name(attribute[1], attribute[2])
        raw = attribute[3] if attribute[3] is not None else attribute[4]
        if prefix == "xmlns":
            declared.setdefault(name, set()).add(_bare(raw))
        elif name in wanted and (value := _clean(raw)):
            yield prefix, name, value
        elif name == "resource" and owner[1] in wanted and (value := _clean(raw)):
            yield *owner, value


def _name(first: str, second: str | None) -> tuple[str, str]:
    return ("", first) if second is None else (first, second)


def _clean(raw: str) -> str:
    return html.unescape(raw[:_VALUE]).strip()


def _bare(namespace: str) -> str:
    """Return the address of a namespace without what spellings of it differ in: scheme, version, end."""
    address = re.sub(r"^https?://(?:www\.)?", "", html.unescape(namespace[:200]).strip().lower()).rstrip("/#")
    return re.sub(r"/v?\d[\d.-]*$", "", address)
