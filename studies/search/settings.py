"""Settings of the probe: each choice judged on a generator and a photo source it was not trained on.

    python -m studies.search.settings --data CORPUS        results/settings.{json,md}

Only `train` is read. Every probe reads what the recipe of the shipped detector reads, is fitted to all images but those of one generator
and one photo source, and ranks these two, unaugmented; the figure is the mean AUROC over all such pairs, as in `blocks.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from sklearn.linear_model import LogisticRegression

from dgsnet import __version__
from dgsnet.core.files import write_json, write_text
from dgsnet.data.dataset import Dataset, load_dataset
from dgsnet.model import methods
from dgsnet.model.backbone import Backbone
from dgsnet.model.recipe import Recipe, make_recipe
from dgsnet.model.ridge import ridge_probe
from dgsnet.reports.tables import markdown
from dgsnet.training.views import FrozenFeatures, Views
from studies.common.ranking import Floats, leave_pairs_out

HERE = Path(__file__).parent
RESULTS = HERE / "results"
RECIPE = HERE.parent / "dgsnet_b16" / "dgsnet-b16-ridge.yaml"
AUGMENTED = (
    "augmentation={crop: {probability: 0.5, low: 0.5}, resize: {probability: 0.7, low: 0.6, high: 1.6}, flip: true, "
    "reencode: {probability: 0.7, low: 50, high: 98}}",
    "data.views=1",
)


def main(data: Path) -> None:
    """Judge all choices, one line each."""
    dataset = load_dataset(data, caption_column="caption_uniform").with_split("train")
    recipes = {"none": make_recipe("linear", config=RECIPE)}
    recipes["strong"] = make_recipe("linear", config=RECIPE, assignments=AUGMENTED)
    with Progress() as progress:
        plain, strong = (_read(dataset, recipe, progress) for recipe in recipes.values())
        choices: dict[str, tuple[Floats, float | None]] = {
            **{f"ridge, penalty {penalty:g}": (plain, penalty) for penalty in (0.003, 0.01, 0.03, 0.1, 0.3)},
            "ridge, penalty 0.01, strong augmentation": (strong, 0.01),
            "ridge, penalty 0.03, strong augmentation": (strong, 0.03),
            "logistic regression, C = 1": (plain, None),
        }
        labels, origins = dataset.labels(), np.array([sample.source for sample in dataset])
        found = {
            name: _leave_out(trained, plain, labels, origins, penalty)
            for name, (trained, penalty) in progress.track(choices.items(), description="probes")
        }
    write_json(RESULTS / "settings.json", {"data": dataset.fingerprint(), "dgsnet": __version__, "choices": found})
    worst = [[name, f"{one['mean']:.3f}", f"{min(one['by_source'].values()):.2f}"] for name, one in found.items()]
    write_text(RESULTS / "settings.md", markdown(["probe", "mean AUROC on what is left out", "of the hardest photo source"], worst))


def _read(dataset: Dataset, recipe: Recipe, progress: Progress) -> Floats:
    """Return what a method's head reads of the first view of each image; from the cache where training was there before."""
    backbone = Backbone.load(recipe.backbone)
    method = methods.create(recipe, backbone)
    views = Views(dataset, recipe)
    frozen = FrozenFeatures.cached(views, backbone)
    wanted = [(index, 0) for index in range(len(dataset))]
    frozen.prepare(wanted, progress)
    method.standardise_blocks(frozen[wanted])
    return method.head_input(frozen[wanted]).double().numpy()


def _leave_out(trained: Floats, plain: Floats, labels: NDArray[Any], origins: NDArray[Any], penalty: float | None) -> dict[str, Any]:
    def score(out: NDArray[np.bool_]) -> Floats:
        return np.asarray(plain[out] @ _probe(trained[~out], labels[~out], penalty))

    return leave_pairs_out(labels, origins, score)


def _probe(features: Floats, labels: NDArray[np.int64], penalty: float | None) -> Floats:
    if penalty is not None:
        return ridge_probe(features, labels, penalty)[0]
    return np.asarray(LogisticRegression(C=1.0, class_weight="balanced", max_iter=500, tol=1e-3).fit(features, labels).coef_[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    main(parser.parse_args().data)
