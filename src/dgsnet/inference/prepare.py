"""Preparation of a source for the model: a verdict that has no score yet, and the views that the model is to see."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dgsnet.core.errors import DecodeError, FormatError, MissingDecoderError, reason_of
from dgsnet.images import content_flags
from dgsnet.images.decode import DecodedImage, DecodePolicy, Source, decode_with_data, read_whole
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.asked import NOTHING, Asked
from dgsnet.inference.verdict import Verdict

if TYPE_CHECKING:
    from dgsnet.provenance import Provenance

_LONGEST = 2**28  # bytes of a file whose origin is read though its pixels are refused


@dataclass(frozen=True)
class Prepared:
    """A verdict that only lacks the model's answer, and the views for the model, (K + C, 3, S, S); None where the verdict is an error
    already. The last `copies`, C, of the views are of everyday copies of the picture, by which a verdict's steadiness is asked.

    The decoded picture is not kept: some dozens of these wait for the model, and one picture may take 150 MB.
    """

    verdict: Verdict
    views: NDArray[np.float32] | None = None
    copies: int = 0


def prepare(source: Source, preprocessing: Preprocessing, policy: DecodePolicy, model: str, asked: Asked = NOTHING) -> Prepared:
    """Decode a source and take the views of it; one that cannot be decoded, or at which something raises, has `error` set.

    Args:
        source: as `dgsnet.images.decode.decode` takes it; it is read once.
        preprocessing: the model's.
        policy: limits of decoding.
        model: its name, for the verdict.
        asked: what else is asked of the picture; claims of origin are read from the bytes that are decoded, or that could not be.
    """
    return prepare_with_image(source, preprocessing, policy, model, asked)[0]


def prepare_with_image(
    source: Source, preprocessing: Preprocessing, policy: DecodePolicy, model: str, asked: Asked = NOTHING
) -> tuple[Prepared, DecodedImage | None]:
    """Prepare a source as `prepare` does, and return the decoded image beside it; None where it cannot be decoded."""
    path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
    name = path or getattr(source, "name", None)
    try:
        return _prepared(source, path, name, preprocessing, policy, model, asked)
    except Exception as error:  # a fault of this package, or memory: it costs the row, and the row says so
        reason = f"{name or 'image'}: cannot be scored ({reason_of(error)}); leave it out"
        return Prepared(Verdict(path, model=model, error=reason)), None


def _prepared(
    source: Source, path: str | None, name: str | None, preprocessing: Preprocessing, policy: DecodePolicy, model: str, asked: Asked
) -> tuple[Prepared, DecodedImage | None]:
    try:
        image, data = decode_with_data(source, policy, alpha=asked.watermarks)
    except DecodeError as error:
        claims = _refused_claims(error, read_whole(source, _LONGEST), asked) if asked.provenance else None
        return Prepared(Verdict(path, model=model, error=str(error), provenance=claims)), None
    prepared = prepare_image(image, path, preprocessing, model, name, steadiness=asked.steadiness)
    if asked.provenance:
        prepared = replace(prepared, verdict=replace(prepared.verdict, provenance=asked.claims(data, image)))
    return prepared, image


def _refused_claims(error: DecodeError, data: bytes | None, asked: Asked) -> Provenance | None:
    """Read what a file says of its origin whose pixels were refused; None where there is no file, or it is no picture and says nothing."""
    claims = asked.claims(data) if data else None
    no_picture = isinstance(error, FormatError) and not isinstance(error, MissingDecoderError)
    return None if claims is None or (no_picture and not claims.findings) else claims


def prepare_image(
    image: DecodedImage, path: str | None, preprocessing: Preprocessing, model: str, name: str | None = None, *, steadiness: bool = False
) -> Prepared:
    """Take the views of a decoded picture; one too small to judge has `error` set, which calls it by its path or `name`."""
    verdict = Verdict(path, image.sha256, width=image.width, height=image.height, format=image.format, model=model)
    if min(image.width, image.height) < preprocessing.patch:
        size = f"{image.width}x{image.height}"
        smallest = f"{preprocessing.patch}x{preprocessing.patch}"
        error = f"{path or name or 'image'}: {size} pixels are too few to judge; expected at least {smallest}"
        return Prepared(replace(verdict, error=error))
    warnings = [*preprocessing.warnings(image.height, image.width), *content_flags.warnings(image)]
    views = preprocessing.views(image.pixels)
    if not steadiness:
        return Prepared(replace(verdict, warnings=warnings), views)
    copies = preprocessing.copy_views(image.pixels)
    return Prepared(replace(verdict, warnings=warnings), np.concatenate([views, copies]), len(copies))
