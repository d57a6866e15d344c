"""Random pictures of both labels, and the sizes of the tiny CLIP that sees them."""

import numpy as np
from PIL import Image

SIDE, WIDTH = 224, 16


def textured(rng: np.random.Generator, fake: bool, side: int = 256) -> np.ndarray:
    """A smooth random picture; the generated kind carries a faint checkerboard, the trace of an upsampler."""
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse).astype(np.int16) + rng.integers(-6, 7, (side, side, 3))
    if fake:
        pixels[::2, ::2] += 14
    return np.clip(pixels, 0, 255).astype(np.uint8)
