"""`dgsnet diagnose`: a frozen model has forgotten nothing, a tuned one something, and a killed run goes on."""

import importlib.util
import json
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.numpy import load_file, save_file

from dgsnet import Detector
from dgsnet.artifacts.names import ADAPTER
from dgsnet.core.errors import DatasetError, ModelFolderError
from dgsnet.data.dataset import Sample, load_dataset
from dgsnet.evaluation.diagnose import measure, retention
from dgsnet.evaluation.diagnose.towers import Keys, Towers
from dgsnet.model.recipe import make_recipe
from dgsnet.reports import diagnose_page, diagnose_plots
from dgsnet.training import train
from tests.support.pictures import textured

HEADLINES = ("cka", "knn_overlap", "procrustes", "probe_retention")
PLOTS = ("layers.png", "spectrum.png", "tsne.png")


@pytest.fixture(scope="module")
def linear(corpus, tiny_clip, tmp_path_factory):
    """A linear probe that reads a block."""
    folder = tmp_path_factory.mktemp("models") / "linear"
    assignments = (f"backbone={tiny_clip}", "probe.epochs=1", "probe.batch=8", "blocks=[1]")
    return train(corpus, folder, make_recipe("linear", assignments=assignments), console=Console(file=StringIO()))


@pytest.fixture(scope="module")
def wild(tiny_model, tmp_path_factory):
    """The tiny model with an adapter of noise, which leaves little of the tower."""
    folder = tmp_path_factory.mktemp("models") / "wild"
    shutil.copytree(tiny_model, folder)
    rng = np.random.default_rng(0)
    noise = {name: rng.normal(size=tensor.shape).astype(np.float32) for name, tensor in load_file(folder / ADAPTER).items()}
    save_file(noise, folder / ADAPTER, metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def seen(corpus, tiny_model, linear, wild, tmp_path_factory):
    """Three models diagnosed together: (folder, content of `forgetting.json`)."""
    out = tmp_path_factory.mktemp("diagnosed")
    detectors = {one.name: Detector.from_pretrained(one) for one in (tiny_model, linear, wild)}
    diagnosis = measure.diagnose(detectors, load_dataset(corpus), out)
    diagnose_plots.write(out, diagnosis)
    diagnose_page.write(out, diagnosis.figures)
    return out, diagnosis.figures


def test_the_files_hold_what_is_returned(seen):
    out, result = seen
    assert json.loads((out / "forgetting.json").read_text()) == result
    for plot in PLOTS:
        with Image.open(out / plot) as image:
            image.load()
            assert min(image.size) > 300
    assert {file.name for file in out.iterdir()} == {"forgetting.json", "forgetting.md", "features.sqlite", *PLOTS}
    first = result["models"]["tiny"]
    assert {name: result[name] for name in HEADLINES} == {name: first[name]["value"] for name in HEADLINES}
    assert result["model"] == "tiny"


def test_a_linear_probe_forgets_nothing(seen):
    one = seen[1]["models"]["linear"]
    assert [one[name]["value"] for name in HEADLINES] == pytest.approx([1, 1, 0, 1], abs=1e-9)
    assert (one["cka"]["low"], one["knn_overlap"]["high"]) == pytest.approx((1, 1), abs=1e-9)
    assert one["drift"]["overall"]["relative_distance"] == 0
    assert one["effective_rank"]["frozen"] == one["effective_rank"]["tuned"]
    assert all(layer[token]["value"] == pytest.approx(1) for layer in one["layers"] for token in ("class_token", "patch_token"))
    assert all(task["ratio"]["value"] == 1 for task in one["tasks"].values())
    assert one["read_blocks"] == [1]


def test_more_damage_is_more_forgetting(seen):
    tiny, wild = seen[1]["models"]["tiny"], seen[1]["models"]["wild"]
    assert 1 > tiny["cka"]["value"] > wild["cka"]["value"]
    assert 1 > tiny["knn_overlap"]["value"] > wild["knn_overlap"]["value"]
    assert 0 < tiny["procrustes"]["value"] < wild["procrustes"]["value"]
    assert wild["drift"]["overall"]["cosine"] < tiny["drift"]["overall"]["cosine"] < 1
    assert wild["layers"][1]["class_token"]["value"] < tiny["layers"][1]["class_token"]["value"]


@torch.no_grad()
def test_figures_are_those_of_the_towers(corpus, tiny_model, seen):
    detector, data = Detector.from_pretrained(tiny_model), load_dataset(corpus)
    frozen, tuned = Towers(detector, seen[0] / "features.sqlite").features(Keys.of(data).keys)
    sample = data.samples[3]
    pixels = detector._prepare(data.read(sample)).views[0]
    shown, tower = torch.from_numpy(pixels)[None], detector.method.backbone
    np.testing.assert_array_equal(tuned.embedding[3].astype(np.float32), tower(shown)[0].numpy())
    np.testing.assert_array_equal(frozen.embedding[3].astype(np.float32), tower.frozen(shown)[0].numpy())
    inner = tower.vision(pixel_values=shown, output_hidden_states=True).hidden_states
    for block in (1, 2):
        np.testing.assert_allclose(tuned.class_token(block)[3], inner[block][0, 0], rtol=1e-6)
        np.testing.assert_allclose(tuned.patch_token(block)[3], inner[block][0, 1:].mean(0), rtol=1e-5, atol=1e-7)
    assert tuned.logits[3] == pytest.approx(detector.detect(data.root / sample.path).logit, abs=1e-12)


def test_drift_is_by_label_generator_and_source(seen):
    drift = seen[1]["models"]["wild"]["drift"]
    assert set(drift["by_generator"]) == {"decoder0", "decoder1"}
    assert set(drift["by_source"]) == {"camera"}
    sizes = [drift["overall"]["images"], drift["by_label"]["real"]["images"], drift["by_label"]["fake"]["images"]]
    assert sizes == [44, 22, 22]
    assert sum(one["images"] for one in drift["by_generator"].values()) == 22


def test_tasks_that_cannot_be_posed_are_named(seen):
    assert set(seen[1]["models"]["tiny"]["tasks"]) == {"generator", "caption"}
    assert seen[1]["tasks_counted"] == ["generator"]  # numbers in captions are nothing a picture shows
    assert "two or more classes" in seen[1]["tasks_left_out"]["source"]


def test_comparisons_are_first_minus_other(seen):
    result = seen[1]
    assert [(one["model"], one["other"]) for one in result["comparisons"]] == [("tiny", "linear"), ("tiny", "wild")]
    for one in result["comparisons"]:
        for name in HEADLINES:
            expected = result[name] - result["models"][one["other"]][name]["value"]
            assert one[name]["value"] == pytest.approx(expected)
            assert one[name]["low"] <= one[name]["value"] <= one[name]["high"]


def test_the_page_says_it_in_words(seen):
    text = (seen[0] / "forgetting.md").read_text()
    assert "**linear** is the frozen CLIP, bit for bit" in text
    assert "**tiny preserves more than wild**" in text
    assert "**tiny preserves less than linear**" in text
    assert "Task `source` left out" in text
    assert "Counted in probe retention: generator." in text


@pytest.mark.parametrize(
    ("signs", "expected"),
    [((0, 0, 0, 0), "alike"), ((1, 0, -1, 0), "more"), ((-1, -1, 0, 0), "less"), ((1, 0, 1, 0), "mixed"), ((0, 0, 0, None), "alike")],
)
def test_verdict_counts_measures_whose_interval_leaves_out_zero(signs, expected):
    def estimate(sign):
        return dict.fromkeys(("value", "low", "high")) if sign is None else {"value": sign, "low": sign - 0.5, "high": sign + 0.5}

    assert diagnose_page.verdict(dict(zip(HEADLINES, map(estimate, signs), strict=True))) == expected


# --- The command line ---


def test_command_line_writes_the_contract_and_does_nothing_twice(run, corpus, tiny_model, tmp_path, monkeypatch):
    code, out, err = run("diagnose", "--model", tiny_model, "--data", corpus, "--out", tmp_path)
    assert code == 0, err
    result = json.loads((tmp_path / "forgetting.json").read_text())
    assert all(isinstance(result[name], float) for name in HEADLINES)
    assert result["computed_from"]["images"] == 12  # the test split
    assert "tiny" in out
    assert "features of tiny" in err
    monkeypatch.setattr(Towers, "_vector", None)  # not callable: no image may pass a tower again
    assert run("diagnose", "--model", tiny_model, "--data", corpus, "--out", tmp_path)[0] == 0
    assert json.loads((tmp_path / "forgetting.json").read_text()) == result


def test_models_of_one_name_and_a_task_folder(run, corpus, tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "other" / "tiny")
    rng = np.random.default_rng(3)
    for number in range(7):
        for name, fake in (("plain", False), ("checked", True)):
            (tmp_path / "classes" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(textured(rng, fake)).save(tmp_path / "classes" / name / f"{number}.png")
    models = ("--model", tiny_model, "--model", tmp_path / "other" / "tiny")
    code, _, err = run(
        "diagnose", *models, "--data", corpus, "--out", tmp_path / "out", "--limit", 12, "--task", tmp_path / "classes", "--split", "train"
    )
    assert code == 0, err
    result = json.loads((tmp_path / "out" / "forgetting.json").read_text())
    assert set(result["models"]) == {str(tiny_model), str(tmp_path / "other" / "tiny")}
    one = result["models"][str(tiny_model)]
    assert (one["tasks"]["classes"]["images"], one["tasks"]["classes"]["classes"]) == (12, 2)
    assert result["computed_from"]["images"] == 12
    assert result["comparisons"][0]["cka"] == pytest.approx({"value": 0, "low": 0, "high": 0})  # the same model
    assert {"classes"} <= set(result["tasks_counted"]) <= set(one["tasks"])
    assert result["probe_retention"] == pytest.approx(np.mean([one["tasks"][name]["ratio"]["value"] for name in result["tasks_counted"]]))


def test_a_bad_image_costs_one_row(run, corpus, tiny_model, tmp_path):
    shutil.copytree(corpus, tmp_path / "data")
    (tmp_path / "data" / "test" / "real" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    Image.new("RGB", (20, 300)).save(tmp_path / "data" / "test" / "fake" / "1.png")
    (tmp_path / "data" / "test" / "fake" / "2.png").unlink()
    code, _, err = run("diagnose", "--model", tiny_model, "--data", tmp_path / "data", "--out", tmp_path / "out")
    result = json.loads((tmp_path / "out" / "forgetting.json").read_text())
    assert code == 1
    assert set(result["failed"]) == {"test/real/0.png", "test/fake/1.png", "test/fake/2.png"}
    assert all(path in err for path in result["failed"])
    assert result["computed_from"]["images"] == 9
    assert "3 images could not be used" in (tmp_path / "out" / "forgetting.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--split", "nowhere"), "no split 'nowhere'"),
        (("--task", "/nowhere"), "no such folder"),
    ],
)
def test_wrong_usage(run, corpus, tiny_model, tmp_path, arguments, expected):
    code, _, err = run("diagnose", "--model", tiny_model, "--data", corpus, "--out", tmp_path, *arguments)
    assert (code, expected in err) == (2, True)


