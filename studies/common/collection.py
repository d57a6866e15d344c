"""Copies of images as a data set with features, as heads are fitted to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dgsnet.data.dataset import Dataset, Sample
from studies.common.copies import Copy, Listed
from studies.common.heads import JOINT
from studies.common.tokens import Tokens


@dataclass(frozen=True)
class Collection:
    """Copies, one row each. A generated image has its family as generator, so that what is left out has no relatives in training."""

    dataset: Dataset
    copies: NDArray[np.str_]
    features: NDArray[np.float32]
    """(N, D), as the method's head reads them: the embedding on the sphere, tokens standardised over the training copies."""
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    """Of the tokens, (D - J,)."""
    train: NDArray[np.bool_]

    @classmethod
    def load(cls, given: list[Listed]) -> Collection:
        """Load all copies that were read of these images."""
        tokens = Tokens.load(given)
        train = np.array([image.split == "train" for image in tokens.images])
        mean, scale = _statistics(tokens.features, train)
        samples = tuple(sample_of(image, str(copy)) for image, copy in zip(tokens.images, tokens.copies, strict=True))
        collection = cls(Dataset(Path(), samples, "manifest"), tokens.copies, tokens.features, mean, scale, train)
        collection.standardise(tokens.features)
        return collection

    def standardise(self, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
        """Make of tokens as they were read (N, D) what the method's head reads, in place; return them."""
        tokens[:, :JOINT] *= np.sqrt(JOINT) / np.linalg.norm(tokens[:, :JOINT], axis=1, keepdims=True)
        tokens[:, JOINT:] -= self.mean
        tokens[:, JOINT:] /= self.scale
        return tokens

    def of(self, *copies: Copy, test: bool = False) -> NDArray[np.bool_]:
        """Return (N,), the rows of these copies, of the training images or of the test images."""
        return np.asarray(np.isin(self.copies, copies) & (self.train != test))

    def only(self, rows: NDArray[np.bool_]) -> Dataset:
        """Return the data set of some rows."""
        return Dataset(Path(), tuple(np.array(self.dataset.samples, object)[rows]), "manifest")


def _statistics(features: NDArray[np.float32], train: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and spread of the tokens over the training copies, in pieces: of all at once there would be gigabytes."""
    pieces: Iterable[NDArray[np.intp]] = np.array_split(np.flatnonzero(train), max(1, int(train.sum()) // 2048))
    total, squares, count = 0.0, 0.0, 0
    for piece in pieces:
        rows = features[piece, JOINT:].astype(np.float64)
        total, squares, count = total + rows.sum(axis=0), squares + (rows**2).sum(axis=0), count + len(rows)
    mean = total / count
    spread = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return np.asarray(mean, np.float32), np.asarray(np.maximum(spread, 1e-6), np.float32)


def sample_of(image: Listed, copy: str) -> Sample:
    """Return a copy of an image as a sample; a generated one with its family as generator."""
    path = image.key if copy == "made" else f"{image.key}#{copy}"
    return Sample(path, image.label, image.origin if image.label else "", image.source, None, image.split, image.key)
