"""What scoring needs of a model's configuration: preprocessing, calibration, label map. No torch: exported models start without."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dgsnet.core.errors import ModelFolderError
from dgsnet.images.preprocess import Preprocessing


class Calibration(BaseModel):
    """From logit to score and verdict: score = sigmoid((logit - offset) / temperature); `ai-generated` from `generated` on, `real` below
    `real`, `inconclusive` between. `fitted` is how these were found (`dgsnet.evaluation.calibrate.record`); None: they are the defaults."""

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


_Kind = TypeVar("_Kind", bound=ScoringConfig)


def read_config(file: Path, kind: type[_Kind], key: str, version: int, missing: str) -> _Kind:
    """Read and check a `config.json`.

    Args:
        file: it.
        kind: what it has to hold.
        key: under which it says its format.
        version: the format that is read.
        missing: what to say where there is no such file.

    Raises:
        ModelFolderError: there is none, it is damaged, or of another format.
    """
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        if settings.get(key) != version:
            raise ModelFolderError(
                f"{file} is of format {settings.get(key)}, this version reads {version}: install the dgsnet that wrote it"
            )
        return kind.model_validate(settings)
    except FileNotFoundError as error:
        raise ModelFolderError(missing) from error
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        raise ModelFolderError(f"{file} cannot be read: {error}") from error
