"""`lora`: plain LoRA fine-tuning with binary cross entropy; surgery has to beat it."""

from __future__ import annotations

from torch import nn
from typing_extensions import override

from dgsnet.model.methods.base import register
from dgsnet.model.methods.finetuned import Finetuned


@register
class Lora(Finetuned):
    """A linear probe (stage 1), then LoRA on the image tower and a head on the student's feature (stage 2)."""

    name = "lora"

    @override
    def make_student(self) -> None:
        self.backbone.add_adapter(self.recipe.lora)

    @override
    def tower_parameters(self) -> list[nn.Parameter]:
        return list(self.backbone.adapter_parameters())

    @property
    @override
    def adapted(self) -> bool:
        return True
