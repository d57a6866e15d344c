"""A non-linear detecting head in closed form: kernel ridge regression on compressed tokens, small enough to ship and to run inside a graph.

Of many blocks, a feature has twenty thousand numbers. Each group of them (the embedding, a class token, a mean patch token) is first
*compressed* to its leading principal directions. The logit is then a sum of Gaussian bumps around *landmarks*, training images that stand
for all: the Nyström approximation of kernel ridge regression (Williams and Seeger, NIPS 2000).

    logit(x) = b + sum_j c_j exp(-|p(x) - l_j|^2 / s)        p(x) compressed feature, l_j landmark, s scale of the kernel

A linear head has one direction for all pictures. What tells a generated face is not what tells a generated street, nor what is left of
either when a site has scaled it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from dgsnet.model.recipe import KernelRecipe
from dgsnet.model.ridge import Floats, ridge_probe

Singles = NDArray[np.float32]

_SMALLEST = 1e-6  # eigenvalue of the landmarks' kernel matrix, below which a direction is left out: its inverse would be noise
_SAMPLE = 1000  # images whose distances give the kernel's scale
_ROWS = 4096  # that are compressed at once


@dataclass(frozen=True)
class Compression:
    """Principal directions of each group of a feature, to half precision.

    Attributes:
        embedding: (J, k), of the embedding.
        tokens: (T, W, k), of each token.
    """

    embedding: Singles
    tokens: Singles

    @classmethod
    def fit(cls, features: Singles, joint_width: int, token_width: int, directions: int) -> Compression:
        """Find the leading eigenvectors of each group's covariance over features (N, J + T W)."""
        groups = [
            features[:, :joint_width],
            *np.split(features[:, joint_width:], _number(features.shape[1] - joint_width, token_width), axis=1),
        ]
        bases = []
        for group in groups:
            centred = group - group.mean(axis=0)
            _, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
            bases.append(_halved(_signed(vectors[:, ::-1][:, :directions])))
        return cls(bases[0], np.stack(bases[1:]))

    def __call__(self, features: Singles) -> Singles:
        """Compress features, (N, J + T W) -> (N, k + T k)."""
        joint, (number, width, _) = len(self.embedding), self.tokens.shape
        parts = []
        for start in range(0, len(features), _ROWS):
            rows = features[start : start + _ROWS]
            tokens = rows[:, joint:].reshape(len(rows), number, width)
            along = np.matmul(tokens.transpose(1, 0, 2), self.tokens).transpose(1, 0, 2).reshape(len(rows), -1)
            parts.append(np.concatenate([rows[:, :joint] @ self.embedding, along], axis=1))
        return np.concatenate(parts)


def _number(length: int, width: int) -> int:
    if length <= 0 or length % width:
        raise ValueError(f"expected tokens of {width} numbers behind the embedding, but got {length} numbers")
    return length // width


def _halved(values: NDArray[Any]) -> Singles:
    """Round to half precision: so is it stored, and what is fitted behind it is fitted to what is stored."""
    return values.astype(np.float16).astype(np.float32)


def _signed(vectors: Floats) -> Floats:
    """Return eigenvectors (D, k) whose largest entry is positive: their sign is a linear algebra library's whim otherwise."""
    largest = np.abs(vectors).argmax(axis=0)
    return vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])


