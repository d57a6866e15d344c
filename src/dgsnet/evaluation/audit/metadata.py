"""The metadata of an image file: which blocks it has, and whether they name a generator."""

from __future__ import annotations

from PIL import Image
from PIL.ExifTags import Base

from dgsnet.provenance import generators
from dgsnet.provenance.metadata import read as read_metadata


def blocks(image: Image.Image) -> dict[str, bool]:
    """Say whether a loaded picture's file has `exif`, a `camera` named in it, an `icc` profile, `xmp`, and `text` (PNG, comment)."""
    info = image.info
    exif = _exif(image)
    return {
        "exif": bool(info.get("exif") or "Raw profile type exif" in info or len(exif)),
        "camera": bool(exif.get(Base.Make) or exif.get(Base.Model)),
        "icc": bool(info.get("icc_profile")),
        "xmp": bool(info.get("xmp") or info.get("XML:com.adobe.xmp")),
        "text": bool(_png_text(image) or info.get("comment")),
    }


def generator_mark(data: bytes) -> str | None:
    """Return the generator or service that the metadata of an encoded picture names, or ``content credentials`` (C2PA); None if none does.

    Only what is written is read: whoever re-saves the picture loses it, and anybody can write it.
    """
    file = read_metadata(data)
    for key, _ in file.texts:
        if found := generators.by_key(key):
            return found
    for text in file.searchable():
        if found := generators.by_text(text):
            return found
    # Cameras sign too, so credentials alone do not say generated.
    return "content credentials" if file.c2pa else None


def _exif(image: Image.Image) -> Image.Exif:
    try:
        return image.getexif()
    except Exception:  # a broken block raises anything; it is a fact about the file that it is there, not a reason to fail
        return Image.Exif()


def _png_text(image: Image.Image) -> dict[str, str]:
    chunks = getattr(image, "text", None)  # of a PNG only
    return {key: str(value) for key, value in chunks.items() if key != "XML:com.adobe.xmp"} if isinstance(chunks, dict) else {}
