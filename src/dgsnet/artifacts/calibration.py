"""From logit to score and verdict."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Answer = Literal["ai-generated", "real", "inconclusive"]
"""The three verdicts."""


class Calibration(BaseModel):
    """Temperature, offset and thresholds: score = sigmoid((logit - offset) / temperature).

    `fitted` records how they were found (`dgsnet.evaluation.calibrate.record`); None: they are the defaults.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    offset: float = Field(0.0, allow_inf_nan=False)
    real: float = Field(0.5, ge=0, le=1)
    generated: float = Field(0.5, ge=0, le=1)
    fitted: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Calibration:
        if self.real > self.generated:
            raise ValueError(f"expected the threshold real to be at most generated, but got {self.real} > {self.generated}")
        return self

    def score(self, logit: float) -> float:
        """Return the score of a logit, 0..1; stable for any logit.

        Thresholds are compared with exactly what this gives, so it is computed nowhere else.
        """
        scaled = (logit - self.offset) / self.temperature
        return 1 / (1 + math.exp(-scaled)) if scaled >= 0 else math.exp(scaled) / (1 + math.exp(scaled))

    def verdict(self, score: float) -> Answer:
        """Return `ai-generated` from `generated` on, `real` below `real`, `inconclusive` between."""
        if score >= self.generated:
            return "ai-generated"
        return "real" if score < self.real else "inconclusive"
