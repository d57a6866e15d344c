"""Comparison of a backbone with the one a model was trained on: the same, another build of its weights, or another network.

The fingerprint of the weights tells bit-identical from everything else. But one set of weights comes in several builds, such as the fp32
original and its int8 export turned back into floats: other bits, nearly the same features. So a model folder also records a *reference
embedding*, under the key `probe`: the frozen embedding of one fixed synthetic picture. A backbone with another fingerprint whose embedding
agrees with it is another build.

One picture shows whether two backbones compute nearly the same, not how far scores differ. The warning `other_backbone_build` in each row
says that much.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dgsnet.images.preprocess import Preprocessing
from dgsnet.model.backbone import Backbone

MIN_COSINE = 0.98
"""Least cosine between the recorded embedding and that of another build. Quantising to int8 keeps about 0.99; other networks are near 0."""

MAX_NORM_CHANGE = 0.1
"""Share by which the embedding of another build may be longer or shorter: heads that read raw features see its length too."""

_PICTURE = "waves-1"  # another picture needs another name, or old embeddings would be compared with its own

Match = Literal["same", "other build", "another"]


def reference_picture(side: int) -> NDArray[np.uint8]:
    """Draw the picture of the reference embedding, (side, side, 3): in each channel three waves, coarse to fine, of different directions.

    A formula, not random numbers: what a generator of these gives differs between libraries and their versions.
    """
    y, x = np.mgrid[:side, :side].astype(np.float64)
    waves = []
    for channel in range(3):
        coarse = np.sin((3 * x + (5 - 2 * channel) * y) * np.pi / 224 + channel)
        middle = np.sin(((7 + 6 * channel) * x - 11 * y) * np.pi / 224)
        fine = np.sin((37 * x + (41 - 8 * channel) * y) * np.pi / 224)
        # With 127.5 a pixel where all waves are 0 would be rounded up or down by the last bit of a sine, which differs between machines.
        waves.append(127.7 + 70 * coarse + 35 * middle + 15 * fine)
    pixels: NDArray[np.uint8] = np.clip(np.rint(np.stack(waves, axis=2)), 0, 255).astype(np.uint8)
    return pixels


def describe(backbone: Backbone) -> dict[str, Any]:
    """Return what a model folder records of its backbone. Takes one pass through it."""
    identity = {"name": backbone.name, "fingerprint": backbone.fingerprint, "width": backbone.joint_width, "size": backbone.size}
    return identity | {"probe": reference_embedding(backbone)}


def reference_embedding(backbone: Backbone) -> dict[str, Any]:
    """Compute what a model folder records under `probe`: the picture's name, the norm of its frozen embedding, and the unit embedding.

    The unit embedding is base64 of D little-endian float16: 1.4 KB for CLIP's 512 numbers, rounded by less than 0.001.
    """
    embedding = _embedding(backbone)
    norm = float(np.linalg.norm(embedding))
    unit = (embedding / norm).astype("<f2") if norm > 0 else np.zeros(len(embedding), "<f2")
    return {"picture": _PICTURE, "norm": round(norm, 4), "feature": base64.b64encode(unit.tobytes()).decode()}


def match(recorded: Mapping[str, Any], backbone: Backbone) -> Match:
    """Compare a backbone with the one a model folder records (`describe`).

    Costs one pass through the backbone, and only when the fingerprints differ. Without a reference embedding, or with one of a picture this
    version does not know, a backbone with another fingerprint is another one.

    Raises:
        ValueError: the recorded embedding is damaged.
    """
    if recorded["fingerprint"] == backbone.fingerprint:
        return "same"
    reference = recorded.get("probe")
    if reference is None or (recorded.get("width"), recorded.get("size")) != (backbone.joint_width, backbone.size):
        return "another"
    try:
        if reference["picture"] != _PICTURE:
            return "another"
        norm = float(reference["norm"])
        unit = np.frombuffer(base64.b64decode(reference["feature"], validate=True), "<f2").astype(np.float64)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise ValueError(f"the probe of the backbone cannot be read: {error!r}") from error
    if len(unit) != backbone.joint_width:
        raise ValueError(f"the probe of the backbone has {len(unit)} numbers; expected {backbone.joint_width}")
    embedding = _embedding(backbone)
    here = float(np.linalg.norm(embedding))
    # Not `<`: NaN from a broken backbone must not pass, nor an embedding of zeros.
    alike = cosine(unit, embedding) >= MIN_COSINE and abs(here - norm) <= MAX_NORM_CHANGE * norm
    return "other build" if alike else "another"


def cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the cosine between two vectors (D,), -1..1; NaN where one is zero."""
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else float("nan")


def _embedding(backbone: Backbone) -> NDArray[np.float64]:
    """Compute CLIP's embedding of the reference picture, (joint width,)."""
    pixels = torch.from_numpy(Preprocessing(view="resize", size=backbone.size).normalise(reference_picture(backbone.size)))
    embedding: NDArray[np.float64] = backbone.frozen(pixels[None].to(backbone.device))[0, : backbone.joint_width].double().cpu().numpy()
    return embedding
