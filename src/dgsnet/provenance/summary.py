"""The findings of an image file and one sentence that sums them up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from dgsnet.provenance import c2pa, generators, source_type, xmp
from dgsnet.provenance.finding import Finding, finding
from dgsnet.provenance.metadata import FileMetadata, exif_texts
from dgsnet.provenance.metadata import read as read_metadata
from dgsnet.provenance.source_type import Says

CAUTION = "metadata can be forged or stripped, so this is a hint and no proof"
"""The end of every summary."""

_MOST = 64  # findings
_ALWAYS_SHOWN = {"Make", "Model", "Software", "DateTimeOriginal", "ImageDescription", "OriginatingProgram", "Credit"}
_OF_A_CAMERA = {"Make", "Model"}
_OF_A_PROGRAM = {"Software", "CreatorTool", "OriginatingProgram", "Comment"}
_OF_A_GENERATOR = {"AISystemUsed", "AIPromptInformation"}
_WORDS: dict[Says, str] = {"generated": "was AI-generated", "edited": "was edited", "camera": "came from a camera"}


@dataclass(frozen=True)
class Provenance:
    """The claims that a file makes of its own origin."""

    findings: list[Finding] = field(default_factory=list)
    summary: str = f"The file says nothing of its origin; {CAUTION}."
    """One sentence, which always says that metadata can be forged or stripped."""


def read(data: bytes) -> Provenance:
    """Read what an encoded image says of its own origin. Raises nothing, whatever the bytes are, and reads no pixel."""
    found = list(dict.fromkeys(_findings(data, read_metadata(data))))[:_MOST]
    return Provenance(found, _summary(found)) if found else Provenance()


def with_pixels(provenance: Provenance, marks: list[Finding]) -> Provenance:
    """Return what a file claims with what was found in its pixels (`dgsnet.watermarks`) before it; unchanged where nothing was."""
    if not marks:
        return provenance
    claims = [words for says, words in _WORDS.items() if any(one.says == says for one in marks)]
    what = f"a mark that says that it {' and '.join(claims)}" if claims else "a mark"
    return replace(provenance, findings=[*marks, *provenance.findings], summary=f"Its pixels carry {what}. {provenance.summary}")


def _findings(data: bytes, file: FileMetadata) -> Iterator[Finding]:
    if file.c2pa:
        yield from c2pa.findings(data)
    for packet in file.xmp:
        for name, value in xmp.properties(packet):
            says = source_type.says(value) if name == "DigitalSourceType" else _says(name, value)
            yield finding(f"xmp.{name}", value, "generated" if name in _OF_A_GENERATOR else says)
    for key, value in file.texts:
        yield finding(f"png.{key}", value, "generated" if generators.by_key(key) else _says(key, value))
    for name, value in exif_texts(file.exif):
        yield from _field(f"exif.{name}", name, value)
    for name, value in file.iptc:
        yield from _field(f"iptc.{name}", name, value)
    for comment in file.comments:
        yield finding("comment", comment, _says("Comment", comment))


def _field(kind: str, name: str, value: str) -> Iterator[Finding]:
    """Yield the finding of a field; those that name people or hold remarks are shown only where they name a generator."""
    says = _says(name, value)
    if says == "generated" or name in _ALWAYS_SHOWN:
        yield finding(kind, value, says)


def _says(name: str, value: str) -> Says:
    if generators.by_text(value):
        return "generated"
    if name in _OF_A_CAMERA:
        return "camera"
    return "edited" if name in _OF_A_PROGRAM and generators.is_editor(value) else "unknown"


def _summary(found: list[Finding]) -> str:
    claims = [words for says, words in _WORDS.items() if any(one.says == says for one in found)]
    what = f"say that it {' and '.join(claims)}" if claims else "name no generator, editor or camera"
    signature = "; its C2PA signature does not hold" if c2pa.is_invalid(found) else ""
    return f"The metadata of the file {what}{signature}; {CAUTION}."
