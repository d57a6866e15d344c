"""A non-linear detecting head: compressed tokens and a small perceptron, fitted to features that are known already, in seconds.

Of many blocks, a feature has twenty thousand numbers. Each group of them (the embedding, a class token, a mean patch token) is first
*compressed* to its leading principal directions, as many as are worth shipping. One hidden layer reads these:

    logit(x) = b + v . gelu(U p(x) + a)        p(x) the compressed feature, standardised

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
from torch.nn import functional as F
from typing_extensions import override

from dgsnet.model.recipe import MlpRecipe
from dgsnet.model.ridge import Floats

Singles = NDArray[np.float32]

_ROWS = 4096  # that are compressed at once
_BATCH = 256  # images an optimiser step
_LABEL_SMOOTHING = 0.02
_HIDDEN_DROPOUT = 0.5


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
        """Find the leading eigenvectors of each group's covariance over features (N, J + T W).

        Raises:
            ValueError: the feature does not consist of an embedding and tokens of these widths.
        """
        length = features.shape[1] - joint_width
        if length <= 0 or length % token_width:
            raise ValueError(f"expected tokens of {token_width} numbers behind the embedding, but got {length} numbers")
        groups = [features[:, :joint_width], *np.split(features[:, joint_width:], length // token_width, axis=1)]
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
            parts.append(np.concatenate([rows[:, :joint] @ self.embedding, along], axis=1, dtype=np.float32))
        return np.concatenate(parts)


def _halved(values: NDArray[Any]) -> Singles:
    """Round to half precision: so is it stored, and what is fitted behind it is fitted to what is stored."""
    return values.astype(np.float16).astype(np.float32)


def _signed(vectors: Floats) -> Floats:
    """Return eigenvectors (D, k) whose largest entry is positive: their sign is a linear algebra library's whim otherwise."""
    largest = np.abs(vectors).argmax(axis=0)
    return np.asarray(vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])]), np.float64)


@dataclass(frozen=True)
class MlpFit:
    """A fitted perceptron on compressed features.

    Attributes:
        hidden_weight: U, (H, P), the standardisation within.
        hidden_bias: a, (H,).
        weight: v, (H,).
        bias: b, ().
    """

    hidden_weight: Singles
    hidden_bias: Singles
    weight: Singles
    bias: Singles

    @classmethod
    def fit(cls, compressed: Singles, labels: NDArray[np.int64], recipe: MlpRecipe) -> MlpFit:
        """Fit to compressed features (N, P) and labels (N,), both classes weighing the same, by AdamW under a one-cycle schedule.

        A function of its arguments: draws come from a fixed seed, and the caller's random state stays as it was.

        Raises:
            ValueError: a class is missing, or a feature is not finite.
        """
        counts = np.bincount(labels, minlength=2)
        if counts.min() == 0 or not np.isfinite(compressed).all():
            raise ValueError(f"expected finite features of both classes, but got {counts[0]} photographs and {counts[1]} generated images")
        mean, scale = compressed.mean(axis=0), compressed.std(axis=0) + 1e-6
        inputs = torch.from_numpy(((compressed - mean) / scale).astype(np.float32))
        targets = torch.from_numpy(labels.astype(np.float32)) * (1 - 2 * _LABEL_SMOOTHING) + _LABEL_SMOOTHING
        weights = torch.from_numpy((len(labels) / 2 / counts)[labels].astype(np.float32))
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            hidden, out = nn.Linear(inputs.shape[1], recipe.hidden), nn.Linear(recipe.hidden, 1)
            parameters = [*hidden.parameters(), *out.parameters()]
            optimiser = torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
            steps = recipe.epochs * -(-len(labels) // _BATCH)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=steps + 1)
            for _ in range(recipe.epochs):
                for batch in torch.split(torch.randperm(len(labels)), _BATCH):
                    seen = F.dropout(F.gelu(hidden(F.dropout(inputs[batch], recipe.dropout))), _HIDDEN_DROPOUT)
                    losses = F.binary_cross_entropy_with_logits(out(seen).squeeze(1), targets[batch], reduction="none")
                    optimiser.zero_grad()
                    torch.autograd.backward((losses * weights[batch]).mean())
                    optimiser.step()
                    schedule.step()
        scaled = hidden.weight.detach().numpy() / scale
        shifted = hidden.bias.detach().numpy() - scaled @ mean
        return cls(scaled.astype(np.float32), shifted.astype(np.float32), out.weight.detach().numpy()[0], out.bias.detach().numpy()[0])

    @torch.no_grad()
    def __call__(self, compressed: Singles) -> Floats:
        """Return the logits of compressed features, (N, P) -> (N,)."""
        hidden = F.gelu(torch.from_numpy(compressed @ self.hidden_weight.T + self.hidden_bias))
        return np.asarray(hidden.numpy().astype(np.float64) @ self.weight + self.bias, np.float64)


class MlpHead(nn.Module):
    """A fitted head inside a method: from features to compressed features, from these to logits.

    Its numbers are buffers: they were fitted to features, and training a tower never moves them.
    """

    HALF: ClassVar[frozenset[str]] = frozenset({"embedding", "tokens"})
    """What half precision holds without loss, and is stored so."""

    embedding: Tensor
    tokens: Tensor
    hidden_weight: Tensor
    hidden_bias: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, joint_width: int, token_width: int, tokens: int, recipe: MlpRecipe) -> None:
        super().__init__()
        of_embedding, of_token = min(recipe.directions, joint_width), min(recipe.directions, token_width)
        self.width = of_embedding + tokens * of_token
        """P, the numbers of a compressed feature."""
        shapes: dict[str, tuple[int, ...]] = {
            "embedding": (joint_width, of_embedding),
            "tokens": (tokens, token_width, of_token),
            "hidden_weight": (recipe.hidden, self.width),
            "hidden_bias": (recipe.hidden,),
            "weight": (recipe.hidden,),
            "bias": (),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))

    @torch.no_grad()
    def take(self, compression: Compression, fitted: MlpFit) -> None:
        """Take over fitted numbers."""
        for name, value in {**vars(compression), **vars(fitted)}.items():
            getattr(self, name).copy_(torch.as_tensor(value))

    def compress(self, features: Tensor) -> Tensor:
        """Compress features, (B, J + T W) -> (B, P)."""
        joint, (number, width, _) = len(self.embedding), self.tokens.shape
        tokens = features[:, joint:].reshape(-1, number, width).transpose(0, 1)
        along = torch.matmul(tokens, self.tokens).transpose(0, 1).flatten(1)
        return torch.cat([features[:, :joint] @ self.embedding, along], dim=1)

    @override
    def forward(self, compressed: Tensor) -> Tensor:
        """Compute logits of compressed features, (B, P) -> (B,)."""
        return F.gelu(compressed @ self.hidden_weight.T + self.hidden_bias) @ self.weight + self.bias
