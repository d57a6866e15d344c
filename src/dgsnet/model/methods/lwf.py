"""`lwf`: LoRA that goes on giving the answers of stage 1 (learning without forgetting, Li & Hoiem, TPAMI 2018, arXiv 1606.09282)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dgsnet.model.methods.base import Batch, register
from dgsnet.model.methods.lora import Lora

TEMPERATURE = 2.0
"""Of both answers, as in the paper."""


@register
class Lwf(Lora):
    """The loss gains strength * mean_b H(p_b, q_b): p the teacher's answer on its own feature, q its head's on the student's.

    The paper's old task is another data set with a head of its own; ours is the probe of stage 1, the one task that the frozen tower has.
    """

    name = "lwf"
    STRENGTH = 1.0

    @override
    def terms_beside(self, batch: Batch, features: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            answers = torch.sigmoid(self.teacher(self.head_input(self.frozen_features(batch))).squeeze(1) / TEMPERATURE)
        now = self.teacher(self.head_input(features)).squeeze(1) / TEMPERATURE
        return {"old_answers": self.strength * F.binary_cross_entropy_with_logits(now, answers.to(now.dtype))}
