"""`effort`: the weak directions of each weight are trained, the strong ones stay (Effort, Yan et al., ICML 2025, arXiv 2411.15633)."""

from __future__ import annotations

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from typing_extensions import override

from dgsnet.core.errors import RecipeError
from dgsnet.model.methods.base import Batch, Stage, register
from dgsnet.model.methods.lora import Lora


@register
class Effort(Lora):
    """A weight W = U S V^T is cut into its leading part, which is frozen, and the k weakest directions, which are trained.

    With U0, S0, V0 of the weakest directions and X, Y what they become, the weight is W + X Y^T - U0 S0 V0^T. That is a LoRA update of rank
    2 k whose second half is frozen, so that it is saved, merged and exported like any other, and the frozen tower is exactly CLIP.
    k is half of `lora.rank`; the paper trains one direction of 1,024. Its two other terms are here with `retention.strength`:
    trained directions stay at right angles to the frozen ones, and the weight keeps its Frobenius norm.
    """

    name = "effort"
    STRENGTH = 1.0

    @override
    def make_student(self) -> None:
        if self.recipe.lora.rank % 2:
            raise RecipeError(
                f"effort trains half of lora.rank directions of each weight: expected an even number, but got {self.recipe.lora.rank}"
            )
        super().make_student()

    @override
    def enter(self, stage: Stage) -> list[nn.Parameter]:
        if stage == "finetune":
            for layer in self._layers():
                _start(layer)
        return super().enter(stage)

    def _layers(self) -> list[LoraLayer]:
        return [module for module in self.backbone.vision.modules() if isinstance(module, LoraLayer)]

    @override
    def terms_beside(self, batch: Batch, features: Tensor) -> dict[str, Tensor]:
        angles, norms = zip(*(_strayed(layer) for layer in self._layers()), strict=True)
        return {"angles": self.strength * torch.stack(angles).mean(), "norms": self.strength * torch.stack(norms).mean()}


def _factors(layer: LoraLayer) -> tuple[nn.Parameter, nn.Parameter]:
    """Return (out, 2 k) and (2 k, in): what is trained, then what it replaces."""
    return layer.lora_B["default"].weight, layer.lora_A["default"].weight


@torch.no_grad()
def _start(layer: LoraLayer) -> None:
    """Set both halves to the weakest directions, with opposite signs, and keep the second half from being trained."""
    left, right = _factors(layer)
    half = left.shape[1] // 2
    u, s, vt = torch.linalg.svd(layer.get_base_layer().weight.double(), full_matrices=False)
    root = (s[-half:] / layer.scaling["default"]).sqrt()
    weak_left, weak_right = (u[:, -half:] * root).to(left.dtype), (root[:, None] * vt[-half:]).to(right.dtype)
    left.copy_(torch.cat([weak_left, -weak_left], dim=1))
    right.copy_(torch.cat([weak_right, weak_right]))
    left.register_hook(lambda gradient: torch.cat([gradient[:, :half], torch.zeros_like(gradient[:, half:])], dim=1))  # type: ignore[no-untyped-call]
    right.register_hook(lambda gradient: torch.cat([gradient[:half], torch.zeros_like(gradient[half:])]))  # type: ignore[no-untyped-call]


def _strayed(layer: LoraLayer) -> tuple[Tensor, Tensor]:
    """Return how far the trained directions lean into the frozen ones, 0..2, and by how much the squared norm has changed, relatively.

    U is orthogonal, so what of X lies in the frozen directions is what does not lie in U0.
    """
    left, right = _factors(layer)
    half = left.shape[1] // 2
    angles = _outside(left[:, :half], left[:, half:].detach()) + _outside(right[:half].T, right[half:].T.detach())
    before = left[:, half:].detach() @ right[half:].detach()
    change = (left[:, :half] @ right[:half]).square().sum() - before.square().sum()
    return angles, (change / before.square().sum().clamp_min(torch.finfo(before.dtype).tiny)).abs()


def _outside(trained: Tensor, start: Tensor) -> Tensor:
    """Return the share of the squared length of trained columns (n, k) that lies outside the span of orthogonal columns (n, k)."""
    basis = start / start.norm(dim=0).clamp_min(torch.finfo(start.dtype).tiny)
    whole = trained.square().sum().clamp_min(torch.finfo(trained.dtype).tiny)
    return 1 - (basis.T @ trained).square().sum() / whole  # type: ignore[no-any-return]
