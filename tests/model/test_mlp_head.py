"""The perceptron head: principal directions and one hidden layer, in numpy and in torch, and what a model keeps of it."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from dgsnet.model import methods
from dgsnet.model.backbone import Backbone
from dgsnet.model.mlp_head import Compression, MlpFit, MlpHead
from dgsnet.model.recipe import HeadRecipe, MlpRecipe, make_recipe
from dgsnet.model.ridge import ridge_probe

JOINT, WIDTH, TOKENS = 6, 8, 3


def rings(count, seed, features=JOINT + TOKENS * WIDTH):
    """Two classes that no line parts: a ball and a shell around it, in two directions of the second token."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    angle, radius = rng.uniform(0, 2 * np.pi, count), np.where(labels, 3.0, 1.0) + 0.2 * rng.normal(size=count)
    rows = 0.3 * rng.normal(size=(count, features))
    rows[:, JOINT + WIDTH] += radius * np.cos(angle)
    rows[:, JOINT + WIDTH + 1] += radius * np.sin(angle)
    return rows.astype(np.float32), labels.astype(np.int64)


def fitted(features, labels, **settings):
    recipe = MlpRecipe(**{"directions": 3, "hidden": 16, "epochs": 60, "lr": 0.02, "dropout": 0.0} | settings)
    compression = Compression.fit(features, JOINT, WIDTH, recipe.directions)
    return compression, MlpFit.fit(compression(features), labels, recipe)


def test_it_parts_what_no_line_parts():
    features, labels = rings(600, 0)
    others, truth = rings(400, 1)
    compression, head = fitted(features, labels)
    weight, bias = ridge_probe(features.astype(np.float64), labels, 0.01)
    assert roc_auc_score(truth, head(compression(others))) > 0.98
    assert roc_auc_score(truth, others @ weight + bias) < 0.65


def test_directions_are_the_principal_ones_of_each_group():
    features, _ = rings(500, 2)
    compression = Compression.fit(features, JOINT, WIDTH, 2)
    assert compression.embedding.shape == (JOINT, 2)
    assert compression.tokens.shape == (TOKENS, WIDTH, 2)
    for token in range(TOKENS):
        group = features[:, JOINT + token * WIDTH :][:, :WIDTH]
        _, _, directions = np.linalg.svd(group - group.mean(axis=0), full_matrices=False)
        overlap = np.linalg.svd(directions[:2] @ compression.tokens[token], compute_uv=False)
        assert overlap.min() > 0.999
        expected = group @ compression.tokens[token]
        start = 2 + 2 * token
        np.testing.assert_allclose(compression(features)[:, start : start + 2], expected, atol=1e-4)


def test_torch_says_what_numpy_says():
    features, labels = rings(300, 4)
    compression, head = fitted(features, labels)
    module = MlpHead(JOINT, WIDTH, TOKENS, MlpRecipe(directions=3, hidden=16))
    module.take(compression, head)
    compressed = module.compress(torch.from_numpy(features))
    np.testing.assert_allclose(compressed.numpy(), compression(features), atol=1e-5)
    np.testing.assert_allclose(module(compressed).numpy(), head(compression(features)), rtol=1e-4, atol=1e-4)
    assert module.width == compressed.shape[1] == 3 * (1 + TOKENS)


def test_half_precision_holds_what_is_stored_in_it():
    features, labels = rings(300, 5)
    compression, _ = fitted(features, labels, epochs=1)
    for values in (compression.embedding, compression.tokens):
        assert np.array_equal(values, values.astype(np.float16).astype(np.float32))


def test_it_is_a_function_of_its_data_and_leaves_the_random_state_alone():
    features, labels = rings(300, 6)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again = (fitted(features, labels, epochs=3, dropout=0.3)[1] for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in vars(first).items():
        assert np.array_equal(value, vars(again)[name])
    assert not np.array_equal(first.hidden_weight, fitted(features, 1 - labels, epochs=3, dropout=0.3)[1].hidden_weight)


def test_both_classes_weigh_the_same_however_many_there_are():
    features, labels = rings(600, 8)
    features[:, JOINT + WIDTH :][:, :2] = 0  # nothing tells the classes apart
    few = np.flatnonzero((labels == 1) | (np.arange(600) % 10 == 0))
    compression, head = fitted(features[few], labels[few], epochs=20, lr=1e-3)
    assert abs(float(head(compression(features)).mean())) < 0.3


@pytest.mark.parametrize("labels", [np.zeros(30, np.int64), np.ones(30, np.int64)])
def test_one_class_alone_is_refused(labels):
    with pytest.raises(ValueError, match="expected finite features of both classes"):
        fitted(rings(30, 9)[0], labels)


def test_features_of_another_width_are_refused():
    features, _ = rings(30, 7)
    with pytest.raises(ValueError, match="expected tokens of 7 numbers behind the embedding, but got 24"):
        Compression.fit(features, JOINT, 7, 2)
    with pytest.raises(ValueError, match="but got 0 numbers"):
        Compression.fit(features[:, :JOINT], JOINT, WIDTH, 2)


def test_a_method_reads_and_detects_by_it(tiny_clip):
    recipe = make_recipe("dgs", assignments=(f"backbone={tiny_clip}", "blocks=[1, 2]", "block_tokens=class-and-patches"))
    method = methods.create(recipe, Backbone.load(str(tiny_clip))).eval().requires_grad_(False)
    pixels = torch.randn(6, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    plain = method.embed(pixels)
    torch.testing.assert_close(plain, method.detecting_features(pixels))
    torch.testing.assert_close(method.predict(pixels), method.detecting_head(plain).squeeze(1))
    method.refit(HeadRecipe(kind="mlp", mlp=MlpRecipe(directions=4, hidden=6)))
    features = method.detecting_features(pixels)
    torch.testing.assert_close(features, plain)
    labels = np.array([0, 1] * 3)
    compression = Compression.fit(features.numpy(), 16, 32, 4)
    head = MlpFit.fit(compression(features.numpy()), labels, MlpRecipe(directions=4, hidden=6))
    method.mlp.take(compression, head)
    assert method.embed(pixels).shape == (6, method.width) == (6, 5 * 4)
    np.testing.assert_allclose(method.predict(pixels).numpy(), head(compression(features.numpy())), atol=1e-3)
    method.refit(HeadRecipe())
    torch.testing.assert_close(method.embed(pixels), plain)
