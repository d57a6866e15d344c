"""`Detector`: image in, `Verdict` out.

Importing this imports no torch, nor does scoring with an exported model; what needs torch imports it where it is called.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from dgsnet.artifacts import exported as exported_folder
from dgsnet.artifacts import onnx_builder, shipped
from dgsnet.artifacts.config import Calibration, ScoringConfig
from dgsnet.artifacts.names import ADAPTER, CONFIG, HEADS
from dgsnet.core import prefetch
from dgsnet.core.errors import DgsnetError, ModelFolderError
from dgsnet.core.extras import missing_packages
from dgsnet.core.files import sha256_bytes, sha256_file
from dgsnet.images.decode import DecodePolicy, Source, decode
from dgsnet.inference.prepare import Prepared, prepare
from dgsnet.inference.verdict import OTHER_BUILD, Answer, Verdict
from dgsnet.model.ood import OodDetector
from dgsnet.runtimes import Runtime
from dgsnet.runtimes.providers import TORCH

if TYPE_CHECKING:
    from dgsnet.model.methods import Method

__all__ = ["Detector", "Verdict"]

_SLACK = 4  # images a worker is ahead of a model that takes one at a time, so that a large one does not keep the model waiting
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[A-Za-z0-9][\w./-]*)?")


class Detector:
    """A trained model with its preprocessing and calibration.

    The same bytes get the same score, whatever else is scored with them: on the CPU images pass the backbone one at a time, whatever the
    batch size; on other devices in batches that are always filled up to the batch size.

    `out_of_domain` warns of pictures unlike the photographs the model was trained on (`dgsnet.model.ood`), where the model folder knows
    them. `warnings` concern the model and stand in the row of every image it scores: ``other_backbone_build``, see
    `dgsnet.model.backbone_match`.
    """

    def __init__(
        self,
        model: Method | Runtime,
        config: ScoringConfig,
        name: str,
        fingerprint: str,
        policy: DecodePolicy | None = None,
        ood: OodDetector | None = None,
    ) -> None:
        self.runtime = model if isinstance(model, Runtime) else _torch_runtime(model)
        self.config, self.name, self.fingerprint, self.ood = config, name, fingerprint, ood
        self.policy = policy or DecodePolicy()
        self.warnings = [OTHER_BUILD] if self.runtime.fingerprint != config.backbone["fingerprint"] else []

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        backbone: str | None = None,
        device: str = "cpu",
        policy: DecodePolicy | None = None,
        provider: str | None = None,
        threads: int | None = None,
    ) -> Detector:
        """Load a model folder, or one that `dgsnet export` wrote, which needs no torch.

        Args:
            name: a shipped model (`dgsnet-b16`; a folder of that name is `./dgsnet-b16`, or any `Path`), a folder, or a hub id
                ``owner/name[@revision]``.
            backbone: name or folder of the backbone, if not the one the model names; an exported model holds its own.
            device: a torch device; what runs without torch has a provider instead.
            policy: limits of decoding.
            provider: what runs the model: `cpu`, `cuda`, `openvino` or `coreml` an exported model and one that ships, which need no torch;
                `torch` a model folder. None: for these the default of the format; for a shipped model `cpu`, unless `device` or `backbone`
                ask for torch; for other model folders `torch`.
            threads: that compute one image without torch; None: as many as there are cores.

        Raises:
            ModelFolderError: there is no such model, or it is damaged.
            WeightsError: the backbone cannot be had.
            DgsnetError: there is no such device or provider here, or the option is for the other kind of model.
            MissingPackageError: it needs torch, which is not installed.
        """
        with missing_packages():
            return cls._load(name, backbone, device, policy, provider, threads)

    @classmethod
    def _load(
        cls, name: str | Path, backbone: str | None, device: str, policy: DecodePolicy | None, provider: str | None, threads: int | None
    ) -> Detector:
        folder, called = _find(name), Path(os.path.abspath(name)).name  # noqa: PTH100 - "." too
        if exported_folder.is_exported(folder):
            if backbone is not None or device != "cpu":
                raise DgsnetError(f"{name} is an exported model: it has its own backbone and a provider, not a device: name neither")
            runtime, exported, ood = exported_folder.load(folder, provider, threads)
            return cls(runtime, exported, called, exported_folder.fingerprint(folder) + _build_mark(runtime, exported), policy, ood)
        planned = onnx_builder.is_planned(folder)
        if provider not in (None, TORCH) and (device != "cpu" or backbone is not None):
            raise DgsnetError(
                f"the provider {provider!r} runs without torch, which alone has devices and other backbones: name one or the other"
            )
        if planned and provider != TORCH and device == "cpu" and backbone is None:
            runtime, planned_config, ood = onnx_builder.load(folder, provider, threads)
            return cls(runtime, planned_config, called, fingerprint_of(folder) + _build_mark(runtime, planned_config), policy, ood)
        if provider not in (None, TORCH):
            raise DgsnetError(f"{name} has no graph to run on {provider!r}: make one (`dgsnet export`), or leave the provider out")
        if threads is not None:
            raise DgsnetError(f"{name} runs on torch, which has a number of threads of its own (OMP_NUM_THREADS)")
        return cls._from_model_folder(folder, called, backbone, device, policy)

    @classmethod
    def _from_model_folder(cls, folder: Path, name: str, backbone: str | None, device: str, policy: DecodePolicy | None) -> Detector:
        from dgsnet.artifacts import model_folder  # noqa: PLC0415 - it imports torch

        _check_device(device)
        method, config = model_folder.load(folder, backbone=backbone)
        runtime = _torch_runtime(method.to(device))
        ood = model_folder.load_ood(folder, method.backbone.width)
        return cls(runtime, config, name, fingerprint_of(folder) + _build_mark(runtime, config), policy, ood)

    @property
    def method(self) -> Method:
        """The torch method.

        Raises:
            DgsnetError: the model runs without torch.
        """
        return self.runtime.method

    def uncalibrated(self, folder: Path) -> Detector:
        """This detector with the plain sigmoid of the logit as its score, and a fingerprint that does not depend on the calibration.

        Args:
            folder: where it was loaded from.
        """
        config = self.config.model_copy(update={"calibration": Calibration()})
        fingerprint = fingerprint_of(folder, calibrated=False) + _build_mark(self.runtime, config)
        return Detector(self.runtime, config, self.name, fingerprint, self.policy, self.ood)

    def detect(self, source: Source) -> Verdict:
        """Score one image: a path, bytes, file object, PIL image or array (H, W, 3). An image that cannot be decoded has `error` set."""
        return next(self.detect_many([source]))

    def detect_many(
        self, sources: Iterable[Source], batch_size: int = 32, workers: int | None = None, *, provenance: bool = False
    ) -> Generator[Verdict, None, None]:
        """Score images in order, decoding ahead of the model.

        Args:
            sources: as in `detect`; consumed as verdicts are taken, at most twice `batch_size` ahead.
            batch_size: images a GPU gets at once; on the CPU it changes nothing but how far decoding may run ahead.
            workers: threads that decode; None: as many as there are cores, at most 16. They change no score.
            provenance: read what the files claim of their origin too, into `Verdict.provenance`.
        """
        if batch_size < 1:
            raise ValueError(f"expected a batch size of at least 1, but got {batch_size}")
        at_once, workers = self.at_once(batch_size), workers or prefetch.default_workers()
        ahead = 2 * batch_size if self.runtime.batches else min(2 * batch_size, _SLACK * workers)
        with closing(prefetch.in_order(partial(self._prepare, provenance=provenance), sources, workers, ahead)) as prepared:
            while batch := list(islice(prepared, at_once)):
                yield from self.score_prepared(batch, at_once)

    def heatmap(self, source: Source) -> PIL.Image.Image:
        """Where the model's answer comes from: the picture in grey at its own size, red where it pushed towards AI-generated, blue where
        towards a photograph; what the model did not see is plain. See `dgsnet.inference.heatmap`.

        Raises:
            DecodeError: the image cannot be decoded.
            DgsnetError: it is too small to judge.
        """
        from dgsnet.inference import heatmap  # noqa: PLC0415 - it imports this module

        return heatmap.explain(self, decode(source, self.policy)).image

    def at_once(self, batch_size: int) -> int:
        """Images that pass the model together where it may get up to `batch_size`: one on the CPU."""
        return batch_size if self.runtime.batches else 1

    def score_prepared(self, batch: list[Prepared], size: int) -> Iterator[Verdict]:
        """What the model says of images that are prepared already, in order.

        Args:
            batch: at most `size` of them.
            size: views the model gets at once, whatever the batch holds, so that no score depends on its neighbours.
        """
        seen = iter(self._see([prepared.views for prepared in batch if prepared.views is not None], size))
        for prepared in batch:
            yield prepared.verdict if prepared.views is None else self._scored(prepared.verdict, *next(seen))

    def _prepare(self, source: Source, *, provenance: bool = False) -> Prepared:
        return prepare(source, self.config.preprocessing, self.policy, self.name, provenance=provenance)

    def _scored(self, verdict: Verdict, logit: float, out_of_domain: bool) -> Verdict:
        score = self.config.calibration.score(logit)
        warnings = [*verdict.warnings, *["out_of_domain"] * out_of_domain, *self.warnings]
        return replace(verdict, score=score, logit=logit, verdict=answer(score, self.config.calibration), warnings=warnings)

    def _see(self, pictures: list[NDArray[np.float32]], size: int) -> list[tuple[float, bool]]:
        """(logit, out of domain) of pictures, each given by its views, (K, 3, S, S), which the backbone gets exactly `size` at a time.

        A picture's logit is the weighted sum of its views'. Its domain is asked about the first alone: domains are fitted to one a picture.
        """
        if not pictures:
            return []
        views = np.concatenate(pictures)
        passes = [self._pass(views[start : start + size], size) for start in range(0, len(views), size)]
        read, logits = (np.concatenate(each) for each in zip(*passes, strict=True))
        ends = np.cumsum([len(picture) for picture in pictures])
        seen = []
        for end, picture in zip(ends.tolist(), pictures, strict=True):
            start = end - len(picture)
            # One at a time, so that the sums are the same whatever else is in the batch.
            out_of_domain = self.ood is not None and bool(self.ood.is_out_of_domain(read[start : start + 1])[0])
            seen.append((float(logits[start:end].sum()) * self.config.preprocessing.weight(len(picture)), out_of_domain))
        return seen

    def _pass(self, views: NDArray[np.float32], size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the head reads of at most `size` views, and their logits; the runtime gets exactly `size`."""
        filled = np.concatenate([views, np.repeat(views[:1], size - len(views), axis=0)])
        read, logits = self.runtime.run(filled)
        return read[: len(views)], logits[: len(views)]


