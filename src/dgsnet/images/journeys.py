"""Journeys: what happens to a picture between whoever made it and whoever asks about it, drawn anew for each picture.

A perturbation of `dgsnet.images.perturb` asks "what does JPEG 70 do to the score?". A journey asks "what does the score say of the pictures
people really send in?", so its sizes and qualities are drawn from what sites and messengers use. The label is no argument of it.

| journey | stages |
|---|---|
| `share` | a site's rendition: short side 320 to 1080 pixels, JPEG 70 to 92 or (3 in 10) WebP 70 to 90 |
| `messenger` | long side 1280 or 1600 pixels at most, JPEG 70 to 87, 4:2:0; one time in three it is forwarded and compressed again |
| `screenshot` | shown on a screen at 0.5 to 1.5 times its size, the screen's picture sent as JPEG 75 to 95 |
| `repost` | two of the others, one after the other; the second crops 2 to 10 % off, so that block grids differ |
| `any` | one of the four |

Where the figures come from: Telegram scales photographs to 1280 pixels, or 2560 where the sender asks for it (telegramdesktop/tdesktop
issue 6520; JPEG 87 in its open source), WhatsApp to 1600 (its own standard quality); Instagram to 1080, Facebook to 720, 960, 1920 or 2048,
with JPEG qualities of 70 to 92 (photographers' measurements, such as phototacopodcast.com "Dimensions and Quality For Social Media Photo
Sharing"); news sites and blogs serve renditions of 320 to 1080 pixels for layouts of that width, WebP where the browser takes it.

Sites do not enlarge. A picture that is smaller than the drawn size is served at 0.75 to 1 times its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dgsnet.images.augment import Pixels, jpeg, resized, webp
from dgsnet.images.decode import decode

_WEBP_MAX_SIDE = 16_383
_SMALLEST = 32  # pixels a side, what the smallest picture that is scored has

Journey = Callable[[Pixels, np.random.Generator], bytes]
"""From pixels (H, W, 3) uint8 and a generator of draws to an encoded picture."""


def share(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Serve a site's rendition."""
    short = min(pixels.shape[:2])
    wanted = 320 * (1080 / 320) ** rng.uniform()
    factor, kept = wanted / short, rng.uniform(0.75, 1)
    scaled = _scaled(pixels, factor if factor < 1 else kept, rng)
    if rng.uniform() < 0.3 and max(scaled.shape[:2]) <= _WEBP_MAX_SIDE:
        return webp(scaled, int(rng.integers(70, 91)))
    return jpeg(scaled, int(rng.integers(70, 93)), _chroma(rng))


def messenger(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Send through a messenger, one time in three twice."""
    longest = (1280, 1600)[rng.integers(2)]
    sent = jpeg(_scaled(pixels, min(1.0, longest / max(pixels.shape[:2])), rng), int(rng.integers(70, 88)))
    if rng.uniform() < 1 / 3:
        sent = jpeg(decode(sent).pixels, int(rng.integers(70, 88)))
    return sent


def screenshot(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Show on a screen of at most 2160 by 2160 pixels, and send what it shows, without bars and frames, which are not of the picture."""
    factor = 0.5 * 3 ** rng.uniform()
    shown = _scaled(pixels, min(factor, max(1.0, 2160 / max(pixels.shape[:2]))), rng)
    # The screenshot itself is a PNG: it loses nothing, so it is not written.
    return jpeg(shown, int(rng.integers(75, 96)), _chroma(rng))


def repost(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Send on what somebody had sent, cropped a little."""
    first, second = rng.choice(3, 2)
    seen = decode((share, messenger, screenshot)[first](pixels, rng)).pixels
    height, width = seen.shape[:2]
    rows, columns = (
        max(min(_SMALLEST, side), round(side * kept)) for side, kept in zip((height, width), rng.uniform(0.9, 0.98, 2), strict=True)
    )
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    return (share, messenger, screenshot)[second](np.ascontiguousarray(seen[top : top + rows, left : left + columns]), rng)


def any_of_them(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Take one of the journeys, `share` twice as often as any other."""
    return (share, share, messenger, screenshot, repost)[rng.integers(5)](pixels, rng)


JOURNEYS: dict[str, Journey] = {"share": share, "messenger": messenger, "screenshot": screenshot, "repost": repost, "any": any_of_them}
"""All journeys, by name."""


def _scaled(pixels: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Scale both sides, with the filter that the draw says; no side falls below 32 pixels unless it was."""
    kind = ("lanczos", "bicubic", "bilinear")[rng.integers(3)]
    height, width = pixels.shape[:2]
    factor = max(factor, min(1.0, _SMALLEST / min(height, width)))
    size = max(1, math.floor(width * factor + 0.5)), max(1, math.floor(height * factor + 0.5))
    return pixels if size == (width, height) else resized(pixels, size, kind)


def _chroma(rng: np.random.Generator) -> int:
    """Draw a chroma subsampling: 4:2:0 three times in four, else 4:4:4."""
    return 2 if rng.uniform() < 0.75 else 0