def test_one_model_twice_is_refused(run, corpus, tiny_model, tmp_path):
    code, _, err = run("diagnose", "--model", tiny_model, "--model", tiny_model, "--data", corpus, "--out", tmp_path)
    assert (code, "each model and each task once" in err) == (2, True)


def test_too_few_images_and_a_task_of_one_class_are_refused(corpus, tiny_model, tmp_path):
    detectors, data = {"tiny": Detector.from_pretrained(tiny_model)}, load_dataset(corpus)
    with pytest.raises(DatasetError, match="7 usable images are too few"):
        measure.diagnose(detectors, replace(data, samples=data.samples[:7]), tmp_path)
    with pytest.raises(DatasetError, match="two or more classes"):
        measure.diagnose(
            detectors, data.with_split("test"), tmp_path, tasks={"flat": load_dataset(corpus / "train" / "real", labelled=False)}
        )


def test_a_model_that_gives_no_numbers_is_refused(corpus, tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "broken")
    adapter = load_file(tmp_path / "broken" / ADAPTER)
    save_file({name: np.full_like(tensor, np.nan) for name, tensor in adapter.items()}, tmp_path / "broken" / ADAPTER)
    with pytest.raises(ModelFolderError, match="not finite"):
        measure.diagnose({"broken": Detector.from_pretrained(tmp_path / "broken")}, load_dataset(corpus), tmp_path)