def answer(score: float, calibration: Calibration) -> Answer:
    """The verdict a score stands for."""
    if score >= calibration.generated:
        return "ai-generated"
    return "real" if score < calibration.real else "inconclusive"


def fingerprint_of(folder: Path, *, calibrated: bool = True) -> str:
    """sha256 over what decides a score: configuration, heads and adapter; with `calibrated` off, over what decides a logit."""
    known = [f"{name} {sha256_file(folder / name)}" for name in (CONFIG, HEADS, ADAPTER) if (folder / name).is_file()]
    if not calibrated:
        from dgsnet.artifacts import model_folder  # noqa: PLC0415 - it imports torch

        config = model_folder.load_config(folder).model_dump(mode="json", exclude={"calibration"})
        known[0] = f"{CONFIG} {sha256_bytes(json.dumps(config, sort_keys=True).encode())}"
    return hashlib.sha256("\n".join(known).encode()).hexdigest()


def unmarked(fingerprint: str) -> str:
    """A detector's fingerprint without what says that it runs on another build of the backbone, or without torch."""
    return fingerprint.partition("~")[0].partition("+")[0]


def on_other_build(fingerprint: str) -> bool:
    """Whether a detector's fingerprint says that it ran on another build of the backbone than the model was trained on."""
    return "+" in fingerprint


