"""The model that ships: the tower of the first edition, a new head, calibrated on sources and families left out."""

from __future__ import annotations

import torch

from dgsnet.artifacts import model_folder
from dgsnet.evaluation.predictions import PREDICTIONS
from dgsnet.inference.detector import Detector
from dgsnet.model import methods
from dgsnet.model.backbone import Backbone
from dgsnet.model.recipe import Recipe
from dgsnet.reports import reliability_diagram
from dgsnet.training import refit_head
from studies.common.collection import Collection
from studies.common.copies import SHIPPED_COPIES, Listed
from studies.common.heads import MODEL, SHIPPED, TARGETS
from studies.common.tokens import BLOCKS, PREPROCESSING


def fit(given: list[Listed]) -> None:
    """Write `runs/dgsnet_b16/second/dgs`."""
    collection = Collection.load(given)
    rows = collection.of(*SHIPPED_COPIES)
    detector = _rewired(Detector.from_pretrained("dgsnet-b16", provider="torch"), collection)
    refit_head.refit_to(detector, collection.only(rows), collection.features[rows], MODEL, head=SHIPPED, targets=TARGETS)
    reliability_diagram.write(MODEL, model_folder.load_config(MODEL).calibration, MODEL / refit_head.LEFT_OUT / PREDICTIONS)


def _rewired(before: Detector, collection: Collection) -> Detector:
    """Return the detector with the same tower, that reads class and patch tokens of all blocks; its linear heads are without use then."""
    old = before.method
    recipe: Recipe = old.recipe.model_copy(
        update={
            "blocks": BLOCKS,
            "block_tokens": "class-and-patches",
            "preprocessing": PREPROCESSING.model_copy(update={"multi_crop": True}),
        }
    )
    name = before.config.backbone["name"]
    method = methods.create(recipe, Backbone.load(name)).eval().requires_grad_(False)
    method.backbone.load_state_dict(old.backbone.state_dict())
    method.block_mean.copy_(torch.from_numpy(collection.mean))
    method.block_scale.copy_(torch.from_numpy(collection.scale))
    for head in ("head", "teacher", "text"):
        getattr(method, head).weight.zero_()
        getattr(method, head).bias.zero_()
    config = before.config.model_copy(update={"preprocessing": recipe.preprocessing, "recipe": recipe.model_dump(mode="json")})
    return Detector(method, config, before.name, before.fingerprint)
