"""Features of the same views of the same images from the frozen and the tuned tower, kept in a file so that none is computed twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from rich.progress import Progress
from torch import Tensor, nn

from dgsnet.core.errors import DatasetError, DecodeError, ModelFolderError
from dgsnet.core.files import sha256_bytes
from dgsnet.data.dataset import Dataset
from dgsnet.images.decode import decode
from dgsnet.inference.detector import Detector
from dgsnet.model.feature_cache import FeatureCache

_SAVE_EVERY = 16  # images between writes: what a kill costs
_CLASS, _PATCHES = 0, 1

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TowerFeatures:
    """Features of N images from one tower with L blocks of width W, joint space of width D.

    `states` is (N, L, 2, W) float32, the class token and the mean patch token after each block; `embedding` (N, D) float64, CLIP's
    projection, not normalised; `logits` (N,) float64 of the model, None of a frozen tower.
    """

    states: NDArray[np.float32]
    embedding: Floats
    logits: Floats | None

    @property
    def blocks(self) -> int:
        """Return L."""
        return int(self.states.shape[1])

    def class_token(self, block: int) -> Floats:
        """Return (N, W), after this block; 1 is the first."""
        return self.states[:, block - 1, _CLASS].astype(np.float64)

    def patch_token(self, block: int) -> Floats:
        """Return (N, W), mean over patches after this block; 1 is the first."""
        return self.states[:, block - 1, _PATCHES].astype(np.float64)


@dataclass(frozen=True)
class Keys:
    """The images of a data set by what they contain: (N,) keys, empty for one that cannot be read, and errors by place in the data."""

    keys: tuple[str, ...]
    failed: dict[int, str]

    @classmethod
    def of(cls, dataset: Dataset) -> Keys:
        """Read every image once."""
        keys, failed = [], {}
        for place, sample in enumerate(dataset):
            try:
                keys.append(sha256_bytes(dataset.read(sample)))
            except DatasetError as error:
                keys.append("")
                failed[place] = str(error)
        return cls(tuple(keys), failed)


class Towers:
    """The two towers of a model, read through a file of features.

    Args:
        detector: the model. Its view of each image is taken; of a picture that it scores by several, the middle one.
        file: SQLite file of `FeatureCache`; several models share it, and models of one backbone and one preprocessing the frozen part.
    """

    def __init__(self, detector: Detector, file: Path) -> None:
        backbone, preprocessing = detector.method.backbone, detector.config.preprocessing
        self.detector = detector
        settings = json.dumps(preprocessing.model_dump(mode="json"), sort_keys=True)
        self._frozen = FeatureCache(file, f"frozen {backbone.fingerprint} {settings}")
        self._tuned = FeatureCache(file, f"tuned {detector.fingerprint}")

    def extract(self, dataset: Dataset, keys: Keys, progress: Progress | None = None) -> dict[int, str]:
        """Extract features of every image that the file lacks from both towers; after `kill -9` the same call goes on from there.

        Returns:
            Errors by place in the data, of images that cannot be read, decoded or scored.

        Raises:
            ModelFolderError: a feature is not finite.
        """
        cached_frozen, cached_tuned = self._frozen.get(keys.keys).keys(), self._tuned.get(keys.keys).keys()
        failed = dict(keys.failed)
        missing = [place for place, key in enumerate(keys.keys) if key and not (key in cached_frozen and key in cached_tuned)]
        shown = progress.track(missing, description=f"features of {self.detector.name}") if progress and missing else missing
        fresh_frozen: dict[str, NDArray[np.float32]] = {}
        fresh_tuned: dict[str, NDArray[np.float32]] = {}
        done: set[str] = set()  # the same picture may stand in the data twice
        for place in shown:
            key = keys.keys[place]
            if key in done:
                continue
            try:
                pixels = self._view(dataset, place)
            except DecodeError as error:
                failed[place] = str(error)
                continue
            done.add(key)
            if key not in cached_frozen:
                fresh_frozen[key] = self._vector(pixels, tuned=False)
            if key not in cached_tuned:
                fresh_tuned[key] = self._vector(pixels, tuned=True)
            if max(len(fresh_frozen), len(fresh_tuned)) >= _SAVE_EVERY:
                self._save(fresh_frozen, fresh_tuned)
        self._save(fresh_frozen, fresh_tuned)
        return failed

    def features(self, keys: Sequence[str]) -> tuple[TowerFeatures, TowerFeatures]:
        """Return (frozen, tuned) of images that `extract` has been over, in this order."""
        return self._features(self._frozen.get(keys), keys), self._features(self._tuned.get(keys), keys)

    def _save(self, frozen: dict[str, NDArray[np.float32]], tuned: dict[str, NDArray[np.float32]]) -> None:
        self._frozen.put(frozen)
        self._tuned.put(tuned)
        frozen.clear()
        tuned.clear()

    def _view(self, dataset: Dataset, place: int) -> Tensor:
        """Return the model's view of an image, (1, 3, S, S)."""
        sample, preprocessing = dataset.samples[place], self.detector.config.preprocessing
        patch = preprocessing.patch
        try:
            image = decode(dataset.read(sample), self.detector.policy)
        except (DatasetError, DecodeError) as error:
            raise DecodeError(f"{sample.path}: {error}") from error
        if min(image.width, image.height) < patch:
            raise DecodeError(f"{sample.path}: {image.width}x{image.height} pixels are too few, expected at least {patch}x{patch}")
        return torch.from_numpy(preprocessing(image.pixels)).unsqueeze(0).to(self.detector.method.backbone.device)

    @torch.inference_mode()
    def _vector(self, pixels: Tensor, *, tuned: bool) -> NDArray[np.float32]:
        """Put one image through one tower, alone, so that its features do not depend on its neighbours."""
        method = self.detector.method
        logits: list[Tensor] = []
        with _capturing((method.tower if tuned else method.backbone).vision) as captured:
            if tuned:
                logits = [method.predict(pixels)]
                if len(captured.embeddings) != 1:  # a method that looks more than once: its tower is read by itself
                    captured.clear()
                    method.tower(pixels)
            else:
                method.backbone.frozen(pixels)
        vector: NDArray[np.float32] = torch.cat([*captured.states, *captured.embeddings, *logits]).float().cpu().numpy()
        if not np.isfinite(vector).all():
            raise ModelFolderError(f"{self.detector.name}: the tower gives features that are not finite; the model is damaged")
        return vector

    def _features(self, vectors: dict[str, NDArray[np.float32]], keys: Sequence[str]) -> TowerFeatures:
        backbone = self.detector.method.backbone
        rows = np.stack([vectors[key] for key in keys])
        inner = backbone.depth * 2 * backbone.block_width
        embedding = rows[:, inner : inner + backbone.joint_width].astype(np.float64)
        logits = rows[:, inner + backbone.joint_width :].astype(np.float64)
        states = rows[:, :inner].reshape(len(rows), backbone.depth, 2, backbone.block_width)
        return TowerFeatures(states, embedding, logits[:, 0] if logits.shape[1] else None)


@dataclass(frozen=True)
class _Captured:
    """Vectors in the order they came: class token and mean patch token of each block, CLIP's projection; each (n,)."""

    states: list[Tensor]
    embeddings: list[Tensor]

    def clear(self) -> None:
        self.states.clear()
        self.embeddings.clear()


@contextmanager
def _capturing(vision: nn.Module) -> Iterator[_Captured]:
    """Capture what passes through a tower while a model answers, so that states and logit cost one pass."""
    captured = _Captured([], [])
    tower: Any = vision.get_base_model() if isinstance(vision, PeftModel) else vision

    def block(_module: nn.Module, _given: Any, out: Any) -> None:
        tokens = (out[0] if isinstance(out, tuple) else out)[0]
        captured.states.extend([tokens[0], tokens[1:].mean(dim=0)])

    hooks = [layer.register_forward_hook(block) for layer in tower.vision_model.encoder.layers]
    hooks.append(tower.visual_projection.register_forward_hook(lambda _module, _given, out: captured.embeddings.append(out[0])))
    try:
        yield captured
    finally:
        for hook in hooks:
            hook.remove()
