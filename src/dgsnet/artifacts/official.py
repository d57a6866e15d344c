"""The research code's checkpoints as a model folder: `model_epoch_step2.pth`, a pickle of two whole CLIPs under OpenAI's parameter names.

Of the frozen CLIP the image tower becomes a backbone; of the student, whose base weights must be the frozen ones, the adapter is kept. The
file is read with ``weights_only``, so nothing in it is executed.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from dgsnet import __version__
from dgsnet.artifacts import model_folder
from dgsnet.core.errors import ModelFolderError
from dgsnet.model import backbone_match, methods
from dgsnet.model.backbone import Backbone
from dgsnet.model.recipe import Recipe, make_recipe

BACKBONE = "backbone"
"""Folder below the model folder in which the image tower is written."""

_STUDENT = "clip_model.visual."
_FROZEN = ("clip_model_frozen.clip_model_frozen.visual.", "clip_model_frozen.visual.")  # step 2 holds all of step 1 under one more prefix
_ALPHA, _TOLERANCE = 6.0, 1e-4
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_PROJECTIONS = ("q_proj", "k_proj", "v_proj")


def import_official(checkpoint: Path, out: Path) -> Path:
    """Turn a step 2 checkpoint into the model folder `out`, its image tower into `out/backbone`.

    Raises:
        ModelFolderError: `out` is not empty; the file cannot be read, is of step 1, lacks a tensor, or its student is no LoRA on its own
            frozen CLIP.
    """
    if out.exists() and any(out.iterdir()):
        raise ModelFolderError(f"{out} is not empty: choose another folder")
    state = _read(checkpoint)
    if not any(name.startswith(_STUDENT) for name in state):
        raise ModelFolderError(f"{checkpoint} has no student ({_STUDENT}...): it is of step 1; give model_epoch_step2.pth")
    prefix = next((one for one in _FROZEN if f"{one}conv1.weight" in state), None)
    if prefix is None:
        raise ModelFolderError(f"{checkpoint} has no frozen CLIP (clip_model_frozen...): it is no checkpoint of the research code")
    try:
        vision = _tower({name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)})
        with tempfile.TemporaryDirectory() as aside:  # a checkpoint that turns out to be none leaves nothing in `out`
            vision.save_pretrained(aside)
            backbone = Backbone.load(aside, download=False)
        backbone.name, backbone.folder = str((out / BACKBONE).absolute()), out / BACKBONE
        method = methods.create(_recipe(state, backbone), backbone)
        _fill(method, state, checkpoint)
    except KeyError as error:
        raise ModelFolderError(f"{checkpoint} lacks the tensor {error.args[0]}") from error
    except RuntimeError as error:  # torch's, of a shape that does not fit
        raise ModelFolderError(f"{checkpoint} does not fit a CLIP image tower: {error}") from error
    vision.save_pretrained(out / BACKBONE)
    model_folder.save(out, method, _record(backbone))
    return out


def _read(checkpoint: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle fails in as many ways as there are bytes
        raise ModelFolderError(f"{checkpoint} cannot be read as a checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(loaded, dict) or not all(isinstance(tensor, Tensor) for tensor in loaded.values()):
        raise ModelFolderError(f"{checkpoint} is no state dict: expected names and tensors")
    state: dict[str, Tensor] = {str(name).removeprefix("module."): tensor.float() for name, tensor in loaded.items()}
    return state


def _tower(visual: dict[str, Tensor]) -> CLIPVisionModelWithProjection:
    """The image tower of tensors under OpenAI's names."""
    hidden, _, patch, _ = visual["conv1.weight"].shape
    layers = 1 + max(int(name.split(".")[2]) for name in visual if name.startswith("transformer.resblocks."))
    config = CLIPVisionConfig(
        hidden_size=hidden,
        intermediate_size=visual["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        image_size=math.isqrt(visual["positional_embedding"].shape[0] - 1) * patch,
        patch_size=patch,
        projection_dim=visual["proj"].shape[1],
        hidden_act="quick_gelu",
    )
    tower = CLIPVisionModelWithProjection(config)
    named = {
        "vision_model.embeddings.class_embedding": visual["class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": visual["conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": visual["positional_embedding"],
        "visual_projection.weight": visual["proj"].T.contiguous(),
    }
    for theirs, ours in (("ln_pre", "pre_layrnorm"), ("ln_post", "post_layernorm")):
        named |= {f"vision_model.{ours}.{part}": visual[f"{theirs}.{part}"] for part in ("weight", "bias")}
    for layer in range(layers):
        block, target = f"transformer.resblocks.{layer}", f"vision_model.encoder.layers.{layer}"
        for part in ("weight", "bias"):
            named |= {f"{target}.{ours}.{part}": visual[f"{block}.{theirs}.{part}"] for theirs, ours in _BLOCK.items()}
            thirds = visual[f"{block}.attn.in_proj_{part}"].chunk(3)
            named |= {f"{target}.self_attn.{name}.{part}": third for name, third in zip(_PROJECTIONS, thirds, strict=True)}
    tower.load_state_dict({name: tensor.contiguous() for name, tensor in named.items()})
    return tower.eval()


def _recipe(state: dict[str, Tensor], backbone: Backbone) -> Recipe:
    rank = state[f"{_STUDENT}transformer.resblocks.0.attn.q_proj.w_lora_A"].shape[0]
    return make_recipe("dgs", "released", assignments=(f"backbone={backbone.name}", f"lora.rank={rank}", f"lora.alpha={_ALPHA}"))


@torch.no_grad()
def _fill(method: Any, state: dict[str, Tensor], checkpoint: Path) -> None:
    """Put adapter and heads into a fresh `dgs`."""
    parameters = dict(method.backbone.vision.named_parameters())
    scaling = _ALPHA / math.sqrt(method.recipe.lora.rank)
    for layer in range(method.backbone.depth):
        for name in _PROJECTIONS:
            theirs = f"{_STUDENT}transformer.resblocks.{layer}.attn.{name}"
            ours = f"base_model.model.vision_model.encoder.layers.{layer}.self_attn.{name}"
            low, high = state[f"{theirs}.w_lora_A"], state[f"{theirs}.w_lora_B"]
            base = parameters[f"{ours}.base_layer.weight"]
            stored = state[f"{theirs}.weight"]
            # In eval mode the research code merges, so that its weight already holds scaling * B A.
            apart = min(float((stored - base).abs().max()), float((stored - scaling * high @ low - base).abs().max()))
            if apart > _TOLERANCE * max(1.0, float(base.abs().max())):
                raise ModelFolderError(
                    f"{checkpoint}: the student's {name} in block {layer} is neither the frozen weight nor that plus its LoRA product "
                    f"(apart by {apart:.2g}): a fully fine-tuned CLIP is no adapter"
                )
            parameters[f"{ours}.lora_A.default.weight"].copy_(low)
            parameters[f"{ours}.lora_B.default.weight"].copy_(high)
    for head, theirs in (("head", "img_fc"), ("text", "text_fc"), ("teacher", "img_frozen_fc")):
        module = getattr(method, head)
        found = theirs if f"{theirs}.weight" in state else f"clip_model_frozen.{theirs}"
        module.weight.copy_(state[f"{found}.weight"])
        module.bias.copy_(state[f"{found}.bias"])


def _record(backbone: Backbone) -> dict[str, Any]:
    return {
        "backbone": backbone_match.describe(backbone),
        "data": {
            "fingerprint": "unknown (AIGIBench Setting II, as its authors say)",
            "n_real": 144_000,
            "n_fake": 144_000,
            "layout": "unknown",
        },
        "captions": {"source": "unknown (BLIP, as its authors say)", "caption_only_auc": None},
        "versions": {"dgsnet": __version__},
    }
