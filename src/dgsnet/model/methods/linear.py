"""`linear`: a linear probe on the frozen CLIP. The baseline, and stage 1 of everything else."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from dgsnet.model.backbone import Backbone
from dgsnet.model.methods.base import Batch, Losses, Method, Stage, register
from dgsnet.model.recipe import Recipe
from dgsnet.model.ridge import fit_head


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
        steps = stage == "probe" and self.recipe.probe.solver == "adam"
        self.teacher.requires_grad_(steps)
        return list(self.teacher.parameters()) if steps else []

    @override
    def solve(self, frozen: Tensor, labels: NDArray[np.int64]) -> None:
        fit_head(self.teacher, self.head_input(frozen).double().numpy(), labels, self.recipe.probe.penalty)

    @override
    def forward(self, batch: Batch) -> Losses:
        features = self.frozen_features(batch)
        loss = self.bce(self.teacher(self.head_input(features)).squeeze(1), batch)
        return Losses(loss, {"probe": loss.detach()}, {"feature_norm": features.norm(dim=1).mean()})

    @property
    @override
    def detecting_head(self) -> nn.Linear:
        return self.teacher
