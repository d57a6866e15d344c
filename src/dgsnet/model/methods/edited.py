"""Editing the gradient of a feature by a rule: identity forward, the rule on the way back. For rivals whose rule is not surgery's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Rule = Callable[[Tensor, Tensor], Tensor]
"""From a gradient and a reference gradient, both (B, D), to the gradient that goes on."""


class _Edited(torch.autograd.Function):
    @staticmethod
    def forward(features: Tensor, reference: Tensor, rule: Rule) -> Tensor:
        return features.view_as(features)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Rule], output: Tensor) -> None:
        _, reference, ctx.rule = inputs
        ctx.save_for_backward(reference)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (reference,) = ctx.saved_tensors
        return ctx.rule(gradients[0], reference.to(gradients[0].dtype)), None, None


def edit(features: Tensor, reference: Tensor, rule: Rule) -> Tensor:
    """Return features (B, D) unchanged, the gradient that flows back through them edited by a rule, given a reference gradient (B, D)."""
    edited: Tensor = _Edited.apply(features, reference.detach(), rule)  # type: ignore[no-untyped-call]
    return edited


def orthogonal_to(gradient: Tensor, reference: Tensor) -> Tensor:
    """Remove of each row what lies along the reference, whichever way: g - <g, r> r / ||r||^2. A reference of zeros removes nothing."""
    along = (gradient * reference).sum(dim=1, keepdim=True)
    square = reference.square().sum(dim=1, keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
    return gradient - along / square * reference


def without_conflict(gradient: Tensor, reference: Tensor) -> Tensor:
    """Remove of each row what lies against the reference, and only of rows that point against it: PCGrad's and A-GEM's rule."""
    against = (gradient * reference).sum(dim=1, keepdim=True) < 0
    return torch.where(against, orthogonal_to(gradient, reference), gradient)
