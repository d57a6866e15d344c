"""Whether a backbone is the one a model was trained on, another build of the same weights, or another network.

The fingerprint of the weights tells bit-identical from everything else. But one set of weights comes in several builds, such as the fp32
original and its int8 export turned back into floats: other bits, nearly the same features. So a model folder also records a *probe*: the
frozen feature of one fixed synthetic picture. A backbone with another fingerprint whose feature agrees with it is another build.

What the probe cannot tell: one picture shows whether two backbones compute nearly the same, not how far scores differ. The warning
`other_backbone_build` in each row says that much.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dgsnet.images.preprocess import Preprocessing

if TYPE_CHECKING:
    from dgsnet.model.backbone import Backbone

MIN_COSINE = 0.98
"""Least cosine between the recorded feature and that of another build. Quantising to int8 keeps about 0.99; other networks are near 0."""

MAX_NORM_CHANGE = 0.1
"""How much longer or shorter the feature of another build may be, as a share: heads that read raw features see its length too."""

_PICTURE = "waves-1"  # another picture needs another name, or old probes would be compared with it

Match = Literal["same", "other build", "another"]


def picture(side: int) -> NDArray[np.uint8]:
    """The picture of the probe, (side, side, 3): in each channel a coarse, a middle and a fine wave of different directions.

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


def probe(backbone: Backbone) -> dict[str, Any]:
    """What a model folder records: the picture's name, the norm of its frozen feature, and the unit feature.

    The feature is base64 of D little-endian float16: 1.4 KB for CLIP's 512 numbers, rounded by less than 0.001.
    """
    feature = _feature(backbone)
    norm = float(np.linalg.norm(feature))
    unit = (feature / norm).astype("<f2") if norm > 0 else np.zeros(len(feature), "<f2")
    return {"picture": _PICTURE, "norm": round(norm, 4), "feature": base64.b64encode(unit.tobytes()).decode()}


def match(recorded: Mapping[str, Any], backbone: Backbone) -> Match:
    """Compare a backbone with the one a model folder records (`Backbone.describe`).

    Costs one pass through the backbone, and only when the fingerprints differ. Without a probe, or with one of a picture this version does
    not know, a backbone with another fingerprint is another one.

    Raises:
        ValueError: the recorded probe is damaged.
    """
    if recorded["fingerprint"] == backbone.fingerprint:
        return "same"
    known = recorded.get("probe")
    if known is None or (recorded.get("width"), recorded.get("size")) != (backbone.joint_width, backbone.size):
        return "another"
    try:
        if known["picture"] != _PICTURE:
            return "another"
        norm, unit = float(known["norm"]), np.frombuffer(base64.b64decode(known["feature"], validate=True), "<f2").astype(np.float64)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise ValueError(f"the probe of the backbone cannot be read: {error!r}") from error
    if len(unit) != backbone.joint_width:
        raise ValueError(f"the probe of the backbone has {len(unit)} numbers; expected {backbone.joint_width}")
    feature = _feature(backbone)
    here = float(np.linalg.norm(feature))
    # Not `<`: NaN from a broken backbone must not pass, nor a feature of zeros.
    alike = cosine(unit, feature) >= MIN_COSINE and abs(here - norm) <= MAX_NORM_CHANGE * norm
    return "other build" if alike else "another"


def cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Cosine between two vectors (D,), -1..1; NaN where one is zero."""
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else float("nan")


def _feature(backbone: Backbone) -> NDArray[np.float64]:
    """CLIP's embedding of the probe's picture, (joint width,)."""
    pixels = torch.from_numpy(Preprocessing(view="resize", size=backbone.size).normalise(picture(backbone.size)))
    feature: NDArray[np.float64] = backbone.frozen(pixels[None].to(backbone.device))[0, : backbone.joint_width].double().cpu().numpy()
    return feature
