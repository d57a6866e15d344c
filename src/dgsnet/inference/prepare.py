"""Preparation of a source for the model: a verdict that has no score yet, and the views that the model is to see."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dgsnet.core.errors import DecodeError
from dgsnet.images import content_flags
from dgsnet.images.decode import DecodedImage, DecodePolicy, Source, decode, decode_with_data
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.verdict import Verdict

if TYPE_CHECKING:
    from dgsnet.inference.verdict import ReadProvenance, ReadWatermarks


@dataclass(frozen=True)
class Prepared:
    """A verdict that only lacks the model's answer, and the views for the model, (K, 3, S, S); None where the verdict is an error already.

    The decoded picture is not kept: some dozens of these wait for the model, and one picture may take 150 MB.
    """

    verdict: Verdict
    views: NDArray[np.float32] | None = None


def prepare(
    source: Source,
    preprocessing: Preprocessing,
    policy: DecodePolicy,
    model: str,
    *,
    provenance: bool | ReadProvenance = False,
    watermarks: ReadWatermarks | None = None,
) -> Prepared:
    """Decode a source and take the views of it; one that cannot be decoded has `error` set.

    Args:
        source: as `dgsnet.images.decode.decode` takes it; it is read once.
        preprocessing: the model's.
        policy: limits of decoding.
        model: its name, for the verdict.
        provenance: read the file's claims on its origin too, from the bytes that are decoded; True for `dgsnet.provenance.read`.
        watermarks: reads marks in the pixels, whose findings stand before those of the file; None: nothing does.
    """
    return prepare_with_image(source, preprocessing, policy, model, provenance=provenance, watermarks=watermarks)[0]


def prepare_with_image(
    source: Source,
    preprocessing: Preprocessing,
    policy: DecodePolicy,
    model: str,
    *,
    provenance: bool | ReadProvenance = False,
    watermarks: ReadWatermarks | None = None,
) -> tuple[Prepared, DecodedImage | None]:
    """Prepare a source as `prepare` does, and return the decoded image beside it; None where it cannot be decoded."""
    path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
    try:
        if provenance or watermarks is not None:
            image, data = decode_with_data(source, policy, alpha=watermarks is not None)
        else:
            image, data = decode(source, policy), None
    except DecodeError as error:
        return Prepared(Verdict(path, model=model, error=str(error))), None
    prepared = prepare_image(image, path, preprocessing, model, getattr(source, "name", None))
    if data is not None and prepared.verdict.error is None:
        from dgsnet.provenance import read  # noqa: PLC0415 - only where it is asked for

        claims = provenance(data) if callable(provenance) else read(data)
        prepared = replace(prepared, verdict=replace(prepared.verdict, provenance=claims))
    if watermarks is not None and prepared.verdict.error is None:
        from dgsnet.provenance import Provenance, with_pixels  # noqa: PLC0415 - as above

        claims = with_pixels(prepared.verdict.provenance or Provenance(), watermarks(image))
        prepared = replace(prepared, verdict=replace(prepared.verdict, provenance=claims))
    return prepared, image


def prepare_image(image: DecodedImage, path: str | None, preprocessing: Preprocessing, model: str, name: str | None = None) -> Prepared:
    """Take the views of a decoded picture; one too small to judge has `error` set, which calls it by its path or `name`."""
    verdict = Verdict(path, image.sha256, width=image.width, height=image.height, format=image.format, model=model)
    if min(image.width, image.height) < preprocessing.patch:
        size = f"{image.width}x{image.height}"
        smallest = f"{preprocessing.patch}x{preprocessing.patch}"
        error = f"{path or name or 'image'}: {size} pixels are too few to judge; expected at least {smallest}"
        return Prepared(replace(verdict, error=error))
    warnings = [*preprocessing.warnings(image.height, image.width), *content_flags.warnings(image)]
    return Prepared(replace(verdict, warnings=warnings), preprocessing.views(image.pixels))
