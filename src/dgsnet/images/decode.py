"""Bytes to RGB pixels: one function, one policy, one error.

| input | becomes |
|---|---|
| JPEG (MPO, Ultra HDR and motion photos too), PNG, WebP, GIF, BMP, TIFF and BigTIFF, AVIF, HEIC, JPEG XL, told by their first bytes and
never by suffix | RGB; anything else is refused |
| animation, multi-page, a picture beside others | its first frame, the main picture; an animated JPEG XL is refused |
| EXIF orientation | applied; broken EXIF counts as none. AVIF, HEIC and JPEG XL say how in their own header, which alone counts |
| alpha channel, transparent palette entry or colour key | composited on white |
| CMYK, YCCK, YCbCr, HSV, 1-bit, grey, palette | Pillow's plain conversion, no colour management |
| 10 and 12 bits of AVIF, HEIC and JPEG XL | 8 bits as their decoders round; no tone mapping of HDR |
| 16-bit grey | v / 257, rounded: 0 stays 0 and 65535 becomes 255 |
| 32-bit integer grey | as 16-bit grey when all values are in 0..65535, else refused |
| 16 bits a channel in colour | Pillow keeps the high byte |
| float grey | v * 255, rounded, when all values are in 0..1, else refused: no guess about the scale |
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from dgsnet.core.errors import DecodeError, FormatError, SizeError
from dgsnet.images import bmff, coded_size, decompression_limits, heif_limits, jpeg_quality, optional_readers, tiff


class _JpegReader(JpegImagePlugin.JpegImageFile):
    """Pillow's JPEG reader, without its search of the EXIF for a resolution that nobody here wants."""

    def _read_dpi_from_exif(self) -> None:
        return


def _is_avif(data: bytes) -> bool:
    return any(brand in {b"avif", b"avis"} for brand in bmff.brands(data))


def _is_heic(data: bytes) -> bool:
    """Tell whether a file is HEIF and no AVIF: some makers name only the general brands, and the coding stands further in."""
    return any(brand[:3] in {b"hei", b"hev"} or brand in {b"mif1", b"msf1"} for brand in bmff.brands(data)) and not _is_avif(data)


_Reader = Callable[[BytesIO], Image.Image]

