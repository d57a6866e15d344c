"""What an image file says beside its pixels: which blocks of metadata it has, and whether they name a generator."""

from __future__ import annotations

import re
from collections.abc import Iterator

from PIL import Image
from PIL.ExifTags import IFD, Base

_PNG_KEYS = {
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
"""Keys of PNG text chunks that image generators write."""

_NAMES = re.compile(
    r"midjourney|dall[-\u00b7 ]?e\b|stable[ -]?diffusion|comfyui|automatic1111|invokeai|novelai|dreamstudio|fooocus|adobe firefly|"
    r"openai|chatgpt|gpt-4o|gpt-image|google (?:imagen|gemini|ai)|made with google ai|ideogram|leonardo\.ai|black forest labs|flux\.1|"
    r"bing image creator|trainedalgorithmicmedia|compositewithtrainedalgorithmicmedia",
    re.IGNORECASE,
)
"""Names that generators and the IPTC's digital source type leave in metadata."""

_TEXT_TAGS = (Base.ImageDescription, Base.Make, Base.Model, Base.Software, Base.Artist, Base.Copyright, Base.HostComputer)
_LONGEST = 64 * 1024  # characters of a field that are searched


def blocks(image: Image.Image) -> dict[str, bool]:
    """Whether a loaded picture's file has `exif`, a `camera` named in it, an `icc` profile, `xmp`, and `text` (PNG text, a comment)."""
    info = image.info
    exif = _exif(image)
    return {
        "exif": bool(info.get("exif") or "Raw profile type exif" in info or len(exif)),
        "camera": bool(exif.get(Base.Make) or exif.get(Base.Model)),
        "icc": bool(info.get("icc_profile")),
        "xmp": bool(info.get("xmp") or info.get("XML:com.adobe.xmp")),
        "text": bool(_png_text(image) or info.get("comment")),
    }


def generator_mark(image: Image.Image, data: bytes) -> str | None:
    """The generator or service that the metadata of a loaded picture names, or ``content credentials`` (C2PA); None if none does.

    Only what is written is read: whoever re-saves the picture loses it, and anybody can write it.

    Args:
        image: loaded.
        data: its encoded bytes.
    """
    for key in _png_text(image):
        if key.lower() in _PNG_KEYS:
            return _PNG_KEYS[key.lower()]
    for text in _texts(image):
        if found := _NAMES.search(text[:_LONGEST]):
            return found.group(0).lower()
    # Cameras sign too, so credentials alone do not say generated. Both words stand in the box that holds them.
    return "content credentials" if b"jumb" in data and b"c2pa" in data else None


def _exif(image: Image.Image) -> Image.Exif:
    try:
        return image.getexif()
    except Exception:  # a broken block raises anything; it is a fact about the file that it is there, not a reason to fail
        return Image.Exif()


def _png_text(image: Image.Image) -> dict[str, str]:
    chunks = getattr(image, "text", None)  # of a PNG only
    return {key: str(value) for key, value in chunks.items() if key != "XML:com.adobe.xmp"} if isinstance(chunks, dict) else {}


def _texts(image: Image.Image) -> Iterator[str]:
    exif = _exif(image)
    yield from (str(exif[tag]) for tag in _TEXT_TAGS if tag in exif)
    try:
        comment = exif.get_ifd(IFD.Exif).get(Base.UserComment)
    except Exception:  # as above
        comment = None
    yield from _png_text(image).values()
    for value in (comment, image.info.get("comment"), image.info.get("xmp"), image.info.get("XML:com.adobe.xmp")):
        if value:
            yield _plain(value) if isinstance(value, bytes) else str(value)


def _plain(value: bytes) -> str:
    return value[: 2 * _LONGEST].replace(b"\0", b"").decode("latin-1")  # without the zeros UTF-16 of Latin letters reads as Latin
