"""Fit an autoencoder to photographs until it gives them back, but for the decoder's trace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor
from torch.nn import functional as F

from dgsnet.demo.reconstruction.decoders import FACTOR, Autoencoder
from dgsnet.demo.reconstruction.pairs import psnr, reconstruct

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Fit:
    """Length of the fit: `steps` of Adam on `batch` random crops of `crop` pixels a side; the rate rises to `rate` and falls to 0."""

    steps: int = 600
    batch: int = 8
    crop: int = 32
    rate: float = 1.5e-2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.crop % FACTOR or self.crop < FACTOR:
            raise ValueError(f"expected crops of a multiple of {FACTOR} pixels, but got {self.crop}")


def fit(model: Autoencoder, photographs: Sequence[Pixels], settings: Fit, progress: Progress | None = None) -> float:
    """Fit `model` in place; deterministic in its weights, the photographs and the settings.

    The loss is L1 on pixels plus L1 on their steps to the right and down: the second term is what keeps a reconstruction sharp.

    Returns:
        Mean PSNR over the photographs, dB; the model is in eval mode then.

    Raises:
        ValueError: no photograph, or one smaller than a crop.
    """
    if not photographs or min(min(pixels.shape[:2]) for pixels in photographs) < settings.crop:
        raise ValueError(f"expected photographs of at least {settings.crop} pixels a side, but got {len(photographs)} with a smaller one")
    rng = np.random.default_rng(settings.seed)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=settings.rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / max(settings.steps, 1)))
    steps = range(settings.steps)
    for _ in progress.track(steps, description=f"fitting {model.name}") if progress else steps:
        target = _crops(photographs, settings, rng)
        loss = _loss(model(target), target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    return float(np.mean([psnr(pixels, reconstruct(model, pixels)) for pixels in photographs]))


def _rate(done: float) -> float:
    """Return the share of the full rate at `done` (0..1) of the steps: up over the first twentieth, then down along a cosine."""
    return min(1.0, (done + 1e-3) / 0.05) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _crops(photographs: Sequence[Pixels], settings: Fit, rng: np.random.Generator) -> Tensor:
    """Draw a batch of random crops, (B, 3, S, S) in 0..1: half of them mirrored, half negative, colours in any order, so that few
    photographs cover the colours of others."""
    batch = []
    for _ in range(settings.batch):
        pixels = photographs[int(rng.integers(len(photographs)))]
        top, left = (int(rng.integers(length - settings.crop + 1)) for length in pixels.shape[:2])
        crop = pixels[top : top + settings.crop, left : left + settings.crop, rng.permutation(3)]
        crop = crop[:, ::-1] if rng.random() < 0.5 else crop
        batch.append(255 - crop if rng.random() < 0.5 else crop)
    return torch.from_numpy(np.stack(batch).transpose(0, 3, 1, 2).astype(np.float32) / 255)


def _loss(made: Tensor, target: Tensor) -> Tensor:
    return F.l1_loss(made, target) + sum(F.l1_loss(made.diff(dim=axis), target.diff(dim=axis)) for axis in (2, 3))
