"""What is asked of each picture beside its score: plain data, which any process may be given."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dgsnet.images.decode import DecodedImage
    from dgsnet.provenance import Marks, Provenance, TrustAnchors
    from dgsnet.watermarks import Reader


@dataclass(frozen=True)
class Asked:
    """What is asked of each picture beside its score. It changes no score."""

    provenance: bool = False
    """Read what the file claims of its origin. `watermarks` include that."""
    anchors: TrustAnchors | None = None
    """Whose C2PA signatures to call trusted; None: nobody's."""
    marks: Marks | None = None
    """Table of generators' marks; None: the package's own."""
    watermarks: bool = False
    """Read what is hidden in the pixels too."""
    trustmark: Path | None = None
    """Folder of TrustMark's decoders, which are asked as well; None: there are none."""
    steadiness: bool = False
    """Look at everyday copies too, two more views a picture, and warn where one would have got another verdict."""

    def __post_init__(self) -> None:
        """Ask for claims where watermarks are asked for."""
        object.__setattr__(self, "provenance", self.provenance or self.watermarks)

    def also(self, *, provenance: bool = False, steadiness: bool = False) -> Asked:
        """Return the same with more asked."""
        return replace(self, provenance=self.provenance or provenance, steadiness=self.steadiness or steadiness)

    def claims(self, data: bytes | None, image: DecodedImage | None = None) -> Provenance | None:
        """Return what a picture claims of its origin.

        Args:
            data: bytes of the file; None where there is none.
            image: the decoded picture, with its alpha channel, for what is hidden in it; None where it could not be decoded.

        Returns:
            None where nothing is asked, or nothing can be.
        """
        if not self.provenance:
            return None
        from dgsnet import provenance  # noqa: PLC0415 - only where it is asked for

        found = None if data is None else provenance.read(data, self.anchors, self.marks)
        if self.watermarks and image is not None:
            found = provenance.with_pixels(found or provenance.Provenance(), self.reader(image))
        return found

    @property
    def reader(self) -> Reader:
        """What reads marks in pixels.

        Raises:
            DgsnetError: `trustmark` holds no decoder, or a broken one.
        """
        return _reader(self.trustmark)

    @property
    def identity(self) -> dict[str, str]:
        """What rows follow from beside model and data, by name; nothing where nothing is asked."""
        trusted = f", {self.anchors.count} trust anchors {self.anchors.fingerprint}" if self.anchors else ""
        known = f", marks {self.marks.fingerprint}" if self.marks else ""
        found = {
            "provenance": f"yes{trusted}{known}" if self.provenance else None,
            "watermarks": " and ".join(["yes", *self.reader.variants]) if self.watermarks else None,
            "steadiness": "yes" if self.steadiness else None,
        }
        return {name: value for name, value in found.items() if value is not None}

    def as_dict(self) -> dict[str, Any]:
        """Return the same as JSON has it."""
        return vars(self) | {
            "anchors": self.anchors and asdict(self.anchors),
            "marks": self.marks and self.marks.given,
            "trustmark": self.trustmark and str(self.trustmark),
        }

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Asked:
        """Return what `as_dict` was made of."""
        from dgsnet.provenance import TrustAnchors, generators  # noqa: PLC0415 - as above

        anchors, marks, trustmark = (found[name] for name in ("anchors", "marks", "trustmark"))
        return cls(
            **found
            | {
                "anchors": anchors and TrustAnchors(anchors["pem"], tuple(anchors["purposes"])),
                "marks": marks and generators.from_given(marks),
                "trustmark": trustmark and Path(trustmark),
            }
        )


NOTHING = Asked()


@cache
def _reader(trustmark: Path | None) -> Reader:
    """Load what reads marks in pixels, once a process: sessions of decoders do not travel."""
    from dgsnet.watermarks import Reader  # noqa: PLC0415 - as above

    return Reader.load(trustmark)
