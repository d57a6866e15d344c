"""`config.json` of a model on disk, model folder and exported folder alike. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dgsnet.artifacts.calibration import Calibration
from dgsnet.artifacts.names import FORMAT
from dgsnet.core.errors import ModelFolderError
from dgsnet.images.preprocess import Preprocessing

Kind = Literal["format", "exported_format"]
"""The key under which a configuration says its format: that of a model folder, or of an exported one."""


class Origin(BaseModel):
    """How the graph of an exported folder was made, and from what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["onnx", "openvino"]
    precision: Literal["fp32"]
    opset: int
    exporter: str
    model: str
    """Name of the model exported."""
    fingerprint: str
    """Of its detector: configuration, heads and adapter."""
    backbone: str
    """Fingerprint of the backbone in the graph."""
    width: int = Field(ge=1)
    """D, numbers that the head reads."""
    files: dict[str, str]
    """sha256 of the graph and of its weights, by name."""
    versions: dict[str, str]


class ModelConfig(BaseModel):
    """Every setting of a model on disk.

    `recipe` holds the settings it was trained with as JSON has them; `dgsnet.model.recipe.Recipe` checks them where a model is trained or
    run in torch. `export` is there in an exported folder alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    preprocessing: Preprocessing
    label_map: dict[str, str] = {"0": "real", "1": "ai-generated"}
    calibration: Calibration = Calibration()
    backbone: dict[str, Any]
    data: dict[str, Any]
    captions: dict[str, Any]
    versions: dict[str, str]
    format: int | None = None
    exported_format: int | None = None
    recipe: dict[str, Any]
    export: Origin | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the content of `config.json`; keys of the other kind of folder are left out."""
        content = self.model_dump(mode="json")
        return {name: value for name, value in content.items() if value is not None}


def read_config(file: Path, kind: Kind, missing: str) -> ModelConfig:
    """Read and check a `config.json`.

    Args:
        file: to read.
        kind: key under which it says its format.
        missing: what to say where there is no such file.

    Raises:
        ModelFolderError: there is none, it is damaged, or of another format.
    """
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        if settings.get(kind) != FORMAT:
            raise ModelFolderError(
                f"{file} is of format {settings.get(kind)}, this version reads {FORMAT}: install the dgsnet that wrote it"
            )
        return ModelConfig.model_validate(settings)
    except FileNotFoundError as error:
        raise ModelFolderError(missing) from error
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        raise ModelFolderError(f"{file} cannot be read: {error}") from error
