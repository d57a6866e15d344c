"""CLIP's image tower with LoRA: one copy in memory is student (adapter on) and teacher (adapter off)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoConfig, CLIPConfig, CLIPTextModelWithProjection, CLIPVisionModelWithProjection
from transformers.utils import logging

from dgsnet import weights
from dgsnet.core.errors import RecipeError, WeightsError
from dgsnet.model.recipe import BlockTokens, LoraRecipe

_Tower = TypeVar("_Tower", CLIPVisionModelWithProjection, CLIPTextModelWithProjection)


def load_tower(kind: type[_Tower], folder: Path) -> _Tower:
    """Load one tower of the CLIP in `folder`, which may hold both or just this one; fp32, in eval mode.

    Raises:
        WeightsError: a tensor of the tower is missing or misshapen.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if isinstance(config, CLIPConfig):
        part = config.vision_config if kind is CLIPVisionModelWithProjection else config.text_config
        part.projection_dim = config.projection_dim  # a tower's own entry is a default in some published files
        config = part
    report: dict[str, Any]
    with _quiet():
        tower, report = kind.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True, local_files_only=True
        )
    unfilled = sorted(str(key) for key in [*report["missing_keys"], *report["mismatched_keys"]])
    if unfilled:
        raise WeightsError(f"{folder} does not fill {kind.__name__}: {len(unfilled)} tensors are missing or misshapen, first {unfilled[0]}")
    loaded: _Tower = tower.eval()
    return loaded


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting the other tower's tensors as unexpected; what matters is checked and raised."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


