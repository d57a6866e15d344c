"""From logit to score and verdict."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dgsnet.core.errors import CalibrationError

Answer = Literal["ai-generated", "real", "inconclusive"]
"""The three verdicts."""


OperatingPoint = Literal["cautious", "balanced", "sensitive"]
"""How much is risked for an answer: `cautious` makes fewer errors of either kind and answers `inconclusive` more often; `sensitive` finds
more of the generated images, and calls more photographs generated. `balanced` is what a calibration's own thresholds are."""


class Bands(BaseModel):
    """Thresholds of another operating point than `balanced`, and the share of errors that they were chosen for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    real: float = Field(ge=0, le=1)
    generated: float = Field(ge=0, le=1)
    target_fpr: float
    target_fnr: float


class Calibration(BaseModel):
    """Temperature, offset and thresholds: score = sigmoid((logit - offset) / temperature).

    `points` has the thresholds of the other operating points, where they are known. `fitted` records how all of it was found
    (`dgsnet.evaluation.calibrate.record`); None: they are the defaults.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    offset: float = Field(0.0, allow_inf_nan=False)
    real: float = Field(0.5, ge=0, le=1)
    generated: float = Field(0.5, ge=0, le=1)
    points: dict[OperatingPoint, Bands] | None = None
    fitted: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Calibration:
        if self.real > self.generated:
            raise ValueError(f"expected the threshold real to be at most generated, but got {self.real} > {self.generated}")
        return self

    def at(self, point: OperatingPoint) -> Calibration:
        """Return the calibration with the thresholds of an operating point; the scores stay as they are.

        Raises:
            CalibrationError: it has no such point.
        """
        if point == "balanced":
            return self
        bands = (self.points or {}).get(point)
        if bands is None:
            raise CalibrationError(f"the model has no operating point {point!r}: `dgsnet calibrate` finds it; `balanced` every model has")
        return self.model_copy(update={"real": bands.real, "generated": bands.generated})

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
