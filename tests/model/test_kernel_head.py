"""The kernel head: the Nyström approximation of kernel ridge regression, in numpy and in torch, and what a model keeps of it."""

import numpy as np
import pytest
import torch
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics import roc_auc_score

from dgsnet.model import methods
from dgsnet.model.backbone import Backbone
from dgsnet.model.kernel_head import Compression, KernelFit, KernelHead
from dgsnet.model.recipe import HeadRecipe, KernelRecipe, make_recipe
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


def fitted(features, labels, penalty=1e-4, **settings):
    recipe = KernelRecipe(**{"directions": 3, "landmarks": 60} | settings)
    compression = Compression.fit(features, JOINT, WIDTH, recipe.directions)
    return compression, KernelFit.fit(compression(features), labels, penalty, recipe)


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


def test_the_space_it_ridges_in_is_scikit_learn_s_nystroem():
    """The same landmarks give scikit-learn the same kernel between any two images, whatever the rotation of its space."""
    features, labels = rings(200, 3)
    compression, head = fitted(features, labels, landmarks=40)
    compressed = compression(features)
    theirs = Nystroem(gamma=1 / head.scale, n_components=len(head.landmarks)).fit(head.landmarks)
    space = theirs.transform(compressed)
    weight, bias = ridge_probe(space, labels, 1e-4)
    np.testing.assert_allclose(head(compressed), space @ weight + bias, rtol=1e-3, atol=1e-3)


def test_torch_says_what_numpy_says():
    features, labels = rings(300, 4)
    compression, head = fitted(features, labels)
    module = KernelHead(JOINT, WIDTH, TOKENS, KernelRecipe(directions=3, landmarks=60))
    module.take(compression, head)
    compressed = module.compress(torch.from_numpy(features))
    np.testing.assert_allclose(compressed.numpy(), compression(features), atol=1e-5)
    np.testing.assert_allclose(module(compressed).numpy(), head(compression(features)), rtol=1e-4)
    assert module.width == compressed.shape[1] == 3 * (1 + TOKENS)


def test_half_precision_holds_what_is_stored_in_it():
    features, labels = rings(300, 5)
    compression, head = fitted(features, labels)
    for values in (compression.embedding, compression.tokens, head.landmarks):
        assert np.array_equal(values, values.astype(np.float16).astype(np.float32))


def test_landmarks_are_of_both_labels_and_no_more_than_there_are():
    features, labels = rings(30, 6)
    labels[:] = 0
    labels[:5] = 1
    compression, head = fitted(features, labels, landmarks=20)
    assert head.landmarks.shape == (15, 12)
    again = fitted(features, labels, landmarks=20)[1]
    assert np.array_equal(head.landmarks, again.landmarks)
    assert np.array_equal(head.coefficients, again.coefficients)
    generated = compression(features[:5]).astype(np.float16).astype(np.float32)
    assert sum(any(np.array_equal(one, row) for row in generated) for one in head.landmarks) == 5


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
    method.refit(HeadRecipe(kind="kernel", kernel=KernelRecipe(directions=4, landmarks=6)))
    features = method.detecting_features(pixels)
    torch.testing.assert_close(features, plain)
    labels = np.array([0, 1] * 3)
    compression = Compression.fit(features.numpy(), 16, 32, 4)
    head = KernelFit.fit(compression(features.numpy()), labels, 1e-3, KernelRecipe(directions=4, landmarks=6))
    method.kernel.take(compression, head)
    assert method.embed(pixels).shape == (6, method.width) == (6, 5 * 4)
    np.testing.assert_allclose(method.predict(pixels).numpy(), head(compression(features.numpy())), atol=1e-3)
    method.refit(HeadRecipe())
    torch.testing.assert_close(method.embed(pixels), plain)
