"""`rine`: class tokens of all blocks of the frozen tower, weighed by learnt importance.

RINE, Koutlis & Papadopoulos, ECCV 2024, arXiv 2402.19091.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dgsnet.core.errors import RecipeError
from dgsnet.model.backbone import Backbone
from dgsnet.model.methods.base import Batch, Losses, Method, Stage, register
from dgsnet.model.recipe import Recipe

WIDTH = 128
"""Numbers that a token is projected to; the paper tries 128 to 1,024."""
CONTRASTIVE = 0.2
"""Weight of the contrastive term; the paper tries 0.1 to 0.8."""
TEMPERATURE = 0.07
_DROPOUT = 0.5


@register
class Rine(Method):
    """z = Q2( sum_l softmax_l(A)_l * Q1(class token of block l) ), one softmax a coordinate; a linear head reads z.

    Trained on frozen features by binary cross entropy and CONTRASTIVE times a supervised contrastive term on z (arXiv 2004.11362).
    Pairs are those of a part of a batch, where a step is accumulated.

    The paper's Q1 and Q2 have two layers each and so have these; its head has three, ours one.
    """

    name = "rine"
    stages: ClassVar[tuple[Stage, ...]] = ("probe",)

    def __init__(self, backbone: Backbone, recipe: Recipe) -> None:
        every = {"blocks": tuple(range(1, backbone.depth + 1)), "block_tokens": "class-and-patches"}
        super().__init__(backbone, recipe.model_copy(update=every))
        token = backbone.block_width
        self.project = nn.Sequential(_layer(token, WIDTH), _layer(WIDTH, WIDTH))
        self.importance = nn.Parameter(torch.randn(backbone.depth, WIDTH))
        self.mix = nn.Sequential(_layer(WIDTH, WIDTH), _layer(WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, 1)

    @override
    def needs_pixels(self, stage: Stage) -> bool:
        return stage != "probe"

    @override
    def enter(self, stage: Stage) -> list[nn.Parameter]:
        self.stage = stage
        self.train()
        self.backbone.train(False)
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("backbone.")]

    @override
    def solve(self, frozen: Tensor, labels: NDArray[np.int64]) -> None:
        raise RecipeError("rine has no closed form: set probe.solver=adam")

    @override
    def forward(self, batch: Batch) -> Losses:
        features = self.frozen_features(batch)
        mixed = self._mixed(self.head_input(features))
        image = self.bce(self.head(mixed).squeeze(1), batch)
        alike = CONTRASTIVE * batch.share * contrastive(mixed, batch.labels)
        terms = {"probe": image.detach(), "contrastive": alike.detach()}
        return Losses(image + alike, terms, {"feature_norm": features.norm(dim=1).mean()})

    def _mixed(self, read: Tensor) -> Tensor:
        """Return z of standardised tokens, (B, J + 2 W L) -> (B, WIDTH)."""
        tokens = read[:, self.backbone.joint_width :].unflatten(1, (self.backbone.depth, 2, -1))[:, :, 0]  # type: ignore[no-untyped-call]
        weighed = self.project(tokens) * torch.softmax(self.importance, dim=0)
        mixed: Tensor = self.mix(weighed.sum(dim=1))
        return mixed

    @override
    def embed(self, pixels: Tensor) -> Tensor:
        return super().embed(pixels) if self.mlp is not None else self._mixed(self.detecting_features(pixels))

    @property
    @override
    def width(self) -> int:
        return WIDTH if self.mlp is None else super().width

    @property
    @override
    def detecting_head(self) -> nn.Linear:
        return self.head


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(_DROPOUT), nn.Linear(inputs, outputs), nn.ReLU())


def contrastive(features: Tensor, labels: Tensor) -> Tensor:
    """Compute the supervised contrastive loss of features (B, D) with labels (B,): mean over pairs of one label; 0 where there is none."""
    unit = F.normalize(features, dim=1)
    alone = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    similar = (unit @ unit.T / TEMPERATURE).masked_fill(alone, -torch.inf)
    pairs = (labels[:, None] == labels[None, :]) & ~alone
    if not pairs.any():
        return features.sum() * 0
    return -torch.log_softmax(similar, dim=1)[pairs].mean()
