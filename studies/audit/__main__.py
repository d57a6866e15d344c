"""Does the audit find the flaws that collections of this field have, and does aligning remove them?

    python -m studies.audit [--data CORPUS] [--images 240] [--work runs/audit]

From the training images of a data set, or without `--data` from the photographs that installed packages carry, a raw collection is made as
they are found: photographs as JPEG of assorted sizes, shapes and qualities with EXIF; generated images as square PNG, a part of them with
the text chunk of a web UI. It is audited as it is, then aligned, then audited again: `results/flawed.json` and `aligned.json`.
`crop_only.json` is the control: aligned without scaling, so that an earlier compression keeps its grid.

Without `--data` both labels are cut from the same photographs: what then still separates them is a trace of files and nothing else. So
`traces.json` says there what a classifier of pixels (logistic regression on the spectrum of 8 x 8 blocks) finds and the audit does not.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin
from PIL.ExifTags import Base
from rich.console import Console
from rich.progress import Progress
from scipy.fft import dctn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dgsnet.core.files import replacing, write_json
from dgsnet.core.format import interval
from dgsnet.data.align import Settings, align
from dgsnet.data.dataset import Dataset, load_dataset
from dgsnet.demo.photographs import photographs
from dgsnet.evaluation import metrics
from dgsnet.evaluation.audit import audit
from dgsnet.images.decode import decode
from studies.common.paths import RUNS

RESULTS, WORK = Path(__file__).parent / "results", RUNS / "audit"
SIDE = 256  # of a generated image, and the longest of a photograph: what the images of a small data set have
SMALLEST = 176
CROP = 128

Picture = tuple[int, str, np.ndarray]


def pictures(data: Path | None, images: int) -> Iterator[Picture]:
    """(label, source, (SIDE, SIDE, 3) pixels), as many of each label."""
    if data is not None:
        dataset = load_dataset(data).with_split("train").balanced_subset(images, seed=0)
        for sample in dataset:
            pixels = decode(dataset.read(sample)).pixels
            if min(pixels.shape[:2]) >= SIDE:
                yield int(sample.label or 0), sample.source, pixels[:SIDE, :SIDE]
        return
    rng = np.random.default_rng(0)
    originals = [one for one in photographs() if min(one.pixels.shape[:2]) >= SIDE]
    for number in range(images):
        one = originals[number // 2 % len(originals)]
        height, width = one.pixels.shape[:2]
        top, left = rng.integers(height - SIDE + 1), rng.integers(width - SIDE + 1)
        yield number % 2, one.name, one.pixels[top : top + SIDE, left : left + SIDE]


def as_found(label: int, pixels: np.ndarray, rng: np.random.Generator) -> tuple[bytes, str]:
    """The bytes and the ending of a file such as this label comes in."""
    encoded = BytesIO()
    if label:
        text = PngImagePlugin.PngInfo()
        if rng.uniform() < 0.5:
            text.add_text("parameters", "a picture\nSteps: 20, Sampler: Euler a, CFG scale: 7")
        Image.fromarray(pixels).save(encoded, "PNG", pnginfo=text)
        return encoded.getvalue(), "png"
    height, width = rng.integers(SMALLEST, SIDE + 1, 2)
    exif = Image.Exif()
    if rng.uniform() < 0.6:
        exif[Base.Make], exif[Base.Model] = "Camera", f"Model {rng.integers(5)}"
    quality, subsampling = int(rng.integers(50, 96)), int(rng.integers(0, 3))
    Image.fromarray(pixels[:height, :width]).save(encoded, "JPEG", quality=quality, subsampling=subsampling, exif=exif)
    return encoded.getvalue(), "jpg"


def build(data: Path | None, images: int, out: Path) -> None:
    """The raw collection, in folders `real/SOURCE` and `fake/SOURCE`."""
    rng = np.random.default_rng(1)
    for number, (label, source, pixels) in enumerate(pictures(data, images)):
        content, ending = as_found(label, pixels, rng)
        with replacing(out / ("real", "fake")[label] / source / f"{number:05}.{ending}") as aside:
            aside.write_bytes(content)


def spectrum(pixels: np.ndarray) -> np.ndarray:
    """Return (64,), the log of the mean absolute DCT coefficients over the 8 x 8 blocks of the middle (CROP, CROP, 3) of a picture."""
    top, left = (pixels.shape[0] - CROP) // 2, (pixels.shape[1] - CROP) // 2
    grey = pixels[top : top + CROP, left : left + CROP].mean(axis=2)
    blocks = grey.reshape(CROP // 8, 8, CROP // 8, 8).swapaxes(1, 2)
    return np.asarray(np.log(np.abs(dctn(blocks, axes=(2, 3), norm="ortho")).mean(axis=(0, 1)) + 0.1).ravel())


def pixel_auc(dataset: Dataset) -> dict[str, float | None]:
    """AUC of the labels from the spectra of the pictures, out of fold over random folds, with its bootstrap interval."""
    table = np.stack([spectrum(decode(dataset.read(sample)).pixels) for sample in dataset])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    scores = cross_val_predict(model, table, dataset.labels(), cv=folds, method="predict_proba")[:, 1]
    return dict(vars(metrics.estimate(dataset.labels(), scores).figures["auroc"]))


def main() -> None:
    """Build, audit, align, audit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--work", type=Path, default=WORK, help="folder for the images made; must be new when other arguments change")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()

    work: Path = arguments.work
    build(arguments.data, arguments.images, work / "raw")
    found: dict[str, Any] = {}
    with Progress(console=Console(stderr=True)) as progress:
        raw = load_dataset(work / "raw")
        found["flawed"] = audit(raw, work / "flawed", progress)
        for name, downscale in (("aligned", 0.5), ("crop_only", 1.0)):
            align(raw, work / name, Settings(size=CROP, downscale=downscale), progress)
            found[name] = audit(load_dataset(work / name), work / f"{name}-audit", progress)
    if arguments.data is None:
        traces = {name: pixel_auc(load_dataset(work / folder)) for name, folder in zip(found, ("raw", "aligned", "crop_only"), strict=True)}
        write_json(arguments.out / "traces.json", traces)
        print("pixels of the same photographs:", ", ".join(f"{name} {interval(auc)}" for name, auc in traces.items()))
    for name, result in found.items():
        write_json(arguments.out / f"{name}.json", result)
        alone = ", ".join(f"{feature['name']} {feature['auc']:.2f}" for feature in result["features"][:4])
        print(f"{name}: AUC {interval(result['shortcut'])} of all columns, across sources {interval(result['across_sources'])}; {alone}")


if __name__ == "__main__":
    main()
