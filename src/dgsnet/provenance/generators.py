"""Marks that image generators and editors leave in metadata."""

from __future__ import annotations

import re

LONGEST = 64 * 1024
"""Characters of a field that are searched."""

_KEYS = {
    "parameters": "Stable Diffusion web UI",
    "prompt": "ComfyUI",
    "workflow": "ComfyUI",
    "dream": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "invokeai_metadata": "InvokeAI",
    "invokeai_graph": "InvokeAI",
    "generation_data": "TensorArt",
    "generation_time": "NovelAI",
    "fooocus_scheme": "Fooocus",
}
"""Keys of PNG text chunks that image generators write; only whole keys count."""

_NAMES = re.compile(
    r"midjourney|dall[-\u00b7 ]?e\b|stable[ -]?diffusion|comfyui|automatic1111|invokeai|novelai|dreamstudio|fooocus|adobe firefly|"
    r"openai|chatgpt|gpt-4o|gpt-image|google (?:imagen|gemini|ai)|made with google ai|ideogram|leonardo\.ai|black forest labs|flux\.1|"
    r"bing image creator|trainedalgorithmicmedia|compositewithtrainedalgorithmicmedia",
    re.IGNORECASE,
)
"""Names that generators and the IPTC's digital source type leave in metadata, found anywhere in any field: a common word needs `\\b`."""

_SETTINGS = (
    # Files without text chunks (JPEG, WebP) hold the same settings as EXIF: the web UI's as a comment, ComfyUI's as camera make and model.
    (re.compile(r"\bSteps: \d{1,6}, Sampler: "), "Stable Diffusion web UI"),
    (re.compile(r'\A\s{0,8}(?:prompt|workflow):\s{0,8}\{|"class_type"\s{0,8}:\s{0,8}"'), "ComfyUI"),
)

_EDITORS = re.compile(
    r"\b(?:photoshop|lightroom|camera raw|gimp|affinity|snapseed|pixelmator|capture one|darktable|rawtherapee|canva|picsart|paint\.net|"
    r"luminar|imagemagick|photopea|krita|acdsee|dxo|topaz|faceapp|meitu|vsco|paintshop|picasa)\b",
    re.IGNORECASE,
)


def by_key(key: str) -> str | None:
    """Return the program that writes PNG text under this key."""
    return _KEYS.get(key.lower())


def by_text(text: str) -> str | None:
    """Return the generator that a text names, in lower case, or whose settings it lists. Nothing tells a mere mention from a signature."""
    text = text[:LONGEST]
    if found := _NAMES.search(text):
        return found.group(0).lower()
    return next((name for settings, name in _SETTINGS if settings.search(text)), None)


def is_editor(text: str) -> bool:
    """Return whether a text names a program that edits pictures."""
    return _EDITORS.search(text[:LONGEST]) is not None
