"""Interface of a method, all that the trainer and the detector know of it, and the registry of methods."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dgsnet.core.errors import RecipeError
from dgsnet.model.backbone import Backbone
from dgsnet.model.mlp_head import MlpHead
from dgsnet.model.recipe import HeadRecipe, Recipe

Stage = Literal["probe", "finetune"]
"""``probe`` trains linear heads on frozen features (stage 1), ``finetune`` the adapter (stage 2)."""


@dataclass(frozen=True)
class Batch:
    """Input of a method for one step. B images, D the width of CLIP's joint space, S the side of its input."""

    labels: Tensor
    """(B,) float: 0 real, 1 AI-generated."""
    pixels: Tensor | None = None
    """(B, 3, S, S); None when a stage needs only frozen features and has them."""
    frozen: Tensor | None = None
    """(B, D) cached features of the frozen teacher on the same view; None: the method computes them."""
    text: Tensor | None = None
    """(B, D) caption features; None: the run has no text branch. A row of zeros is an image without a caption."""
    share: float = 1.0
    """Part of the optimiser step this batch makes up: below 1 when a step is accumulated from several."""
    trunk: Tensor | None = None
    """(B, T, W) cached, what the first adapted block reads of the view (`Backbone.frozen_with_trunk`); then `frozen` is there, and
    `pixels` are not needed."""

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on a device."""
        moved: dict[str, Any] = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


@dataclass(frozen=True)
class Losses:
    """Result of a step: one scalar to differentiate, named terms and named observations for the log (detached).

    Every term carries the factor `Batch.share`, as `Method.bce` has it: only then is a step accumulated from several batches the same step.
    """

    total: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    observed: dict[str, Tensor] = field(default_factory=dict)


class Method(nn.Module, ABC):
    """A model with its losses.

    Calling a method with a batch gives the losses of the stage last entered, so that wrappers (DDP, compile) see one forward pass.
    """

    name: ClassVar[str]
    stages: ClassVar[tuple[Stage, ...]]

    def __init__(self, backbone: Backbone, recipe: Recipe) -> None:
        super().__init__()
        self.backbone = backbone
        self.recipe = recipe
        self.stage: Stage = self.stages[0]
        backbone.read_blocks(recipe.blocks, recipe.block_tokens)
        self.block_mean: Tensor
        self.block_scale: Tensor
        if recipe.blocks:  # set by `standardise_blocks`, saved with the heads
            self.register_buffer("block_mean", torch.zeros(backbone.width - backbone.joint_width))
            self.register_buffer("block_scale", torch.ones(backbone.width - backbone.joint_width))
        self.mlp = self._new_mlp(recipe.refitted)

    @abstractmethod
    def enter(self, stage: Stage) -> list[nn.Parameter]:
        """Begin a stage: set modes, return what is trained in it."""

    @abstractmethod
    def solve(self, frozen: Tensor, labels: NDArray[np.int64]) -> None:
        """Find the teacher's head at once, from the frozen features (N, D) of all views and their labels (N,); see `ProbeRecipe.solver`."""

    @abstractmethod
    def forward(self, batch: Batch) -> Losses:
        """Compute the losses of the current stage on a batch."""

    @property
    def tower(self) -> Backbone:
        """Return the image tower that detects: the backbone, with its adapter where it has one."""
        return self.backbone

    @property
    @abstractmethod
    def detecting_head(self) -> nn.Linear:
        """Return the linear head that detects, unless there is a perceptron."""

    def detecting_features(self, pixels: Tensor) -> Tensor:
        """Compute the features that a detecting head is fitted to, (B, 3, S, S) -> (B, D)."""
        return self.head_input(self.tower(pixels))

    def embed(self, pixels: Tensor) -> Tensor:
        """Compute what the detecting head reads of images, (B, 3, S, S) -> (B, P): their features, compressed for a perceptron."""
        features = self.detecting_features(pixels)
        return features if self.mlp is None else self.mlp.compress(features)

    @property
    def width(self) -> int:
        """Return P, the numbers that the detecting head reads."""
        return self.backbone.width if self.mlp is None else self.mlp.width

    def logits(self, read: Tensor) -> Tensor:
        """Compute detection logits of what `embed` gives, (B, P) -> (B,): above 0 leans to AI-generated."""
        logits: Tensor = self.detecting_head(read).squeeze(1) if self.mlp is None else self.mlp(read)
        return logits

    def refit(self, head: HeadRecipe) -> None:
        """Take another detecting head, which has to be fitted then; the linear one stays beside a perceptron and is not asked."""
        self.recipe = self.recipe.model_copy(update={"refitted": head})
        self.mlp = self._new_mlp(head)

    def _new_mlp(self, head: HeadRecipe) -> MlpHead | None:
        if head.kind == "linear":
            return None
        tower = self.backbone
        return MlpHead(tower.joint_width, tower.block_width, (tower.width - tower.joint_width) // tower.block_width, head.mlp)

    def predict(self, pixels: Tensor) -> Tensor:
        """Compute detection logits, (B, 3, S, S) -> (B,)."""
        return self.logits(self.embed(pixels))

    @abstractmethod
    def needs_pixels(self, stage: Stage) -> bool:
        """Return True if a stage needs pixels, or a cached trunk, even when frozen features are cached."""

    @property
    def wants_text(self) -> bool:
        """Return True if the method makes use of caption features."""
        return False

    @property
    def adapted(self) -> bool:
        """Return True if the backbone carries an adapter that has to be saved."""
        return False

    def see_captions(self, text: Tensor) -> None:
        """Take note of the caption features of all training images, (N, J), before the first stage; a row of zeros is no caption."""

    @torch.no_grad()
    def standardise_blocks(self, frozen: Tensor) -> None:
        """Have the blocks' part of a feature read with the mean and spread it has in these frozen features, (N, D).

        A few channels inside CLIP are a hundred times as large as the others; a head would see nothing else.
        """
        tokens = frozen[:, self.backbone.joint_width :]
        self.block_mean.copy_(tokens.mean(dim=0))
        self.block_scale.copy_(tokens.std(dim=0).clamp_min(1e-6))

    def head_input(self, features: Tensor) -> Tensor:
        """Compute what the heads read of a feature (B, D): CLIP's embedding itself or scaled to the length sqrt(joint width), as
        `Recipe.features` says, and the blocks' part standardised. A feature without that part (a caption's) is read as an embedding."""
        joint = self.backbone.joint_width
        embedding = features[:, :joint]
        if self.recipe.features == "unit":
            embedding = F.normalize(embedding, dim=1) * math.sqrt(joint)
        if features.shape[1] == joint:
            return embedding
        return torch.cat([embedding, (features[:, joint:] - self.block_mean) / self.block_scale], dim=1)

    def frozen_features(self, batch: Batch) -> Tensor:
        """Return the teacher's features of a batch, (B, D), detached: of the tower without adapter, from the cache where there is one."""
        if batch.frozen is not None:
            return batch.frozen
        if batch.pixels is None:
            raise ValueError("expected a batch with pixels or cached frozen features, but got neither")
        return self.backbone.frozen(batch.pixels)

    def student_features(self, batch: Batch) -> Tensor:
        """Compute student features of a batch, from the trunk where it is cached: (B, D)."""
        if batch.trunk is not None:
            return self.tower.from_trunk(batch.trunk, self.frozen_features(batch))
        if batch.pixels is None:
            raise ValueError("expected a batch with pixels or a cached trunk, but got neither")
        features: Tensor = self.tower(batch.pixels)
        return features

    def bce(self, logits: Tensor, batch: Batch) -> Tensor:
        """Compute the mean binary cross entropy with logits, weighted by the batch's share of the step."""
        return F.binary_cross_entropy_with_logits(logits, batch.labels.to(logits.dtype)) * batch.share


_REGISTRY: dict[str, type[Method]] = {}


def register(method: type[Method]) -> type[Method]:
    """Make a method available by its `name`: a class decorator."""
    _REGISTRY[method.name] = method
    return method


def available() -> tuple[str, ...]:
    """Return the names of all registered methods."""
    return tuple(sorted(_REGISTRY))


def create(recipe: Recipe, backbone: Backbone) -> Method:
    """Build the method a recipe names, its heads from the recipe's seed; `RecipeError` where there is no such method."""
    if recipe.method not in _REGISTRY:
        raise RecipeError(f"unknown method {recipe.method!r}: expected one of {', '.join(available())}")
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        return _REGISTRY[recipe.method](backbone, recipe)
