"""`linear`: a linear probe on the frozen CLIP. The baseline, and stage 1 of everything else."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from typing_extensions import override

from dgsnet.backbones import Backbone
from dgsnet.methods.base import Batch, Losses, Method, Stage, register
from dgsnet.recipe import Recipe


@register
class Linear(Method):
    """Frozen CLIP, one linear head (`teacher`) on its image feature."""

    name = "linear"
    stages: ClassVar[tuple[Stage, ...]] = ("probe",)

    def __init__(self, backbone: Backbone, recipe: Recipe) -> None:
        super().__init__(backbone, recipe)
        self.teacher = nn.Linear(backbone.width, 1)

    @override
    def needs_pixels(self, stage: Stage) -> bool:
        return stage != "probe"

    @override
    def enter(self, stage: Stage) -> list[nn.Parameter]:
        self.stage = stage
        self.teacher.requires_grad_(stage == "probe")
        return list(self.teacher.parameters()) if stage == "probe" else []

    @override
    def forward(self, batch: Batch) -> Losses:
        features = self.frozen_features(batch)
        loss = self.bce(self.teacher(self.read(features)).squeeze(1), batch)
        return Losses(loss, {"probe": loss.detach()}, {"feature_norm": features.norm(dim=1).mean()})

    @override
    def logits(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.teacher(self.read(self.backbone.frozen(pixels))).squeeze(1)
        return logits
