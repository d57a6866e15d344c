"""Pairs of a photograph and its reconstruction, alike in everything but the trace of a decoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import Progress
from torch.nn import functional as F

from dgsnet.core.files import replacing, write_text
from dgsnet.demo.reconstruction.decoders import FACTOR, Autoencoder
from dgsnet.evaluation import csv_table

Pixels = NDArray[np.uint8]

MANIFEST = "manifest.csv"
COLUMNS = ("path", "label", "split", "source", "generator", "caption", "group", "psnr")
"""Columns of the manifest; `psnr` (dB) compares a reconstruction with its photograph, before compression; empty for photographs."""


@dataclass(frozen=True)
class Original:
    """A photograph, or a crop of one, to reconstruct.

    Attributes:
        name: file name without ending, unique in a data set.
        pixels: (H, W, 3) uint8.
        split: split of the photograph and of all its reconstructions.
        caption: the same for a photograph and its reconstructions, hence no hint of the label.
        group: name that all crops of one photograph share, so that no split parts them.
        decoders: names of the decoders that reconstruct it.
    """

    name: str
    pixels: Pixels
    split: str
    caption: str
    group: str
    decoders: tuple[str, ...]


@torch.inference_mode()
def reconstruct(model: Autoencoder, pixels: Pixels) -> Pixels:
    """Reconstruct a picture by an autoencoder: (H, W, 3) uint8 to the same shape, on one grid of latent cells from the upper left corner.

    A grey picture stays grey: colour in its reconstruction would give it away without any trace.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"expected a picture (H, W, 3) of uint8, but got {pixels.shape} of {pixels.dtype}")
    height, width = pixels.shape[:2]
    tensor = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / 255).unsqueeze(0)
    padded = F.pad(tensor, (0, -width % FACTOR, 0, -height % FACTOR), mode="replicate")
    made = model(padded)[0, :, :height, :width]
    if (pixels == pixels[:, :, :1]).all():
        made = made.mean(dim=0, keepdim=True).expand(3, -1, -1)
    whole: Pixels = (made.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return whole


def psnr(one: Pixels, other: Pixels) -> float:
    """Return the peak signal-to-noise ratio of two pictures of one shape, dB; infinite where they are equal."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def write_pairs(folder: Path, originals: Iterable[Original], models: Mapping[str, Autoencoder], progress: Progress | None = None) -> Path:
    """Write photographs and reconstructions as one data set that `dgsnet.data.dataset` reads.

    All go through one pipeline, JPEG at quality 95 without chroma subsampling and without metadata, so that size and container carry no
    label. The folder gets `real/NAME.jpg`, `DECODER/NAME.jpg` and, last, the manifest, whose path is returned: a folder that has one is
    whole.

    Raises:
        ValueError: a decoder is not among the models, or two originals share a name.
    """
    listed = list(originals)
    if len({original.name for original in listed}) < len(listed):
        raise ValueError("expected a name of its own for each original")
    rows: list[dict[str, str | int]] = []
    for original in progress.track(listed, description="reconstructions") if progress else listed:
        shared: dict[str, str | int] = {"split": original.split, "caption": original.caption, "group": original.group}
        path = f"real/{original.name}.jpg"
        _save(folder / path, original.pixels)
        rows.append(shared | {"path": path, "label": 0, "source": "photograph", "generator": "", "psnr": ""})
        for name in original.decoders:
            if name not in models:
                raise ValueError(f"no fitted decoder {name!r}: expected one of {', '.join(models)}")
            reconstruction = reconstruct(models[name], original.pixels)
            path = f"{name}/{original.name}.jpg"
            _save(folder / path, reconstruction)
            quality = f"{psnr(original.pixels, reconstruction):.2f}"
            rows.append(shared | {"path": path, "label": 1, "source": name, "generator": name, "psnr": quality})
    write_text(folder / MANIFEST, csv_table.text(COLUMNS, ([row[column] for column in COLUMNS] for row in rows)))
    return folder / MANIFEST


def _save(target: Path, pixels: Pixels) -> None:
    with replacing(target) as aside:
        Image.fromarray(pixels).save(aside, "JPEG", quality=95, subsampling=0)