# The readers are called directly, not through Image.open: its decompression-bomb check obeys a process-wide setting and warns process-wide,
# and its JPEG reader follows MPO side pictures. Here only `DecodePolicy` decides, and only these parsers ever see the bytes; those of
# other packages are not even loaded before a picture that needs them, and is allowed, comes.
_READERS: tuple[tuple[str, Callable[[bytes], object], _Reader], ...] = (
    ("JPEG", re.compile(rb"\xff\xd8\xff").match, _JpegReader),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n").match, PngImagePlugin.PngImageFile),
    ("WEBP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL).match, WebPImagePlugin.WebPImageFile),
    ("GIF", re.compile(rb"GIF8[79]a").match, GifImagePlugin.GifImageFile),
    ("BMP", re.compile(rb"BM").match, BmpImagePlugin.BmpImageFile),
    ("TIFF", re.compile(rb"II\*\x00|MM\x00\*|II\+\x00|MM\x00\+").match, TiffImagePlugin.TiffImageFile),
    ("AVIF", _is_avif, AvifImagePlugin.AvifImageFile),
    ("HEIC", _is_heic, optional_readers.heic),
    ("JXL", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n").match, optional_readers.jxl),
)
FORMATS = tuple(name for name, _, _ in _READERS)

_ORIENTATION_TAG = 0x0112
_MOST_ENTRIES = 256  # of a directory of EXIF or TIFF: cameras write some dozens
_UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored[::-1].swapaxes(0, 1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored[:, ::-1].swapaxes(0, 1),
}

_NO_TURN = {"AVIF": ("xmp",), "HEIC": ("exif", "xmp")}  # what Pillow would turn by, and the container's own turn is done already
_BLOCK = 64  # pixels: the largest blocks of HEVC; those of AV1 are cut to the picture
_MOST_DECODED = 3  # times `max_pixels`: tiles with their rims, and a mask
_STRIP = 2**18  # pixels converted at a time: they stay in cache, and copies of all of a large picture would take a gigabyte


@dataclass(frozen=True)
class DecodePolicy:
    """Limits of what `decode` accepts: `max_bytes` of encoded data, `max_pixels` and `max_side` of the picture as its header announces it,
    `max_scans` of a JPEG, each of which goes over all of it, `formats`. Together they bound the memory and time that a file can cost.

    `truncated="fill"` keeps the part of a cut-off or damaged file that can be decoded: the rest of a JPEG is grey or coarse, of a PNG, GIF,
    BMP or TIFF the zero value (black, or the first palette colour). A damaged WebP holds nothing decodable and is always an error.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 2**26
    max_side: int = 16_384
    max_scans: int = 100
    truncated: Literal["error", "fill"] = "error"
    formats: tuple[str, ...] = FORMATS

    def max_scale(self, height: float, width: float) -> float:
        """Return the largest factor by which both sides of a picture of this size may be scaled, so that it is still accepted."""
        return min(math.sqrt(self.max_pixels / (height * width)), self.max_side / max(height, width))


@dataclass(frozen=True)
class DecodedImage:
    """A decoded picture and where it came from.

    `pixels` is (H, W, 3) uint8 RGB, C-contiguous, upright. `sha256` is that of the encoded bytes; input without (arrays, PIL images) is
    hashed as shape and RGB pixels. `format` is one of `FORMATS`, or "array" or "pil". `jpeg_quality`, 1..100, is what the tables of a JPEG
    file tell; None for everything else. `alpha` is (H, W) uint8, upright as well, where it was asked for and the picture has one.
    """

    pixels: NDArray[np.uint8]
    sha256: str
    format: str
    jpeg_quality: int | None = None
    alpha: NDArray[np.uint8] | None = None

    @property
    def width(self) -> int:
        """Return the width in pixels, after the EXIF turn."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Return the height in pixels, after the EXIF turn."""
        return int(self.pixels.shape[0])


_DEFAULT = DecodePolicy()

Source = str | os.PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[np.uint8]


def decode(source: Source, policy: DecodePolicy = _DEFAULT, *, alpha: bool = False) -> DecodedImage:
    """Decode a path, encoded bytes, a binary file object, a PIL image or a uint8 array (H,W), (H,W,1), (H,W,3) or (H,W,4).

    With `alpha` the alpha channel is kept too, where there is one; the pixels are composited on white all the same.

    Raises `DecodeError`, and nothing else, when the source cannot be read, is no picture of a known format (`FormatError`), is damaged or
    exceeds `policy` (`SizeError`).
    """
    return decode_with_data(source, policy, alpha=alpha)[0]


def decode_with_data(source: Source, policy: DecodePolicy = _DEFAULT, *, alpha: bool = False) -> tuple[DecodedImage, bytes | None]:
    """Decode as `decode` does, and return the encoded bytes beside the image; None for an array or a PIL image, which have none."""
    name = _name(source)
    try:
        if isinstance(source, np.ndarray):
            pixels = _from_array(source, policy)
            return _in_memory(pixels, "array", source[:, :, 3] if alpha and source.shape[2:] == (4,) else None), None
        if isinstance(source, Image.Image):
            _check_size(source.size, policy)
            source.load()
            return _in_memory(_rgb(source), "pil", _alpha(source) if alpha else None), None
        data = _encoded(source, policy)
        return _from_bytes(data, policy, alpha), data
    except DecodeError as error:
        raise type(error)(f"{name}: {error}") from error.__cause__
    except Image.DecompressionBombError as error:  # of readers that look at the size before `_check_size` can
        raise SizeError(f"{name}: {error}; scale it down") from error
    except Exception as error:  # Pillow answers damaged input with any exception, from SyntaxError to MemoryError
        raise DecodeError(f"{name}: cannot be decoded ({_reason(error)}); replace the file or leave it out") from error


def _from_bytes(data: bytes, policy: DecodePolicy, alpha: bool) -> DecodedImage:
    kind, reader = _reader(data, policy)
    with reader(BytesIO(_within_limits(kind, data, policy))) as opened:
        image = _reconstructed(opened, policy)
        _check_size(image.size, policy)
        if isinstance(image, TiffImagePlugin.TiffImageFile) and (tile := decompression_limits.tiff_tile(image)) > policy.max_pixels:
            raise SizeError(f"a TIFF whose tile of {tile:,} is more than {policy.max_pixels:,} pixels; store it in strips")
        try:
            image.load()
        except Exception as error:
            if policy.truncated == "error" or not _partly_decoded(image):
                raise DecodeError(f"truncated or damaged {kind} ({_reason(error)}); replace it by a whole copy or leave it out") from error
        quality = jpeg_quality.of_tables(image.quantization) if isinstance(image, JpegImagePlugin.JpegImageFile) else None
        for name in _NO_TURN.get(kind, ()):
            image.info.pop(name, None)
        return DecodedImage(_rgb(image), hashlib.sha256(data).hexdigest(), kind, quality, _alpha(image) if alpha else None)


def _within_limits(kind: str, data: bytes, policy: DecodePolicy) -> bytes:
    """Refuse a file that would cost more than the policy allows, and return what its reader is to read of it.

    Raises:
        SizeError: it announces too much.
        DecodeError: it is damaged, or made of too many pieces.
    """
    match kind:
        case "JPEG":
            if decompression_limits.jpeg_scans(data, policy.max_scans) > policy.max_scans:
                raise SizeError(f"a JPEG of more than {policy.max_scans} scans; raise max_scans or store it as a plain one")
            # An end marker lets libjpeg finish a cut-off file by itself, progressive ones too; behind a whole file it is never read.
            return data + b"\xff\xd9" if policy.truncated == "fill" else data
        case "PNG":
            return decompression_limits.without_png_texts(data)
        case "WEBP":
            _check_size(decompression_limits.webp_size(data), policy)
        case "TIFF":
            data = tiff.without_64_bits(data, _MOST_ENTRIES)
            if (entries := decompression_limits.directory_entries(data)) > _MOST_ENTRIES:
                raise DecodeError(f"a TIFF of {entries:,} tags; expected at most {_MOST_ENTRIES}: store it as PNG")
        case "AVIF" | "HEIC":
            announced = heif_limits.announced(data, b"av01" if kind == "AVIF" else b"hvc1")
            _check_announced(announced, policy)
            if not announced.whole and policy.truncated == "error":
                raise DecodeError(f"truncated or damaged {kind} (it ends early); replace it by a whole copy or leave it out")
        case "JXL":
            header = coded_size.jxl_header(data)
            _check_size(header.size, policy)
            if header.animated or header.extra_channels > 1:
                what = "is animated" if header.animated else f"has {header.extra_channels} channels beside its colours"
                raise DecodeError(f"a JPEG XL that {what}; store one flat picture of it")
    return data


def _check_announced(announced: heif_limits.Announced, policy: DecodePolicy) -> None:
    for width, height in announced.sizes:  # coders fill up to whole blocks
        _check_size((max(1, width - _BLOCK), max(1, height - _BLOCK)), policy)
    if announced.pixels > (most := _MOST_DECODED * policy.max_pixels):
        raise SizeError(f"its parts are more than {most:,} pixels together; raise max_pixels (--max-pixels) or store it as one picture")


def _reconstructed(image: Image.Image, policy: DecodePolicy) -> Image.Image:
    """Return a picture, opened anew where it is a JPEG that JPEG XL has packed: its pixels are those of that JPEG."""
    packed = image.info.get(optional_readers.PACKED_JPEG)
    return image if packed is None else _JpegReader(BytesIO(_within_limits("JPEG", packed, policy)))


def _partly_decoded(image: Image.Image) -> bool:
    """Make Pillow take what a failed `load` left in memory for the whole picture; False when that is nothing.

    Per image, and so safe between threads, unlike the process-wide ImageFile.LOAD_TRUNCATED_IMAGES.
    """
    if getattr(image, "_im", None) is None:
        return False
    if isinstance(image, ImageFile):
        image.tile = []
    return image.im.getbbox() is not None


def _reader(data: bytes, policy: DecodePolicy) -> tuple[str, _Reader]:
    for kind, matches, reader in _READERS:
        if kind in policy.formats and matches(data):
            return kind, reader
    what = "is empty" if not data else "is none of " + ", ".join(policy.formats)
    raise FormatError(f"{what}; convert it to PNG or leave it out")


def read_file(path: str | os.PathLike[str], policy: DecodePolicy = _DEFAULT) -> bytes:
    """Read the bytes of a file, at most one more than the policy allows: `decode` says the same of them as of the file.

    Raises:
        DecodeError: there is no such file, or it is a pipe, a folder, ...
        OSError: the system cannot read it.
    """
    file = Path(path)
    if not file.is_file():  # also keeps a named pipe from blocking the run
        raise DecodeError("is not a file" if file.exists() else "no such file; check the path")
    with file.open("rb") as stream:
        return stream.read(policy.max_bytes + 1)


def read_whole(source: Source, longest: int) -> bytes | None:
    """Return the encoded bytes of a source that could not be decoded; None where it has none, cannot be read again, or has more than
    `longest`: of what a file says of itself, half would be wrong."""
    try:
        if isinstance(source, bytes | bytearray | memoryview):
            data = bytes(source)
        elif isinstance(source, str | os.PathLike):
            data = read_file(source, DecodePolicy(max_bytes=longest))
        elif not isinstance(source, np.ndarray | Image.Image) and hasattr(source, "seek"):
            source.seek(0)
            data = source.read(longest + 1)
        else:
            return None
    except (DecodeError, OSError, ValueError):  # its row says what is wrong with it already
        return None
    return data if isinstance(data, bytes) and 0 < len(data) <= longest else None


def _encoded(source: str | os.PathLike[str] | bytes | BinaryIO, policy: DecodePolicy) -> bytes:
    """Read the encoded bytes, of which at most one beyond the limit is ever read."""
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        data = read_file(source, policy)
    elif hasattr(source, "read"):
        data = source.read(policy.max_bytes + 1)
        if not isinstance(data, bytes):
            raise DecodeError("the file object yields text; open it in binary mode")
    else:
        raise DecodeError(
            f"cannot decode a {type(source).__name__}; give a path, bytes, a binary file object, a PIL image or a uint8 array"
        )
    if len(data) > policy.max_bytes:
        raise SizeError(f"more than {policy.max_bytes:,} bytes; raise max_bytes (--max-bytes) or store it smaller")
    return data


def _check_size(size: tuple[int, int], policy: DecodePolicy) -> None:
    width, height = size
    if min(size) < 1:
        raise DecodeError(f"has no pixels ({width}x{height})")
    if max(size) > policy.max_side:
        raise SizeError(
            f"{width}x{height} has a side longer than {policy.max_side:,}; raise max_side (--max-pixels raises it too) or scale it down"
        )
    if width * height > policy.max_pixels:
        raise SizeError(f"{width}x{height} is more than {policy.max_pixels:,} pixels; raise max_pixels (--max-pixels) or scale it down")


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Convert a loaded image to upright (H, W, 3) uint8 on white."""
    upright = _UPRIGHT.get(_orientation(image))  # after loading: a PNG may hold its EXIF behind the pixels, and TIFF turns by itself
    flat = _eight_bit if image.mode.startswith("I") or image.mode == "F" else _on_white
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        strip = image if rows >= height else image.crop((0, top, width, min(height, top + rows)))
        pixels[top : top + rows] = np.asarray(flat(strip))
    return pixels if upright is None else np.ascontiguousarray(upright(pixels))


def _alpha(image: Image.Image) -> NDArray[np.uint8] | None:
    """Return the alpha channel of a loaded image, upright, where its mode has one that holds for itself."""
    if image.mode not in {"RGBA", "LA", "PA"}:
        return None
    stored = np.asarray(image.getchannel("A"))
    upright = _UPRIGHT.get(_orientation(image))
    return stored if upright is None else np.ascontiguousarray(upright(stored))


def _orientation(image: Image.Image) -> int:
    try:
        if decompression_limits.directory_entries(_exif_block(image)) > _MOST_ENTRIES:
            return 1
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # metadata is a hint; whatever a broken block raises, the picture itself is whole and taken as upright
        return 1


def _exif_block(image: Image.Image) -> bytes:
    """Return what `getexif` will read: the file's EXIF, or what ImageMagick keeps of it in a PNG's text."""
    block, text = image.info.get("exif"), image.info.get("Raw profile type exif")
    if block is None and isinstance(text, str):
        return bytes.fromhex("".join(text.split("\n")[3:]))
    return block if isinstance(block, bytes) else b""


def _on_white(image: Image.Image) -> Image.Image:
    key = image.info.get("transparency")
    clear = image.mode == "P" and image.palette is not None and image.palette.mode == "RGBA"  # Pillow's own question needs a palette
    if image.mode not in {"RGBA", "LA", "PA", "RGBa", "La"} and key is None and not clear:
        return image if image.mode == "RGB" else image.convert("RGB")  # which would be a copy
    if isinstance(key, tuple) and max(key) > 255:  # colour key of a 16-bit PNG, whose channels Pillow has cut to their high byte
        image = image.copy()
        image.info["transparency"] = tuple(channel >> 8 for channel in key)
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Convert grey of 16 or 32 bits or float, scaled as the table above says."""
    values = np.asarray(image)
    if image.mode == "F":
        if not (values.min() >= 0 and values.max() <= 1):  # also refuses NaN
            raise DecodeError("float pixels outside 0..1 have no known scale; convert it to 8 or 16 bits")
        grey = np.rint(values * np.float32(255))
    else:
        wide = values.astype(np.int64)
        if wide.min() < 0 or wide.max() > 65_535:
            raise DecodeError("32-bit pixels outside 0..65535 have no known scale; convert it to 8 or 16 bits")
        grey = (wide + 128) // 257
        key = image.info.get("transparency")
        if isinstance(key, int):
            grey[wide == key] = 255
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _from_array(array: NDArray[np.uint8], policy: DecodePolicy) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise DecodeError(f"{array.dtype} {array.shape} is no picture; give uint8 of shape (H,W), (H,W,1), (H,W,3) or (H,W,4)")
    _check_size((array.shape[1], array.shape[0]), policy)
    single = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    return _rgb(Image.fromarray(np.ascontiguousarray(single)))


def _in_memory(pixels: NDArray[np.uint8], kind: str, alpha: NDArray[np.uint8] | None) -> DecodedImage:
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(pixels.data)
    return DecodedImage(pixels, digest.hexdigest(), kind, alpha=alpha)


def _name(source: object) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, np.ndarray):
        return "array"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "")) or "PIL image"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else type(source).__name__


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
