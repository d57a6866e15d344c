"""The model folder: everything needed to load a model and to prepare an image for it. No pickle.

| file | what |
|---|---|
| `config.json` | recipe, preprocessing, backbone and its fingerprint, label map, calibration, versions, data fingerprint |
| `adapter_model.safetensors`, `adapter_config.json` | the LoRA adapter in PEFT's format; absent where a method has none |
| `heads.safetensors` | the linear heads |
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
from safetensors.torch import load_file, save_file
from torch import Tensor

from dgsnet.artifacts import config as scoring_config
from dgsnet.artifacts import ood_file
from dgsnet.artifacts.config import ScoringConfig, read_config
from dgsnet.artifacts.exported import is_exported
from dgsnet.artifacts.names import ADAPTER, ADAPTER_CONFIG, CARD, CONFIG, DIAGRAM, FORMAT, GRAPH, HEADS, OOD, PLAN
from dgsnet.core.errors import ModelFolderError, RecipeError
from dgsnet.core.files import replacing, write_json, write_text
from dgsnet.core.format import interval
from dgsnet.model import backbone_match, methods
from dgsnet.model.backbone import Backbone
from dgsnet.model.methods import Method
from dgsnet.model.ood import OodDetector
from dgsnet.model.recipe import Recipe

__all__ = [
    "ADAPTER",
    "ADAPTER_CONFIG",
    "CARD",
    "CONFIG",
    "DIAGRAM",
    "FORMAT",
    "HEADS",
    "OOD",
    "Calibration",
    "Config",
    "is_complete",
    "load",
    "load_config",
    "load_ood",
    "load_trained_state",
    "recalibrate",
    "save",
    "save_ood",
    "trained_state",
]

Calibration = scoring_config.Calibration


class Config(ScoringConfig):
    """`config.json`."""

    format: int = FORMAT
    recipe: Recipe


def trained_state(method: Method) -> dict[str, Tensor]:
    """All that training changes, by name: heads, and the adapter under `adapter.`."""
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
        raise ModelFolderError(f"{file}: the heads do not fit the backbone's width {method.backbone.width}: {error}") from error
    if method.adapted:
        adapter = {name.removeprefix("adapter."): tensor for name, tensor in state.items() if name.startswith("adapter.")}
        expected = get_peft_model_state_dict(method.backbone.vision)
        if {n: t.shape for n, t in adapter.items()} != {n: t.shape for n, t in expected.items()}:
            raise ModelFolderError(f"{adapter_file or file}: the adapter does not fit the backbone: other layers, rank or width")
        set_peft_model_state_dict(method.backbone.vision, adapter)


def is_complete(folder: Path) -> bool:
    """Whether `folder` holds a finished model: the configuration is written last."""
    return (folder / CONFIG).is_file()


def save_ood(folder: Path, ood: OodDetector) -> None:
    """Write what the training photographs look like to the model."""
    _save_tensors(folder / OOD, {name: torch.tensor(value, dtype=torch.float32) for name, value in vars(ood).items()})


def load_ood(folder: Path, width: int) -> OodDetector | None:
    """Read it back; None where the model has none.

    Args:
        folder: model folder.
        width: of what the model's head reads.

    Raises:
        ModelFolderError: the file is damaged, or of a model of another width.
    """
    return ood_file.load_ood(folder / OOD, width)


def save(folder: Path, method: Method, record: dict[str, Any]) -> None:
    """Write a model folder; `config.json` comes last, so that a folder which has it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for graph in (PLAN, GRAPH):  # of the model that was here before
        (folder / graph).unlink(missing_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in trained_state(method).items()}
    _save_tensors(folder / HEADS, {name: tensor for name, tensor in state.items() if not name.startswith("adapter.")})
    if method.adapted:
        adapter = {name.removeprefix("adapter."): tensor for name, tensor in state.items() if name.startswith("adapter.")}
        _save_tensors(folder / ADAPTER, adapter)
        settings = method.backbone.vision.peft_config["default"].to_dict()
        settings |= {"base_model_name_or_path": method.backbone.name, "inference_mode": True}
        listed = {key: sorted(value) if isinstance(value, set) else value for key, value in settings.items()}
        write_text(folder / ADAPTER_CONFIG, json.dumps(listed, indent=2, default=str, sort_keys=True) + "\n")
    config = Config(method=method.name, recipe=method.recipe, preprocessing=method.recipe.preprocessing, **record)
    write_text(folder / CARD, _card(config))
    write_json(folder / CONFIG, config.model_dump(mode="json"))


def recalibrate(folder: Path, calibration: Calibration) -> Config:
    """Replace the calibration of a model folder, in `config.json` and on the card; all else stays.

    Raises:
        ModelFolderError: `folder` holds no model.
    """
    config = load_config(folder).model_copy(update={"calibration": calibration})
    write_text(folder / CARD, _card(config))
    write_json(folder / CONFIG, config.model_dump(mode="json"))
    return config


def load_config(folder: Path) -> Config:
    """Read and check `config.json`.

    Raises:
        ModelFolderError: there is none, it is damaged, or of a newer format.
    """
    file = folder / CONFIG
    if is_exported(folder):
        raise ModelFolderError(f"{folder} is an exported model, which scores only: give the model folder it was exported from")
    config = read_config(file, Config, "format", FORMAT, f"{folder} is no model folder: {CONFIG} is missing")
    missing = {"name", "fingerprint"} - config.backbone.keys()
    if missing:
        raise ModelFolderError(f"{file} does not say which backbone the model needs: no {' and no '.join(sorted(missing))}")
    return config


