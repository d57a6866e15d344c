"""The findings of an image file and one sentence that sums them up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dgsnet.provenance import aigc_label, c2pa, exif, generators, iptc_ai, source_type, xmp
from dgsnet.provenance.c2pa import Signature, Signer, TrustAnchors
from dgsnet.provenance.finding import Finding, finding
from dgsnet.provenance.generators import Mark, Marks
from dgsnet.provenance.metadata import FileMetadata
from dgsnet.provenance.metadata import read as read_metadata
from dgsnet.provenance.source_type import ORDER, Says

CAUTION = "metadata can be forged or stripped, so this is a hint and no proof"
"""The end of every summary."""

_MOST = 64  # findings
_ALWAYS_SHOWN = {
    "Make", "Model", "Software", "DateTimeOriginal", "ImageDescription", "OriginatingProgram", "Credit", "ImageEditingSoftware",
    "RAWDevelopingSoftware",
}  # fmt: skip
_SHOWN_XMP = frozenset(name.partition(":")[2] for name in xmp.PROPERTIES)
_LABEL_XMP = frozenset(f"TC260:{name}" for name in ("AIGC", "Label", "ContentProducer", "ProduceID", "ContentPropagator", "PropagateID"))
_OF_A_CAMERA = {"exif.Make", "exif.Model", "xmp.tiff:Make", "xmp.tiff:Model"}
_LONGEST_NAME = 100  # of a camera
_WORDS: dict[Says, str] = {
    "generated": "was AI-generated",
    "ai-edited": "was edited with generative AI",
    "edited": "was edited",
    "camera": "came from a camera",
    "scanner": "came from a scanner",
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
    """Different claims of the findings, in the order of `dgsnet.provenance.source_type.ORDER`; empty where there is none."""
    signature: Signature = "none"
    """Whether the file is as it was when its C2PA manifest was signed; ``none`` where it has none."""
    signer: Signer = "none"
    """What is known of whoever signed it."""
    programs: list[str] = field(default_factory=list)
    """Generators whose marks were found."""

    def as_dict(self) -> dict[str, Any]:
        """Return the object of a row, without ``agrees``, which takes a verdict too."""
        return {
            "summary": self.summary,
            "says": list(self.says),
            "signature": self.signature,
            "signer": self.signer,
            "findings": [asdict(one) for one in self.findings],
        }


@dataclass(frozen=True)
class Claim:
    """A finding and the program whose mark it is, where it is one's."""

    finding: Finding
    program: str | None = None


def read(data: bytes, anchors: TrustAnchors | None = None, marks: Marks | None = None) -> Provenance:
    """Read what an encoded image says of its own origin. Raises nothing, whatever the bytes are, and reads no pixel.

    Args:
        data: the file.
        anchors: whose C2PA signatures to call trusted; None: nobody's.
        marks: table of marks, see `dgsnet.provenance.generators.load`; None: the package's own.
    """
    file, marks = read_metadata(data), marks or generators.builtin()
    credentials = c2pa.examine(data, anchors, file, marks)
    claims = [*(Claim(one, _agent(one, marks)) for one in credentials.findings), *metadata_claims(file, marks)]
    claims = list({claim.finding: claim for claim in reversed(claims)}.values())[::-1][:_MOST]
    if not claims:
        return Provenance()
    found = [claim.finding for claim in claims]
    says = [word for word in ORDER if any(one.says == word for one in found)]
    of_generators: tuple[Says, ...] = ("generated", "ai-edited")
    programs = {word: _programs(claims, word) for word in of_generators}
    return Provenance(
        found,
        _summary(says, programs, credentials.signature),
        says,
        credentials.signature,
        credentials.signer,
        list(dict.fromkeys(name for names in programs.values() for name in names)),
    )


def with_pixels(provenance: Provenance, marks: list[Finding]) -> Provenance:
    """Return what a file claims with what was found in its pixels (`dgsnet.watermarks`) before it; unchanged where nothing was."""
    if not marks:
        return provenance
    says = [word for word in ORDER if any(one.says == word for one in marks)]
    what = f"a mark that says that it {' and '.join(_WORDS[word] for word in says)}" if says else "a mark"
    return replace(
        provenance,
        findings=[*marks, *provenance.findings],
        summary=f"Its pixels carry {what}. {provenance.summary}",
        says=[word for word in ORDER if word in {*says, *provenance.says}],
    )


