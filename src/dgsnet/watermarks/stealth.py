"""Settings that generators hide in the lowest bits of a picture: `stealth_pnginfo` of NovelAI and of plug-ins of Stable Diffusion web UIs.

Down each column and then to the right, one bit a pixel in the alpha channel or three in red, green and blue: a signature of 15 letters,
which says where it stands and whether gzip was used, a length of 32 bits, counted in bits, and the text in UTF-8. All of it comes from
outside: the length is held against the picture, and both what is read and what is inflated have a limit.
(https://github.com/NovelAI/novelai-image-metadata, https://github.com/neggles/sd-webui-stealth-pnginfo)
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIGNATURES = {
    "alpha": {b"stealth_pnginfo": False, b"stealth_pngcomp": True},
    "rgb": {b"stealth_rgbinfo": False, b"stealth_rgbcomp": True},
}
"""By where the bits stand: signatures, and whether the text is compressed."""
_HEADER = 15 + 4  # bytes: signature, length
_MOST_STORED = 4 * 2**20  # bytes of text as it is stored
_MOST_TEXT = 2**20  # bytes of text that are inflated
_GZIP = 31  # window bits that make zlib expect gzip's header
_MOST_FIELDS = 16


@dataclass(frozen=True)
class HiddenText:
    """Text found in a picture. `signature` is the 15 letters before it, `text` is None where what follows them cannot be read."""

    signature: str
    text: str | None

    def fields(self) -> Iterator[tuple[str, str]]:
        """Yield what the text holds by name: the members of a JSON object, or ``parameters`` and the whole."""
        try:
            members: Any = json.loads(self.text or "")
        except (ValueError, RecursionError):
            members = None
        if not isinstance(members, dict):
            yield "parameters", self.text or ""
            return
        for name, value in list(members.items())[:_MOST_FIELDS]:
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> list[HiddenText]:
    """Return what is hidden in a picture, (H, W, 3) uint8, and in its alpha channel, (H, W) uint8. Raises nothing, whatever they hold."""
    found = [_read("rgb", pixels)]
    if alpha is not None:
        found.insert(0, _read("alpha", alpha[:, :, None]))
    return [one for one in found if one is not None]


def _read(where: str, channels: NDArray[np.uint8]) -> HiddenText | None:
    header = _hidden_bytes(channels, 0, _HEADER)
    signature = header[:15]
    compressed = _SIGNATURES[where].get(signature)
    if compressed is None:
        return None
    stored = int.from_bytes(header[15:], "big") // 8
    name = signature.decode("ascii")
    if not 0 < stored <= min(_MOST_STORED, channels.size // 8 - _HEADER):
        return HiddenText(name, None)
    data = _hidden_bytes(channels, _HEADER, stored)
    if compressed:
        try:
            data = zlib.decompressobj(_GZIP).decompress(data, _MOST_TEXT)
        except zlib.error:
            return HiddenText(name, None)
    return HiddenText(name, data[:_MOST_TEXT].decode("utf-8", "replace"))


def _hidden_bytes(channels: NDArray[np.uint8], start: int, count: int) -> bytes:
    """Return bytes `start` to `start + count` of those in the lowest bits of (H, W, C), as many of them as there are."""
    height, _, depth = channels.shape
    a_column = height * depth
    first = 8 * start // a_column
    columns = channels[:, first : -(-8 * (start + count) // a_column)].swapaxes(0, 1).reshape(-1)
    begin = 8 * start - first * a_column
    return np.packbits(columns[begin : begin + 8 * count] & 1).tobytes()
