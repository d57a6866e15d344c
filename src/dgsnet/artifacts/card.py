"""Model cards: what a folder says of itself to people (`README.md`)."""

from __future__ import annotations

from typing import Any

from dgsnet.artifacts.calibration import Calibration
from dgsnet.artifacts.config import ModelConfig
from dgsnet.artifacts.names import CONFIG, DIAGRAM
from dgsnet.core.errors import ModelFolderError
from dgsnet.core.format import interval, table_cell

_RUNS_ON = {"onnx": "ONNX Runtime or OpenVINO", "openvino": "OpenVINO"}


def model_card(config: ModelConfig) -> str:
    """Return the card of a model folder, Markdown."""
    recipe, captions, data = config.recipe, config.captions, config.data
    auc = captions.get("caption_only_auc")
    return f"""# dgsnet model: {config.method} ({recipe["preset"]})

Tells photographs from AI-generated images. A score is a signal, not proof.

| | |
|---|---|
| method, preset | {config.method}, {recipe["preset"]} |
| backbone | {config.backbone["name"]} (fingerprint {config.backbone["fingerprint"][:16]}) |
| trained on | {_trained_on(data)} |
| captions | source {captions["source"]}; captions alone reach AUC {"unknown" if auc is None else f"{auc:.2f}"} |
| calibration | {_calibration_in_short(config.calibration)} |
| seed, version | {recipe["seed"]}, dgsnet {config.versions["dgsnet"]} |

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
    """Explain the score and the verdicts of a fitted calibration; empty where none was fitted."""
    fitted = calibration.fitted
    if fitted is None:
        return ""
    before, after, shares = fitted["before"], fitted["after"], fitted["shares"]
    real, fake = shares["real"], shares["fake"]
    sources = "".join(f"| {table_cell(name)} | {one['n']} | {one['fpr']:.1%} |\n" for name, one in shares["fpr_by_source"].items())
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
{_operating_points(calibration, fitted)}{by_source}{warnings}
"""


def _operating_points(calibration: Calibration, fitted: dict[str, Any]) -> str:
    """Tabulate the operating points; empty where there is one alone."""
    if not calibration.points or "points" not in fitted:
        return ""
    targets = {name: (bands.target_fpr, bands.target_fnr) for name, bands in calibration.points.items()}
    targets["balanced"] = (fitted["target_fpr"], fitted["target_fnr"])
    rows = ""
    for name, shares in fitted["points"].items():
        at, (fpr, fnr), real, fake = calibration.at(name), targets[name], shares["real"], shares["fake"]
        cells = (real["ai-generated"], fake["ai-generated"], real["inconclusive"], fake["real"])
        asked = f"{fpr:.1%}, {fnr:.1%} | {at.real:.4f}, {at.generated:.4f}"
        rows += f"| `{name}` | {asked} | {' | '.join(f'{cell:.1%}' for cell in cells)} |\n"
    titles = "operating point | photographs called `ai-generated` and generated images called `real`, at most | thresholds"
    return f"""
Which errors are worth which answers is the user's choice (`--operating-point`); scores are the same at each:

| {titles} | photographs called `ai-generated` | found | photographs `inconclusive` | generated images called `real` |
|---|---|---|---|---|---|---|
{rows}"""


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


def exported_card(config: ModelConfig) -> str:
    """Return the card of an exported folder, Markdown; `ModelFolderError` where the configuration is not of one."""
    origin = config.export
    if origin is None:
        raise ModelFolderError("expected the configuration of an exported folder, but got that of a model folder")
    files = ", ".join(f"`{name}`" for name in origin.files)
    return f"""# dgsnet model, exported: {origin.model}

Tells photographs from AI-generated images. A score is a signal, not proof. This folder scores without torch, on {_RUNS_ON[origin.format]}.

| | |
|---|---|
| exported from | {origin.model} (fingerprint {origin.fingerprint[:16]}), method {config.method} |
| backbone in the graph | {config.backbone["name"]} (fingerprint {origin.backbone[:16]}) |
| graph | {files}: {origin.precision}, opset {origin.opset}, by {origin.exporter} of torch {origin.versions["torch"]} |
| input | `pixels` (B, 3, {config.preprocessing.size}, {config.preprocessing.size}) float32, see `preprocessing` in `{CONFIG}` |
| outputs | `read` (B, {origin.width}), what the head reads; `logit` (B,), of one view: see `quadrants` in `preprocessing` |

Load it with `Detector.from_pretrained("path/to/this/folder")` or `dgsnet detect --model path/to/this/folder photo.jpg`. It scores and does
nothing else: heatmaps, calibration and diagnosis take the model folder. After calibrating that again, export it again. What the model was
trained on and how its scores are to be read is on the card of the model folder. The licence of the backbone holds for the graph too, which
contains its weights.
"""
