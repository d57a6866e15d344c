"""`null-space`: what captions span is taken out of the feature before the head reads it (NS-Net's idea, arXiv 2508.01248)."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from dgsnet.model.backbone import Backbone
from dgsnet.model.methods.base import register
from dgsnet.model.methods.lora import Lora
from dgsnet.model.recipe import Recipe


@register
class NullSpace(Lora):
    """Heads read f - f V V^T, V the leading directions of the training captions' features: what captions can say is not there to be learnt.

    The directions are uncentred, so the mean caption counts; as many as `captions.directions`. Without captions nothing is taken out.
    NS-Net estimates the semantic part by CLIP's own text features as well, and adds a patch selection and a contrastive term, not here.
    """

    name = "null-space"

    def __init__(self, backbone: Backbone, recipe: Recipe) -> None:
        super().__init__(backbone, recipe)
        count = min(recipe.captions.directions, backbone.joint_width - 1)
        self.caption_directions: Tensor
        self.register_buffer("caption_directions", torch.zeros(count, backbone.joint_width))

    @property
    @override
    def wants_text(self) -> bool:
        return True

    @override
    def see_captions(self, text: Tensor) -> None:
        captioned = text[text.abs().amax(dim=1) > 0].double()
        unit = captioned / captioned.norm(dim=1, keepdim=True)
        _, vectors = torch.linalg.eigh(unit.T @ unit)
        leading = vectors[:, -min(len(self.caption_directions), len(unit)) :]
        self.caption_directions.zero_()
        self.caption_directions[: leading.shape[1]] = leading.T.to(self.caption_directions.dtype)

    @override
    def head_input(self, features: Tensor) -> Tensor:
        joint = self.backbone.joint_width
        embedding = features[:, :joint]
        left = embedding - (embedding @ self.caption_directions.T) @ self.caption_directions
        return super().head_input(left if features.shape[1] == joint else torch.cat([left, features[:, joint:]], dim=1))