def test_photographs_alone_leave_detection_open(corpus, tiny_model, wild, tmp_path):
    data = load_dataset(corpus)
    photographs = replace(data, samples=tuple(sample for sample in data if sample.label == 0)[:12])
    detectors = {one.name: Detector.from_pretrained(one) for one in (tiny_model, wild)}
    result = measure.diagnose(detectors, photographs, tmp_path).figures
    assert result["models"]["tiny"]["detection"]["auroc"]["value"] is None
    assert result["cka"] > result["models"]["wild"]["cka"]["value"]
    assert "Detection cannot be compared" in diagnose_page.write(tmp_path, result).read_text()


def test_the_study_writes_its_folder(corpus, tiny_model, wild, tmp_path, capsys):
    file = Path(__file__).parents[2] / "studies" / "forgetting" / "__main__.py"
    spec = importlib.util.spec_from_file_location("forgetting_experiment", file)
    experiment = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(experiment)
    experiment.run(corpus, [tiny_model, wild], "test", 10, "caption", tmp_path / "results", tmp_path / "features.sqlite")
    assert {file.name for file in (tmp_path / "results").iterdir()} == {"forgetting.json", "forgetting.md", *PLOTS}
    result = json.loads((tmp_path / "results" / "forgetting.json").read_text())
    assert (list(result["models"]), result["computed_from"]["images"]) == (["tiny", "wild"], 10)
    assert "preserves more than wild" in (tmp_path / "results" / "forgetting.md").read_text()
    assert "'cka'" in capsys.readouterr().out


