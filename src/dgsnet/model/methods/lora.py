"""`lora`: plain LoRA fine-tuning with binary cross entropy; surgery has to beat it."""

from __future__ import annotations

from typing import ClassVar

from torch import nn
from typing_extensions import override

from dgsnet.model.backbone import Backbone
from dgsnet.model.methods.base import Batch, Losses, Stage, register
from dgsnet.model.methods.linear import Linear
from dgsnet.model.recipe import Recipe


@register
class Lora(Linear):
    """A linear probe (stage 1), then LoRA on the image tower and a head on the student's feature (stage 2)."""

    name = "lora"
    stages: ClassVar[tuple[Stage, ...]] = ("probe", "finetune")

    def __init__(self, backbone: Backbone, recipe: Recipe) -> None:
        super().__init__(backbone, recipe)
        backbone.add_adapter(recipe.lora)
        self.head = nn.Linear(backbone.width, 1)

    @override
    def enter(self, stage: Stage) -> list[nn.Parameter]:
        probe = super().enter(stage)
        self.train(stage == "finetune")
        if stage == "probe":
            return probe
        if self.recipe.warm_start:
            self.head.load_state_dict(self.teacher.state_dict())
        return [*self.backbone.adapter_parameters(), *self.head.parameters()]

    @override
    def forward(self, batch: Batch) -> Losses:
        return super().forward(batch) if self.stage == "probe" else self.finetune(batch)

    def finetune(self, batch: Batch) -> Losses:
        """Compute the losses of stage 2."""
        features = self.student_features(batch)
        loss = self.bce(self.head(self.head_input(features)).squeeze(1), batch)
        return Losses(loss, {"image": loss.detach()}, {"feature_norm": features.detach().norm(dim=1).mean()})

    @property
    @override
    def detecting_head(self) -> nn.Linear:
        return self.head
