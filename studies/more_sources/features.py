"""What the shipped model's head reads of the images of a collection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from dgsnet.core.files import replacing
from dgsnet.data.dataset import load_dataset
from dgsnet.images.augment import Pixels
from dgsnet.images.decode import decode
from dgsnet.images.multi_crop import SCORING_SEED
from dgsnet.images.perturb import suite
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.detector import Detector
from studies.common.training_images import Kind, features_folder

TOGETHER = 4
"""Images that pass the tower together. Another number changes the last bits."""
CHANGED = 4
"""Images of a source of which is measured how far everyday perturbations move their features."""


def features(data: Path, name: str, kind: Kind) -> None:
    """Write the features of a collection: one file a source and split, those that are there are kept.

    `read` (N * copies, D) float32, the copies of an image side by side: the embedding, and block 5's mean patch token, standardised as the
    model does; `path` (N,).

    `tuned` is the tower of `dgsnet-b16`, `frozen` the same without its adapter, and `changed` what the tuned tower says of a few training
    images of each source under half of the perturbations of the suite `everyday`, by turns, one after the other.
    """
    dataset, (reader, look) = load_dataset(data), _reader(kind)
    parts = sorted({(sample.split, sample.source) for sample in dataset if kind != "changed" or sample.split == "train"})
    for split, source in track(parts, "sources"):
        file = features_folder(name, kind) / f"{split}-{source}.npz"
        if file.exists():
            continue
        samples = [sample for sample in dataset if (sample.split, sample.source) == (split, source)]
        if kind == "changed":
            samples = samples[:CHANGED]
        views = [look(image, SCORING_SEED) for at, sample in enumerate(samples) for image in _images(dataset.read(sample), at, kind)]
        read = np.concatenate([reader(np.stack(views[at : at + TOGETHER])) for at in range(0, len(views), TOGETHER)])
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as aside, aside.open("wb") as stream:
            np.savez(stream, read=read.astype(np.float32), path=[sample.path for sample in samples], data=dataset.fingerprint())


def _reader(kind: Kind) -> tuple[Callable[[NDArray[np.float32]], NDArray[Any]], Preprocessing]:
    """Return a function from views (B, 3, S, S) to what the head reads (B, D), and the preprocessing that makes the views.

    The fine-tuned tower runs in the engine that scores, half as fast again as torch; CLIP as it was has torch alone.
    """
    if kind != "frozen":
        detector = Detector.from_pretrained("dgsnet-b16")
        return lambda views: detector.runtime.run(views)[0], detector.config.preprocessing
    detector = Detector.from_pretrained("dgsnet-b16", provider="torch")

    import torch  # noqa: PLC0415 - the engine that scores does without

    @torch.inference_mode()
    def of_frozen(views: NDArray[np.float32]) -> NDArray[Any]:
        with detector.method.backbone.vision.disable_adapter():
            return detector.method.embed(torch.from_numpy(views)).numpy()

    return of_frozen, detector.config.preprocessing


def _images(data: bytes, number: int, kind: Kind) -> list[Pixels]:
    image = decode(data)
    if kind != "changed":
        return [image.pixels]
    return [perturbation.seen(image.pixels, image.sha256) for perturbation in suite("everyday")[number % 2 :: 2]]