def load(folder: Path, *, backbone: str | None = None, download: bool = True) -> tuple[Method, Config]:
    """Load a model for inference.

    Another build of the backbone's weights will do, if the folder records a probe to tell it by (`dgsnet.model.backbone_match`): the loaded
    backbone then has another fingerprint than `Config.backbone` says.

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
        method = methods.create(config.recipe, tower)
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


def _card(config: Config) -> str:
    recipe, captions, data = config.recipe, config.captions, config.data
    auc = captions.get("caption_only_auc")
    return f"""# dgsnet model: {config.method} ({recipe.preset})

Tells photographs from AI-generated images. A score is a signal, not proof.

| | |
|---|---|
| method, preset | {config.method}, {recipe.preset} |
| backbone | {config.backbone["name"]} (fingerprint {config.backbone["fingerprint"][:16]}) |
| trained on | {_trained_on(data)} |
| captions | source {captions["source"]}; captions alone reach AUC {"unknown" if auc is None else f"{auc:.2f}"} |
| calibration | {_calibration_in_short(config.calibration)} |
| seed, version | {recipe.seed}, dgsnet {config.versions["dgsnet"]} |

Load it with `Detector.from_pretrained("path/to/this/folder")` or `dgsnet detect --model path/to/this/folder photo.jpg`.
`metrics.json`, where present, holds figures on the validation split, which has the same sources as the training data: expect less on other
generators.
{_calibration_section(config.calibration)}"""


def _trained_on(data: dict[str, Any]) -> str:
    seen = f"{data['n_real']} photographs, {data['n_fake']} generated images (data fingerprint {data['fingerprint'][:16]})"
    if "refitted" not in data:
        return seen
    return f"tower: {_trained_on(data['refitted']['tower'])}; head, refitted in closed form: {seen}"


def _calibration_in_short(calibration: Calibration) -> str:
    fitted = calibration.fitted
    if fitted is None and calibration == Calibration():
        return "none: the score is the sigmoid of the logit, the threshold 0.5"
    formula = f"score = sigmoid((logit - {calibration.offset:.4g}) / {calibration.temperature:.4g})"
    how = "set by hand" if fitted is None else f"{fitted['method']} on {fitted['n_real']} photographs, {fitted['n_fake']} generated images"
    return f"{how}: {formula}"


def _calibration_section(calibration: Calibration) -> str:
    """What the score and the verdicts of a fitted calibration mean, and what they do not; nothing where none was fitted."""
    fitted = calibration.fitted
    if fitted is None:
        return ""
    before, after, shares = fitted["before"], fitted["after"], fitted["shares"]
    real, fake = shares["real"], shares["fake"]
    sources = "".join(f"| {_cell(name)} | {one['n']} | {one['fpr']:.1%} |\n" for name, one in shares["fpr_by_source"].items())
    by_source = f"\n| photographs from | images | called `ai-generated` |\n|---|---|---|\n{sources}" if sources else ""
    warnings = "".join(f"\n- {warning}" for warning in fitted["warnings"])
    return f"""
## Calibration

The score is calibrated to **equal numbers of photographs and generated images** of the kind in the calibration data: {fitted["n_real"]}
photographs and {fitted["n_fake"]} generated images (data fingerprint {fitted["data"][:16]}). Where generated images are rarer than
photographs, fewer of the images with a score of 0.9 are generated than nine in ten; on other sources and generators it is no probability
at all.

![reliability diagram]({DIAGRAM})

| measured on the calibration data itself | before | after |
|---|---|---|
| calibration error (ECE) | {interval(before["ece"], 3)} | {interval(after["ece"], 3)} |
| log loss | {interval(before["log_loss"], 3)} | {interval(after["log_loss"], 3)} |

(95 % bootstrap intervals in brackets.)

| score | verdict | photographs | generated images |
|---|---|---|---|
| {calibration.generated:.4f} and above | `ai-generated` | {real["ai-generated"]:.1%} | {fake["ai-generated"]:.1%} |
| between | `inconclusive` | {real["inconclusive"]:.1%} | {fake["inconclusive"]:.1%} |
| below {calibration.real:.4f} | `real` | {real["real"]:.1%} | {fake["real"]:.1%} |

{_promise(fitted)}
{by_source}{warnings}
"""


def _promise(fitted: dict[str, Any]) -> str:
    fpr, fnr = (f"{fitted[key]:.1%}" for key in ("target_fpr", "target_fnr"))
    if fitted.get("equal_sources"):
        return (
            f"The thresholds were chosen so that of a source's photographs at most {fpr} are called `ai-generated`, and of a source's\n"
            f"generated images at most {fnr} are called `real`, on average over the sources, each of which weighs the same. (The table\n"
            "counts images.)"
        )
    return (
        f"The thresholds were chosen so that of further photographs of this kind at most {fpr} are called `ai-generated`, and of\n"
        f"further generated images at most {fnr} are called `real`, both on average over calibration sets of this size."
    )


def _cell(text: str) -> str:
    """Text from outside in a cell of a Markdown table."""
    return " ".join(text.replace("|", "/").split())
