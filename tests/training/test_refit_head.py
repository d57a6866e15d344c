"""A new head on a trained tower: it is the ridge on what the tower says, the tower stays, and the calibration is of sources left out."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.progress import Progress
from safetensors.numpy import load_file

from dgsnet import Detector
from dgsnet.artifacts import model_folder, names
from dgsnet.artifacts.calibration import Calibration
from dgsnet.core.errors import CalibrationError, TrainingError
from dgsnet.data.dataset import load_dataset
from dgsnet.evaluation.predictions import read_predictions
from dgsnet.images.decode import decode
from dgsnet.model.methods import Method
from dgsnet.model.mlp_head import MlpHead
from dgsnet.model.recipe import HeadRecipe, MlpRecipe
from dgsnet.model.ridge import ridge_probe
from dgsnet.training import refit_head
from tests.support.models import trained

LINEAR = refit_head.HeadFit(HeadRecipe(), 0.1, joint_width=3, token_width=1)


@pytest.fixture
def training(corpus):
    return load_dataset(corpus).with_split("train")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(refit_head, "cache_dir", lambda: tmp_path / "cache")


def refitted(model, dataset, out, **settings):
    with Progress(disable=True) as progress:
        return refit_head.refit(Detector.from_pretrained(model), dataset, out, progress, **settings)


def test_the_head_is_the_ridge_on_what_the_tower_says(tiny_model, training, tmp_path):
    assert refitted(tiny_model, training, tmp_path / "new", penalty=0.3) == ()
    old, new = Detector.from_pretrained(tiny_model), Detector.from_pretrained(tmp_path / "new")
    views = np.stack([old.config.preprocessing(decode(training.read(sample)).pixels, 0) for sample in training])
    with torch.inference_mode():
        read = torch.cat([old.method.embed(torch.from_numpy(view[None])) for view in views]).double().numpy()
    weight, bias = ridge_probe(read, training.labels(), 0.3)
    for sample, logit in zip(training, read @ weight + bias, strict=True):
        assert new.detect(training.read(sample)).logit == pytest.approx(logit, abs=1e-4)
    assert (tmp_path / "new" / names.ADAPTER).read_bytes() == (tiny_model / names.ADAPTER).read_bytes()
    before, after = (load_file(folder / names.HEADS) for folder in (tiny_model, tmp_path / "new"))
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {"head.weight", "head.bias"}


def test_the_folder_says_what_the_head_and_what_the_tower_saw(tiny_model, training, tmp_path):
    some = training.balanced_subset(8, seed=0)
    refitted(tiny_model, some, tmp_path / "new")
    refitted(tmp_path / "new", training, tmp_path / "newer")
    tower = model_folder.load_config(tiny_model).data
    for folder, images in (("new", some), ("newer", training)):
        data = model_folder.load_config(tmp_path / folder).data
        assert data["fingerprint"] == images.fingerprint()
        assert (data["n_real"], data["n_fake"]) == (len(images) // 2, len(images) // 2)
        assert data["refitted"]["tower"] == tower
    card = (tmp_path / "newer" / "README.md").read_text()
    assert f"tower: {tower['n_real']} photographs" in card
    assert f"head, refitted in closed form: {len(training) // 2} photographs" in card


def test_a_calibration_does_not_outlive_its_head(tiny_model, training, tmp_path):
    refitted(tiny_model, training, tmp_path / "one")
    config = model_folder.load_config(tmp_path / "one")
    model_folder.recalibrate(tmp_path / "one", Calibration(temperature=3.0, offset=1.0))
    refitted(tmp_path / "one", training, tmp_path / "two")
    assert model_folder.load_config(tmp_path / "two").calibration == config.calibration == Calibration()


def test_it_is_calibrated_on_sources_left_out(tiny_model, training, tmp_path):
    sources = [f"{'fake' if sample.label else 'camera'}{at % 3}" for at, sample in enumerate(training)]
    given = zip(training, sources, strict=True)
    named = tuple(replace(sample, source=source, generator=source if sample.label else "") for sample, source in given)
    dataset = replace(training, samples=named)
    refitted(tiny_model, dataset, tmp_path / "new")
    fitted = model_folder.load_config(tmp_path / "new").calibration.fitted
    assert fitted["stand_ins"]
    assert (fitted["n_real"], fitted["n_fake"]) == (12, 12)
    assert not any("these very images" in warning for warning in fitted["warnings"])
    rows = {row["path"]: row for row in read_predictions(tmp_path / "new" / "left_out" / "predictions.parquet").to_pylist()}
    detector = Detector.from_pretrained(tiny_model)
    with torch.inference_mode():
        views = [detector.config.preprocessing(decode(dataset.read(sample)).pixels, 0) for sample in dataset]
        read = torch.cat([detector.method.embed(torch.from_numpy(view[None])) for view in views]).double().numpy()
    for fold in range(3):
        seen = np.array([not sample.source.endswith(str(fold)) for sample in dataset])
        weight, bias = ridge_probe(read[seen], dataset.labels()[seen], refit_head.PENALTY)
        for sample, features in zip(dataset, read, strict=True):
            if sample.source.endswith(str(fold)):
                assert rows[sample.path]["logit"] == pytest.approx(features @ weight + bias, abs=1e-3)


def test_sources_of_one_generator_are_left_out_together(training):
    named = [replace(sample, source=f"{sample.label} {at % 4}") for at, sample in enumerate(training)]
    lines = tuple(replace(sample, generator="line" if sample.source in {"1 0", "1 3"} else sample.generator) for sample in named)
    labels, features = training.labels(), np.random.default_rng(0).normal(size=(len(training), 3))
    logits = refit_head.out_of_fold_logits(features, replace(training, samples=lines), LINEAR)
    sources = np.array([sample.source for sample in lines])
    generators = sorted({sample.generator for sample in lines if sample.label})
    assert "line" in generators
    photographs = sorted(set(sources[labels == 0]))
    fold = generators.index("line") % len(generators)
    unseen = np.isin(sources, ["1 0", "1 3", *photographs[fold :: min(len(generators), len(photographs))]])
    weight, bias = ridge_probe(features[~unseen], labels[~unseen], 0.1)
    for at in np.flatnonzero(np.isin(sources, ["1 0", "1 3"])):
        assert logits[at] == pytest.approx(features[at] @ weight + bias)


def test_a_source_of_two_generators_is_kept_from_the_head_that_is_asked_about_one(training):
    generated = [at for at, sample in enumerate(training) if sample.label]
    generators = dict(zip(generated, ["a", "a", "b", "b", "c", "c"] * len(generated), strict=False))
    photographs = (replace(sample, source=f"camera {at % 3}") for at, sample in enumerate(training))
    named = [
        replace(sample, source="c" if generators[at] == "c" else "both", generator=generators[at]) if sample.label else sample
        for at, sample in enumerate(photographs)
    ]
    labels, features = training.labels(), np.random.default_rng(0).normal(size=(len(training), 3))
    logits = refit_head.out_of_fold_logits(features, replace(training, samples=tuple(named)), LINEAR)
    sources = np.array([sample.source for sample in named])
    weight, bias = ridge_probe(features[known := ~np.isin(sources, ["both", "camera 0"])], labels[known], 0.1)
    for at in [at for at in generated if generators[at] == "a"]:
        assert logits[at] == pytest.approx(features[at] @ weight + bias)


def test_where_one_label_has_more_sources_every_image_is_left_out_once(training):
    of = {0: 4, 1: 2}  # two folds: each of two cameras and one generator
    number = dict.fromkeys(of, -1)
    samples = []
    for sample in training:
        number[sample.label] += 1
        name = f"{sample.label} {number[sample.label] % of[sample.label]}"
        samples.append(replace(sample, source=name, generator=name if sample.label else sample.generator))
    labels, features = training.labels(), np.random.default_rng(0).normal(size=(len(training), 3))
    logits = refit_head.out_of_fold_logits(features, replace(training, samples=tuple(samples)), LINEAR)
    for fold in range(2):
        unseen = np.isin([sample.source for sample in samples], [f"0 {fold}", f"0 {fold + 2}", f"1 {fold}"])
        weight, bias = ridge_probe(features[~unseen], labels[~unseen], 0.1)
        assert logits[unseen] == pytest.approx(features[unseen] @ weight + bias)


def test_a_label_of_one_source_leaves_nothing_out(training):
    features = np.random.default_rng(0).normal(size=(len(training), 5))
    assert refit_head.out_of_fold_logits(features, training, LINEAR) is None
    shared = replace(training, samples=tuple(replace(sample, source=str(at % 2)) for at, sample in enumerate(training)))
    assert refit_head.out_of_fold_logits(features, shared, LINEAR) is not None


def test_a_killed_call_goes_on(tiny_model, training, tmp_path, monkeypatch):
    features_of, calls = Method.detecting_features, []

    def counting(self, pixels):
        calls.append(1)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return features_of(self, pixels)

    monkeypatch.setattr(Method, "detecting_features", counting)
    with pytest.raises(KeyboardInterrupt):
        refitted(tiny_model, training, tmp_path / "killed")
    assert not (tmp_path / "killed").exists()
    refitted(tiny_model, training, tmp_path / "killed")
    assert len(calls) == len(training) + 1  # only the image at hand was read twice
    monkeypatch.setattr(refit_head, "cache_dir", lambda: tmp_path / "other cache")
    refitted(tiny_model, training, tmp_path / "whole")
    for name in (names.HEADS, names.CONFIG):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_command_names_what_it_left_out(run, tiny_model, tmp_path):
    rng = np.random.default_rng(0)
    for label in ("real", "fake"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "data" / label / f"{number}.png")
    (tmp_path / "data" / "real" / "broken.png").write_bytes(b"no picture")
    code, _, err = run("refit", "--model", tiny_model, "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert code == 1
    assert "left out: real/broken.png: " in err
    assert json.loads((tmp_path / "out" / "config.json").read_text())["data"]["n_real"] == 3
    code, _, err = run("refit", "--model", tiny_model, "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert (code, "is not empty" in err) == (2, True)


def test_the_command_draws_the_diagram_that_the_card_shows(run, tiny_model, corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "data")
    with (tmp_path / "data" / "manifest.csv").open("r+", newline="") as stream:
        rows = list(csv.DictReader(stream))
        stream.seek(0)
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(row | {"source": f"{('camera', 'decoder')[int(row['label'])]}{at % 3}"} for at, row in enumerate(rows))
        stream.truncate()
    code, _, err = run("refit", "--model", tiny_model, "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert (code, "not calibrated" in err) == (0, False), err
    assert f"]({names.DIAGRAM})" in (tmp_path / "out" / names.CARD).read_text()
    assert Image.open(tmp_path / "out" / names.DIAGRAM).format == "PNG"


def test_a_head_that_ranks_new_sources_in_reverse_leaves_nothing_behind(tiny_model, training, tmp_path):
    """Each half of the sources teaches the opposite of the other."""
    cues = {"a": -1, "c": 1, "b": 3, "d": -3}
    names = {0: "ab", 1: "cd"}
    samples = tuple(replace(sample, source=names[sample.label][at % 2]) for at, sample in enumerate(training))
    dataset, detector = replace(training, samples=samples), Detector.from_pretrained(tiny_model)
    features = np.random.default_rng(0).normal(0, 0.01, (len(samples), detector.method.detecting_head.in_features))
    features[:, 0] += [cues[sample.source] for sample in samples]
    (tmp_path / ".out.new").mkdir()  # of a call that was killed
    with pytest.raises(CalibrationError, match="in reverse"):
        refit_head.refit_to(detector, dataset, features, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(("settings", "reason"), [({"penalty": 0}, "penalty above 0"), ({}, "it needs both")])
def test_what_cannot_be_fitted_is_refused(tiny_model, training, tmp_path, settings, reason):
    dataset = training if settings else training.with_split("train").balanced_subset(2, seed=0)
    if not settings:
        dataset = type(training)(**{**vars(training), "samples": tuple(sample for sample in training if sample.label)})
    with pytest.raises(TrainingError, match=reason):
        refitted(tiny_model, dataset, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_a_perceptron_reads_compressed_tokens_and_is_calibrated_as_any_other(tiny_clip, corpus, tmp_path):
    (tmp_path / "trained").mkdir()
    trained(tiny_clip, tmp_path / "trained", "lora", "preprocessing.view=crop", "blocks=[1,2]", "block_tokens=class-and-patches")
    training = load_dataset(corpus).with_split("train")
    sources = [f"{'fake' if sample.label else 'camera'}{at % 3}" for at, sample in enumerate(training)]
    named = (replace(one, source=name, generator=name if one.label else "") for one, name in zip(training, sources, strict=True))
    dataset = replace(training, samples=tuple(named))
    head = HeadRecipe(kind="mlp", mlp=MlpRecipe(directions=4, hidden=16))
    assert refitted(tmp_path / "trained", dataset, tmp_path / "new", head=head, journeys=2) == ()
    new = Detector.from_pretrained(tmp_path / "new")
    assert new.config.recipe["refitted"] == head.model_dump()
    assert new.config.data["n_real"] == 3 * 12
    left_out = read_predictions(tmp_path / "new" / "left_out" / "predictions.parquet").to_pylist()
    paths = [row["path"] for row in left_out]
    assert paths[:3] == [training.samples[0].path, f"{training.samples[0].path}#1", f"{training.samples[0].path}#2"]
    assert len({row["logit"] for row in left_out}) == len(paths) == 3 * len(training)  # no copy is the picture itself
    stored = load_file(tmp_path / "new" / names.HEADS)
    assert {name for name, tensor in stored.items() if tensor.dtype == np.float16} == {f"mlp.{name}" for name in MlpHead.HALF}
    images = [dataset.read(sample) for sample in dataset]
    views = np.stack([new.config.preprocessing(decode(image).pixels, 0) for image in images])
    with torch.inference_mode():
        logits = new.method.predict(torch.from_numpy(views)).tolist()
    assert [new.detect(image).logit for image in images] == pytest.approx(logits, abs=1e-4)
    again = Detector.from_pretrained(tmp_path / "new")  # refitted again it keeps its kind
    with Progress(disable=True) as progress:
        refit_head.refit(again, dataset, tmp_path / "newer", progress, journeys=2)
    for name in (names.HEADS, "domain.safetensors"):
        assert (tmp_path / "newer" / name).is_file() == (tmp_path / "new" / name).is_file()
    assert (tmp_path / "newer" / names.HEADS).read_bytes() == (tmp_path / "new" / names.HEADS).read_bytes()
