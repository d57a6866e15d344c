"""From a source to all that is known of it before the model has looked: a verdict without a score, and the views the model is to see."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dgsnet.core.errors import DecodeError
from dgsnet.images import content_flags
from dgsnet.images.decode import DecodedImage, DecodePolicy, Source, decode
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.verdict import Verdict


@dataclass(frozen=True)
class Prepared:
    """A verdict that only lacks the model's word, and what the model is to see, (K, 3, S, S); None where the verdict is an error already.

    The decoded picture is not kept: some dozens of these wait for the model, and one picture may take 150 MB.
    """

    verdict: Verdict
    views: NDArray[np.float32] | None = None


def prepare(source: Source, look: Preprocessing, policy: DecodePolicy, model: str) -> Prepared:
    """Decode a source and take the views of it; one that cannot be decoded has `error` set.

    Args:
        source: as `dgsnet.images.decode.decode` takes it.
        look: the model's preprocessing.
        policy: limits of decoding.
        model: its name, for the verdict.
    """
    path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
    try:
        image = decode(source, policy)
    except DecodeError as error:
        return Prepared(Verdict(path, model=model, error=str(error)))
    return of_image(image, path, look, model, getattr(source, "name", None))


def of_image(image: DecodedImage, path: str | None, look: Preprocessing, model: str, name: str | None = None) -> Prepared:
    """The views of a decoded picture; one too small to judge has `error` set, which calls it by its path or `name`."""
    verdict = Verdict(path, image.sha256, width=image.width, height=image.height, format=image.format, model=model)
    if min(image.width, image.height) < look.patch:
        size = f"{image.width}x{image.height}"
        few = f"{path or name or 'image'}: {size} pixels are too few to judge; expected at least {look.patch}x{look.patch}"
        return Prepared(replace(verdict, error=few))
    warnings = [*look.warnings(image.height, image.width), *content_flags.warnings(image)]
    return Prepared(replace(verdict, warnings=warnings), look.views(image.pixels))
