"""The metadata of an image file: which blocks it has, and whether they name a generator."""

from __future__ import annotations

from typing import Any

from PIL import Image

from dgsnet.provenance import Marks, read_metadata
from dgsnet.provenance.summary import metadata_claims


def measure(data: bytes, image: Image.Image, marks: Marks) -> dict[str, Any]:
    """Say whether an encoded picture, loaded as `image`, has `exif`, a `camera` named in it, an `icc` profile, `xmp`, and `text` (PNG,
    comment), and whose `mark` it bears.

    `mark` is the generator whose mark it is, the source type that says so, or ``content credentials`` (C2PA); None where there is none.
    Only what is written is read: whoever re-saves the picture loses it, and anybody can write it.
    """
    file = read_metadata(data)
    claims = list(metadata_claims(file, marks))
    generated = [claim for claim in claims if claim.finding.says in {"generated", "ai-edited"}]
    named = next((claim.program for claim in generated if claim.program), None)
    # Cameras sign too, so credentials alone do not say generated.
    unnamed = generated[0].finding.value.rsplit("/", 1)[-1] if generated else "content credentials" if file.c2pa else None
    return {
        "exif": file.has_exif,
        "camera": any(claim.finding.says == "camera" and claim.finding.kind.startswith("exif.") for claim in claims),
        "icc": bool(image.info.get("icc_profile")),
        "xmp": bool(file.xmp),
        "text": bool(file.texts or file.comments),
        "mark": named or unnamed,
    }
