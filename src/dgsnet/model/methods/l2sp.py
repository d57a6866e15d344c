"""`l2sp`: full fine-tuning that is pulled back to where it started (L2-SP, Li et al., ICML 2018, arXiv 1802.01483)."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from dgsnet.model.methods.base import Batch, register
from dgsnet.model.methods.full import Full


@register
class L2sp(Full):
    """The loss gains strength / 2 * ||theta - theta_0||^2 over the tower's weights, theta_0 being the frozen tower's."""

    name = "l2sp"
    STRENGTH = 0.01

    @override
    def terms_beside(self, batch: Batch, features: Tensor) -> dict[str, Tensor]:
        pairs = zip(self.student.parameters(), self.backbone.parameters(), strict=True)
        away = torch.stack([(weight - start).square().sum() for weight, start in pairs]).sum()
        return {"away": self.strength / 2 * away}
