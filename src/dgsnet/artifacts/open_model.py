"""Opens a model on disk, whatever kind it is: the one way from a name to what computes logits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dgsnet.artifacts import exported, fingerprint, onnx_builder
from dgsnet.artifacts.config import ModelConfig
from dgsnet.artifacts.fingerprint import Fingerprint
from dgsnet.artifacts.locate import locate
from dgsnet.artifacts.ood_file import load_ood
from dgsnet.core.errors import DgsnetError, first_line
from dgsnet.core.extras import missing_packages
from dgsnet.model.ood import OodDetector
from dgsnet.runtimes import Runtime
from dgsnet.runtimes.graph import GraphRuntime
from dgsnet.runtimes.providers import TORCH


@dataclass(frozen=True)
class RuntimeOptions:
    """Choice of what runs a model.

    Attributes:
        provider: `cpu`, `cuda`, `openvino` or `coreml` run a graph, without torch; `torch` runs a model folder. None: the default of what
            the folder holds; of a model folder with a graph `cpu`, unless `device` or `backbone` ask for torch.
        device: a torch device; what runs without torch has a provider instead.
        backbone: name or folder of the backbone, if not the one the model names; a graph holds its own.
        threads: that compute one image without torch; None: as many as there are cores.
    """

    provider: str | None = None
    device: str = "cpu"
    backbone: str | None = None
    threads: int | None = None

    @property
    def asks_for_torch(self) -> bool:
        """True where torch alone has what is asked for: another device or backbone."""
        return self.device != "cpu" or self.backbone is not None


@dataclass(frozen=True)
class LoadedModel:
    """An opened model.

    Attributes:
        name: last part of the name it was asked for by.
        runtime: what computes features and logits.
        config: every setting.
        ood: tells pictures unlike the training photographs; None where the model has no such part.
        fingerprint: what decides its scores.
    """

    name: str
    runtime: Runtime
    config: ModelConfig
    ood: OodDetector | None
    fingerprint: Fingerprint


def open_model(name: str | Path, options: RuntimeOptions | None = None) -> LoadedModel:
    """Open a shipped model, a model folder, an exported folder, or a model on the hub.

    Args:
        name: a shipped model (`dgsnet-b16`; a folder of that name is `./dgsnet-b16`, or any `Path`), a folder, or a hub id
            ``owner/name[@revision]``.
        options: what runs it.

    Raises:
        ModelFolderError: there is no such model, or it is damaged.
        WeightsError: the backbone cannot be had.
        DgsnetError: there is no such device or provider here, or the option is for the other kind of model.
        MissingPackageError: it needs torch, which is not installed.
    """
    options = options or RuntimeOptions()
    with missing_packages():
        folder, called = locate(name), Path(os.path.abspath(name)).name  # noqa: PTH100 - "." too
        if exported.is_exported(folder):
            if options.asks_for_torch:
                raise DgsnetError(f"{name} is an exported model: it has its own backbone and a provider, not a device: name neither")
            graph, config = exported.load(folder, options.provider, options.threads)
            return _of_graph(called, folder, graph, config, fingerprint.of_exported_folder(folder))
        if options.provider not in (None, TORCH):
            if options.asks_for_torch:
                alone = "which alone has devices and other backbones: name one or the other"
                raise DgsnetError(f"the provider {options.provider!r} runs without torch, {alone}")
            if not onnx_builder.has_graph(folder):
                raise DgsnetError(
                    f"{name} has no graph to run on {options.provider!r}: make one (`dgsnet export`), or leave the provider out"
                )
        if onnx_builder.has_graph(folder) and options.provider != TORCH and not options.asks_for_torch:
            graph, config = onnx_builder.load(folder, options.provider, options.threads)
            return _of_graph(called, folder, graph, config, fingerprint.of_model_folder(folder))
        if options.threads is not None:
            raise DgsnetError(f"{name} runs on torch, which has a number of threads of its own (OMP_NUM_THREADS)")
        return _in_torch(called, folder, options)


def _of_graph(name: str, folder: Path, runtime: GraphRuntime, config: ModelConfig, model: Fingerprint) -> LoadedModel:
    running = model.running(config.backbone["fingerprint"], runtime.fingerprint, runtime.graph_key)
    return LoadedModel(name, runtime, config, load_ood(folder, runtime.width), running)


def _in_torch(name: str, folder: Path, options: RuntimeOptions) -> LoadedModel:
    from dgsnet.artifacts import model_folder  # noqa: PLC0415 - these import torch
    from dgsnet.runtimes.pytorch import PyTorchRuntime  # noqa: PLC0415

    _check_device(options.device)
    method, config = model_folder.load(folder, backbone=options.backbone)
    running = fingerprint.of_model_folder(folder).running(config.backbone["fingerprint"], method.backbone.fingerprint, graph="")
    return LoadedModel(name, PyTorchRuntime(method.to(options.device)), config, load_ood(folder, method.width), running)


def _check_device(device: str) -> None:
    import torch  # noqa: PLC0415 - a graph needs none

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's, of a device it has no support for
        raise DgsnetError(f"the device {device!r} cannot be used here ({first_line(error)}); `cpu` always can") from error
