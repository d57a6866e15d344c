"""Every setting of a run, as one frozen model that round-trips through YAML and the model folder; and the presets by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dgsnet.core.errors import RecipeError
from dgsnet.images.augment import Augmentation
from dgsnet.images.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from dgsnet.surgery import Order

BlockTokens = Literal["patches", "class-and-patches"]
"""What is read of a transformer block: the mean of its patch tokens, or its class token and that mean."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataRecipe(_Settings):
    """Images that are trained on."""

    train_split: str = "train"
    validation_split: str = "val"
    """Split to validate on. Where the data names no splits, `held_out` of its groups become it."""
    held_out: float = Field(0.1, ge=0, lt=1)
    caption_column: str = "caption"
    limit: int | None = Field(None, ge=2)
    """Train on this many images only, as many real as generated, balanced over sources."""
    sampling: Literal["balanced", "shuffled"] = "balanced"
    views: int | None = Field(None, ge=1)
    """Fixed views per image, of which the frozen teacher's features are computed once and cached; None draws a fresh view every epoch."""
    cache_trunk: bool = False
    """Compute what the first adapted block reads once and cache it too: every later step runs the blocks from there on alone. Needs fixed
    views and `lora.layers`; takes 0.6 MB per view with ViT-B/16."""
    workers: int = Field(0, ge=0)
    """Processes that decode; the result does not depend on it."""


class CaptionRecipe(_Settings):
    """Source of caption features; see `dgsnet.model.text_branch`."""

    source: Literal["auto", "clip", "sentence", "none"] = "auto"
    """`auto`: the CLIP text tower where the backbone has one, else the sentence encoder, else none: no suppression, and the run says so."""
    sentence_encoder: str = "minilm-l6"
    directions: int = Field(16, ge=1)
    """Leading directions of the captions' features that `null-space` takes out of the image feature."""


