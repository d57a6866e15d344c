"""Make the demo's data: decoders fitted to its training photographs, and the pairs they make."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import Progress

from dgsnet.demo.photographs import Photograph, crops
from dgsnet.demo.reconstruction import decoders
from dgsnet.demo.reconstruction.decoders import Autoencoder
from dgsnet.demo.reconstruction.fitting import fit
from dgsnet.demo.reconstruction.pairs import MANIFEST, Original, write_pairs
from dgsnet.demo.settings import Settings


def make_pairs(out: Path, photographs: Sequence[Photograph], settings: Settings, progress: Progress) -> Path:
    """Fit decoders into `out/decoders` and write the pairs to `out/pairs`; what is there already is kept.

    Returns:
        The folder of pairs.
    """
    folder = out / "pairs"
    if not (folder / MANIFEST).is_file():
        cut = {photograph.name: crops(photograph.pixels, settings.side, settings.crops) for photograph in photographs}
        training = [crop for photograph in photographs if photograph.split == "train" for crop in cut[photograph.name]]
        models = {name: _fitted(name, out / "decoders", training, settings, progress) for name in (*settings.seen, *settings.unseen)}
        originals = [
            Original(
                name=f"{photograph.name}-{number}",
                pixels=crop,
                split=photograph.split,
                caption=photograph.caption,
                group=photograph.name,
                decoders=settings.seen if photograph.split == "train" else (*settings.seen, *settings.unseen),
            )
            for photograph in photographs
            for number, crop in enumerate(cut[photograph.name])
        ]
        write_pairs(folder, originals, models, progress)
    return folder


def _fitted(name: str, folder: Path, training: Sequence[np.ndarray], settings: Settings, progress: Progress) -> Autoencoder:
    file = folder / f"{name}.safetensors"
    if file.is_file():
        return decoders.load(file)
    model = decoders.create(name, settings.fit.seed)
    quality = fit(model, training, settings.fit, progress)
    decoders.save(file, model)
    progress.console.print(f"decoder {name}: {quality:.1f} dB on the photographs it was fitted to")
    return model


def test_psnr(folder: Path) -> dict[str, float]:
    """Return the mean PSNR (dB) of the reconstructions in the test split, by decoder."""
    found: dict[str, list[float]] = defaultdict(list)
    with (folder / MANIFEST).open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["split"] == "test" and row["generator"]:
                found[row["generator"]].append(float(row["psnr"]))
    return {name: float(np.mean(values)) for name, values in found.items()}
