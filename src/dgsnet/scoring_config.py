"""What scoring needs of a model's configuration: preprocessing, calibration, label map. No torch: exported models start without."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dgsnet.preprocessing import Preprocessing


class Calibration(BaseModel):
    """From logit to score and verdict: score = sigmoid((logit - offset) / temperature); `ai-generated` from `generated` on, `real` below
    `real`, `inconclusive` between. `fitted` is how these were found (`dgsnet.calibration.record`); None: they are the defaults."""

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
        """Score of a logit, 0..1; stable for any logit. Thresholds are compared with exactly what this gives, so it is computed nowhere
        else."""
        scaled = (logit - self.offset) / self.temperature
        return 1 / (1 + math.exp(-scaled)) if scaled >= 0 else math.exp(scaled) / (1 + math.exp(scaled))


class ScoringConfig(BaseModel):
    """What a model folder and an exported one have in common; each adds what is its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    preprocessing: Preprocessing
    label_map: dict[str, str] = {"0": "real", "1": "ai-generated"}
    calibration: Calibration = Calibration()
    backbone: dict[str, Any]
    data: dict[str, Any]
    captions: dict[str, Any]
    versions: dict[str, str]
