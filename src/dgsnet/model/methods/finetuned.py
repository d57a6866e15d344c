"""What every method has that fine-tunes the image tower: a probe (stage 1), then tower and head together (stage 2)."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from dgsnet.model.backbone import Backbone
from dgsnet.model.methods.base import Batch, Losses, Stage
from dgsnet.model.methods.linear import Linear
from dgsnet.model.recipe import Recipe


class Finetuned(Linear):
    """A linear probe on the frozen tower, then a tower that is trained, with a head on its feature."""

    stages: ClassVar[tuple[Stage, ...]] = ("probe", "finetune")
    STRENGTH: ClassVar[float] = 0.0
    """Default of `RetentionRecipe.strength`, for methods that have such a term."""

    def __init__(self, backbone: Backbone, recipe: Recipe) -> None:
        super().__init__(backbone, recipe)
        self.make_student()
        self.head = nn.Linear(backbone.width, 1)

    @abstractmethod
    def make_student(self) -> None:
        """Make of the backbone a tower that can be trained, and that says what the frozen one says until it is."""

    @abstractmethod
    def tower_parameters(self) -> list[nn.Parameter]:
        """Return what is trained in the tower."""

    @override
    def enter(self, stage: Stage) -> list[nn.Parameter]:
        probe = super().enter(stage)
        self.train(stage == "finetune")
        if stage == "probe":
            return probe
        if self.recipe.warm_start:
            self.head.load_state_dict(self.teacher.state_dict())
        return [*self.tower_parameters(), *self.head.parameters()]

    @override
    def forward(self, batch: Batch) -> Losses:
        return super().forward(batch) if self.stage == "probe" else self.finetune(batch)

    def finetune(self, batch: Batch) -> Losses:
        """Compute the losses of stage 2: the image's, and what the method has beside it."""
        features = self.student_features(batch)
        image = self.bce(self.head(self.head_input(features)).squeeze(1), batch)
        terms = {"image": image} | {name: batch.share * term for name, term in self.terms_beside(batch, features).items()}
        total = torch.stack([term.to(image.dtype) for term in terms.values()]).sum()
        return Losses(total, {name: term.detach() for name, term in terms.items()}, {"feature_norm": features.detach().norm(dim=1).mean()})

    def terms_beside(self, batch: Batch, features: Tensor) -> dict[str, Tensor]:
        """Compute the terms of a whole step's loss beside the image's, by name, from student features (B, D)."""
        return {}

    @property
    def strength(self) -> float:
        """Return the weight of the term that holds on to the frozen tower."""
        given = self.recipe.retention.strength
        return self.STRENGTH if given is None else given

    @property
    @override
    def detecting_head(self) -> nn.Linear:
        return self.head