# --- Restart ---


class Killed(BaseException):
    """Nothing in the package catches this."""


def test_a_killed_run_loses_at_most_what_was_not_saved_yet(corpus, tiny_model, tmp_path, monkeypatch):
    detector, data, shown = Detector.from_pretrained(tiny_model), load_dataset(corpus), []
    keys, original = Keys.of(data), Towers._vector

    def dying(self, pixels, *, tuned):
        shown.append(tuned)
        if len(shown) == 41:
            raise Killed
        return original(self, pixels, tuned=tuned)

    whole = Towers(detector, tmp_path / "whole.sqlite")
    assert whole.extract(data, keys) == {}
    monkeypatch.setattr(Towers, "_vector", dying)
    with pytest.raises(Killed):
        measure.diagnose({"tiny": detector}, data, tmp_path)
    assert not (tmp_path / "forgetting.json").exists()
    resumed = Towers(detector, tmp_path / "features.sqlite")
    assert resumed.extract(data, keys) == {}
    assert len(shown) - 41 == 2 * (44 - 16)  # of 20 images seen, 16 were saved
    for mine, theirs in zip(resumed.features(keys.keys), whole.features(keys.keys), strict=True):
        np.testing.assert_array_equal(mine.states, theirs.states)
        np.testing.assert_array_equal(mine.embedding, theirs.embedding)


def test_models_of_one_backbone_and_preprocessing_share_the_frozen_features(corpus, tiny_model, wild, tmp_path, monkeypatch):
    data, shown, original = load_dataset(corpus).with_split("val"), [], Towers._vector

    def counting(self, pixels, *, tuned):
        shown.append(tuned)
        return original(self, pixels, tuned=tuned)

    monkeypatch.setattr(Towers, "_vector", counting)
    for folder in (tiny_model, wild):
        Towers(Detector.from_pretrained(folder), tmp_path / "features.sqlite").extract(data, Keys.of(data))
    assert (shown.count(False), shown.count(True)) == (8, 16)


# --- Tasks ---


def samples(n=60, **fields):
    return [_sample(number, fields) for number in range(n)]


def _sample(number, fields):
    plain = Sample(f"{number}.png", number % 2, "", "s", None, None, str(number))
    return replace(plain, **{name: value(number) for name, value in fields.items()})


