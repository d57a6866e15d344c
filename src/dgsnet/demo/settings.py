"""Settings of the demo, chosen so that two cores do it in five minutes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dgsnet.demo.reconstruction.fitting import Fit
from dgsnet.model.recipe import Recipe, make_recipe


@dataclass(frozen=True)
class Settings:
    """Settings of the demo.

    Attributes:
        side: side of a crop, pixels.
        crops: crops per photograph, at most.
        seen: decoders of the reconstructions trained on.
        unseen: decoders of reconstructions for the test only.
        fit: settings by which decoders are fitted.
        methods: methods that are trained and compared.
        recipe: settings over the preset `balanced`, shared by all methods, as `--set` takes them.
        resamples: resamples of the bootstrap.
    """

    side: int = 256
    crops: int = 4
    seen: tuple[str, ...] = ("nearest", "transposed")
    unseen: tuple[str, ...] = ("shuffle", "bilinear", "vector-quantised")
    fit: Fit = field(default_factory=Fit)
    methods: tuple[str, ...] = ("linear", "dgs")
    recipe: tuple[str, ...] = ("data.views=1", "finetune.epochs=2", "finetune.batch=8", "finetune.lr=1e-3", "checkpoint_every=5")
    resamples: int = 1000

    @property
    def decoders(self) -> dict[str, tuple[str, ...]]:
        """Return the decoders that training saw and those it did not, as `seen` and `unseen`."""
        return {"seen": self.seen, "unseen": self.unseen}

    def recipe_of(self, method: str, backbone: str) -> Recipe:
        """Return the recipe that a method is trained with."""
        return make_recipe(method, "balanced", None, (*self.recipe, f"backbone={backbone}"))


QUICK = replace(
    Settings(),
    crops=1,
    unseen=("shuffle",),
    fit=Fit(steps=20),
    recipe=("data.views=1", "probe.epochs=2", "finetune.epochs=1", "finetune.batch=8", "data.limit=16", "checkpoint_every=5"),
    resamples=100,
)
"""Everything once and too briefly: shows that it runs, and nothing else."""
