"""The closed-form probe against scikit-learn and brute force, and through a training run."""

import numpy as np
import pytest
from rich.console import Console
from sklearn.linear_model import LogisticRegression, Ridge

from dgsnet.artifacts import model_folder, names
from dgsnet.core.errors import RecipeError
from dgsnet.model.recipe import make_recipe
from dgsnet.model.ridge import ridge_probe
from dgsnet.training import train


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = np.array([0] * 60 + [1] * 25)
    return rng.normal(size=(85, 40)) + 0.4 * labels[:, None] * rng.normal(size=40), labels


def sklearn_ridge(features, labels, weights, penalty):
    return Ridge(alpha=penalty).fit(features, labels, sample_weight=weights)


def test_it_is_the_weighted_ridge_with_the_slope_of_left_out_predictions(data):
    features, labels = data
    weights = 0.5 / np.bincount(labels)[labels]
    weight, bias = ridge_probe(features, labels, 0.05)
    whole = sklearn_ridge(features, labels, weights, 0.05)
    left_out = []
    for row in range(len(labels)):  # brute force: the others keep the weights they had
        others = np.arange(len(labels)) != row
        left_out.append(sklearn_ridge(features[others], labels[others], weights[others], 0.05).predict(features[row : row + 1])[0])
    logistic = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(np.array(left_out)[:, None], labels, sample_weight=weights * 85)
    truth = logistic.decision_function(whole.predict(features)[:, None])
    assert features @ weight + bias == pytest.approx(truth, rel=1e-5, abs=1e-5)


def test_both_classes_are_needed(data):
    features, labels = data
    with pytest.raises(ValueError, match="60 photographs and 0"):
        ridge_probe(features[:60], labels[:60], 0.1)
    with pytest.raises(ValueError, match="finite"):
        ridge_probe(np.where(features > 2, np.nan, features), labels, 0.1)


@pytest.mark.parametrize("method", ["linear", "dgs"])
def test_a_run_with_it_goes_on_after_a_kill(corpus, tiny_clip, tmp_path, monkeypatch, method):
    settings = (f"backbone={tiny_clip}", "probe.solver=ridge", "augmentation.flip=false", "finetune.batch=8", "checkpoint_every=1")
    recipe = make_recipe(method, assignments=(*settings, "probe.epochs=1", "preprocessing.view=crop"))
    whole = train(corpus, tmp_path / "whole", recipe, console=Console(quiet=True))
    heads = (whole / names.HEADS).read_bytes()
    loaded, _ = model_folder.load(whole)
    assert loaded.get_parameter("teacher.weight").abs().sum() > 0
    with monkeypatch.context() as patch:

        def killed(*_):
            raise KeyboardInterrupt

        patch.setattr(model_folder, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            train(corpus, tmp_path / "cut", recipe, console=Console(quiet=True))
    again = train(corpus, tmp_path / "cut", recipe, resume=True, console=Console(quiet=True))
    assert (again / names.HEADS).read_bytes() == heads


def test_it_needs_fixed_views():
    with pytest.raises(RecipeError, match="fixed views"):
        make_recipe("linear", assignments=("probe.solver=ridge",))