def test_probe_answers_what_features_hold_and_guesses_what_they_do_not():
    rng = np.random.default_rng(0)
    data = samples(200, source=lambda i: f"source{(i // 2) % 4}")
    (task,), skipped = retention.tasks_of(data)
    held = np.eye(4)[[(i // 2) % 4 for i in range(200)]] @ rng.normal(size=(4, 16)) + 0.1 * rng.normal(size=(200, 16))
    lost = rng.normal(size=(200, 16))
    one = retention.answer(task, held, lost)
    assert (task.name, task.chance, len(task.members)) == ("source", 0.25, 100)
    assert set(skipped) == {"generator", "caption"}
    assert one.frozen == 1
    assert one.tuned == pytest.approx(0.25, abs=0.12)
    assert one.ratio == pytest.approx(one.tuned)
    assert abs(one.above_chance) < 0.15
    assert one.answered
    guess = retention.answer(task, lost, held)
    assert (guess.answered, np.isnan(guess.above_chance)) == (False, True)
    assert retention.answer(task, held, 1000 * held + 5).ratio == 1


def test_rare_classes_and_shared_groups_take_no_part():
    rare = samples(40, source=lambda i: "rare" if i in (0, 2, 4) else f"s{(i // 2) % 2}")
    (task,), _ = retention.tasks_of(rare)
    assert (task.classes, len(task.members)) == (2, 17)
    together = samples(40, source=lambda i: f"s{(i // 2) % 2}", group=lambda i: f"g{(i // 2) % 4}")
    assert retention.tasks_of(together)[0] == []


def test_a_group_never_parts_between_training_and_test():
    # The features hold the group and nothing of the class: a probe that had seen the group would know.
    rng = np.random.default_rng(1)
    classes = rng.integers(2, size=50)
    data = samples(400, source=lambda i: f"s{classes[(i // 2) // 4]}", group=lambda i: f"g{(i // 2) // 4}")
    features = np.repeat(rng.normal(size=(50, 64)), 8, axis=0)
    (task,), _ = retention.tasks_of(data)
    assert retention.answer(task, features, features).frozen < 0.75


def test_captions_rank_images_of_the_same_label():
    words = ["cat", "dog", "tree", "house", "boat", "car"]
    rng = np.random.default_rng(0)

    def caption(i):
        return f"{words[(i // 2) % 6]} {words[(i // 12) % 6]}" + (" painted" if i % 2 else " taken")

    data = samples(144, caption=caption)
    (task,), _ = retention.tasks_of(data)
    first, second = (np.eye(6)[[(i // 2) % 6 for i in range(144)]], np.eye(6)[[(i // 12) % 6 for i in range(144)]])
    content = np.hstack([first, second]) + 0.01 * rng.normal(size=(144, 12))
    label = np.array([[i % 2] for i in range(144)]) + 0.01 * rng.normal(size=(144, 12))
    one = retention.answer(task, content, label)
    assert one.frozen > 0.95
    assert one.tuned == pytest.approx(0.5, abs=0.08)
    assert retention.answer(task, content, np.ones((144, 3))).tuned == 0.5


def test_mean_ratio_leave_one_out_an_image_leaves_every_task_it_is_in():
    data = samples(40, source=lambda i: f"s{(i // 2) % 2}", generator=lambda i: f"g{(i // 2) % 2}")
    tasks, _ = retention.tasks_of(data)
    rng = np.random.default_rng(0)
    frozen, tuned = rng.normal(size=(2, 50, 6))
    answers = [(retention.answer(tasks[0], frozen, tuned), 0), (retention.answer(tasks[1], frozen, tuned), 10)]
    value, without = retention.mean_ratio(answers, 50)
    assert value == pytest.approx(np.mean([one.ratio for one, _ in answers]))

    def ratio(one, begin, image):
        places = list(begin + one.task.members)
        return one.ratio_leave_one_out[places.index(image)] if image in places else one.ratio

    np.testing.assert_allclose(without, [np.mean([ratio(*answer, image) for answer in answers]) for image in range(50)])
