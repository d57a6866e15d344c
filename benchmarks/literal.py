"""One fine-tuning step as the published DGS-Net code writes it, for comparison: tests check gradients against it, a benchmark its speed.

Two whole CLIP image towers, one frozen; LoRA that builds B @ A, a matrix as large as the weight it adapts, and multiplies by it; a hook on
the image feature; `torch.autograd.grad` for the two other gradients. Nothing of the package is used here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionModelWithProjection

EPS = 1e-6
STRENGTH = 0.2
PROJECTIONS = ("q_proj", "k_proj", "v_proj")


class LiteralLora(nn.Module):
    """x W' + b + scaling * dropout(x) (B A)', scaling = alpha / sqrt(rank): the update is multiplied out to the size of W first."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.w_lora_A = nn.Parameter(torch.randn(rank, base.in_features, dtype=base.weight.dtype) / math.sqrt(base.in_features))
        self.w_lora_B = nn.Parameter(torch.zeros(base.out_features, rank, dtype=base.weight.dtype))
        self.scaling = alpha / math.sqrt(rank)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        result: Tensor = self.base(x)
        update = self.w_lora_B @ self.w_lora_A
        return result + torch.matmul(self.dropout(x), update.transpose(0, 1)) * self.scaling


@dataclass(frozen=True)
class LiteralLosses:
    """What a step leaves besides gradients."""

    total: Tensor
    image: Tensor
    text: Tensor
    align: Tensor
    features: Tensor


class LiteralNetwork(nn.Module):
    """Student and teacher as two copies of a tower, and the three linear heads."""

    def __init__(self, tower: CLIPVisionModelWithProjection, rank: int = 6, alpha: float = 6.0, dropout: float = 0.8) -> None:
        super().__init__()
        self.clip_model = copy.deepcopy(tower).requires_grad_(False).eval()
        self.clip_model_frozen = copy.deepcopy(tower).requires_grad_(False).eval()
        for block in self.blocks():
            for name in PROJECTIONS:
                setattr(block.self_attn, name, LiteralLora(getattr(block.self_attn, name), rank, alpha, dropout))
        width, dtype = tower.config.projection_dim, tower.visual_projection.weight.dtype
        self.text_fc, self.img_fc, self.img_frozen_fc = (nn.Linear(width, 1, dtype=dtype) for _ in range(3))
        self.img_frozen_fc.requires_grad_(False)

    def blocks(self) -> Iterator[nn.Module]:
        """The student's transformer blocks."""
        yield from self.clip_model.vision_model.encoder.layers

    def loras(self) -> Iterator[tuple[str, LiteralLora]]:
        """("0.q_proj", layer) and so on, in the order a forward pass meets them."""
        for number, block in enumerate(self.blocks()):
            for name in PROJECTIONS:
                yield f"{number}.{name}", block.get_submodule(f"self_attn.{name}")  # type: ignore[misc]

    def trained(self) -> list[nn.Parameter]:
        """What the optimiser of stage 2 is given."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def student(self, pixels: Tensor) -> Tensor:
        """f, (B, 3, S, S) -> (B, D)."""
        features: Tensor = self.clip_model(pixel_values=pixels).image_embeds
        return features

    def teacher(self, pixels: Tensor) -> Tensor:
        """fT, (B, 3, S, S) -> (B, D), detached."""
        with torch.no_grad():
            features: Tensor = self.clip_model_frozen(pixel_values=pixels).image_embeds
        return features

    def losses(self, features: Tensor, teacher_features: Tensor, text: Tensor, labels: Tensor) -> LiteralLosses:
        """The losses of a step, the hook on f included; `total.backward()` is what remains.

        Args:
            features: (B, D) f, part of the student's graph.
            teacher_features: (B, D) fT.
            text: (B, D) features of the captions.
            labels: (B,) floats, 0 real, 1 AI-generated.
        """
        text = text.detach().requires_grad_()
        loss_text = F.binary_cross_entropy_with_logits(self.text_fc(text).squeeze(1), labels)
        (text_gradient,) = torch.autograd.grad(loss_text, text, retain_graph=True)
        harmful = text_gradient.clamp(min=0)
        h: Tensor = harmful / (harmful.norm(dim=1, keepdim=True) + EPS)

        teacher_features = teacher_features.detach().requires_grad_()
        loss_teacher = F.binary_cross_entropy_with_logits(self.img_frozen_fc(teacher_features).squeeze(1), labels)
        (image_gradient,) = torch.autograd.grad(loss_teacher, teacher_features)
        beneficial = image_gradient.clamp(max=0)

        def project(gradient: Tensor) -> Tensor:
            return gradient - (gradient * h).sum(dim=1, keepdim=True) * h

        features.register_hook(project)  # type: ignore[no-untyped-call]  # sees the sum of the task's and the alignment's gradient
        loss_image = F.binary_cross_entropy_with_logits(self.img_fc(features).squeeze(1), labels)
        loss_align = (features * beneficial).sum(dim=1).mean()
        return LiteralLosses(loss_image + loss_text + STRENGTH * loss_align, loss_image, loss_text, loss_align, features.detach())

    def backward_pass(self, pixels: Tensor, text: Tensor, labels: Tensor) -> LiteralLosses:
        """A whole step but for the optimiser: gradients are in `.grad` afterwards."""
        losses = self.losses(self.student(pixels), self.teacher(pixels), text, labels)
        losses.total.backward()  # type: ignore[no-untyped-call]
        return losses
