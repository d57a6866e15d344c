"""`dgsnet.model.ood`: the distance against the textbook's, the bound, and the warning end to end."""

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from sklearn.decomposition import PCA

from dgsnet.artifacts import names
from dgsnet.artifacts.ood_file import load_ood, save_ood
from dgsnet.core.errors import ModelFolderError
from dgsnet.data.dataset import load_dataset
from dgsnet.inference.detector import Detector
from dgsnet.inference.prepare import Prepared
from dgsnet.inference.verdict import Verdict
from dgsnet.model import methods, ood
from dgsnet.model.backbone import Backbone
from dgsnet.model.recipe import make_recipe
from dgsnet.training import train
from dgsnet.training.extract_features import fit_ood
from tests.support.pictures import textured


def photographs(number=400, width=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(number, 6)) @ rng.normal(size=(6, width)) * 3 + rng.normal(size=(number, width)) + rng.normal(size=width) * 5


def test_the_distance_is_mahalanobis_under_probabilistic_pca(monkeypatch):
    """scikit-learn's PCA has the model of Tipping and Bishop: its covariance, on standardised features, is ours."""
    monkeypatch.setattr(ood, "_DIRECTIONS", 6)
    given, others = photographs(), photographs(50, seed=0) + 2
    found = ood.fit(given, ["a"] * len(given))
    standard = (given - given.mean(axis=0)) / given.std(axis=0)
    covariance = PCA(6).fit(standard).get_covariance() * (len(given) - 1) / len(given)
    rest = (others - given.mean(axis=0)) / given.std(axis=0)
    truth = np.sqrt(np.einsum("ij,jk,ik->i", rest, np.linalg.inv(covariance), rest) / given.shape[1])
    assert found.distance(others) == pytest.approx(truth, rel=1e-9)


def test_photographs_are_near_one_and_strangers_beyond_the_bound():
    given = photographs()
    found = ood.fit(given[:300], ["a", "b", "c"] * 100)
    assert found.distance(given[:300]).mean() == pytest.approx(1, abs=0.05)
    assert found.is_out_of_domain(given[300:]).mean() < 0.06
    assert found.is_out_of_domain(np.random.default_rng(1).normal(size=(20, 30)) * 40).all()


def test_the_bound_allows_for_a_source_that_was_not_seen():
    """Three sources apart from each other: a fourth is as far, and no reason for a warning; ten times as far is."""
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(5, 30)) * 2
    centres[4] *= 10
    given = np.concatenate([centre + rng.normal(size=(60, 30)) for centre in centres])
    found = ood.fit(given[:180], ["a"] * 60 + ["b"] * 60 + ["c"] * 60)
    assert ood.fit(given[:180], ["one"] * 180).bound < found.bound
    assert found.is_out_of_domain(given[180:240]).mean() < 0.5
    assert found.is_out_of_domain(given[240:]).all()


def test_too_few_photographs_have_no_domain_and_a_constant_dimension_is_no_trouble():
    assert ood.fit(photographs(ood.FEWEST - 1), ["a"] * (ood.FEWEST - 1)) is None
    given = photographs()
    given[:, 3] = 7.0
    found = ood.fit(given, ["a"] * len(given))
    assert np.isfinite(found.distance(given)).all()
    with pytest.raises(ValueError, match="N sources"):
        ood.fit(given, ["a"])


def test_the_share_beyond_the_bound_is_the_share_asked_for():
    """The bound is a quantile of left-out photographs: the share that exceeds it is the share asked for."""
    given = photographs(2000)
    for share in (0.02, 0.2):
        found = ood.fit(given, ["a"] * len(given), share)
        assert found.is_out_of_domain(photographs(2000, seed=0)).mean() == pytest.approx(share, abs=0.03)


@pytest.fixture(scope="module")
def folder(tiny_clip, tmp_path_factory):
    """48 photographs and 12 generated images: enough of the former to know them."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for label, number in (("real", 48), ("fake", 12)):
        (root / label).mkdir()
        for index in range(number):
            Image.fromarray(textured(rng, label == "fake", 64)).save(root / label / f"{index}.png")
    assignments = (f"backbone={tiny_clip}", "preprocessing.view=crop", "probe.epochs=1", "finetune.epochs=0", "data.held_out=0")
    return train(root, tmp_path_factory.mktemp("models") / "m", make_recipe("lora", assignments=assignments), console=Console(quiet=True))


def test_a_trained_model_knows_its_photographs_and_warns_of_what_is_none(folder, tmp_path):
    detector, rng = Detector.from_pretrained(folder), np.random.default_rng(1)
    seen = [detector.detect(textured(rng, False, 64)) for _ in range(20)]
    assert sum("out_of_domain" in verdict.warnings for verdict in seen) <= 2
    stripes = np.tile(((np.arange(64) // 5 % 2) * 255).astype(np.uint8)[None, :, None], (64, 1, 3))
    assert "out_of_domain" in detector.detect(stripes).warnings
    file = tmp_path / "stripes.png"
    Image.fromarray(stripes).save(file)
    assert next(detector.detect_many([file, *[textured(rng, False, 64) for _ in range(4)]], 3)) == detector.detect(file)


def test_of_several_views_the_first_alone_is_asked(folder):
    """Whatever the others show: the bound was fitted to one view a photograph."""
    detector = Detector.from_pretrained(folder)
    stripes = np.tile(((np.arange(64) // 5 % 2) * 255).astype(np.uint8)[None, :, None], (64, 1, 3))
    stranger, photograph = (detector._prepare(one).views for one in (stripes, textured(np.random.default_rng(1), False, 64)))
    orders = ((stranger, photograph), (photograph, stranger))
    pictures = [Prepared(Verdict(None), np.concatenate([first, *[other] * 4])) for first, other in orders]
    assert [seen.out_of_domain for seen in detector._see(pictures, 1)] == [True, False]


def test_photographs_are_read_as_in_scoring_without_dropout(corpus, tiny_clip, monkeypatch):
    """A method that was just trained has dropout on; its adapter must not be drawn from in this last step."""
    monkeypatch.setattr(ood, "FEWEST", 4)
    recipe = make_recipe("lora", assignments=(f"backbone={tiny_clip}", "preprocessing.view=crop", "lora.dropout=0.5"))
    method = methods.create(recipe, Backbone.load(str(tiny_clip)))
    with torch.no_grad():
        for parameter in method.backbone.adapter_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    method.train()
    data = load_dataset(corpus).with_split("train")
    with Progress(disable=True) as progress:
        first, second = (fit_ood(method, data, 0, progress) for _ in range(2))
    assert np.array_equal(first.mean, second.mean)
    assert method.training


def test_a_model_of_few_photographs_says_nothing_of_a_domain(tiny_model):
    assert not (tiny_model / names.OOD).exists()
    assert Detector.from_pretrained(tiny_model).ood is None


def test_a_domain_survives_the_folder_and_a_wrong_one_is_refused(tmp_path):
    width, known = 30, ood.fit(photographs(), ["a"] * 400)
    save_ood(tmp_path, known)
    read = load_ood(tmp_path, width)
    features = np.random.default_rng(0).normal(size=(5, width))
    assert read.distance(features) == pytest.approx(known.distance(features))
    assert load_ood(tmp_path / "none", width) is None
    with pytest.raises(ModelFolderError, match="of width"):
        load_ood(tmp_path, width + 1)
