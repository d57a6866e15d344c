"""Gradient surgery on image features: the mathematics of DGS-Net, importable by anybody's training loop.

DGS-Net (arXiv 2511.13108) edits the gradient that reaches the image feature f instead of the loss alone:

* **Decomposition** (paper, gradient-space decomposition): an element-wise split g = g+ + g-. The positive part g+ is *harmful*, stepping
  along it raises that loss; the negative part g- is *beneficial*.
* **Orthogonal suppression**: the task gradient loses its component along the harmful direction of the text branch,
  P(g) = g - <g, h> h with h = g+_text / (||g+_text|| + eps).
* **Prior alignment**: the beneficial part of the frozen teacher's gradient is added, g + alignment * g-_image: the gradient of the paper's
  L_align = <f, g-_image>.

Pure functions of tensors: no I/O, no state, no hook left behind.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

Order = Literal["align-then-project", "project-then-align"]
"""`align-then-project` is what the released code does, `project-then-align` what the paper says."""


def positive(gradient: Tensor) -> Tensor:
    """Harmful part of a gradient, max(g, 0) element-wise. Any shape."""
    return gradient.clamp(min=0)


def negative(gradient: Tensor) -> Tensor:
    """Beneficial part of a gradient, min(g, 0) element-wise. Any shape."""
    return gradient.clamp(max=0)


def linear_head_gradient(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Gradient of the mean binary cross entropy with respect to the features of a linear head, in closed form.

    With z = <features, weight> + bias the gradient of mean_b BCE(z_b, y_b) is (sigmoid(z_b) - y_b) / B * weight: no autograd call and no
    second graph are needed.

    Args:
        logits: (B,) the head's logits z.
        labels: (B,) 0 real, 1 AI-generated; any real or integer type.
        weight: (D,) the head's weight.

    Returns:
        (B, D), detached.

    Raises:
        ValueError: shapes do not fit.
    """
    if logits.ndim != 1 or labels.shape != logits.shape or weight.ndim != 1:
        raise ValueError(
            f"expected logits (B,), labels (B,), weight (D,), but got {tuple(logits.shape)}, {tuple(labels.shape)}, {tuple(weight.shape)}"
        )
    logits, weight = logits.detach(), weight.detach()
    residual = (torch.sigmoid(logits) - labels.to(logits.dtype)) / logits.numel()
    return torch.outer(residual, weight.to(residual.dtype))


def suppress(gradient: Tensor, harmful: Tensor, eps: float = 1e-6) -> Tensor:
    """Remove from each row of a gradient its component along the harmful direction: g - <g, h> h, h = harmful+ / (||harmful+||_2 + eps).

    A row whose `harmful` has no positive entry is returned as it was. The length of `harmful` does not matter beyond `eps`.

    Args:
        gradient: (B, D).
        harmful: (B, D), gradient of the loss whose direction is to be avoided; only its positive part counts.
        eps: added to the norm, as in the released code.

    Returns:
        (B, D) in the dtype of `gradient`; half precision is computed in fp32.

    Raises:
        ValueError: shapes differ.
    """
    if gradient.ndim != 2 or harmful.shape != gradient.shape:
        raise ValueError(f"expected gradient and harmful of one shape (B, D), but got {tuple(gradient.shape)} and {tuple(harmful.shape)}")
    dtype = torch.promote_types(gradient.dtype, torch.float32)
    g, h = gradient.to(dtype), positive(harmful.to(dtype))
    h = h / (h.norm(dim=1, keepdim=True) + eps)
    kept: Tensor = g - (g * h).sum(dim=1, keepdim=True) * h
    return kept.to(gradient.dtype)


class _Operate(torch.autograd.Function):
    """Identity forward; edits the gradient on its way back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(features: Tensor, text_gradient: Tensor | None, pull: Tensor | None, order: Order) -> Tensor:
        return features.view_as(features)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor | None, Tensor | None, Order], output: Tensor) -> None:
        _, text_gradient, pull, ctx.order = inputs
        ctx.save_for_backward(text_gradient, pull)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = gradients
        text_gradient, pull = ctx.saved_tensors
        edited = gradient
        if pull is not None and ctx.order == "align-then-project":
            edited = edited + pull.to(edited.dtype)
        if text_gradient is not None:
            edited = suppress(edited, text_gradient)
        if pull is not None and ctx.order == "project-then-align":
            edited = edited + pull.to(edited.dtype)
        return edited, None, None, None


def operate(
    features: Tensor,
    text_gradient: Tensor | None,
    image_gradient: Tensor | None,
    alignment: float | Tensor,
    order: Order = "align-then-project",
) -> Tensor:
    """Return `features` unchanged, and edit the gradient g that flows back through the returned tensor.

    * ``align-then-project``: suppress(g + alignment * negative(image_gradient), text_gradient)
    * ``project-then-align``: suppress(g, text_gradient) + alignment * negative(image_gradient)

    g is what the loss sends back, so whoever scales the loss (gradient accumulation, a gradient scaler) scales `alignment` alike.

    Args:
        features: (B, D) image features f.
        text_gradient: (B, D) gradient of the text loss at the caption features, or None: nothing is suppressed.
        image_gradient: (B, D) gradient of the frozen teacher's loss at its features, or None: nothing is aligned.
        alignment: weight of the alignment: a number, or (B, 1) for a weight a sample.
        order: which edit comes first.

    Returns:
        (B, D), the values of `features`.

    Raises:
        ValueError: a shape differs from that of `features`, or `order` is unknown.
    """
    if order not in get_args(Order):
        raise ValueError(f"expected order to be one of {get_args(Order)}, but got {order!r}")
    for name, gradient in (("text_gradient", text_gradient), ("image_gradient", image_gradient)):
        if gradient is not None and gradient.shape != features.shape:
            raise ValueError(f"expected {name} of shape {tuple(features.shape)} like features, but got {tuple(gradient.shape)}")
    harmful = None if text_gradient is None else text_gradient.detach()
    pull = None if image_gradient is None else (alignment * negative(image_gradient)).detach()
    edited: Tensor = _Operate.apply(features, harmful, pull, order)  # type: ignore[no-untyped-call]
    return edited
