"""Preparation of a source for the model: a verdict that has no score yet, and the views that the model is to see."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dgsnet.core.errors import DecodeError, FormatError, MissingDecoderError
from dgsnet.images import content_flags
from dgsnet.images.decode import DecodedImage, DecodePolicy, Source, decode, decode_with_data, read_whole
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.verdict import Verdict

if TYPE_CHECKING:
    from dgsnet.provenance import Provenance

_LONGEST = 2**28  # bytes of a file whose origin is read though its pixels are refused


@dataclass(frozen=True)
class Prepared:
    """A verdict that only lacks the model's answer, and the views for the model, (K, 3, S, S); None where the verdict is an error already.

    The decoded picture is not kept: some dozens of these wait for the model, and one picture may take 150 MB.
    """

    verdict: Verdict
    views: NDArray[np.float32] | None = None


def prepare(source: Source, preprocessing: Preprocessing, policy: DecodePolicy, model: str, *, provenance: bool = False) -> Prepared:
    """Decode a source and take the views of it; one that cannot be decoded has `error` set.

    Args:
        source: as `dgsnet.images.decode.decode` takes it; it is read once.
        preprocessing: the model's.
        policy: limits of decoding.
        model: its name, for the verdict.
        provenance: read the file's claims on its origin too, from the bytes that are decoded, or that could not be: it needs no pixel.
    """
    return prepare_with_image(source, preprocessing, policy, model, provenance=provenance)[0]


def prepare_with_image(
    source: Source, preprocessing: Preprocessing, policy: DecodePolicy, model: str, *, provenance: bool = False
) -> tuple[Prepared, DecodedImage | None]:
    """Prepare a source as `prepare` does, and return the decoded image beside it; None where it cannot be decoded."""
    path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
    try:
        image, data = decode_with_data(source, policy) if provenance else (decode(source, policy), None)
    except DecodeError as error:
        claims = refused_provenance(error, read_whole(source, _LONGEST)) if provenance else None
        return Prepared(Verdict(path, model=model, error=str(error), provenance=claims)), None
    prepared = prepare_image(image, path, preprocessing, model, getattr(source, "name", None))
    if data is not None:
        from dgsnet.provenance import read  # noqa: PLC0415 - only where it is asked for

        prepared = replace(prepared, verdict=replace(prepared.verdict, provenance=read(data)))
    return prepared, image


def refused_provenance(error: DecodeError, data: bytes | None) -> Provenance | None:
    """Read what a file says of its origin whose pixels were refused; None where there is no file, or it is no picture and says nothing."""
    from dgsnet.provenance import read  # noqa: PLC0415 - only where it is asked for

    claims = read(data) if data else None
    no_picture = isinstance(error, FormatError) and not isinstance(error, MissingDecoderError)
    return None if claims is None or (no_picture and not claims.findings) else claims


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