class LoraRecipe(_Settings):
    """LoRA as DGS-Net uses it: low-rank updates of the attention's q, k and v, scaled by alpha / sqrt(rank)."""

    rank: int = Field(6, ge=1)
    alpha: float = Field(6.0, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    """On the input of the low-rank product. The released code has 0.8."""
    targets: tuple[Literal["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"], ...] = ("q_proj", "k_proj", "v_proj")
    layers: tuple[int, ...] | None = None
    """Blocks that are adapted, counted from 0; None: all."""

    @property
    def trunk_depth(self) -> int:
        """Return the number of blocks below the first adapted one: these say the same before and after training."""
        return min(self.layers, default=0) if self.layers else 0


class StageRecipe(_Settings):
    """Optimisation of one stage (Adam)."""

    epochs: int = Field(1, ge=0)
    batch: int = Field(16, ge=1)
    """Images per optimiser step, on each process."""
    micro_batch: int | None = Field(None, ge=1)
    """Images in memory at once; a batch is accumulated from these. Does not change what a step computes."""
    lr: float = Field(3e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(0.0, ge=0)


class ProbeRecipe(StageRecipe):
    """Search for the teacher's head."""

    solver: Literal["adam", "ridge"] = "adam"
    """`ridge`: in closed form from all features at once (`dgsnet.model.ridge`), which needs fixed views; a text head is trained by
    Adam all the same."""
    penalty: float = Field(0.01, gt=0)
    """Penalty of the ridge, in units of the features' variance."""


class SurgeryRecipe(_Settings):
    """Editing of the image feature's gradient.

    * ``suppression``: ``harmful`` is the paper's projection off the positive part of each sample's text gradient. With a linear text head
      that direction depends on the label alone, relu(+w_t) for a photograph and relu(-w_t) for a generated image, so photographs and
      generated images lose *different* directions, and what is left moves both the same way: the mean drifts and ||f|| grows.
      ``both-signs`` projects every sample off the plane of the two, which contains w_t itself: one projection for both labels, no drift
      between them.
    * ``alignment``: ``batch-mean`` is lambda / B, the released code, in which g_img already carries 1/B and L_align takes the mean again;
      ``sample`` is lambda, the reading of the paper in which g_img is each sample's own gradient; ``bounded`` adds at most lambda times the
      task gradient of the same sample: lambda * min(1, ||g_task|| / ||g-_img||).
    """

    suppression: Literal["none", "harmful", "both-signs"] = "both-signs"
    alignment: Literal["none", "batch-mean", "sample", "bounded"] = "bounded"
    strength: float = Field(0.2, ge=0)
    """The paper's lambda."""
    order: Order = "project-then-align"


class RetentionRecipe(_Settings):
    """How hard a method holds on to the frozen tower: `l2sp`, `lwf`, `feature-distillation`, `effort`."""

    strength: float | None = Field(None, ge=0)
    """Weight of its term in the loss; None: the method's own default."""


class MlpRecipe(_Settings):
    """Size and fit of a perceptron head, see `dgsnet.model.mlp_head`."""

    directions: int = Field(64, ge=1)
    """Principal directions of each group of a feature that are kept."""
    hidden: int = Field(128, ge=1)
    """H, hidden units."""
    epochs: int = Field(12, ge=1)
    lr: float = Field(1e-3, gt=0)
    """The highest of the schedule."""
    weight_decay: float = Field(0.01, ge=0)
    dropout: float = Field(0.3, ge=0, lt=1)
    """Of the input; half of the hidden units are dropped."""


class HeadRecipe(_Settings):
    """The detecting head that `dgsnet refit` fits to features; training itself trains linear heads alone."""

    kind: Literal["linear", "mlp"] = "linear"
    mlp: MlpRecipe = MlpRecipe()


class Recipe(_Settings):
    """A whole run. The defaults are the preset ``balanced``."""

    method: str = "dgs"
    preset: str = "balanced"
    backbone: str = "clip-vit-b16"
    seed: int = 0
    features: Literal["raw", "unit"] = "unit"
    """Features for the heads: CLIP's projection as it is (the paper), or scaled to the length sqrt(D). On the sphere no gradient has a part
    along f, whatever the surgery adds to it: that is what keeps ||f|| from running away."""
    blocks: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Transformer blocks (counted from 1) that are read beside CLIP's embedding. What an upsampler leaves is still there in the middle of
    the tower, and what a picture shows is not yet; surgery, whose text branch lives in CLIP's joint space, edits the embedding's part
    alone. The idea is RINE's (arXiv 2402.19091)."""
    block_tokens: BlockTokens = "patches"
    """What is read of each of `blocks`. RINE reads class tokens."""
    warm_start: bool = True
    """The student's head starts as the teacher's and the text head is trained beforehand, instead of both starting at random."""
    data: DataRecipe = DataRecipe()
    preprocessing: Preprocessing = Preprocessing()
    augmentation: Augmentation = Augmentation(flip=True)
    captions: CaptionRecipe = CaptionRecipe()
    lora: LoraRecipe = LoraRecipe()
    probe: ProbeRecipe = ProbeRecipe(epochs=20, batch=32, lr=1e-3, weight_decay=0.01)
    finetune: StageRecipe = StageRecipe()
    surgery: SurgeryRecipe = SurgeryRecipe()
    retention: RetentionRecipe = RetentionRecipe()
    refitted: HeadRecipe = HeadRecipe()
    """The detecting head, where `dgsnet refit` gave the model another one than training did."""
    mixed_precision: Literal["no", "bf16"] = "no"
    checkpoint_every: int = Field(25, ge=1)
    """Optimiser steps between checkpoints."""

    @model_validator(mode="after")
    def _known_preset(self) -> Recipe:
        if self.preset not in PRESETS:
            raise ValueError(f"unknown preset {self.preset!r}: expected one of {', '.join(PRESETS)}")
        return self

    @model_validator(mode="after")
    def _ridge_sees_all_features(self) -> Recipe:
        if self.probe.solver == "ridge" and self.fixed_views is None:
            raise ValueError("probe.solver=ridge needs fixed views: set data.views, or leave out augmentation and shuffling")
        return self

    @model_validator(mode="after")
    def _trunk_is_fixed(self) -> Recipe:
        if self.data.cache_trunk and self.fixed_views is None:
            raise ValueError("data.cache_trunk needs fixed views: set data.views, or leave out augmentation and shuffling")
        if self.data.cache_trunk and self.lora.trunk_depth == 0:
            raise ValueError("data.cache_trunk needs blocks that stay as they are: set lora.layers to the last ones, as [8, 9, 10, 11]")
        return self

    @property
    def fixed_views(self) -> int | None:
        """Return the number of distinct views an image has in training; None when every epoch draws a new one."""
        return 1 if not self.preprocessing.shuffles and self.augmentation == Augmentation() else self.data.views


_RELEASED: dict[str, Any] = {
    "features": "raw",
    "warm_start": False,
    "data": {"sampling": "shuffled"},
    "preprocessing": {"order": "released", "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    "augmentation": {"flip": True},
    "lora": {"rank": 6, "alpha": 6.0, "dropout": 0.8},
    "probe": {"epochs": 3, "batch": 32, "lr": 1e-4, "weight_decay": 0.0},
    "finetune": {"epochs": 1, "batch": 32, "lr": 1e-4, "weight_decay": 0.0},
    "surgery": {"suppression": "harmful", "alignment": "batch-mean", "strength": 0.2, "order": "align-then-project"},
}

PRESETS: dict[str, dict[str, Any]] = {
    "balanced": {},
    "released": _RELEASED,
    "paper": _RELEASED | {"surgery": {"suppression": "harmful", "alignment": "sample", "strength": 0.2, "order": "project-then-align"}},
}
"""Settings of each preset on top of the defaults.

`released` is the authors' code; `paper` differs from it where the text does (project first, then align; lambda on each sample's own
gradient); `balanced` is ours.
"""


def make_recipe(method: str = "dgs", preset: str = "balanced", config: Path | None = None, assignments: tuple[str, ...] = ()) -> Recipe:
    """Build a recipe: preset, then the YAML file, then ``a.b=c`` assignments, each over the one before.

    A preset (or method) that the file or an assignment names counts instead of the argument; a preset is the base wherever it is named.

    Raises:
        RecipeError: an unknown preset, a file that cannot be read, a setting that does not exist or is out of range.
    """
    settings: dict[str, Any] = {"method": method, "preset": preset}
    if config is not None:
        try:
            loaded = yaml.load(config.read_text(encoding="utf-8"), _PlainYaml)  # noqa: S506 - a safe loader
        except (OSError, yaml.YAMLError) as error:
            raise RecipeError(f"cannot read the recipe {config}: {error}") from error
        if not isinstance(loaded, dict | None):
            raise RecipeError(
                f"{config} holds no settings: expected a mapping like 'finetune: {{epochs: 2}}', but got {type(loaded).__name__}"
            )
        settings = _merge(settings, loaded or {})
    for assignment in assignments:
        settings = _merge(settings, _parse(assignment))
    named = settings["preset"]
    if not isinstance(named, str) or named not in PRESETS:
        raise RecipeError(f"unknown preset {named!r}: expected one of {', '.join(PRESETS)}")
    try:
        # Over the defaults in full: a nested setting must not reset its neighbours to what their class would start from.
        return Recipe.model_validate(_merge(_merge(Recipe().model_dump(), PRESETS[named]), settings))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "recipe"
        raise RecipeError(f"setting {where!r}: {first['msg']} (got {first['input']!r})") from error


def _parse(assignment: str) -> dict[str, Any]:
    name, found, value = assignment.partition("=")
    if not found or not name:
        raise RecipeError(f"expected a setting like finetune.lr=1e-4, but got {assignment!r}")
    nested: Any = yaml.load(value, _PlainYaml)  # noqa: S506 - a safe loader
    for part in reversed(name.strip().split(".")):
        nested = {part: nested}
    return dict(nested)


class _PlainYaml(yaml.SafeLoader):
    """YAML as people mean it (1.2): 1e-4 is a number, and of the words only true and false are booleans, so `no` and `off` stay words."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class declares it so
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:float"}]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_PlainYaml.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_PlainYaml.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$"), list("-+.0123456789")
)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _merge(merged[key], value) if isinstance(value, dict) and isinstance(merged.get(key), dict) else value
    return merged
