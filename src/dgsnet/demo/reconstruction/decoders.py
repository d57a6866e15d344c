"""Small autoencoders that differ where image generators differ: in how the decoder gets from its latent grid back to pixels.

| name | upsampling | as in |
|---|---|---|
| `nearest` | nearest neighbour, then convolution | VAE decoders of latent diffusion |
| `bilinear` | bilinear, then convolution | later GANs, that filter what they upsample |
| `transposed` | transposed convolution, uneven overlap | early GANs, whose checkerboard it is |
| `shuffle` | convolution to four times the channels, pixel shuffle | super-resolution networks |
| `vector-quantised` | `nearest`, from a latent rounded to a finite codebook | VQ-GAN and what builds on it |

They are no image generators: none makes a picture that was not put in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from dgsnet.core.errors import WeightsError
from dgsnet.core.files import replacing

FACTOR = 2
"""Pixels a latent cell spans along each axis; sides of an input must be multiples of it. Twofold, the last step of a generator, leaves
its trace and is fitted to 30 dB in seconds; fourfold is not."""

_LATENT, _WIDTH = 8, 32
_LEVELS = 32  # values a latent channel can take where it is quantised: 40 bits a cell of 2 x 2 pixels, what 30 dB needs

Upsampler = Callable[[int, int], nn.Module]


class Autoencoder(nn.Module):
    """Pixels to a latent grid of half the side, and back.

    Attributes:
        name: name in the family.
        levels: values a latent channel can take; None: any.
    """

    def __init__(self, name: str, upsample: Upsampler, levels: int | None = None) -> None:
        super().__init__()
        self.name, self.levels = name, levels
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(FACTOR),
            nn.Conv2d(3 * FACTOR**2, _WIDTH, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(_WIDTH, _LATENT, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(_LATENT, _WIDTH, 3, padding=1),
            nn.SiLU(),
            upsample(_WIDTH, _WIDTH // 2),
            nn.SiLU(),
            nn.Conv2d(_WIDTH // 2, 3, 3, padding=1),
        )

    def encode(self, pixels: Tensor) -> Tensor:
        """Encode pixels (B, 3, H, W) in 0..1, sides multiples of `FACTOR`, as a latent (B, C, H / FACTOR, W / FACTOR).

        Raises:
            ValueError: another shape.
        """
        if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.shape[2] % FACTOR or pixels.shape[3] % FACTOR:
            raise ValueError(f"expected pixels (B, 3, H, W) with sides that are multiples of {FACTOR}, but got {tuple(pixels.shape)}")
        latent: Tensor = self.encoder(2 * pixels - 1)
        return latent if self.levels is None else _quantise(latent, self.levels)

    def decode(self, latent: Tensor) -> Tensor:
        """Decode a latent (B, C, h, w) to pixels (B, 3, h * FACTOR, w * FACTOR), about 0..1 but not clipped."""
        pixels: Tensor = (self.decoder(latent) + 1) / 2
        return pixels

    def forward(self, pixels: Tensor) -> Tensor:
        """Reconstruct: (B, 3, H, W) to the same shape."""
        return self.decode(self.encode(pixels))


def _quantise(latent: Tensor, levels: int) -> Tensor:
    """Round each channel to one of `levels` values in -1..1; the gradient passes as if it had not been rounded.

    A grid as codebook (finite scalar quantisation, arXiv 2309.15505) has no codes to learn and none that die.
    """
    bounded = torch.tanh(latent)
    half = (levels - 1) / 2
    rounded = torch.round((bounded + 1) * half) / half - 1
    return bounded + (rounded - bounded).detach()


class _Interpolate(nn.Module):
    """Enlarge twofold by interpolation, then convolve."""

    def __init__(self, channels: int, out: int, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.convolution = nn.Conv2d(channels, out, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Enlarge (B, C, h, w) to (B, out, 2h, 2w)."""
        enlarged = F.interpolate(features, scale_factor=2, mode=self.mode)
        convolved: Tensor = self.convolution(enlarged)
        return convolved


def _transposed(channels: int, out: int) -> nn.Module:
    return nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1)  # 3 is no multiple of the stride: uneven overlap


def _shuffle(channels: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 4 * out, 3, padding=1), nn.PixelShuffle(2))


_FAMILY: dict[str, tuple[Upsampler, int | None]] = {
    "nearest": (partial(_Interpolate, mode="nearest"), None),
    "bilinear": (partial(_Interpolate, mode="bilinear"), None),
    "transposed": (_transposed, None),
    "shuffle": (_shuffle, None),
    "vector-quantised": (partial(_Interpolate, mode="nearest"), _LEVELS),
}


def available() -> tuple[str, ...]:
    """Return the names of the family."""
    return tuple(_FAMILY)


def create(name: str, seed: int = 0) -> Autoencoder:
    """Create an autoencoder of the family with random weights that depend on `seed` alone.

    Raises:
        ValueError: no such name.
    """
    if name not in _FAMILY:
        raise ValueError(f"unknown decoder {name!r}: expected one of {', '.join(_FAMILY)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder(name, *_FAMILY[name])


def save(file: Path, model: Autoencoder) -> None:
    """Write a decoder's weights and name as safetensors, atomically."""
    with replacing(file) as aside:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, aside, metadata={"decoder": model.name})


def load(file: Path) -> Autoencoder:
    """Load a saved decoder, in eval mode.

    Raises:
        WeightsError: the file is missing or damaged, or holds no decoder of this family.
    """
    try:
        with safe_open(file, "pt") as tensors:
            model = create((tensors.metadata() or {})["decoder"])
            model.load_state_dict({name: tensors.get_tensor(name) for name in tensors.keys()})  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{file} holds no decoder: {error}; delete it to have it fitted again") from error
    return model.eval()
