"""Training views: what is shown of an image in an epoch, as a pure function of (seed, image content, view number)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from dgsnet.backbones import Backbone
from dgsnet.dataset import Dataset
from dgsnet.decoding import decode
from dgsnet.errors import DatasetError, DecodeError
from dgsnet.feature_cache import FeatureCache
from dgsnet.files import sha256_bytes
from dgsnet.recipe import Recipe

View = tuple[int, int]
"""(index of the image in the data set, view number)."""

_SAVE_EVERY = 32  # frozen features between writes to the cache


class Views:
    """Views of a data set under a recipe."""

    def __init__(self, dataset: Dataset, recipe: Recipe) -> None:
        self.dataset, self.recipe = dataset, recipe

    def number(self, epoch: int) -> int:
        """View number of an epoch: fixed views take turns, fresh ones count on."""
        fixed = self.recipe.fixed_views
        return epoch if fixed is None else epoch % fixed

    def pixels(self, view: View) -> NDArray[np.float32]:
        """The backbone's input, (3, S, S) float32.

        Raises:
            DecodeError: the image cannot be decoded, or is too small to be shown.
        """
        index, number = view
        sample = self.dataset.samples[index]
        try:
            image = decode(self.dataset.read(sample))
            digest = hashlib.sha256(f"{self.recipe.seed}:{image.sha256}:{number}".encode()).digest()
            rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
            shuffle = int(rng.integers(2**63))
            return self.recipe.preprocessing(self.recipe.augmentation.apply(image.pixels, rng), shuffle)
        except (DatasetError, DecodeError, ValueError) as error:
            raise DecodeError(f"{sample.path}: {error}") from error

    @property
    def space(self) -> str:
        """Names everything but the image that a view depends on."""
        settings = {
            "preprocessing": self.recipe.preprocessing.model_dump(mode="json"),
            "augmentation": self.recipe.augmentation.model_dump(mode="json"),
            "seed": None if self.recipe.fixed_views == 1 and self.recipe.data.views is None else self.recipe.seed,
        }
        return json.dumps(settings, sort_keys=True)


class FrozenFeatures:
    """Features of the frozen teacher on training views, computed once and kept in the cache."""

    def __init__(self, views: Views, backbone: Backbone, cache: FeatureCache) -> None:
        self.views, self.backbone, self.cache = views, backbone, cache
        self._known: dict[View, torch.Tensor] = {}
        self.failed: dict[int, str] = {}

    def prepare(self, wanted: Sequence[View], progress: Progress) -> None:
        """Make the features of these views available. An image that cannot be decoded ends up in `failed` by its index."""
        keys = {view: self._key(view) for view in wanted if view not in self._known and view[0] not in self.failed}
        keys = {view: key for view, key in keys.items() if key}
        stored = self.cache.get(keys.values())
        self._known |= {view: torch.from_numpy(stored[key].copy()) for view, key in keys.items() if key in stored}
        missing = [view for view, key in keys.items() if key not in stored]
        fresh: dict[str, NDArray[np.float32]] = {}
        for view in progress.track(missing, description="frozen CLIP features") if missing else ():
            try:
                pixels = torch.from_numpy(self.views.pixels(view)).unsqueeze(0)
            except DecodeError as error:
                self.failed[view[0]] = str(error)
                continue
            self._known[view] = self.backbone.frozen(pixels.to(self.backbone.device))[0].cpu()
            fresh[keys[view]] = self._known[view].numpy()
            if len(fresh) == _SAVE_EVERY:
                self.cache.put(fresh)
                fresh = {}
        self.cache.put(fresh)

    def __getitem__(self, views: Sequence[View]) -> torch.Tensor:
        """(n, D) features of prepared views; a row of NaN is an image that cannot be shown."""
        blank = torch.full((self.backbone.width,), float("nan"))
        return torch.stack([self._known.get(view, blank) for view in views])

    def _key(self, view: View) -> str:
        """Content and view number; empty for an image that cannot be read."""
        try:
            content = sha256_bytes(self.views.dataset.read(self.views.dataset.samples[view[0]]))
        except DatasetError as error:
            self.failed[view[0]] = str(error)
            return ""
        return f"{content}:{view[1]}"
