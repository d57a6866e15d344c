"""What is asked of each picture beside its score: plain data, which any process may be given."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dgsnet.provenance import Marks, Provenance, TrustAnchors


@dataclass(frozen=True)
class Asked:
    """What is asked of each picture beside its score. It changes no score."""

    provenance: bool = False
    """Read what the file claims of its origin."""
    anchors: TrustAnchors | None = None
    """Whose C2PA signatures to call trusted; None: nobody's."""
    marks: Marks | None = None
    """Table of generators' marks; None: the package's own."""
    steadiness: bool = False
    """Look at everyday copies too, two more views a picture, and warn where one would have got another verdict."""

    def also(self, *, provenance: bool = False, steadiness: bool = False) -> Asked:
        """Return the same with more asked."""
        return replace(self, provenance=self.provenance or provenance, steadiness=self.steadiness or steadiness)

    def claims(self, data: bytes) -> Provenance:
        """Return what the bytes of a file claim of its origin."""
        from dgsnet import provenance  # noqa: PLC0415 - only where it is asked for

        return provenance.read(data, self.anchors, self.marks)

    @property
    def identity(self) -> dict[str, str]:
        """What rows follow from beside model and data, by name; nothing where nothing is asked."""
        trusted = f", {self.anchors.count} trust anchors {self.anchors.fingerprint}" if self.anchors else ""
        known = f", marks {self.marks.fingerprint}" if self.marks else ""
        found = {"provenance": f"yes{trusted}{known}"} if self.provenance else {}
        return found | ({"steadiness": "yes"} if self.steadiness else {})

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        return {
            "provenance": self.provenance,
            "anchors": self.anchors and asdict(self.anchors),
            "marks": self.marks and self.marks.given,
            "steadiness": self.steadiness,
        }

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Asked:
        """Return what `as_dict` was made of."""
        from dgsnet.provenance import TrustAnchors, generators  # noqa: PLC0415 - as above

        anchors, marks = found["anchors"], found["marks"]
        return cls(
            **found
            | {
                "anchors": anchors and TrustAnchors(anchors["pem"], tuple(anchors["purposes"])),
                "marks": marks and generators.from_given(marks),
            }
        )


NOTHING = Asked()
