"""`ogd`: the image feature's gradient keeps at right angles to the captions' (orthogonal gradient descent, arXiv 1910.07104)."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import override

from dgsnet.model.methods.base import register
from dgsnet.model.methods.dgs import Dgs, Edit
from dgsnet.model.methods.edited import edit, orthogonal_to


@register
class Ogd(Dgs):
    """g becomes g - <g, t> t / ||t||^2, t being the sample's text gradient. Surgery without its signs and without alignment.

    The paper projects the gradient of the weights off those of earlier tasks; here, as in surgery, the feature's off the captions' task.
    """

    name = "ogd"

    @property
    @override
    def wants_text(self) -> bool:
        return True

    @property
    @override
    def aligns(self) -> bool:
        return False

    @override
    def operate(self, features: Tensor, operation: Edit) -> Tensor:
        return features if operation.text_gradient is None else edit(features, operation.text_gradient, orthogonal_to)

    @override
    def suppressed(self, gradient: Tensor, text_gradient: Tensor) -> Tensor:
        return orthogonal_to(gradient, text_gradient)
