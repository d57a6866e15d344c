"""The training images of the corpus and of the longer list together, with what the shipped model's head reads of each.

`python -m studies.more_sources features` writes the feature files that are read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dgsnet.data.dataset import Dataset, load_dataset
from studies.common.image_list import crop_path, listed
from studies.common.paths import RUNS
from studies.common.ranking import Floats, Labels, Strings

Kind = Literal["tuned", "frozen", "changed"]
FEATURES = RUNS / "more_sources"


@dataclass(frozen=True)
class TrainingImages:
    """Images of both collections, in one order, with their features."""

    dataset: Dataset
    read: Floats
    """(N, D), what the shipped model's head reads of each: the embedding, and block 5's mean patch token, standardised as it does."""
    labels: Labels
    sources: Strings
    new: NDArray[np.bool_]
    """(N,), whether an image is one of `more_sources.csv`."""
    never_asked: NDArray[np.bool_] | None = None
    """(N,), images that serve for training in every fold."""

    def of_batches(self, batches: str) -> NDArray[np.bool_]:
        """Return (N,), the new images of some batches, each a digit."""
        return np.asarray(np.logical_or.reduce([self.listed_as("batch", batch) for batch in batches]))

    def listed_as(self, column: str, value: str) -> NDArray[np.bool_]:
        """Return (N,), the images for which `more_sources.csv` has this value; none of the corpus."""
        those = {f"more/{crop_path(row)}" for row in listed() if row[column] == value}
        return np.array([sample.path in those for sample in self.dataset])


def training_images(corpus: Path, more: Path, split: str = "train") -> TrainingImages:
    """Read the features of the split of the corpus, and of all new images where it is `train`."""
    folder = FEATURES / "data"
    folder.mkdir(parents=True, exist_ok=True)
    samples, read, new = [], [], []
    for name, data in (("corpus", corpus), ("more", more)):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(data.absolute(), target_is_directory=True)
        if name == "more" and split != "train":
            continue
        dataset = load_dataset(data).with_split(split)
        samples += [replace(sample, path=f"{name}/{sample.path}") for sample in dataset]
        read.append(features_of(name, dataset))
        new += [name == "more"] * len(dataset)
    sources = np.array([sample.source for sample in samples])
    together = Dataset(folder, tuple(samples), "manifest")
    return TrainingImages(together, np.concatenate(read), together.labels(), sources, np.array(new))


def features_folder(name: str, kind: Kind) -> Path:
    """Return the folder of the feature files of a collection."""
    return FEATURES / (name if kind == "tuned" else f"{name}-{kind}")


def features_of(name: str, dataset: Dataset, kind: Kind = "tuned") -> Floats:
    """Read what the shipped model's head reads of every image, (N, D)."""
    stored = {path: read[0] for path, read in stored_features(name, kind)}
    missing = [sample.path for sample in dataset if sample.path not in stored]
    if missing:
        where = features_folder(name, kind)
        raise SystemExit(
            f"{where} lacks the features of {len(missing)} of {len(dataset)} images, {missing[0]} for one: "
            f"python -m studies.more_sources features --data FOLDER {name}{'' if kind == 'tuned' else f' --of {kind}'}"
        )
    return np.stack([stored[sample.path] for sample in dataset])


def stored_features(name: str, kind: Kind) -> Iterator[tuple[str, Floats]]:
    """Yield path and features of each image's copies, (copies, D): one copy, where the image was not changed."""
    for file in sorted(features_folder(name, kind).glob("*.npz")):
        with np.load(file) as given:
            read, paths = given["read"].astype(np.float64), given["path"].tolist()
        yield from zip(paths, np.split(read, len(paths)), strict=True)
