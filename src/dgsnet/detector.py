"""`Detector`: image in, `Verdict` out."""

from __future__ import annotations

import hashlib
import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dgsnet import model_folder
from dgsnet.decoding import DecodedImage, DecodePolicy, Source, decode
from dgsnet.errors import DecodeError, ModelFolderError
from dgsnet.files import sha256_file
from dgsnet.methods import Method
from dgsnet.model_folder import Calibration, Config
from dgsnet.verdict import Answer, Verdict

__all__ = ["Detector", "Verdict"]

_DECODERS = 2  # threads that decode ahead of the model
_VIEW_SEED = 0  # a model whose patches are shuffled sees one fixed shuffle, so that an image has one score


@dataclass(frozen=True)
class _Prepared:
    path: str | None
    image: DecodedImage | None = None
    pixels: NDArray[np.float32] | None = None
    error: str | None = None


class Detector:
    """A trained model with its preprocessing and calibration.

    The same bytes get the same score, whatever the batch size and the number of threads: on the CPU images pass the backbone one at a time,
    on other devices in batches that are always filled up to the same size.
    """

    def __init__(self, method: Method, config: Config, name: str, fingerprint: str, policy: DecodePolicy | None = None) -> None:
        self.method, self.config, self.name, self.fingerprint = method, config, name, fingerprint
        self.policy = policy or DecodePolicy()

    @classmethod
    def from_pretrained(cls, name: str | Path, *, backbone: str | None = None, device: str = "cpu", policy: DecodePolicy | None = None) -> Detector:
        """Load a model folder.

        Args:
            name: a folder, or the hub id ``owner/name[@revision]`` of one.
            backbone: name or folder of the backbone, if not the one the model names.
            device: a torch device.
            policy: limits of decoding.

        Raises:
            ModelFolderError: there is no such model, or it is damaged.
            WeightsError: the backbone cannot be had.
        """
        folder = _find(str(name))
        method, config = model_folder.load(folder, backbone=backbone)
        return cls(method.to(device), config, Path(name).name, fingerprint_of(folder), policy)

    def detect(self, source: Source) -> Verdict:
        """Score one image: a path, bytes, file object, PIL image or array (H, W, 3). An image that cannot be decoded has `error` set."""
        return next(self.detect_many([source]))

    def detect_many(self, sources: Iterable[Source], batch_size: int = 32) -> Iterator[Verdict]:
        """Score images in order, decoding ahead of the model.

        Args:
            sources: as in `detect`; consumed as verdicts are taken.
            batch_size: images the device gets at once (GPU) and are decoded ahead. Does not change a score.
        """
        with ThreadPoolExecutor(_DECODERS) as pool:
            waiting: deque[Future[_Prepared]] = deque()
            for source in sources:
                waiting.append(pool.submit(self._prepare, source))
                if len(waiting) >= 2 * batch_size:
                    yield from self._score([waiting.popleft().result() for _ in range(batch_size)], batch_size)
            while waiting:
                yield from self._score([waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))], batch_size)

    def _prepare(self, source: Source) -> _Prepared:
        path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
        try:
            image = decode(source, self.policy)
            if min(image.width, image.height) < self.config.preprocessing.patch:
                raise DecodeError(f"{path or 'image'} is {image.width}x{image.height} pixels: too small to judge")
            return _Prepared(path, image, self.config.preprocessing(image.pixels, _VIEW_SEED))
        except DecodeError as error:
            return _Prepared(path, error=str(error))

    def _score(self, batch: list[_Prepared], size: int) -> Iterator[Verdict]:
        shown = [prepared.pixels for prepared in batch if prepared.pixels is not None]
        logits = iter(self._logits(shown, size))
        for prepared in batch:
            if prepared.image is None:
                yield Verdict(prepared.path, model=self.name, error=prepared.error)
                continue
            image, logit = prepared.image, next(logits)
            score = _sigmoid(logit / self.config.calibration.temperature)
            yield Verdict(
                path=prepared.path,
                sha256=image.sha256,
                score=score,
                logit=logit,
                verdict=answer(score, self.config.calibration),
                warnings=self.config.preprocessing.warnings(image.height, image.width),
                width=image.width,
                height=image.height,
                format=image.format,
                model=self.name,
            )

    @torch.inference_mode()
    def _logits(self, inputs: list[NDArray[np.float32]], size: int) -> list[float]:
        device = self.method.backbone.device
        size = 1 if device.type == "cpu" else size
        logits: list[float] = []
        for first in range(0, len(inputs), size):
            chunk = inputs[first : first + size]
            filled = np.stack(chunk + [chunk[0]] * (size - len(chunk)))
            logits += self.method.logits(torch.from_numpy(filled).to(device))[: len(chunk)].double().cpu().tolist()
        return logits


def answer(score: float, calibration: Calibration) -> Answer:
    """The verdict a score stands for."""
    if score >= calibration.generated:
        return "ai-generated"
    return "real" if score < calibration.real else "inconclusive"


def fingerprint_of(folder: Path) -> str:
    """sha256 over what decides a score: configuration, heads and adapter."""
    files = (model_folder.CONFIG, model_folder.HEADS, model_folder.ADAPTER)
    known = [f"{name} {sha256_file(folder / name)}" for name in files if (folder / name).is_file()]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()


def _find(name: str) -> Path:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _from_hub(name)
    raise ModelFolderError(f"there is no model {name!r}: give a model folder (`dgsnet train --out FOLDER` makes one) or a hub id owner/name")


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only for models on the hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415

    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=["*.json", "*.safetensors", "README.md"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelFolderError(f"there is no model folder {name!r}, and the hub did not give one either: {error}") from error


def _sigmoid(logit: float) -> float:
    """Stable for any logit."""
    return 1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))
