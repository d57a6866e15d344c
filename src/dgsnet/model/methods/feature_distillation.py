"""`feature-distillation`: LoRA whose features stay near the frozen tower's (LDIFS, Mukhoti et al., TMLR 2024, arXiv 2308.13320)."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import override

from dgsnet.model.methods.base import Batch, register
from dgsnet.model.methods.lora import Lora


@register
class FeatureDistillation(Lora):
    """The loss gains strength * mean_b ||f_b - fT_b||^2 / D, of features as the heads read them.

    LDIFS adds up distances over five depths; here that of the feature, and of `Recipe.blocks` where there are any.
    """

    name = "feature-distillation"
    STRENGTH = 1.0

    @override
    def terms_beside(self, batch: Batch, features: Tensor) -> dict[str, Tensor]:
        away = self.head_input(features) - self.head_input(self.frozen_features(batch))
        return {"distillation": self.strength * away.square().mean()}