class Backbone(nn.Module):
    """An image tower that answers as student and as frozen teacher.

    Attributes:
        width: D, numbers in a feature.
        joint_width: how many of them, the first ones, lie in CLIP's joint space: all but those of `blocks`.
        blocks: blocks whose tokens are part of a feature, see `read_blocks`.
        block_tokens: which of their tokens.
        trunk_depth: blocks below the first adapted one, see `frozen_with_trunk`.
        size: side of the input, pixels.
        fingerprint: sha256 over the image tower's tensors, whatever file they came from.
        folder: where the weights lie.
    """

    def __init__(self, vision: CLIPVisionModelWithProjection, name: str, folder: Path, fingerprint: str) -> None:
        super().__init__()
        self.vision: CLIPVisionModelWithProjection | PeftModel = vision.requires_grad_(False).eval()
        self.name, self.folder, self.fingerprint = name, folder, fingerprint
        self.joint_width: int = vision.config.projection_dim
        self.block_width: int = vision.config.hidden_size
        self.depth: int = vision.config.num_hidden_layers
        self.blocks: tuple[int, ...] = ()
        self.block_tokens: BlockTokens = "patches"
        self.trunk_depth = 0
        self.size: int = vision.config.image_size

    @classmethod
    def load(cls, name: str, *, download: bool = True) -> Backbone:
        """Load a backbone by known name (`dgsnet weights list`), hub id ``owner/name[@revision]`` or folder; fp32, frozen.

        Raises:
            WeightsError: nothing to load, or the weights do not fill an image tower.
        """
        folder = weights.locate(name, download=download)
        vision = load_tower(CLIPVisionModelWithProjection, folder)
        return cls(vision, name, folder, weights.folder_fingerprint(folder))

    @property
    def width(self) -> int:
        """Return D, the numbers in a feature."""
        return self.joint_width + self._read_width * len(self.blocks)

    @property
    def _read_width(self) -> int:
        return self.block_width * (2 if self.block_tokens == "class-and-patches" else 1)

    def read_blocks(self, blocks: tuple[int, ...], tokens: BlockTokens = "patches") -> None:
        """Make tokens after each of these blocks (1 is the first) part of a feature: the mean patch token, or the class token and it.

        Raises:
            RecipeError: there is no such block.
        """
        if any(not 1 <= block <= self.depth for block in blocks):
            raise RecipeError(f"cannot read the blocks {list(blocks)}: {self.name} has blocks 1 to {self.depth}")
        self.blocks, self.block_tokens = blocks, tokens

    @property
    def device(self) -> torch.device:
        """Return the device the tower is on."""
        where: torch.device = next(self.vision.parameters()).device
        return where

    def add_adapter(self, recipe: LoraRecipe) -> None:
        """Add a LoRA adapter, initialised so that the student equals the teacher (B = 0)."""
        config = LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            use_rslora=True,
            lora_dropout=recipe.dropout,
            target_modules=list(recipe.targets),
            layers_to_transform=None if recipe.layers is None else list(recipe.layers),
            layers_pattern=None if recipe.layers is None else "layers",
        )
        self.vision = get_peft_model(self.vision, config)
        self.trunk_depth = recipe.trunk_depth

    def adapter_parameters(self) -> Iterator[nn.Parameter]:
        """Return the adapter's parameters: all there is to train in the tower."""
        return (parameter for name, parameter in self.vision.named_parameters() if "lora_" in name)

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute student features f, not normalised: (B, 3, S, S) -> (B, D), CLIP's projection, then what is read of each of `blocks`."""
        seen = self.vision(pixel_values=pixels, output_hidden_states=bool(self.blocks))
        return self._feature(seen.image_embeds, [self._read(seen.hidden_states[block]) for block in self.blocks])

    def from_trunk(self, trunk: Tensor, frozen: Tensor) -> Tensor:
        """Compute student features of views that `frozen_with_trunk` has seen, by the blocks from the first adapted one on.

        Args:
            trunk: (B, T, W), what that block reads.
            frozen: (B, D), the teacher's features: whatever is read of the blocks below is the same in both.

        Returns:
            (B, D), as `forward` gives it for the views themselves.
        """
        clip = self._clip
        below = dict(zip(self.blocks, torch.split(frozen[:, self.joint_width :], self._read_width, dim=1), strict=False))
        for number, block in enumerate(clip.vision_model.encoder.layers[self.trunk_depth :], self.trunk_depth + 1):
            trunk = block(trunk, None)
            if number in below:
                below[number] = self._read(trunk)
        embedding = clip.visual_projection(clip.vision_model.post_layernorm(trunk[:, 0]))
        return self._feature(embedding, [below[block] for block in self.blocks])

    @torch.no_grad()
    def frozen(self, pixels: Tensor) -> Tensor:
        """Compute teacher features fT, by the tower without its adapter: (B, 3, S, S) -> (B, D), detached."""
        with self._without_adapter():
            return self.forward(pixels)

    @torch.no_grad()
    def frozen_with_trunk(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Compute teacher features, (B, D), and what the first adapted block reads, (B, T, W): class token first, then patches."""
        with self._without_adapter():
            seen = self.vision(pixel_values=pixels, output_hidden_states=True)
        states = seen.hidden_states
        return self._feature(seen.image_embeds, [self._read(states[block]) for block in self.blocks]), states[self.trunk_depth]

    def _feature(self, embedding: Tensor, tokens: list[Tensor]) -> Tensor:
        return torch.cat([embedding, *tokens], dim=1) if tokens else embedding

    def _read(self, tokens: Tensor) -> Tensor:
        """Read a block's tokens (B, T, W), class token first: its mean patch token (B, W), or class token and mean patch token (B, 2 W)."""
        patches = tokens[:, 1:].mean(dim=1)
        return torch.cat([tokens[:, 0], patches], dim=1) if self.block_tokens == "class-and-patches" else patches

    @property
    def _clip(self) -> CLIPVisionModelWithProjection:
        return cast(CLIPVisionModelWithProjection, self.vision.get_base_model()) if isinstance(self.vision, PeftModel) else self.vision

    def _without_adapter(self) -> AbstractContextManager[None]:
        return self.vision.disable_adapter() if isinstance(self.vision, PeftModel) else nullcontext()

    def train(self, mode: bool = True) -> Backbone:
        """Set the mode of the adapter's dropout alone; the tower itself stays in eval, being frozen."""
        super().train(False)
        if mode:
            for name, module in self.vision.named_modules():
                if "lora_dropout" in name:
                    module.train(True)
        return self
