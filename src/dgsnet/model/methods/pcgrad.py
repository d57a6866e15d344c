"""`pcgrad`: the image feature's gradient never points against the teacher's (PCGrad, Yu et al., NeurIPS 2020, arXiv 2001.06782)."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import override

from dgsnet.model.methods.base import register
from dgsnet.model.methods.dgs import Dgs, Edit
from dgsnet.model.methods.edited import edit, without_conflict


@register
class Pcgrad(Dgs):
    """Where <g, p> < 0, g becomes g - <g, p> p / ||p||^2, p being the gradient of the frozen teacher's loss on the same sample.

    The paper does so to the gradients of the weights of several tasks, each against each; here one of the two, the teacher's, is
    not trained.
    """

    name = "pcgrad"

    @property
    @override
    def wants_text(self) -> bool:
        return False

    @property
    @override
    def aligns(self) -> bool:
        return True

    @override
    def operate(self, features: Tensor, operation: Edit) -> Tensor:
        return features if operation.image_gradient is None else edit(features, operation.image_gradient, without_conflict)
