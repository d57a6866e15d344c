"""Readers of formats that Pillow has none for: HEIC by the extra ``heif``, JPEG XL by the extra ``jxl``.

The packages are imported by the first picture that needs them, and by nothing else.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection
from contextlib import suppress
from io import BytesIO

from PIL import Image

from dgsnet.core import extras
from dgsnet.core.errors import DecodeError, MissingDecoderError

PACKED_JPEG = "dgsnet_packed_jpeg"
"""Key of `Image.info`: the JPEG that a JPEG XL file holds without loss."""

_MODES = {"L", "LA", "RGB", "RGBA", "I;16", "F"}


def load(formats: Collection[str]) -> None:
    """Import the packages of some formats, where they are installed, before the first picture needs them."""
    for name, package in (("HEIC", "pillow_heif.as_plugin"), ("JXL", "pillow_jxl")):
        if name in formats:
            with suppress(ModuleNotFoundError):
                importlib.import_module(package)


def is_available(name: str) -> bool:
    """Tell whether the reader of a format is installed, without loading it."""
    package = {"HEIC": "pillow_heif", "JXL": "pillow_jxl"}.get(name)
    return package is None or importlib.util.find_spec(package) is not None


def heic(stream: BytesIO) -> Image.Image:
    """Open a HEIF picture coded in HEVC, turned as its own header says; nothing is decoded before it is loaded.

    Raises:
        MissingDecoderError: pillow-heif is not installed.
    """
    try:
        from pillow_heif.as_plugin import HeifImageFile  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise _missing("HEIC", error) from error
    image: Image.Image = HeifImageFile(stream)
    return image


def jxl(stream: BytesIO) -> Image.Image:
    """Decode a JPEG XL picture, turned as its own header says. Of a packed JPEG the picture is empty, and the JPEG stands in its `info`.

    Raises:
        MissingDecoderError: pillow-jxl-plugin is not installed.
        DecodeError: it is damaged.
    """
    try:
        from pillow_jxl import Decoder  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise _missing("JPEG XL", error) from error
    try:
        is_jpeg, facts, data, *_ = Decoder(num_threads=0)(stream.getvalue())
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__module__ == "pyo3_runtime":  # a panic of the library is no `Exception`
            raise DecodeError(f"truncated or damaged JXL ({error}); replace it by a whole copy or leave it out") from error
        raise
    if is_jpeg:
        image = Image.new("L", (1, 1))
        image.info[PACKED_JPEG] = bytes(data)
        return image
    if facts.mode not in _MODES:
        raise DecodeError(f"a JPEG XL of mode {facts.mode}; store it in 8 or 16 bits")
    return Image.frombytes(facts.mode, (facts.width, facts.height), bytes(data))


def _missing(what: str, error: ModuleNotFoundError) -> Exception:
    explained = extras.missing(error)
    return MissingDecoderError(f"{what}: {explained}") if explained else error
