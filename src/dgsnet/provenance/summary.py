"""The findings of an image file and one sentence that sums them up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dgsnet.provenance import c2pa, generators, source_type, xmp
from dgsnet.provenance.c2pa import Signature, Signer, TrustAnchors
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
_WORDS: dict[Says, str] = {
    "generated": "was AI-generated",
    "ai-edited": "was edited with generative tools",
    "edited": "was edited",
    "camera": "came from a camera",
    "scanner": "was scanned from film or print",
}
_SIGNATURES: dict[Signature, str] = {
    "none": "",
    "intact": "; it has not been changed since its C2PA manifest was signed",
    "altered": "; it was altered after its C2PA manifest was signed, so what that claims counts for nothing",
    "unchecked": "; its C2PA signature was not checked",
}


@dataclass(frozen=True)
class Provenance:
    """The claims that a file makes of its own origin."""

    findings: list[Finding] = field(default_factory=list)
    summary: str = f"The file says nothing of its origin; {CAUTION}."
    """One sentence, which always says that metadata can be forged or stripped."""
    says: list[Says] = field(default_factory=list)
    """The claims of all findings, each once, in the order of `dgsnet.provenance.source_type.Says`, without ``unknown``."""
    signature: Signature = "none"
    """Whether the file is as it was when its C2PA manifest was signed; ``none`` where it has none."""
    signer: Signer = "none"
    """What is known of whoever signed it."""


def read(data: bytes, anchors: TrustAnchors | None = None) -> Provenance:
    """Read what an encoded image says of its own origin. Raises nothing, whatever the bytes are, and reads no pixel.

    Args:
        data: the file.
        anchors: whose C2PA signatures to call trusted; None: nobody's.
    """
    file = read_metadata(data)
    credentials = c2pa.examine(data, anchors, file)
    found = list(dict.fromkeys([*credentials.findings, *_findings(file)]))[:_MOST]
    if not found:
        return Provenance()
    says = [one for one in _WORDS if any(one == other.says for other in found)]
    return Provenance(found, _summary(says, credentials.signature), says, credentials.signature, credentials.signer)


def _findings(file: FileMetadata) -> Iterator[Finding]:
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


def _summary(says: list[Says], signature: Signature) -> str:
    what = f"say that it {' and '.join(_WORDS[one] for one in says)}" if says else "name no generator, editor or camera"
    return f"The metadata of the file {what}{_SIGNATURES[signature]}; {CAUTION}."
