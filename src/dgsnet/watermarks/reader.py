"""What is hidden in a picture, as findings that say how often each is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dgsnet.images.decode import DecodedImage
from dgsnet.provenance.finding import EXCERPT, Finding, excerpt, finding
from dgsnet.watermarks import dwt_dct, stealth

if TYPE_CHECKING:
    from dgsnet.watermarks.trustmark import Decoder

UNMARKED = 5_000
"""Crops of photographs without a mark that were read, none of which was taken for marked (`studies/watermarks`)."""
_SEEN = f"false alarms: none in {UNMARKED:,} crops of photographs"


@dataclass(frozen=True)
class Reader:
    """Reads what is hidden in pictures; `decoders` are those of TrustMark, which are asked too."""

    decoders: tuple[Decoder, ...] = ()

    @classmethod
    def load(cls, trustmark: str | Path | None = None) -> Reader:
        """Return a reader that asks TrustMark's decoders in a folder too, where one is given.

        Raises:
            DgsnetError: the folder holds none, or one of them is broken.
        """
        if trustmark is None:
            return cls()
        from dgsnet.watermarks.trustmark import load  # noqa: PLC0415 - it imports ONNX Runtime

        return cls(load(Path(trustmark)))

    @property
    def variants(self) -> tuple[str, ...]:
        """Return the names of the decoders."""
        return tuple(f"TrustMark {decoder.variant}" for decoder in self.decoders)

    def __call__(self, image: DecodedImage) -> list[Finding]:
        """Return the findings of a picture, ``watermark.*``; `image.alpha` is needed for what is hidden there."""
        return [*self._settings(image), *self._marks(image), *self._trustmarks(image)]

    def _settings(self, image: DecodedImage) -> Iterator[Finding]:
        for hidden in stealth.read(image.pixels, image.alpha):
            if hidden.text is None:
                value = f"hidden settings are announced and cannot be read; {_SEEN}"
                yield finding(f"watermark.{hidden.signature}", value, "unknown")
                continue
            for name, text in hidden.fields():
                value = f"{excerpt(text, EXCERPT - len(_SEEN) - 3)} ({_SEEN})"
                yield finding(f"watermark.{hidden.signature}.{name}", value, "generated")

    def _marks(self, image: DecodedImage) -> Iterator[Finding]:
        for reading in dwt_dct.read(image.pixels):
            if reading.strength >= dwt_dct.THRESHOLD:
                value = f"mark of {reading.message.program}, strength {reading.strength:.1f} of {dwt_dct.THRESHOLD:g} that decide; {_SEEN}"
                yield finding(f"watermark.{reading.message.name}", value, "generated")

    def _trustmarks(self, image: DecodedImage) -> Iterator[Finding]:
        if not self.decoders:
            return
        from dgsnet.watermarks.trustmark import payload  # noqa: PLC0415 - as above

        for decoder in self.decoders:
            if found := payload(decoder.bits(image.pixels), decoder.variant):
                digits = f"{found.value:0{-(-found.bits // 4)}x}"
                value = (
                    f"TrustMark, variant {found.variant}, {found.schema}, payload {digits}, {found.mended} bits mended; false alarms: not "
                    "measured, 1 in 95,000 if its bits were random"
                )
                yield finding("watermark.trustmark", value, "unknown")
