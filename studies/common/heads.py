"""The second edition's head and those that it was chosen among, as functions from features and labels to logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dgsnet.model.mlp_head import Compression
from dgsnet.model.recipe import HeadRecipe, MlpRecipe
from dgsnet.model.ridge import ridge_probe
from dgsnet.training.refit_head import Features, Fit, HeadFit, Logits, Targets
from studies.common.copies import SHIPPED_COPIES, Copy
from studies.common.paths import MODELS

JOINT, WIDTH = 512, 768
"""Numbers of the embedding and of a token of ViT-B/16."""
SHIPPED = HeadRecipe(kind="mlp")
TARGETS = Targets(fpr=0.03, fnr=0.1)
"""Shares of errors of its verdicts: of photographs called generated, and of generated images called real."""
MODEL = MODELS / "second" / "dgs"
"""Where `python -m studies.second_edition fit` writes it."""


@dataclass(frozen=True)
class Candidate:
    """A head: what it reads, of which kind it is, and which copies of the images it learns from."""

    reads: Literal["embedding and block 5", "all tokens"]
    head: Literal["linear", "mlp"]
    learns: tuple[Copy, ...]
    penalty: float = 0.1
    """Of a linear head."""
    size: MlpRecipe = SHIPPED.mlp

    def __str__(self) -> str:
        if self.head == "linear":
            size = f"penalty {self.penalty:g}"
        else:
            size = f"{self.size.hidden} hidden units, {self.size.directions} directions"
        return f"{self.head} ({size}), {self.reads}, from {' + '.join(self.learns)}"

    def fit(self) -> Fit:
        """Return what fits it."""
        if self.head == "mlp":
            return HeadFit(HeadRecipe(kind="mlp", mlp=self.size), self.penalty, JOINT, WIDTH)
        return _linear(_first_edition if self.reads == "embedding and block 5" else None, self.penalty, self.size.directions)


def _first_edition(features: Features) -> Features:
    """Take what the head of the first edition read: the embedding, and block 5's mean patch token."""
    start = JOINT + 9 * WIDTH  # two tokens of each of four blocks before, and block 5's class token
    return np.concatenate([features[:, :JOINT], features[:, start : start + WIDTH]], axis=1)


def _linear(choose: Callable[[Features], Features] | None, penalty: float, directions: int) -> Fit:
    def fit(features: Features, labels: NDArray[np.int64]) -> Logits:
        seen = choose or Compression.fit(np.asarray(features, np.float32), JOINT, WIDTH, directions)
        weight, bias = ridge_probe(seen(features).astype(np.float64), labels, penalty)  # type: ignore[arg-type]
        return lambda others: np.asarray(seen(others) @ weight + bias, np.float64)  # type: ignore[arg-type]

    return fit


FIRST_EDITION = Candidate("embedding and block 5", "linear", ("made",))
TRIED = (
    FIRST_EDITION,
    Candidate("embedding and block 5", "linear", ("made", "any")),
    Candidate("all tokens", "linear", ("made",), penalty=1.0),
    Candidate("all tokens", "linear", ("made", "any"), penalty=1.0),
    Candidate("all tokens", "mlp", ("made",)),
    Candidate("all tokens", "mlp", ("any",)),
    Candidate("all tokens", "mlp", SHIPPED_COPIES),
    Candidate("all tokens", "mlp", ("made", "any"), size=MlpRecipe(directions=96)),
)
