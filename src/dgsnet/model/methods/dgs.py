"""`dgs`: LoRA fine-tuning under distillation-guided gradient surgery (arXiv 2511.13108)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dgsnet.model.backbone import Backbone
from dgsnet.model.methods.base import Batch, Losses, Stage, register
from dgsnet.model.methods.lora import Lora
from dgsnet.model.recipe import Recipe
from dgsnet.surgery import linear_head_gradient, negative, operate, suppress


class Edit(NamedTuple):
    """Surgery on one batch's gradient."""

    text_gradient: Tensor | None
    image_gradient: Tensor | None
    alignment: float | Tensor


@register
class Dgs(Lora):
    """Stage 1 trains the teacher head (and, on a warm start, the text head) on frozen features; stage 2 the student under surgery.

    The three heads are linear, so every gradient surgery needs is a closed form: no second graph, no hook.
    """

    name = "dgs"

    def __init__(self, backbone: Backbone, recipe: Recipe) -> None:
        super().__init__(backbone, recipe)
        self.text = nn.Linear(backbone.joint_width, 1)

    @property
    @override
    def wants_text(self) -> bool:
        return self.recipe.surgery.suppression != "none"

    @property
    def aligns(self) -> bool:
        """Return True if the teacher's gradient has a part in the edit."""
        return self.recipe.surgery.alignment != "none"

    @override
    def enter(self, stage: Stage) -> list[nn.Parameter]:
        trained = super().enter(stage)
        learns_text = self.wants_text and (stage == "finetune" or self.recipe.warm_start)
        self.text.requires_grad_(learns_text)
        return [*trained, *self.text.parameters()] if learns_text else trained

    @override
    def forward(self, batch: Batch) -> Losses:
        losses = super().forward(batch)
        if self.stage == "probe" and self.recipe.warm_start and self._has_text(batch):
            text_loss, _ = self._text_branch(batch)
            return Losses(losses.total + text_loss, losses.terms | {"text": text_loss.detach()}, losses.observed)
        return losses

    @override
    def finetune(self, batch: Batch) -> Losses:
        teacher_gradient = self._teacher_gradient(batch) if self.aligns else None
        features = self.student_features(batch)
        head_input = self.head_input(features)

        text_loss, text_gradient = self._text_branch(batch) if self._has_text(batch) else (None, None)
        task_gradient = batch.share * linear_head_gradient(self.head(head_input.detach()).squeeze(1), batch.labels, self.head.weight[0])
        edit = Edit(text_gradient, teacher_gradient, self._alignment(teacher_gradient, task_gradient, batch))

        image_loss = self.bce(self.head(self.operate(head_input, edit)).squeeze(1), batch)
        total = image_loss if text_loss is None else image_loss + text_loss
        terms = {"image": image_loss.detach()} | ({} if text_loss is None else {"text": text_loss.detach()})
        observed = {"feature_norm": features.detach().norm(dim=1).mean()} | self._observe(task_gradient, edit)
        return Losses(total, terms, observed)

    def operate(self, features: Tensor, operation: Edit) -> Tensor:
        """Return the features, with a gradient that is edited.

        `both-signs` is two operations in a row: relu(w) and relu(-w) are orthogonal, so projecting off one and then the other projects off
        their plane. The backward pass runs the outer one first, so the alignment belongs to it when it comes before the projection.
        """
        text, image, order = operation.text_gradient, operation.image_gradient, self.recipe.surgery.order
        if self.recipe.surgery.suppression == "both-signs" and text is not None:
            outer, inner = (image, None) if order == "align-then-project" else (None, image)
            return operate(operate(features, text, inner, operation.alignment, order), -text, outer, operation.alignment, order)
        return operate(features, text, image, operation.alignment, order)

    def suppressed(self, gradient: Tensor, text_gradient: Tensor) -> Tensor:
        """Return what suppression alone makes of a gradient (for the log)."""
        kept = suppress(gradient, text_gradient)
        return suppress(kept, -text_gradient) if self.recipe.surgery.suppression == "both-signs" else kept

    def _has_text(self, batch: Batch) -> bool:
        return self.wants_text and batch.text is not None

    def _text_branch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute L_text, which trains the text head only, and its gradient at the caption features; no caption, no part in either."""
        assert batch.text is not None  # noqa: S101 - the callers ask `_has_text`
        captioned = batch.text.abs().amax(dim=1) > 0
        logits = self.text(self.head_input(batch.text)).squeeze(1)
        losses = F.binary_cross_entropy_with_logits(logits, batch.labels.to(logits.dtype), reduction="none")
        loss = (losses * captioned).mean() * batch.share
        gradient = batch.share * linear_head_gradient(logits, batch.labels, self.text.weight[0])
        # Captions have no part in what is read of the blocks, so nothing there is harmful.
        return loss, F.pad(gradient * captioned.unsqueeze(1), (0, self.backbone.width - self.backbone.joint_width))

    @torch.no_grad()
    def _teacher_gradient(self, batch: Batch) -> Tensor:
        logits = self.teacher(self.head_input(self.frozen_features(batch))).squeeze(1)
        return batch.share * linear_head_gradient(logits, batch.labels, self.teacher.weight[0])

    def _alignment(self, teacher_gradient: Tensor | None, task_gradient: Tensor, batch: Batch) -> float | Tensor:
        """Return the weight of negative(teacher_gradient) in the edit; see `SurgeryRecipe.alignment`."""
        strength = self.recipe.surgery.strength
        match self.recipe.surgery.alignment:
            case "batch-mean":
                return strength * batch.share / len(batch.labels)
            case "bounded" if teacher_gradient is not None:
                pull = negative(teacher_gradient).norm(dim=1, keepdim=True)
                task = task_gradient.norm(dim=1, keepdim=True)
                return strength * torch.clamp(task / pull.clamp_min(torch.finfo(pull.dtype).tiny), max=1)
            case _:
                return strength

    def _observe(self, task_gradient: Tensor, edit: Edit) -> dict[str, Tensor]:
        """Measure the share of the squared task gradient that suppression removes, and the alignment against it; batch means."""
        norm = task_gradient.norm(dim=1).clamp_min(torch.finfo(task_gradient.dtype).tiny)
        observed: dict[str, Tensor] = {}
        if edit.text_gradient is not None:
            observed["removed"] = (1 - (self.suppressed(task_gradient, edit.text_gradient).norm(dim=1) / norm) ** 2).mean()
        if edit.image_gradient is not None:
            observed["alignment"] = ((edit.alignment * negative(edit.image_gradient)).norm(dim=1) / norm).mean()
        return observed