def _build_mark(runtime: Runtime, config: ScoringConfig) -> str:
    """What a detector's fingerprint ends in when it runs on another build of the backbone, or without torch: its logits differ a little."""
    here = runtime.fingerprint
    other = "" if here == config.backbone["fingerprint"] else f"+{here[:16]}"
    return other + (f"~{runtime.mark}" if runtime.mark else "")


def _torch_runtime(method: Method) -> Runtime:
    from dgsnet.runtimes.pytorch import PyTorchRuntime  # noqa: PLC0415 - it imports torch

    return PyTorchRuntime(method)


def _check_device(device: str) -> None:
    import torch  # noqa: PLC0415 - an exported model needs none

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's, of a device it has no support for
        raise DgsnetError(f"the device {device!r} cannot be used here ({_first_line(error)}); `cpu` always can") from error


def _find(name: str | Path) -> Path:
    if isinstance(name, str) and (ours := shipped.shipped(name)) is not None:
        return ours
    folder, name = Path(name).expanduser(), str(name)
    if folder.is_dir():
        return folder
    # Where the part before the slash is a folder here, a mistyped path is more likely than a hub id.
    if _HUB_ID.fullmatch(name) and not folder.exists() and not folder.parent.is_dir():
        return _from_hub(name)
    why = (
        "it is a file, not a folder"
        if folder.exists()
        else f"there is no such folder, and no model ships under that name (these do: {', '.join(shipped.available())})"
    )
    raise ModelFolderError(
        f"no model {name!r}: {why}. Train one (`dgsnet train --out FOLDER`), or give a model folder or a hub id owner/name"
    )


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only for models on the hub

    repository, _, revision = name.partition("@")
    wanted = ["*.json", "*.safetensors", "*.onnx", "*.onnx.data", "*.xml", "*.bin", "README.md"]
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=wanted))
    except Exception as error:  # the client's own errors, those of its HTTP library (which one differs by version), the system's
        raise ModelFolderError(
            f"no model {name!r}: there is no such folder, and the hub did not give one ({_first_line(error)})"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
