"""The engine that scores in this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dgsnet.score.score_samples import Operator
from dgsnet.score.worklist import Worklist


@dataclass(frozen=True)
class LocalEngine:
    """One detector."""

    operator: Operator
    worklist: Worklist

    def rows(self, part: int, done: int) -> Iterator[dict[str, Any]]:
        """The rows of a part from number `done` on."""
        return self.operator.rows(self.worklist.samples(part, done))
