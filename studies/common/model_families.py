"""Model families of generators: versions and relatives by one maker, which recognise each other."""

from __future__ import annotations

import re
from dataclasses import replace

from dgsnet.data.dataset import Dataset
from studies.common.image_list import crop_path, listed
from studies.common.training_images import TrainingImages

FAMILIES = {
    "Google": "imagen|gemini|nano ?banana",
    "OpenAI": "gpt-|gpt image|dall-e 3",
    "DALL-E mini": "dalle?.?mini|dall-e m|mindall|craiyon|min\\(",
    "Midjourney": "midjourney",
    "FLUX": "flux|chroma|flex\\.|^uno$",
    "PixArt": "pixart",
    "Leonardo": "leonardo",
    "Hunyuan": "hunyuan",
    "latent diffusion": "ldm|glid3",
    "SDXL": "xl|ssd-1b|segmind|segmoe-4x|koala|pony|tempest|hidiffusion|rich-text",
    "Stable Diffusion 3": "stable.?diffusion.3",
    "Stable Diffusion": "stable diffusion|^sd|/sdxs|dreamshaper|realistic vision|juggernaut|blipdiffusion|latent consistency|multidiff",
    "StyleGAN": "stylegan|generated\\.photos",
    "BigGAN": "biggan|big sleep",
    "guided diffusion": "disco|clip-guided",
    "Muse": "muse|meissonic|styledrop",
    "Krea": "krea",
    "ERNIE": "ernie",
    "MAI": "mai-image",
    "VQGAN": "vqgan",
    "pix2pix": "pix2pix",
    "Bria": "bria",
    "Kandinsky": "kandinsky",
    "Playground": "playground",
    "Qwen": "qwen",
    "Z-Image": "z-image",
    "Seedream": "seedream",
    "Ideogram": "ideogram",
    "Grok": "grok",
    "Kolors": "kolors",
    "Lumina": "lumina",
    "SANA": "sana",
    "Cosmos": "cosmos",
    "Wan": "wan",
    "HiDream": "hidream",
    "OmniGen": "omnigen",
    "AuraFlow": "auraflow",
    "CogView": "cogview",
    "Cascade": "cascade",
    "Firefly": "firefly",
    "F-Lite": "f-lite",
}
"""Families, and what of a generator's name, brackets left out, tells of them; the first that is found counts."""


def family_of(generator: str) -> str:
    """Return the family that a generator is of: its own, where `FAMILIES` has none."""
    named = generator.split(" (", maxsplit=1)[0].lower()
    return next((name for name, pattern in FAMILIES.items() if re.search(pattern, named)), generator)


def by_family(images: TrainingImages) -> Dataset:
    """Return the images, each generated one with its family as generator, so that calibration leaves out whole families."""
    named = {f"more/{crop_path(row)}": row["generator"] for row in listed()}
    of_family = (replace(one, generator=family_of(named.get(one.path, one.generator))) if one.label else one for one in images.dataset)
    return replace(images.dataset, samples=tuple(of_family))
