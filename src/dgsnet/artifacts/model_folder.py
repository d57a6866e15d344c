"""The model folder: everything needed to load a model and to prepare an image for it, in and out of torch. No pickle.

| file | what |
|---|---|
| `config.json` | recipe, preprocessing, backbone and its fingerprint, label map, calibration, versions, data fingerprint |
| `adapter_model.safetensors`, `adapter_config.json` | the LoRA adapter in PEFT's format; absent where a method has none |
| `heads.safetensors` | the linear heads, and the perceptron where there is one |
| `domain.safetensors` | what the training photographs look like to the model (`dgsnet.model.ood`); absent where they were few |
| `README.md` | model card |
| `metrics.json` | figures on the validation split |
| `reliability.png` | reliability diagram; only of a calibrated model |
| `graph.onnx`, `graph.json` | its graph without weights (`dgsnet.artifacts.onnx_builder`); only of a model that scores without torch |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dgsnet.artifacts import fingerprint
from dgsnet.artifacts.calibration import Calibration
from dgsnet.artifacts.card import model_card
from dgsnet.artifacts.config import ModelConfig, read_config
from dgsnet.artifacts.exported import is_exported
from dgsnet.artifacts.fingerprint import Fingerprint
from dgsnet.artifacts.names import ADAPTER, ADAPTER_CONFIG, CARD, CONFIG, FORMAT, GRAPH, HEADS, WEIGHT_MAP
from dgsnet.core.errors import ModelFolderError, RecipeError
from dgsnet.core.files import replacing, write_json, write_text
from dgsnet.model import backbone_match, methods
from dgsnet.model.backbone import Backbone
from dgsnet.model.methods import Method
from dgsnet.model.mlp_head import MlpHead
from dgsnet.model.recipe import Recipe


def trained_state(method: Method) -> dict[str, Tensor]:
    """Return all that training changes, by name: heads, and the adapter under `adapter.`."""
    state = {name: tensor for name, tensor in method.state_dict().items() if not name.startswith("backbone.")}
    if method.adapted:
        state |= {f"adapter.{name}": tensor for name, tensor in get_peft_model_state_dict(method.backbone.vision).items()}
    return state


def load_trained_state(method: Method, state: dict[str, Tensor], file: Path, adapter_file: Path | None = None) -> None:
    """Put back a `trained_state` that was read from `file`, its adapter from `adapter_file` where that is another one.

    Raises:
        ModelFolderError: a head is missing, unknown or misshapen, or the adapter does not fit the backbone.
    """
    heads = {name: tensor for name, tensor in state.items() if not name.startswith("adapter.")}
    wanted = {name for name in method.state_dict() if not name.startswith("backbone.")}
    if heads.keys() != wanted:
        raise ModelFolderError(f"{file}: expected the heads {sorted(wanted)}, but got {sorted(heads)}")
    try:
        method.load_state_dict(heads, strict=False)
    except RuntimeError as error:
        raise ModelFolderError(f"{file}: the heads do not fit the backbone and the recipe: {error}") from error
    if method.adapted:
        adapter = {name.removeprefix("adapter."): tensor for name, tensor in state.items() if name.startswith("adapter.")}
        expected = get_peft_model_state_dict(method.backbone.vision)
        if {n: t.shape for n, t in adapter.items()} != {n: t.shape for n, t in expected.items()}:
            raise ModelFolderError(f"{adapter_file or file}: the adapter does not fit the backbone: other layers, rank or width")
        set_peft_model_state_dict(method.backbone.vision, adapter)


def is_complete(folder: Path) -> bool:
    """Tell whether `folder` holds a finished model: the configuration is written last."""
    return (folder / CONFIG).is_file()


def save(folder: Path, method: Method, record: dict[str, Any]) -> None:
    """Write a model folder; `config.json` comes last, so that a folder which has it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for graph in (WEIGHT_MAP, GRAPH):  # of the model that was here before
        (folder / graph).unlink(missing_ok=True)
    state = {name: _stored(name, tensor).cpu().contiguous() for name, tensor in trained_state(method).items()}
    _save_tensors(folder / HEADS, {name: tensor for name, tensor in state.items() if not name.startswith("adapter.")})
    if method.adapted:
        adapter = {name.removeprefix("adapter."): tensor for name, tensor in state.items() if name.startswith("adapter.")}
        _save_tensors(folder / ADAPTER, adapter)
        settings = method.backbone.vision.peft_config["default"].to_dict()
        settings |= {"base_model_name_or_path": method.backbone.name, "inference_mode": True}
        listed = {key: sorted(value) if isinstance(value, set) else value for key, value in settings.items()}
        write_text(folder / ADAPTER_CONFIG, json.dumps(listed, indent=2, default=str, sort_keys=True) + "\n")
    recipe = method.recipe.model_dump(mode="json")
    config = ModelConfig(format=FORMAT, method=method.name, recipe=recipe, preprocessing=method.recipe.preprocessing, **record)
    _write_config(folder, config)


