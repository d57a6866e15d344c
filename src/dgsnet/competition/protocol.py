"""The protocol: what is trained, on what it is tested, and what a set of images must be so that figures count.

Figures of two versions never stand in one table. Version 1:

* **Training**: 800 images, as many real as generated, balanced over sources; native crops; one probe of 20 epochs on frozen features, one
  epoch of fine-tuning at batch 16, Adam 3e-4. Every method has this recipe, and its own term or rule at the default strength.
* **Test**: at least 50 generators and 40 photo sources, none of which was trained on, at least 12 images each; as they are, and after the
  journey `share` (`dgsnet.images.journeys`), whatever the label.
* **Figures**: AUROC of each generator against all photographs, and their mean; intervals draw seeds, generators and images.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from dgsnet.core.errors import RecipeError
from dgsnet.data.dataset import Dataset
from dgsnet.images.perturb import Perturbation, journey
from dgsnet.model.recipe import Recipe, make_recipe

RECIPE: tuple[str, ...] = (
    "data.limit=800",
    "data.sampling=balanced",
    "preprocessing.view=crop",
    "augmentation.flip=false",
    "probe.epochs=20",
    "probe.batch=32",
    "probe.lr=1e-3",
    "probe.weight_decay=0.01",
    "finetune.epochs=1",
    "finetune.batch=16",
    "finetune.lr=3e-4",
)
"""Settings that all methods share."""

_SURGERY = ("suppression", "alignment", "strength", "order")


@dataclass(frozen=True)
class Protocol:
    """What is compared how. `least` are the smallest numbers that count."""

    name: str = "unseen-generators"
    version: int = 1
    recipe: tuple[str, ...] = RECIPE
    pipelines: tuple[str, ...] = ("as-made", "share")
    least: dict[str, int] = field(default_factory=lambda: {"generators": 50, "photo_sources": 40, "images_each": 12, "seeds": 3})

    def recipe_of(self, entry: str, seed: int, settings: tuple[str, ...] = ()) -> Recipe:
        """Return the recipe of an entry; `settings` come last, such as another backbone.

        `dgs-released` and `dgs-paper` are the surgery of these presets under the shared recipe: what differs is the surgery.
        """
        method, _, preset = entry.partition("-") if entry in DGS_PRESETS else (entry, "", "")
        own: tuple[str, ...] = ()
        if preset:
            surgery = make_recipe("dgs", preset).surgery
            own = (*(f"surgery.{name}={getattr(surgery, name)}" for name in _SURGERY), "features=raw")
        return make_recipe(method, assignments=(*self.recipe, *own, f"seed={seed}", *settings))

    def pipeline(self, name: str) -> Perturbation | None:
        """Return what is done to test images under this name; None: nothing."""
        return None if name == "as-made" else journey(name)

    def shortfalls(self, training: Dataset, test: Dataset, seeds: int) -> list[str]:
        """Say in which points images and seeds fall short of the protocol; nothing where they conform."""
        found = []
        generators = Counter(sample.generator for sample in test if sample.label == 1)
        sources = Counter(sample.source for sample in test if sample.label == 0)
        seen = {sample.generator for sample in training if sample.label == 1} & generators.keys()
        shared = {sample.source for sample in training if sample.label == 0} & sources.keys()
        if seen or shared:
            found.append(f"{len(seen)} generators and {len(shared)} photo sources of the test were trained on: {_some(seen | shared)}")
        for counts, kind in ((generators, "generators"), (sources, "photo_sources")):
            if len(counts) < self.least[kind]:
                found.append(f"{len(counts)} {kind.replace('_', ' ')} are tested, of at least {self.least[kind]}")
            few = {name for name, count in counts.items() if count < self.least["images_each"]}
            if few:
                found.append(f"{len(few)} {kind.replace('_', ' ')} have fewer than {self.least['images_each']} images: {_some(few)}")
        if seeds < self.least["seeds"]:
            found.append(f"{seeds} seeds, of at least {self.least['seeds']}")
        return found

    def record(self) -> dict[str, Any]:
        """Return the protocol as result files hold it."""
        return {"recipe": list(self.recipe), "pipelines": list(self.pipelines), "least": self.least}


DGS_PRESETS = ("dgs-released", "dgs-paper")
"""Entries that are no methods of their own."""


def entries(available: tuple[str, ...], chosen: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the entries of a competition: those chosen, or all. `RecipeError` names what there is where one is unknown."""
    known = (*available, *DGS_PRESETS)
    unknown = [name for name in chosen or () if name not in known]
    if unknown:
        raise RecipeError(f"unknown method {unknown[0]!r}: expected some of {', '.join(sorted(known))}")
    return tuple(dict.fromkeys(chosen)) if chosen else known


def _some(names: set[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
