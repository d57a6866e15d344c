"""A model folder with a random CLIP of two narrow blocks: what it says means nothing, but it says it in a millisecond or two."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from transformers import CLIPConfig, CLIPModel

from dgsnet.model.recipe import make_recipe
from dgsnet.training import train


def make(folder: Path) -> Path:
    """The model in `folder/model`, and what it was made of beside it."""
    backbone, pictures = folder / "backbone", folder / "pictures"
    torch.manual_seed(0)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(vision_config=tower | {"image_size": 224, "patch_size": 32}, text_config=tower, projection_dim=16)
    model = CLIPModel(config).eval()
    with torch.no_grad():  # CLIP's own initialisation leaves features that hardly depend on the image
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(backbone)
    for number in range(16):
        save(pictures / ("real", "fake")[number % 2] / f"{number}.png", number, 96)
    recipe = make_recipe("linear", assignments=(f"backbone={backbone}", "probe.epochs=1", "probe.batch=8"))
    return train(pictures, folder / "model", recipe, console=Console(file=StringIO()))


def save(file: Path, number: int, side: int) -> None:
    """A smooth random picture of `side` x `side` pixels that depends on nothing but its number."""
    file.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(file)