def _stored(name: str, tensor: Tensor) -> Tensor:
    half = name.startswith("mlp.") and name.removeprefix("mlp.") in MlpHead.HALF
    return tensor.detach().half() if half else tensor.detach()


def recalibrate(folder: Path, calibration: Calibration) -> ModelConfig:
    """Replace the calibration of a model folder, in `config.json` and on the card; `ModelFolderError` where it holds no model."""
    config = load_config(folder).model_copy(update={"calibration": calibration})
    _write_config(folder, config)
    return config


def _write_config(folder: Path, config: ModelConfig) -> None:
    write_text(folder / CARD, model_card(config))
    write_json(folder / CONFIG, config.as_json())


def load_config(folder: Path) -> ModelConfig:
    """Read and check `config.json`.

    Raises:
        ModelFolderError: there is none, it is damaged, or of a newer format.
    """
    file = folder / CONFIG
    if is_exported(folder):
        raise ModelFolderError(f"{folder} is an exported model, which scores only: give the model folder it was exported from")
    config = read_config(folder, "format")
    missing = {"name", "fingerprint"} - config.backbone.keys()
    if missing:
        raise ModelFolderError(f"{file} does not say which backbone the model needs: no {' and no '.join(sorted(missing))}")
    try:
        recipe = Recipe.model_validate(config.recipe)  # settings that came after the model was trained get their defaults
    except ValidationError as error:
        raise ModelFolderError(f"{file} cannot be read: {error}") from error
    return config.model_copy(update={"recipe": recipe.model_dump(mode="json")})


def fingerprint_of_logits(folder: Path) -> Fingerprint:
    """Return the fingerprint of what decides a logit: of all but the calibration. `ModelFolderError` where the folder holds no model."""
    config = load_config(folder).as_json()
    del config["calibration"]
    return fingerprint.of_model_folder(folder, json.dumps(config, sort_keys=True).encode())


def load(folder: Path, *, backbone: str | None = None, download: bool = True) -> tuple[Method, ModelConfig]:
    """Load a model for inference.

    Another build of the backbone's weights will do, if the folder records a probe to tell it by (`dgsnet.model.backbone_match`): the loaded
    backbone then has another fingerprint than `ModelConfig.backbone` says.

    Args:
        folder: model folder.
        backbone: where to take the backbone from, if not by the name the folder records.
        download: fetch the backbone when it is not in the cache.

    Raises:
        ModelFolderError: a file is missing or damaged, or the backbone is not the one the model was trained on nor another build of it.
        WeightsError: the backbone cannot be had.
    """
    config = load_config(folder)
    tower = Backbone.load(backbone or config.backbone["name"], download=download)
    try:
        match = backbone_match.match(config.backbone, tower)
    except ValueError as error:
        raise ModelFolderError(f"{folder / CONFIG}: {error}") from error
    if match == "another":
        raise ModelFolderError(
            f"{folder} was trained on the backbone {config.backbone['name']} with fingerprint {config.backbone['fingerprint'][:12]}, "
            f"but {tower.folder} has {tower.fingerprint[:12]}: scores would mean nothing"
        )
    try:
        method = methods.create(Recipe.model_validate(config.recipe), tower)
    except (RecipeError, ValueError) as error:  # ValueError: PEFT finds no such layers
        raise ModelFolderError(f"{folder / CONFIG}: {error}") from error
    state = _load_tensors(folder / HEADS)
    if method.adapted:
        state |= {f"adapter.{name}": tensor for name, tensor in _load_tensors(folder / ADAPTER).items()}
    load_trained_state(method, state, folder / HEADS, folder / ADAPTER)
    method.eval().requires_grad_(False)
    return method, config


def _save_tensors(file: Path, tensors: dict[str, Tensor]) -> None:
    with replacing(file) as aside:
        save_file(tensors, aside, metadata={"format": "pt"})


def _load_tensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        return dict(load_file(file))
    except FileNotFoundError as error:
        raise ModelFolderError(f"{file} is missing: the model folder is not whole") from error
    except Exception as error:  # safetensors raises a class of its own and, on some damage, plain ones
        raise ModelFolderError(f"{file} is damaged: {error}") from error
