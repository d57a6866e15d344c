"""Training views: the backbone's input made of an image in an epoch, a pure function of (seed, image content, view number)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from dgsnet.core.cache_folder import cache_dir
from dgsnet.core.errors import DatasetError, DecodeError
from dgsnet.core.files import sha256_bytes
from dgsnet.data.dataset import Dataset
from dgsnet.images.decode import decode
from dgsnet.model.backbone import Backbone
from dgsnet.model.feature_cache import FeatureCache
from dgsnet.model.recipe import Recipe

View = tuple[int, int]
"""(index of the image in the data set, view number)."""

_SAVE_EVERY = 32  # frozen features between writes to the cache


class Views:
    """Views of a data set under a recipe."""

    def __init__(self, dataset: Dataset, recipe: Recipe) -> None:
        self.dataset, self.recipe = dataset, recipe

    def number(self, epoch: int) -> int:
        """Return the view number of an epoch: fixed views take turns, fresh ones count on."""
        fixed = self.recipe.fixed_views
        return epoch if fixed is None else epoch % fixed

    def pixels(self, view: View) -> NDArray[np.float32]:
        """Return the backbone's input, (3, S, S) float32.

        Raises:
            DecodeError: the image cannot be decoded, or is too small.
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
        """Name of everything but the image that a view depends on."""
        settings = {
            "preprocessing": self.recipe.preprocessing.model_dump(mode="json", exclude={"multi_crop"}),  # which training takes no notice of
            "augmentation": self.recipe.augmentation.model_dump(mode="json"),
            "seed": None if self.recipe.fixed_views == 1 and self.recipe.data.views is None else self.recipe.seed,
        }
        return json.dumps(settings, sort_keys=True)


class FrozenFeatures:
    """Features of the frozen teacher on training views, computed once and kept in the cache; and with them, where a cache for it is given,
    the trunk: what the first adapted block reads of the view, which training cannot change."""

    def __init__(self, views: Views, backbone: Backbone, cache: FeatureCache, trunks: FeatureCache | None = None) -> None:
        self.views, self.backbone, self.cache, self.trunks = views, backbone, cache, trunks
        self._features: dict[View, torch.Tensor] = {}
        self._keys: dict[View, str] = {}
        self.failed: dict[int, str] = {}

    @classmethod
    def cached(cls, views: Views, backbone: Backbone) -> FrozenFeatures:
        """Return the features that runs over the same views share; with trunks where the recipe asks for them and there is an adapter."""
        folder, space = cache_dir() / "features", f"{backbone.fingerprint} {views.space}"
        blocks = (
            f" blocks {list(backbone.blocks)}{'' if backbone.block_tokens == 'patches' else f' {backbone.block_tokens}'}"
            if backbone.blocks
            else ""
        )
        trunks = None
        if views.recipe.data.cache_trunk and backbone.trunk_depth:
            trunks = FeatureCache(folder / "trunks.sqlite", f"{space} trunk {backbone.trunk_depth}")
        return cls(views, backbone, FeatureCache(folder / "images.sqlite", f"{space}{blocks}"), trunks)

    def prepare(self, wanted: Sequence[View], progress: Progress) -> None:
        """Make the features of these views available. An image that cannot be decoded ends up in `failed` by its index."""
        keys = {view: self._key(view) for view in wanted if view not in self._features and view[0] not in self.failed}
        keys = {view: key for view, key in keys.items() if key}
        stored = self.cache.get(keys.values())
        if self.trunks is not None:
            whole = self.trunks.known(stored)
            stored = {key: vector for key, vector in stored.items() if key in whole}
        self._keys |= keys
        self._features |= {view: torch.from_numpy(stored[key].copy()) for view, key in keys.items() if key in stored}
        missing = [view for view, key in keys.items() if key not in stored]
        features: dict[str, NDArray[np.float32]] = {}
        trunks: dict[str, NDArray[np.float32]] = {}
        for view in progress.track(missing, description="frozen CLIP features") if missing else ():
            try:
                pixels = torch.from_numpy(self.views.pixels(view)).unsqueeze(0).to(self.backbone.device)
            except DecodeError as error:
                self.failed[view[0]] = str(error)
                continue
            if self.trunks is None:
                self._features[view] = self.backbone.frozen(pixels)[0].cpu()
            else:
                frozen, trunk = self.backbone.frozen_with_trunk(pixels)
                self._features[view], trunks[keys[view]] = frozen[0].cpu(), trunk[0].cpu().numpy()
            features[keys[view]] = self._features[view].numpy()
            if len(features) == _SAVE_EVERY:
                self._save(features, trunks)
        self._save(features, trunks)

    def _save(self, features: dict[str, NDArray[np.float32]], trunks: dict[str, NDArray[np.float32]]) -> None:
        """Write to the caches, and empty both."""
        if self.trunks is not None:
            self.trunks.put(trunks)
        self.cache.put(features)
        features.clear()
        trunks.clear()

    def __getitem__(self, views: Sequence[View]) -> torch.Tensor:
        """Return the features of prepared views, (n, D); a row of NaN is an image that cannot be decoded."""
        blank = torch.full((self.backbone.width,), float("nan"))
        return torch.stack([self._features.get(view, blank) for view in views])

    def trunk(self, views: Sequence[View]) -> torch.Tensor:
        """Return the trunks of prepared, decodable views, (n, T, W), read from the cache each time: they are too large to be held."""
        if self.trunks is None:
            raise ValueError("expected a cache for trunks, but none was given")
        stored = self.trunks.get(self._keys[view] for view in views)
        rows = [stored[self._keys[view]].reshape(-1, self.backbone.block_width) for view in views]
        return torch.from_numpy(np.stack(rows))

    def _key(self, view: View) -> str:
        """Return a key of content and view number; empty for an image that cannot be read."""
        try:
            content = sha256_bytes(self.views.dataset.read(self.views.dataset.samples[view[0]]))
        except DatasetError as error:
            self.failed[view[0]] = str(error)
            return ""
        return f"{content}:{view[1]}"