def metadata_claims(file: FileMetadata, marks: Marks) -> Iterator[Claim]:
    """Yield what the metadata of a file say, but for a C2PA manifest."""
    fields = list(_fields(file, marks))
    first: dict[str, str] = {}
    for place, value in fields:
        first.setdefault(generators.normalised(place), value)
    found = {(place, value): marks.find(place, value, first) for place, value in fields}
    device = _device(fields, found, file)
    sources = [source_type.says(value) for place, value in fields if place == "xmp.Iptc4xmpExt:DigitalSourceType"]
    ai_fields = {name: first[place] for name in iptc_ai.FIELDS if (place := f"xmp.Iptc4xmpExt:{name}") in first}
    photograph = "generated" not in sources and (device is not None or bool({"ai-edited", "edited", "camera", "scanner"} & set(sources)))
    for place, value in fields:
        kind, name = _kind(place)
        mark = found[place, value]
        if label := _label(place, value):
            yield Claim(finding(kind, str(label), label.says), None)
        elif place == "xmp.Iptc4xmpExt:DigitalSourceType":
            yield Claim(finding(kind, value, source_type.says(value)))
        elif name in iptc_ai.FIELDS and place.startswith("xmp.Iptc4xmpExt:"):
            says = iptc_ai.says(name, ai_fields | {name: value}, photograph=photograph)
            yield Claim(finding(kind, value, says), mark.program if mark and says != "unknown" else None)
        elif mark:
            yield Claim(finding(kind, value, mark.says), mark.program)
        elif place in _OF_A_CAMERA:
            yield Claim(finding(kind, value, device or "unknown"))
        elif place.startswith("png.") or place == "comment" or name in (_SHOWN_XMP if place.startswith("xmp.") else _ALWAYS_SHOWN):
            yield Claim(finding(kind, value, "unknown"))
    tc260 = {place.removeprefix("xmp.TC260:"): value for place, value in first.items() if place.startswith("xmp.TC260:")}
    if label := aigc_label.of_properties(tc260):
        yield Claim(finding("xmp.AIGC", str(label), label.says))


def _fields(file: FileMetadata, marks: Marks) -> Iterator[tuple[str, str]]:
    """Yield the place, as tables of marks write it, and the value of every field."""
    namespaces = {**xmp.NAMESPACES, **marks.namespaces}
    names = (*xmp.PROPERTIES, *sorted((marks.xmp_names | _LABEL_XMP) - set(xmp.PROPERTIES)))
    for packet in file.xmp:
        for name, value in xmp.properties(packet, names, namespaces):
            yield f"xmp.{name}", value
    for name, value in file.texts:
        yield f"png.{name}", value
    for name, value in exif.texts(file.exif):
        yield f"exif.{name}", value
    for name, value in file.iptc:
        yield f"iptc.{name}", value
    for value in file.comments:
        yield "comment", value
    for name, value in file.trailer:
        yield f"trailer.{name}", value
    for value in file.labels:
        yield "jpeg.AIGC", value


def _kind(place: str) -> tuple[str, str]:
    """Return the kind of a finding, in which properties of XMP have no prefix, and the field's own name."""
    of, _, name = place.partition(".")
    name = name.partition(":")[2] if of == "xmp" else name
    return (f"{of}.{name}" if name else of), name


def _label(place: str, value: str) -> aigc_label.Label | None:
    if place.startswith("xmp.TC260:") and place != "xmp.TC260:AIGC":
        return None
    if aigc_label.KEY not in value and "Label" not in value:
        return None
    return aigc_label.parse(value, named=place in {"png.AIGC", "xmp.TC260:AIGC", "jpeg.AIGC"})


def _device(fields: list[tuple[str, str]], found: dict[tuple[str, str], Mark | None], file: FileMetadata) -> Says | None:
    """Return ``camera`` or ``scanner`` where Make or Model name one; None where they do not, or hold settings of a program."""
    named = [one for one in fields if one[0] in _OF_A_CAMERA]
    marks = {mark.says for one in named if (mark := found[one])}
    if not named or marks & {"generated", "ai-edited"} or any("{" in value or len(value) > _LONGEST_NAME for _, value in named):
        return None
    scanned = "scanner" in marks or file.exif.get(exif.FILE_SOURCE, b"\3")[:1] in {b"\1", b"\2"}  # EXIF 3.0, 4.6.6.7: of film, of prints
    return "scanner" if scanned else "camera"


def _agent(one: Finding, marks: Marks) -> str | None:
    """Return the generator that a finding of C2PA names: a program, or behind an action the program that did it."""
    if one.says not in {"generated", "ai-edited"}:
        return None
    program = one.value.partition(" by ")[2].partition(": ")[0] if one.kind.endswith(".action") else one.value
    return marks.generator(program)


def _programs(claims: list[Claim], says: str) -> list[str]:
    return list(dict.fromkeys(claim.program for claim in claims if claim.program and claim.finding.says == says))


def _summary(says: list[Says], programs: dict[Says, list[str]], signature: Signature) -> str:
    claims = [f"{_WORDS[word]}{f' ({names})' if (names := ', '.join(programs.get(word, []))) else ''}" for word in says]
    what = f"say that it {' and '.join(claims)}" if claims else "name no generator, editor or camera"
    return f"The metadata of the file {what}{_SIGNATURES[signature]}; {CAUTION}."
