"""The columns of the audit: measures of one image file, none of them of what the picture shows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

from PIL import Image, JpegImagePlugin

from dgsnet.core.files import sha256_bytes
from dgsnet.data import duplicates
from dgsnet.evaluation.audit import metadata, traces
from dgsnet.images.decode import DecodedImage, decode
from dgsnet.provenance import Marks, load_marks

VERSION = 2
"""Changes whenever a column is measured in another way, so that figures of two versions are never mixed."""

_ALIGN = "`dgsnet align` gives both labels one"
_STRIP = "Strip metadata from both labels; `dgsnet align` writes none."
_OCTAVE = 8  # steps an octave of a ratio of file sizes; a file encoded anew by its own encoder stays within one


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: key of the value.
        kind: ``number``, ``flag`` or ``category``.
        advice: what to do when it separates the labels.
        counts: whether `shortcut_auc` may use it. False: the column also measures what the picture shows, which no pipeline can take away.
    """

    name: str
    kind: Literal["number", "flag", "category"]
    advice: str
    counts: bool = True


COLUMNS: tuple[Column, ...] = (
    Column("container", "category", f"{_ALIGN} container."),
    Column("colour_mode", "category", f"{_ALIGN} colour mode, 8-bit RGB; grey photographs stay grey, so balance or drop those."),
    Column("width", "number", f"{_ALIGN} size by cropping. Do not scale to one size: that leaves a trace which differs by original size."),
    Column("height", "number", f"{_ALIGN} size by cropping, as for the width."),
    Column("aspect", "number", f"{_ALIGN} shape by cropping."),
    Column("square", "flag", f"{_ALIGN} shape by cropping."),
    Column("multiple_of_8", "flag", f"{_ALIGN} size by cropping; generators make multiples of 8, cameras and sites often do not."),
    Column("multiple_of_16", "flag", f"{_ALIGN} size by cropping."),
    Column("multiple_of_64", "flag", f"{_ALIGN} size by cropping."),
    Column(
        "bytes_per_pixel",
        "number",
        "In files of one container and quality: how detailed the pictures are, which nothing removes. Else: compress both alike.",
        counts=False,
    ),
    Column("bytes_over_reencoded", "number", f"{_ALIGN} encoder: these files differ in how well, or how strongly, they were packed."),
    Column("jpeg_quality", "number", f"{_ALIGN} quality."),
    Column("quantisation", "category", f"{_ALIGN} set of tables; they name the camera, phone or site that wrote the file."),
    Column("chroma_subsampling", "category", f"{_ALIGN} subsampling, 4:4:4."),
    Column("progressive", "flag", f"{_ALIGN} kind of JPEG, sequential."),
    Column("exif", "flag", _STRIP),
    Column("camera", "flag", _STRIP),
    Column("icc", "flag", _STRIP),
    Column("xmp", "flag", _STRIP),
    Column("text", "flag", _STRIP),
    Column("generator_mark", "flag", f"The metadata name a generator. {_STRIP}"),
    Column("corner_mark", "flag", "Crop the coloured squares of DALL-E 2 away."),
    Column("frame", "number", "Crop frames and letterboxes away, or leave these images out."),
    Column(
        "earlier_quality",
        "number",
        "The pixels keep the grid of an earlier JPEG. Cropping and saving again do not remove it; scaling down does (`dgsnet align`).",
    ),
)


def measure(data: bytes, marks: Marks | None = None) -> dict[str, Any]:
    """Measure the columns of an encoded image, by name, and `sha256`, `perceptual_hash`, `thumbnail` and `mark` (text of `generator_mark`).

    `marks` is the table of generators' marks; None: the package's own.

    Width, height and aspect are those of the file, before the EXIF turn, for the turn is metadata. None: the file has no such thing, or
    nothing was found.

    Raises:
        DecodeError: it is no picture, damaged, or larger than `DecodePolicy` allows.
    """
    decoded = decode(data)
    with warnings.catch_warnings():  # Pillow warns of odd metadata; decode has accepted the picture and its size
        warnings.simplefilter("ignore")
        with Image.open(BytesIO(data), formats=[decoded.format]) as image:
            image.load()
            file = _file_columns(image, data, decoded, marks or load_marks())
    mark = file.pop("mark")
    return {
        **file,
        "generator_mark": mark is not None,
        "corner_mark": traces.corner_mark(decoded.pixels),
        "frame": traces.frame(decoded.pixels),
        "earlier_quality": traces.earlier_quality(decoded.pixels, decoded.jpeg_quality),
        "mark": mark,
        "sha256": decoded.sha256,
        "perceptual_hash": duplicates.perceptual_hash(decoded.pixels),
        "thumbnail": duplicates.thumbnail(decoded.pixels),
    }


def _file_columns(image: Image.Image, data: bytes, decoded: DecodedImage, marks: Marks) -> dict[str, Any]:
    width, height = image.size
    multiples = {f"multiple_of_{step}": width % step == 0 and height % step == 0 for step in (8, 16, 64)}
    jpeg = image if isinstance(image, JpegImagePlugin.JpegImageFile) else None
    return {
        "container": decoded.format,
        "colour_mode": image.mode,
        "width": width,
        "height": height,
        "aspect": round(width / height, 4),
        "square": width == height,
        **multiples,
        "bytes_per_pixel": round(len(data) / (width * height), 4),
        "bytes_over_reencoded": _bytes_over_reencoded(image, len(data)),
        "jpeg_quality": decoded.jpeg_quality,
        "quantisation": None if jpeg is None else sha256_bytes(repr(sorted(jpeg.quantization.items())).encode())[:8],
        "chroma_subsampling": None if jpeg is None else _subsampling(jpeg.layer),
        "progressive": bool(image.info.get("progressive") or image.info.get("interlace")),
        **metadata.measure(data, image, marks),
    }


def _subsampling(layers: Sequence[Sequence[int]]) -> str:
    """Name the sampling of JPEG components, (name, horizontal, vertical, table) each, as photographers do; other sampling as factors."""
    if len(layers) == 1:
        return "grey"
    (_, across, down, *_), *others = layers
    if any(tuple(other[1:3]) != (1, 1) for other in others):
        return " ".join(f"{layer[1]}x{layer[2]}" for layer in layers)
    return {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0", (4, 1): "4:1:1"}.get((across, down), f"{across}x{down}")


def _bytes_over_reencoded(image: Image.Image, size: int) -> float | None:
    """Return log2 of a lossy file's size over that of the same pixels encoded anew, in steps of an eighth; None of other containers.

    What the picture shows cancels out, so this compares encoders and not pictures: a JPEG against one with its own tables, a WebP (which
    does not tell its quality) against one of quality 80.
    """
    anew = BytesIO()
    try:
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            sampling = JpegImagePlugin.get_sampling(image)
            image.save(anew, "JPEG", qtables=image.quantization, **({} if sampling < 0 else {"subsampling": sampling}))
        elif image.format == "WEBP":
            image.save(anew, "WEBP", quality=80)
        else:
            return None
    except (OSError, ValueError):  # tables or modes that Pillow reads and does not write
        return None
    return round(math.log2(size / anew.tell()) * _OCTAVE) / _OCTAVE
