"""The engine that scores in this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dgsnet.score.score_samples import SampleScorer
from dgsnet.score.worklist import Worklist


@dataclass(frozen=True)
class LocalEngine:
    """Engine of one detector in this process."""

    scorer: SampleScorer
    worklist: Worklist

    def rows(self, part: int, done: int) -> Iterator[dict[str, Any]]:
        """Score the inputs of a part from number `done` on."""
        return self.scorer.rows(self.worklist.samples(part, done))
