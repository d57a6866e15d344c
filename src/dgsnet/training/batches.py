"""Batches of an epoch: views in training order, as tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from dgsnet.core.errors import DecodeError
from dgsnet.data.dataset import balanced_order
from dgsnet.model.methods import Batch
from dgsnet.model.recipe import Recipe, StageRecipe
from dgsnet.training.views import FrozenFeatures, View, Views


@dataclass(frozen=True)
class Loaded:
    """A batch as it leaves the loader, with the images that could not be decoded by index."""

    views: tuple[View, ...]
    pixels: torch.Tensor | None
    failed: dict[int, str]
    trunk: torch.Tensor | None = None


class _ViewLoader(Dataset[Loaded]):
    """Item i is batch i: one process decodes a whole batch, so that the batches are the same for any number of workers."""

    def __init__(self, views: Views, batches: Sequence[Sequence[View]], with_pixels: bool, frozen: FrozenFeatures | None) -> None:
        self.views, self.batches, self.with_pixels, self.frozen = views, batches, with_pixels, frozen

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Loaded:
        batch = self.batches[number]
        if not self.with_pixels:
            return Loaded(tuple(batch), None, {})
        if self.frozen is not None and self.frozen.trunks is not None:
            usable = tuple(view for view in batch if view[0] not in self.frozen.failed)
            return Loaded(usable, None, {}, self.frozen.trunk(usable) if usable else None)
        decoded: dict[View, NDArray[np.float32]] = {}
        failed: dict[int, str] = {}
        for view in batch:
            try:
                decoded[view] = self.views.pixels(view)
            except DecodeError as error:
                failed[view[0]] = str(error)
        kept = tuple(view for view in batch if view in decoded)
        pixels = torch.from_numpy(np.stack([decoded[view] for view in kept])) if kept else None
        return Loaded(kept, pixels, failed)


def epoch_views(views: Views, labels: NDArray[np.int64], recipe: Recipe, epoch: int) -> list[View]:
    """Return the views of one epoch in training order; the order depends on (seed, epoch) only."""
    if recipe.data.sampling == "balanced":
        order = balanced_order(labels, recipe.seed, epoch)
    else:
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(labels))
    number = views.number(epoch)
    return [(int(index), number) for index in order]


class Batches:
    """Epochs cut into optimiser steps, and views turned into the batches that a method takes."""

    def __init__(
        self, views: Views, labels: NDArray[np.int64], recipe: Recipe, frozen: FrozenFeatures | None, text: torch.Tensor | None
    ) -> None:
        self.views, self.labels, self.recipe = views, labels, recipe
        self.frozen, self.text = frozen, text

    def steps(self, stage: StageRecipe, processes: int = 1) -> int:
        """Count the optimiser steps of a stage. The last, smaller batch of an epoch counts, except where processes share the work."""
        if stage.epochs == 0:
            return 0
        per_epoch = len(epoch_views(self.views, self.labels, self.recipe, 0)) / (stage.batch * processes)
        return stage.epochs * int(per_epoch if processes > 1 else -(-per_epoch // 1))

    def run(self, stage: StageRecipe, with_pixels: bool, start: int, rank: int = 0, processes: int = 1) -> Iterator[tuple[int, Loaded]]:
        """Yield (epoch, batch) of every optimiser step from number `start` on, for one of several processes."""
        total = self.steps(stage, processes)
        per_epoch = total // stage.epochs if stage.epochs else 0
        for epoch in range(start // per_epoch if per_epoch else 0, stage.epochs):
            order = epoch_views(self.views, self.labels, self.recipe, epoch)
            cut = [order[first : first + stage.batch] for first in range(0, len(order), stage.batch)]
            mine = cut[rank::processes][:per_epoch]
            begin = max(0, start - epoch * per_epoch)
            workers = self.recipe.data.workers if with_pixels else 0
            loader = DataLoader(_ViewLoader(self.views, mine[begin:], with_pixels, self.frozen), batch_size=None, num_workers=workers)
            for loaded in loader:
                yield epoch, loaded

    def parts(self, loaded: Loaded, stage: StageRecipe) -> Iterator[Batch]:
        """Split a loaded batch into one or several `Batch` of at most `micro_batch` images, whose shares add up to 1."""
        views = [view for view in loaded.views if self.frozen is None or view[0] not in self.frozen.failed]
        if not views:
            return
        size = stage.micro_batch or len(views)
        place = {view: row for row, view in enumerate(loaded.views)}
        for first in range(0, len(views), size):
            part = views[first : first + size]
            index, rows = torch.tensor([view[0] for view in part]), torch.tensor([place[view] for view in part])
            yield Batch(
                labels=torch.from_numpy(self.labels)[index].float(),
                pixels=None if loaded.pixels is None else loaded.pixels[rows],
                trunk=None if loaded.trunk is None else loaded.trunk[rows],
                frozen=None if self.frozen is None else self.frozen[part],
                text=None if self.text is None else self.text[index],
                share=len(part) / len(views),
            )