@dataclass(frozen=True)
class KernelFit:
    """A fitted head on compressed features.

    Attributes:
        landmarks: (M, P), to half precision.
        coefficients: (M,).
        bias: b.
        scale: s.
    """

    landmarks: Singles
    coefficients: Floats
    bias: float
    scale: float

    @classmethod
    def fit(cls, compressed: Singles, labels: NDArray[np.int64], penalty: float, settings: KernelRecipe) -> KernelFit:
        """Fit to compressed features (N, P) and labels (N,): `ridge_probe` in the space that the landmarks' kernel spans.

        Landmarks are drawn from a fixed seed, as many of either label.

        Raises:
            ValueError: as `ridge_probe`.
        """
        rng = np.random.default_rng(0)
        landmarks = _halved(compressed[_drawn(labels, settings.landmarks, rng)])
        some = compressed[_drawn(labels, _SAMPLE, rng)]
        distances = _squared_distances(some, some)[np.triu_indices(len(some), 1)]
        scale = settings.scale * float(np.median(distances)) if distances.size else 1.0
        values, vectors = np.linalg.eigh(_kernel(landmarks, landmarks, scale))
        kept = values > _SMALLEST
        root = vectors[:, kept] / np.sqrt(values[kept])
        slope, bias = ridge_probe(_kernel(compressed, landmarks, scale) @ root, labels, penalty)
        return cls(landmarks, root @ slope, bias, scale)

    def __call__(self, compressed: Singles) -> Floats:
        """Return the logits of compressed features, (N, P) -> (N,)."""
        return np.asarray(_kernel(compressed, self.landmarks, self.scale) @ self.coefficients + self.bias, np.float64)


def _drawn(labels: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw `count` images, half of either label as far as there are, in rising order."""
    halves = [rng.permutation(np.flatnonzero(labels == label))[: -(-count // 2)] for label in (0, 1)]
    return np.sort(np.concatenate(halves))


def _squared_distances(one: Singles, other: Singles) -> Floats:
    lengths = [np.einsum("ij,ij->i", rows, rows, dtype=np.float64) for rows in (one, other)]
    return np.maximum(lengths[0][:, None] + lengths[1][None, :] - 2 * (one @ other.T).astype(np.float64), 0)


def _kernel(one: Singles, other: Singles, scale: float) -> Floats:
    return np.asarray(np.exp(-_squared_distances(one, other) / scale), np.float64)


class KernelHead(nn.Module):
    """A fitted head inside a method: from features to compressed features, from these to logits.

    Its numbers are buffers: it is fitted in closed form, never by gradients. What it was built with says their shapes.
    """

    HALF: ClassVar[frozenset[str]] = frozenset({"embedding", "tokens", "landmarks"})
    """What half precision holds without loss, and is stored so."""

    embedding: Tensor
    tokens: Tensor
    landmarks: Tensor
    coefficients: Tensor
    bias: Tensor
    scale: Tensor

    def __init__(self, joint_width: int, token_width: int, tokens: int, settings: KernelRecipe) -> None:
        super().__init__()
        directions = settings.directions
        shapes = {
            "embedding": (joint_width, min(directions, joint_width)),
            "tokens": (tokens, token_width, min(directions, token_width)),
            "landmarks": (settings.landmarks, min(directions, joint_width) + tokens * min(directions, token_width)),
            "coefficients": (settings.landmarks,),
            "bias": (),
            "scale": (),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.ones(shape) if name == "scale" else torch.zeros(shape))

    @torch.no_grad()
    def take(self, compression: Compression, fitted: KernelFit) -> None:
        """Take over fitted numbers."""
        for name, value in {**vars(compression), **vars(fitted)}.items():
            getattr(self, name).copy_(torch.as_tensor(value))

    @property
    def width(self) -> int:
        """Return P, the numbers of a compressed feature."""
        return self.landmarks.shape[1]

    def compress(self, features: Tensor) -> Tensor:
        """Compress features, (B, J + T W) -> (B, P)."""
        joint, (number, width, _) = len(self.embedding), self.tokens.shape
        tokens = features[:, joint:].reshape(-1, number, width).transpose(0, 1)
        along = torch.matmul(tokens, self.tokens).transpose(0, 1).flatten(1)
        return torch.cat([features[:, :joint] @ self.embedding, along], dim=1)

    @override
    def forward(self, compressed: Tensor) -> Tensor:
        """Compute logits of compressed features, (B, P) -> (B,)."""
        lengths = compressed.square().sum(dim=1, keepdim=True) + self.landmarks.square().sum(dim=1)
        distances = (lengths - 2 * compressed @ self.landmarks.T).clamp_min(0)
        return torch.exp(-distances / self.scale) @ self.coefficients + self.bias
