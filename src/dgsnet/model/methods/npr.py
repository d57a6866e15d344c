"""`npr`: a small network on differences between neighbouring pixels, without CLIP (NPR, Tan et al., CVPR 2024, arXiv 2312.10461)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dgsnet.core.errors import RecipeError
from dgsnet.model.backbone import Backbone
from dgsnet.model.methods.base import Batch, Losses, Method, Stage, register
from dgsnet.model.recipe import Recipe

CHANNELS = (32, 64, 128)
"""Of the stages, each at half the resolution of the one before: 0.3 million weights. The paper cuts a ResNet-50 after its second stage."""


@register
class Npr(Method):
    """Reads x - up(down(x)): what each pixel has that the first of its 2 x 2 block has not. Upsampling layers leave patterns there.

    Trained from scratch in stage 2 alone; groups are normalised, not batches, so that an image's score depends on no other.
    """

    name = "npr"
    stages: ClassVar[tuple[Stage, ...]] = ("finetune",)

    def __init__(self, backbone: Backbone, recipe: Recipe) -> None:
        super().__init__(backbone, recipe)
        widths = (3, *CHANNELS)
        self.network = nn.Sequential(*(_Block(before, after) for before, after in zip(widths, CHANNELS, strict=False)))
        self.head = nn.Linear(CHANNELS[-1], 1)

    @override
    def needs_pixels(self, stage: Stage) -> bool:
        return True

    @override
    def enter(self, stage: Stage) -> list[nn.Parameter]:
        self.stage = stage
        return [*self.network.parameters(), *self.head.parameters()]

    @override
    def solve(self, frozen: Tensor, labels: NDArray[np.int64]) -> None:
        raise RecipeError("npr has no probe: set probe.solver=adam, which it takes no notice of")

    @override
    def forward(self, batch: Batch) -> Losses:
        if batch.pixels is None:
            raise ValueError("expected a batch with pixels, but got neither those nor another way to have them")
        seen = self._seen(batch.pixels)
        loss = self.bce(self.head(seen).squeeze(1), batch)
        return Losses(loss, {"image": loss.detach()}, {"feature_norm": seen.detach().norm(dim=1).mean()})

    def _seen(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.network(residual(pixels)).mean(dim=(2, 3))
        return features

    @override
    def embed(self, pixels: Tensor) -> Tensor:
        return super().embed(pixels) if self.mlp is not None else self._seen(pixels)

    @property
    @override
    def width(self) -> int:
        return CHANNELS[-1] if self.mlp is None else super().width

    @property
    @override
    def detecting_head(self) -> nn.Linear:
        return self.head


def residual(pixels: Tensor) -> Tensor:
    """Return each pixel minus the first of its 2 x 2 block, (B, 3, S, S) with S even -> the same shape."""
    return pixels - F.interpolate(pixels[:, :, ::2, ::2], scale_factor=2.0, mode="nearest")


class _Block(nn.Module):
    """Two convolutions beside a shortcut, at half the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.GroupNorm(8, outputs), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1))  # a stride alone would see the zeros of the residual

    @override
    def forward(self, seen: Tensor) -> Tensor:
        return F.relu(self.second(self.first(seen)) + self.shortcut(seen))
