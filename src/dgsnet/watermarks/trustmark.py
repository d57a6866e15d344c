"""TrustMark's mark, where its decoders lie in a folder: Adobe's ONNX files ``decoder_Q.onnx``, ``decoder_P.onnx``, ``_B``, ``_C``.

A decoder sees the whole picture, scaled to a square, and gives 100 bits (https://github.com/adobe/trustmark, python/trustmark/trustmark.py:
`decode`). Whether there is a mark is decided by its code alone (`bch`). The package takes every word that can be mended; of random bits
that is one in 500 with BCH_5. Here fewer may be wrong, so that random bits pass once in 95,000 for each decoder.

What a mark says is whose manifest to look for, and where that lies only a register on the network knows: no word on how a picture was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from dgsnet.core.errors import DgsnetError
from dgsnet.watermarks.bch import CODES

VARIANTS = ("Q", "P", "B", "C")
_BITS = 100
_MOST_MENDED = {0: 8, 1: 4, 2: 2, 3: 1}
"""Bits that may be wrong, by the number of the code."""
_LONGEST = 2.0  # sides' ratio above which the square in the middle is looked at; of variant P always


@dataclass(frozen=True)
class Payload:
    """What a mark holds: the bits of its payload as a number, `bits` of them, after `mended` were mended."""

    variant: str
    schema: str
    value: int
    bits: int
    mended: int


@dataclass(frozen=True)
class Decoder:
    """A decoder, ready to run."""

    variant: str
    session: Any
    side: int

    @classmethod
    def load(cls, file: Path, variant: str) -> Decoder:
        """Load a decoder.

        Raises:
            DgsnetError: the file is no ONNX graph that takes a picture and gives 100 numbers.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # pictures are read side by side, by the threads that decode them
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
            side = session.get_inputs()[0].shape[-1]
            decoder = cls(variant, session, side if isinstance(side, int) else 224 if variant == "P" else 256)
            count = decoder.bits(np.zeros((decoder.side, decoder.side, 3), np.uint8)).size
        except Exception as error:  # of the runtime, which has many kinds and no common one
            raise DgsnetError(f"{file}: no decoder of TrustMark ({error}); fetch it again") from error
        if count != _BITS:
            raise DgsnetError(f"{file}: no decoder of TrustMark, as it gives {count} bits where {_BITS} are expected; fetch it again")
        return decoder

    def bits(self, pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return what the network sees in a picture, (H, W, 3) uint8: (100,) bits."""
        picture = Image.fromarray(self._looked_at(pixels)).resize((self.side, self.side), Image.Resampling.BILINEAR)
        tensor = np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / np.float32(127.5) - np.float32(1)
        (logits,) = self.session.run(None, {self.session.get_inputs()[0].name: tensor})
        found: NDArray[np.bool_] = np.asarray(logits).ravel() > 0
        return found

    def _looked_at(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = pixels.shape[:2]
        short = min(height, width)
        if max(height, width) / short <= _LONGEST and self.variant != "P":
            return pixels
        top, left = (height - short) // 2, (width - short) // 2
        return np.ascontiguousarray(pixels[top : top + short, left : left + short])


def load(folder: Path) -> tuple[Decoder, ...]:
    """Load the decoders of a folder.

    Raises:
        DgsnetError: there is none, or one of them is broken.
    """
    files = {variant: folder / f"decoder_{variant}.onnx" for variant in VARIANTS}
    decoders = tuple(Decoder.load(file, variant) for variant, file in files.items() if file.is_file())
    if not decoders:
        raise DgsnetError(
            f"{folder}: holds no decoder of TrustMark; expected decoder_Q.onnx, decoder_P.onnx, decoder_B.onnx or decoder_C.onnx"
        )
    return decoders


def payload(bits: NDArray[np.bool_], variant: str = "Q") -> Payload | None:
    """Return what 100 bits say; None where they are no mark."""
    number = int("".join("1" if bit else "0" for bit in bits), 2)
    word, schema = number >> 4, number & 15
    code = CODES.get(schema)
    if code is None or not word:  # a network that sees nothing may well say nothing but zeros, which are a word of every code
        return None
    found = code.mend(word)
    if found is None or found[1] > _MOST_MENDED[schema] or not found[0]:
        return None
    return Payload(variant, code.name, found[0], code.data, found[1])
