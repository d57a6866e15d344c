"""`full`: every weight of the image tower fine-tuned, which is what forgets."""

from __future__ import annotations

import copy

from torch import nn
from typing_extensions import override

from dgsnet.model.backbone import Backbone
from dgsnet.model.methods.base import Stage, register
from dgsnet.model.methods.finetuned import Finetuned


@register
class Full(Finetuned):
    """A linear probe (stage 1), then a copy of the whole tower and a head on its feature (stage 2).

    The copy is saved with the heads: a model folder is as large as the tower, 345 MB of ViT-B/16.
    """

    name = "full"

    @override
    def make_student(self) -> None:
        self.student = copy.deepcopy(self.backbone)

    @property
    @override
    def tower(self) -> Backbone:
        return self.student

    @override
    def tower_parameters(self) -> list[nn.Parameter]:
        return list(self.student.parameters())

    @override
    def enter(self, stage: Stage) -> list[nn.Parameter]:
        self.student.requires_grad_(stage == "finetune")
        return super().enter(stage)
