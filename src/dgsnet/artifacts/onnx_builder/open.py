"""A model folder with a plan, read to be scored with: runtime, configuration, domain. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgsnet.artifacts.config import ScoringConfig, read_config
from dgsnet.artifacts.names import CONFIG, FORMAT, OOD, PLAN
from dgsnet.artifacts.onnx_builder import weight_map as plans
from dgsnet.artifacts.onnx_builder.cache import locate
from dgsnet.artifacts.ood_file import load_ood
from dgsnet.model.ood import OodDetector
from dgsnet.runtimes.graph import Contents
from dgsnet.runtimes.providers import open_runtime

if TYPE_CHECKING:
    from dgsnet.runtimes.graph import GraphRuntime


class PlannedConfig(ScoringConfig):
    """`config.json` of a model folder, as far as scoring needs it."""

    format: int
    recipe: dict[str, Any]


def is_planned(folder: Path) -> bool:
    """Whether a model folder has a graph and so scores without torch."""
    return (folder / PLAN).is_file()


def prepare(folder: Path) -> Path:
    """The graph of a model folder with a plan, in the cache; its weights are put together first where they are not there.

    Raises:
        ModelFolderError: a file is missing, damaged or not of this model.
        WeightsError: the backbone cannot be had.
    """
    return locate(folder, _config(folder).backbone["name"])


def load(folder: Path, provider: str | None = None, threads: int | None = None) -> tuple[GraphRuntime, PlannedConfig, OodDetector | None]:
    """Load a model folder with a plan, its weights put together first where they are not in the cache.

    Args:
        folder: model folder.
        provider: what runs it (`dgsnet.runtimes.providers`), not `torch`; None: `cpu`.
        threads: that compute one image; None: as many as there are cores.

    Raises:
        ModelFolderError: a file is missing, damaged or not of this model.
        WeightsError: the backbone cannot be had.
        DgsnetError: the provider cannot be had.
    """
    config, plan, graph = _config(folder), plans.read(folder), prepare(folder)
    without = f"{folder.absolute().name} is run without torch here, which scores and draws heatmaps and does nothing else"
    contents = Contents(
        plan.backbone,
        config.preprocessing.size,
        plan.width,
        instead=f'{without}: ask for torch (`--provider torch`, `from_pretrained(..., provider="torch")`)',
        mark=plan.key,
    )
    return open_runtime(graph, "onnx", provider, threads, contents), config, load_ood(folder / OOD, plan.width)


def _config(folder: Path) -> PlannedConfig:
    return read_config(folder / CONFIG, PlannedConfig, "format", FORMAT, f"{folder} is no model folder: {CONFIG} is missing")
