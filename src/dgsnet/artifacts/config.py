"""`config.json` of a model on disk, model folder and exported folder alike. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dgsnet.artifacts.calibration import Calibration
from dgsnet.artifacts.names import CONFIG, FORMAT
from dgsnet.core.errors import ModelFolderError
from dgsnet.images.preprocess import Preprocessing

_MISSING = {
    "format": f"{{folder}} is no model folder: {CONFIG} is missing",
    "exported_format": f"{{folder}} is no exported model: {CONFIG} is missing; export the model again",
}
"""Error where there is no configuration, by the key under which one says its format: a model folder's, an exported folder's."""


class Origin(BaseModel):
    """Record of the making of an exported folder's graph: by which means, and from which model."""

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


def read_config(folder: Path, kind: Literal["format", "exported_format"]) -> ModelConfig:
    """Read and check the `config.json` of a folder; `kind` is the key under which it says its format.

    Raises:
        ModelFolderError: there is none, it is damaged, or of another format.
    """
    file = folder / CONFIG
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        if settings.get(kind) != FORMAT:
            raise ModelFolderError(
                f"{file} is of format {settings.get(kind)}, this version reads {FORMAT}: install the dgsnet that wrote it"
            )
        return ModelConfig.model_validate(settings)
    except FileNotFoundError as error:
        raise ModelFolderError(_MISSING[kind].format(folder=folder)) from error
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        raise ModelFolderError(f"{file} cannot be read: {error}") from error
