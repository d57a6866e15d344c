"""Whole runs on tiny data: reproducible, restartable, and clear about what they could not do."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import CLIPVisionModelWithProjection

from dgsnet.artifacts import model_folder
from dgsnet.core.errors import DgsnetError, TrainingError
from dgsnet.data.dataset import load_dataset
from dgsnet.model.backbone import Backbone, load_tower
from dgsnet.model.feature_cache import FeatureCache
from dgsnet.model.recipe import LoraRecipe, make_recipe
from dgsnet.training import loop as run_module
from dgsnet.training import train
from dgsnet.training.batches import Batches, epoch_views
from dgsnet.training.checkpoint import save_checkpoint
from dgsnet.training.log import TrainingLog
from dgsnet.training.loop import train_and_validation
from dgsnet.training.validation import validate_on_held_out
from dgsnet.training.views import FrozenFeatures, Views
from tests.support.methods import ADAPTED, KINDS
from tests.support.models import save_tiny_bert, with_end_of_text

SETTINGS = ("probe.epochs=2", "probe.batch=8", "finetune.epochs=2", "finetune.batch=8", "finetune.lr=1e-3")
STEPS = 6  # a stage: 24 images in batches of 8, twice
TRAINED = ("heads.safetensors", "adapter_model.safetensors", "training/log.jsonl")


class Killed(BaseException):
    """Nothing in the package catches this."""


@pytest.fixture(scope="module")
def tiny_clip(tiny_clip, tmp_path_factory):
    return with_end_of_text(tiny_clip, tmp_path_factory.mktemp("captioning-clip"))


@pytest.fixture
def start(corpus, tiny_clip, tmp_path):
    """Run a training; returns what it printed."""

    def run(out, *assignments, data=corpus, method="dgs", preset="balanced", resume=False, backbone=tiny_clip):
        recipe = make_recipe(method, preset, assignments=(f"backbone={backbone}", *SETTINGS, *assignments))
        console = Console(file=(printed := StringIO()), width=1000, color_system=None)
        train(data, tmp_path / out, recipe, resume=resume, console=console)
        return printed.getvalue()

    return run


@pytest.fixture(scope="module")
def finished(corpus, tiny_clip, tmp_path_factory):
    """(folder, what was printed) of a run of the defaults that nothing disturbed."""
    out = tmp_path_factory.mktemp("finished")
    console = Console(file=(printed := StringIO()), width=1000, color_system=None)
    train(corpus, out, make_recipe(assignments=(f"backbone={tiny_clip}", *SETTINGS)), console=console)
    return out, printed.getvalue()


def rows_of(folder):
    return [json.loads(line) for line in (folder / "training" / "log.jsonl").read_text().splitlines()]


def figures(row):
    return {name: value for name, value in row.items() if name != "stage"}


def assert_same_run(folder, other):
    for name in reversed(TRAINED):
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name


def changed(corpus, to, edit, drop=()):
    """A copy of the corpus with other rows in its manifest."""
    shutil.copytree(corpus, to)
    with (to / "manifest.csv").open(newline="") as stream:
        rows = [{key: value for key, value in row.items() if key not in drop} for row in csv.DictReader(stream)]
    rows = [row for row in rows if edit(row) is not False]
    with (to / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return to


# What a run leaves


def test_the_model_folder_is_whole_and_loads(finished, tiny_clip):
    out, printed = finished
    method, config = model_folder.load(out)
    assert f"model folder: {out}" in printed
    written = {*(name.split("/")[0] for name in TRAINED), "adapter_config.json", "config.json", "README.md"}
    assert {file.name for file in out.iterdir()} == written
    assert not (out / "training" / "checkpoint.safetensors").exists()
    assert not list(out.rglob("*.part"))
    assert config.method == method.name == "dgs"
    assert config.data == {"fingerprint": config.data["fingerprint"], "n_real": 12, "n_fake": 12, "layout": "manifest"}
    assert len(config.data["fingerprint"]) == 64
    assert config.captions["source"] == "clip"
    assert config.captions["name"] == str(tiny_clip)
    assert 0 <= config.captions["caption_only_auc"] <= 0.75
    assert {"dgsnet", "torch", "transformers", "peft", "accelerate", "numpy", "pillow"} == set(config.versions)
    assert config.backbone["name"] == str(tiny_clip)
    assert load_file(out / "adapter_model.safetensors")[
        "base_model.model.vision_model.encoder.layers.0.self_attn.q_proj.lora_B.weight"
    ].any()


def test_the_log_has_each_step_once_with_its_figures(finished):
    rows = rows_of(finished[0])
    place = [(row["stage"], row["epoch"], row["step"]) for row in rows]
    assert place == [(stage, (step - 1) // 3, step) for stage in ("probe", "finetune") for step in range(1, STEPS + 1)]
    for row in rows:
        terms = {"loss_probe", "loss_text"} if row["stage"] == "probe" else {"loss_image", "loss_text", "removed", "alignment"}
        assert set(row) == {"stage", "epoch", "step", "loss", "feature_norm"} | terms
        assert row["loss"] == pytest.approx(sum(row[name] for name in terms if name.startswith("loss_")))
        assert all(np.isfinite(row[name]) for name in terms)
    assert all(0 < row["removed"] < 1 and 0 < row["alignment"] <= 0.2 for row in rows if row["stage"] == "finetune")


def events_of(folder):
    """{tag: steps} of all TensorBoard files below."""
    accumulator = EventAccumulator(str(next(folder.rglob("events.out.tfevents*")).parent), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}


def test_tensorboard_shows_the_log(finished):
    events = events_of(finished[0] / "training")
    rows = rows_of(finished[0])
    for stage in ("probe", "finetune"):
        logged = [row["loss"] for row in rows if row["stage"] == stage]
        assert [value for _, value in events[f"{stage}/loss"]] == pytest.approx(logged, rel=1e-6)
    assert {"finetune/loss_image", "finetune/loss_text", "finetune/feature_norm", "finetune/removed", "finetune/alignment"} <= set(events)


def test_training_learns_the_trace_of_the_upsampler(start, tmp_path):
    start("out", "probe.epochs=30", "probe.lr=1e-2", "finetune.epochs=6", "finetune.lr=3e-3", "augmentation.flip=false")
    rows = rows_of(tmp_path / "out")
    assert rows[-1]["loss_image"] < 0.75 * rows[0]["loss_probe"]


@pytest.mark.parametrize(("method", "preset"), KINDS)
def test_every_method_and_preset_runs_to_its_end(start, tmp_path, method, preset):
    start("out", "finetune.epochs=1", method=method, preset=preset)
    loaded, config = model_folder.load(tmp_path / "out")
    assert (loaded.name, config.recipe["preset"]) == (method, preset)
    assert {row["stage"] for row in rows_of(tmp_path / "out")} == set(loaded.stages)


def test_held_out_images_are_scored_once(finished, corpus, tiny_clip):
    recipe = make_recipe(assignments=(f"backbone={tiny_clip}", *SETTINGS))
    printed = StringIO()
    validate_on_held_out(corpus, finished[0], recipe, Console(file=printed, width=1000))
    assert "held-out split, 8 images: AUROC" in printed.getvalue()
    result = json.loads((finished[0] / "metrics.json").read_text())
    assert (result["overall"]["n_real"], result["overall"]["n_fake"]) == (4, 4)
    again = StringIO()
    validate_on_held_out(corpus, finished[0], recipe, Console(file=again, width=1000))
    assert not again.getvalue()
    (finished[0] / "metrics.json").unlink()


# The same run again


def test_the_same_seed_gives_the_same_bytes(start, finished, tmp_path):
    torch.manual_seed(123)
    start("out")
    assert_same_run(tmp_path / "out", finished[0])
    assert (tmp_path / "out" / "config.json").read_bytes() == (finished[0] / "config.json").read_bytes()


def test_another_seed_gives_another_run(start, finished, tmp_path):
    start("out", "seed=1")
    for name in TRAINED:
        assert (tmp_path / "out" / name).read_bytes() != (finished[0] / name).read_bytes(), name


def test_workers_do_not_change_the_result(start, finished, tmp_path):
    start("out", "data.workers=2")
    assert_same_run(tmp_path / "out", finished[0])


def test_micro_batches_do_not_change_the_result(start, tmp_path):
    start("whole", "lora.dropout=0")
    start("parts", "lora.dropout=0", "probe.micro_batch=5", "finetune.micro_batch=3")
    for whole, parts in zip(rows_of(tmp_path / "whole"), rows_of(tmp_path / "parts"), strict=True):
        assert figures(parts) == pytest.approx(figures(whole), rel=1e-3)
        assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-5)


# Interrupted and continued


def kill_in_log(monkeypatch, stage, step):
    """The line after this step is cut in half."""
    write = TrainingLog.write

    def writing(self, row):
        if (row["stage"], row["step"]) == (stage, step + 1):
            with self.file.open("a") as stream:
                stream.write(json.dumps(row)[:20])
            raise Killed
        write(self, row)

    monkeypatch.setattr(TrainingLog, "write", writing)


def kill_in_checkpoint(monkeypatch, stage, step):
    """The step is in the log, its checkpoint is not on disk."""
    save = save_checkpoint

    def saving(file, position, *arguments):
        if (position.stage, position.step) == (stage, step):
            file.with_name(f".{file.name}.1.part").write_bytes(b"half")
            raise Killed
        save(file, position, *arguments)

    monkeypatch.setattr(run_module, "save_checkpoint", saving)


def kill_in_save(monkeypatch, *_):
    """All steps are done, the model folder is half written."""

    def saving(*_):
        raise Killed

    monkeypatch.setattr(model_folder, "write_json", saving)


@pytest.mark.parametrize(
    ("kill", "stage", "step", "every"),
    [
        (kill_in_log, "probe", 5, 2),
        (kill_in_checkpoint, "probe", 6, 7),
        (kill_in_log, "finetune", 5, 4),
        (kill_in_checkpoint, "finetune", 2, 2),
        (kill_in_save, "finetune", 6, 25),
    ],
)
def test_a_run_that_died_goes_on_as_if_nothing_had_happened(start, finished, tmp_path, monkeypatch, kill, stage, step, every):
    with monkeypatch.context() as patch:
        kill(patch, stage, step)
        with pytest.raises(Killed):
            start("out", f"checkpoint_every={every}")
    assert not model_folder.is_complete(tmp_path / "out")
    start("out", f"checkpoint_every={every}", resume=True)
    assert_same_run(tmp_path / "out", finished[0])


def test_tensorboard_after_an_interruption_has_each_step_once(start, finished, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_in_log(patch, "finetune", 5)
        with pytest.raises(Killed):
            start("out", "checkpoint_every=2")
    start("out", "checkpoint_every=2", resume=True)
    events = events_of(tmp_path / "out" / "training")
    for stage in ("probe", "finetune"):
        steps = [step for step, _ in events[f"{stage}/loss"]]
        assert steps == [step for step, _ in events_of(finished[0] / "training")[f"{stage}/loss"]]


def test_kill_9_in_stage_2_and_resume(start, corpus, tiny_clip, tmp_path):
    settings = (*SETTINGS, "finetune.epochs=6", "checkpoint_every=1", f"backbone={tiny_clip}")
    out, total = tmp_path / "killed", 18
    command = [sys.executable, "-m", "dgsnet", "train", "--data", str(corpus), "--out", str(out), "--no-validate"]
    command += [part for setting in settings for part in ("--set", setting)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        log = out / "training" / "log.jsonl"
        while process.poll() is None and not (log.exists() and log.read_text().count('"finetune"') >= 4):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        _, printed = process.communicate()
    assert process.returncode == -signal.SIGKILL, printed
    assert not model_folder.is_complete(out)
    assert 4 <= log.read_text().count('"finetune"') < total

    start("killed", "finetune.epochs=6", "checkpoint_every=1", resume=True)
    start("whole", "finetune.epochs=6", "checkpoint_every=1")
    assert len(rows_of(out)) == STEPS + total
    assert_same_run(out, tmp_path / "whole")
    assert (out / "config.json").read_bytes() == (tmp_path / "whole" / "config.json").read_bytes()


@pytest.mark.parametrize("assignment", ["finetune.lr=2e-3", "seed=1", "data.limit=20"])
def test_other_settings_do_not_continue_a_run(start, tmp_path, monkeypatch, assignment):
    with monkeypatch.context() as patch:
        kill_in_log(patch, "probe", 2)
        with pytest.raises(Killed):
            start("out", "checkpoint_every=1")
    before = (tmp_path / "out" / "training" / "checkpoint.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="other settings or data"):
        start("out", "checkpoint_every=1", assignment, resume=True)
    assert (tmp_path / "out" / "training" / "checkpoint.safetensors").read_bytes() == before


def test_other_data_do_not_continue_a_run(start, corpus, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_in_log(patch, "probe", 2)
        with pytest.raises(Killed):
            start("out", "checkpoint_every=1")
    other = changed(corpus, tmp_path / "other", lambda row: row.update(caption="another"))
    with pytest.raises(TrainingError, match="other settings or data"):
        start("out", "checkpoint_every=1", data=other, resume=True)


def test_a_damaged_checkpoint_is_named(start, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_in_log(patch, "probe", 2)
        with pytest.raises(Killed):
            start("out", "checkpoint_every=1")
    (tmp_path / "out" / "training" / "checkpoint.safetensors").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match=r"checkpoint\.safetensors cannot be read"):
        start("out", "checkpoint_every=1", resume=True)


def test_a_folder_in_use_is_refused_and_left_alone(start, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(TrainingError, match="is not empty"):
        start("out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_a_finished_run_is_not_run_again(start, finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "out")
    assert "nothing to do" in start("out", resume=True)
    assert_same_run(tmp_path / "out", finished[0])
    with pytest.raises(TrainingError, match="is not empty"):
        start("out")


@pytest.mark.parametrize("other", [{"assignment": "seed=1"}, {"method": "linear"}, {"data": "others"}])
def test_a_finished_run_is_refused_other_settings_and_data_as_an_unfinished_one_is(start, finished, corpus, tmp_path, other):
    shutil.copytree(finished[0], tmp_path / "out")
    if "data" in other:
        other = {"data": changed(corpus, tmp_path / "other", lambda row: row.update(caption="another"))}
    assignments = [other.pop("assignment")] if "assignment" in other else []
    with pytest.raises(TrainingError, match="belongs to a run with other settings or data: choose another folder"):
        start("out", *assignments, resume=True, **other)
    assert_same_run(tmp_path / "out", finished[0])


# Data


@pytest.mark.parametrize("settings", [(), ("data.views=2",), ("data.views=1", "data.workers=2"), ("finetune.batch=1",)])
def test_a_broken_image_is_left_out_with_a_message(start, corpus, tmp_path, settings):
    data = shutil.copytree(corpus, tmp_path / "data")
    whole = (data / "train/fake/3.png").read_bytes()
    (data / "train/fake/3.png").write_bytes(whole[:300])
    printed = start("out", *settings, data=data)
    assert printed.count("left out: train/fake/3.png") == 1, printed
    assert model_folder.is_complete(tmp_path / "out")
    assert all(np.isfinite(row["loss"]) for row in rows_of(tmp_path / "out") if "loss" in row)


def test_a_broken_image_in_a_run_with_a_sentence_encoder(start, corpus, tiny_clip, tmp_path):
    data = shutil.copytree(corpus, tmp_path / "data")
    (data / "train/real/3.png").write_bytes(b"no image")
    load_tower(CLIPVisionModelWithProjection, tiny_clip).save_pretrained(tmp_path / "vision")
    save_tiny_bert(tmp_path / "bert")
    settings = (f"captions.sentence_encoder={tmp_path / 'bert'}",)
    printed = start("out", *settings, data=data, backbone=tmp_path / "vision")
    assert printed.count("left out: train/real/3.png") == 1, printed
    captions = json.loads((tmp_path / "out" / "config.json").read_text())["captions"]
    assert captions["source"] == "sentence"
    assert captions["name"] == str(tmp_path / "bert")
    assert captions["ridge_penalty"] > 0
    assert -1 < captions["explained_variance"] < 1
    assert "features from {'source': 'sentence'" in printed
    assert all("removed" in row for row in rows_of(tmp_path / "out") if row["stage"] == "finetune")


def test_captions_that_carry_the_label_are_warned_of(start, corpus, tmp_path):
    words = {"0": "a photograph of", "1": "digital art of"}
    leaking = changed(corpus, tmp_path / "leaking", lambda row: row.update(caption=f"{words[row['label']]} {row['caption'].split()[3]}"))
    printed = start("out", "probe.epochs=1", "finetune.epochs=0", data=leaking)
    assert "captions alone tell real from generated with AUC 1.00" in printed
    assert "warning: that is above 0.75" in printed
    assert json.loads((tmp_path / "out" / "config.json").read_text())["captions"]["caption_only_auc"] == 1.0


def test_harmless_captions_are_not_warned_of(finished):
    assert "captions alone tell real from generated with AUC 0." in finished[1]
    assert "warning" not in finished[1]


@pytest.mark.parametrize("captions", [False, True])
def test_without_a_text_branch_suppression_is_off_and_the_run_says_so(start, corpus, tmp_path, captions):
    data = corpus if captions else changed(corpus, tmp_path / "data", lambda row: None, drop=("caption",))
    printed = start("out", *(("captions.source=none",) if captions else ()), data=data)
    assert f"suppression is off: {'switched off' if captions else 'no image has a caption'}" in printed
    rows = rows_of(tmp_path / "out")
    assert not any("loss_text" in row or "removed" in row for row in rows)
    assert all("alignment" in row for row in rows if row["stage"] == "finetune")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["captions"]["source"] == "none"


def test_some_images_without_a_caption(start, corpus, tmp_path):
    data = changed(corpus, tmp_path / "data", lambda row: row.update(caption="" if row["path"].endswith("1.png") else row["caption"]))
    start("out", data=data)
    assert all(np.isfinite(row["loss_text"]) for row in rows_of(tmp_path / "out"))


def test_a_limit_takes_as_many_of_each_label(start, tmp_path):
    start("out", "data.limit=10")
    data = json.loads((tmp_path / "out" / "config.json").read_text())["data"]
    assert (data["n_real"], data["n_fake"]) == (5, 5)
    assert len(rows_of(tmp_path / "out")) == 2 * 2 * 2


def test_data_without_splits_are_split_by_group(start, corpus, tmp_path):
    data = changed(corpus, tmp_path / "data", lambda row: row.update(group=f"scene {row['path'].split('/')[-1]}"), drop=("split",))
    recipe = make_recipe(assignments=("data.held_out=0.25",))
    training, held_out = train_and_validation(load_dataset(data), recipe)
    assert len(training) + len(held_out) == 44
    assert 5 <= len(held_out) <= 17
    assert not {sample.group for sample in training} & {sample.group for sample in held_out}
    assert set(training.labels()) == set(held_out.labels()) == {0, 1}
    start("out", "data.held_out=0.25", data=data)
    recorded = json.loads((tmp_path / "out" / "config.json").read_text())["data"]
    assert recorded["n_real"] + recorded["n_fake"] == len(training)


@pytest.mark.parametrize("splits", [True, False])
def test_nothing_needs_to_be_held_out(start, corpus, tiny_clip, tmp_path, splits):
    """Data with a training split and no other; data without splits of which nothing is to be held out."""
    data = changed(corpus, tmp_path / "data", lambda row: row["path"].startswith("train"), drop=() if splits else ("split",))
    settings = () if splits else ("data.held_out=0",)
    start("out", *settings, data=data)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["data"]["n_real"] == 12
    recipe = make_recipe(assignments=(f"backbone={tiny_clip}", *SETTINGS, *settings))
    validate_on_held_out(data, tmp_path / "out", recipe, Console(file=StringIO()))
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_one_label_alone_is_refused(start, corpus, tmp_path):
    data = changed(corpus, tmp_path / "data", lambda row: row["label"] == "0")
    with pytest.raises(TrainingError, match="12 real and 0 generated"):
        start("out", data=data)
    assert not (tmp_path / "out").exists()


def test_a_split_that_is_not_there_is_refused(start):
    with pytest.raises(DgsnetError, match="no image of split practice"):
        start("out", "data.train_split=practice")


def test_a_loss_that_is_not_finite_stops_the_run(start, tmp_path):
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step \d of stage 'finetune': lower finetune.lr"):
        start("out", "finetune.lr=1e30", "checkpoint_every=1", preset="released")
    assert not model_folder.is_complete(tmp_path / "out")


# Views


def views_of(corpus, *assignments):
    recipe = make_recipe(assignments=assignments)
    dataset = load_dataset(corpus)
    return Views(dataset.with_split("train"), recipe), recipe


def test_a_view_is_a_function_of_seed_content_and_number(corpus, tmp_path):
    settings = ("augmentation.crop.probability=1", "augmentation.reencode.probability=1", "preprocessing.order=released")
    views, _ = views_of(corpus, *settings)
    again, _ = views_of(corpus, *settings)
    np.random.seed(5)  # noqa: NPY002
    assert np.array_equal(views.pixels((3, 0)), again.pixels((3, 0)))
    assert views.pixels((3, 0)).shape == (3, 224, 224)
    assert not np.array_equal(views.pixels((3, 0)), views.pixels((3, 1)))
    assert not np.array_equal(views.pixels((3, 0)), views_of(corpus, *settings, "seed=1")[0].pixels((3, 0)))
    moved = tmp_path / "elsewhere" / "real"
    moved.mkdir(parents=True)
    shutil.copy(corpus / views.dataset.samples[3].path, moved / "other name.png")
    elsewhere = Views(load_dataset(tmp_path / "elsewhere"), views.recipe)
    assert np.array_equal(elsewhere.pixels((0, 0)), views.pixels((3, 0)))


def test_fresh_views_differ_each_epoch_and_fixed_ones_take_turns(corpus):
    labels = np.arange(24) // 12
    for assignments, numbers in [((), [0, 1, 2, 3]), (("data.views=2",), [0, 1, 0, 1]), (("augmentation.flip=false",), [0, 0, 0, 0])]:
        views, recipe = views_of(corpus, *assignments)
        epochs = [epoch_views(views, labels, recipe, epoch) for epoch in range(4)]
        assert [{number for _, number in epoch} for epoch in epochs] == [{number} for number in numbers]
        assert all(sorted(index for index, _ in epoch) == list(range(24)) for epoch in epochs)
        assert len({tuple(index for index, _ in epoch) for epoch in epochs}) == 4  # another order each time
        for first in range(0, 24, 8):
            assert labels[[index for index, _ in epochs[0][first : first + 8]]].sum() == 4


def test_frozen_features_are_computed_once_and_are_those_of_the_view(corpus, tiny_clip, tmp_path, monkeypatch):
    views, _ = views_of(corpus, "data.views=2")
    backbone = Backbone.load(str(tiny_clip))
    wanted = [(index, number) for index in range(6) for number in (0, 1)]
    with Progress(disable=True) as progress:
        frozen = FrozenFeatures(views, backbone, FeatureCache(tmp_path / "cache.sqlite", "space"))
        frozen.prepare(wanted, progress)
        for view, row in zip(wanted, frozen[wanted], strict=True):
            assert torch.equal(row, backbone.frozen(torch.from_numpy(views.pixels(view))[None])[0])
        monkeypatch.setattr(Backbone, "frozen", lambda *_: pytest.fail("computed again"))
        again = FrozenFeatures(views, backbone, FeatureCache(tmp_path / "cache.sqlite", "space"))
        again.prepare(wanted, progress)
        assert torch.equal(again[wanted], frozen[wanted])


@pytest.mark.parametrize(("setting", "passes"), [("seed=0", 0), ("seed=7", 48), ("lora.rank=3", 0)])
def test_a_run_over_fixed_views_asks_the_teacher_once_a_view(start, monkeypatch, tmp_path, setting, passes):
    monkeypatch.setenv("DGSNET_CACHE", str(tmp_path / "cache"))
    counted = []
    plain = Backbone.frozen
    monkeypatch.setattr(Backbone, "frozen", lambda self, pixels: counted.append(len(pixels)) or plain(self, pixels))
    start("first", "data.views=2", "data.limit=12", "finetune.epochs=1")
    probe = 1  # the pass by which the model folder records its backbone
    assert counted == [1] * (24 + probe)
    counted.clear()
    start("second", "data.views=2", "data.limit=12", "finetune.epochs=1", setting)
    assert len(counted) == passes // 2 + probe


def test_cached_features_do_not_change_the_result(start, tmp_path, monkeypatch):
    """Over the same views, cached features and those computed in each step lead to the same losses."""
    start("cached", "augmentation.flip=false", "lora.dropout=0")
    monkeypatch.setattr("dgsnet.model.recipe.Recipe.fixed_views", property(lambda self: None))
    monkeypatch.setattr(Views, "number", lambda self, epoch: 0)
    start("computed", "augmentation.flip=false", "lora.dropout=0")
    for cached, computed in zip(rows_of(tmp_path / "cached"), rows_of(tmp_path / "computed"), strict=True):
        assert figures(computed) == pytest.approx(figures(cached), rel=1e-3)


TRUNK = ("lora.layers=[1]", "data.views=1", "lora.dropout=0")


@pytest.mark.parametrize("method", sorted({method for method, _ in ADAPTED}))
def test_a_cached_trunk_does_not_change_the_result(start, tmp_path, method):
    settings = (*TRUNK, "blocks=[1, 2]", "finetune.micro_batch=3")
    start("whole", *settings, method=method)
    start("cached", *settings, "data.cache_trunk=true", method=method)
    for whole, cached in zip(rows_of(tmp_path / "whole"), rows_of(tmp_path / "cached"), strict=True):
        assert figures(cached) == pytest.approx(figures(whole), rel=1e-3)
        assert cached["loss"] == pytest.approx(whole["loss"], rel=1e-5)


def test_with_a_cached_trunk_fine_tuning_runs_the_adapted_blocks_alone(start, tmp_path, monkeypatch):
    monkeypatch.setenv("DGSNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Backbone, "forward", lambda *_: pytest.fail("the whole tower was run"))
    seen = []
    through = Backbone.frozen_with_trunk
    monkeypatch.setattr(Backbone, "frozen_with_trunk", lambda self, pixels: seen.append(len(pixels)) or through(self, pixels))
    # What a run does after it has trained does read images.
    monkeypatch.setattr(run_module, "fit_ood", lambda *_: None)
    monkeypatch.setattr(run_module._Run, "_record", lambda *_: {})
    monkeypatch.setattr(model_folder, "save", lambda *_: None)
    for out in ("first", "second"):
        start(out, *TRUNK, "data.cache_trunk=true", "data.workers=2")
    assert seen == [1] * 24


def test_a_broken_image_has_no_trunk(start, corpus, tmp_path):
    data = shutil.copytree(corpus, tmp_path / "data")
    (data / "train/fake/3.png").write_bytes(b"no image")
    printed = start("out", *TRUNK, "data.cache_trunk=true", "finetune.batch=1", data=data)
    assert printed.count("left out: train/fake/3.png") == 1, printed
    assert model_folder.is_complete(tmp_path / "out")


@pytest.mark.parametrize("blocks", [(), (2,), (1,), (2, 1)])
def test_a_feature_from_the_trunk_is_that_of_the_picture(tiny_clip, blocks):
    backbone = Backbone.load(str(tiny_clip))
    backbone.read_blocks(blocks)
    backbone.add_adapter(LoraRecipe(rank=2, layers=(1,)))
    backbone.eval()
    pixels = torch.randn(3, 3, backbone.size, backbone.size, generator=torch.Generator().manual_seed(0))
    frozen, trunk = backbone.frozen_with_trunk(pixels)
    torch.testing.assert_close(frozen, backbone.frozen(pixels))
    with torch.no_grad():
        for parameter in backbone.adapter_parameters():
            parameter.add_(0.5)
        assert not torch.allclose(backbone(pixels), frozen, atol=1e-3)
        torch.testing.assert_close(backbone.from_trunk(trunk, frozen), backbone(pixels))


def test_steps_and_batches_of_several_processes(corpus):
    """Each process has its own whole batches; together they are those of one process with a batch as large as all."""
    labels = np.arange(24) // 12
    views, recipe = views_of(corpus, "finetune.batch=5", "finetune.epochs=2", "augmentation.flip=false")
    batches = Batches(views, labels, recipe, None, None)
    assert batches.steps(recipe.finetune) == 10
    assert batches.steps(recipe.finetune, 2) == 4
    got = [[loaded.views for _, loaded in batches.run(recipe.finetune, False, 0, rank, 2)] for rank in (0, 1)]
    for epoch in (0, 1):
        order = epoch_views(views, labels, recipe, epoch)
        for step in (0, 1):
            mine, other = (got[rank][2 * epoch + step] for rank in (0, 1))
            assert [*mine, *other] == order[10 * step : 10 * step + 10]
    late = [loaded.views for _, loaded in batches.run(recipe.finetune, False, 3, 1, 2)]
    assert late == got[1][3:]


# Several processes


def test_two_processes_train_one_model(start, corpus, tiny_clip, tmp_path):
    """Two processes with batches of 4 take the steps of one process with batches of 8."""
    settings = (f"backbone={tiny_clip}", *SETTINGS, "lora.dropout=0", "probe.batch=4", "finetune.batch=4", "finetune.micro_batch=3")
    out = tmp_path / "two"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "dgsnet", "train"]
    command += ["--data", str(corpus), "--out", str(out), "--no-validate"]
    command += [part for setting in settings for part in ("--set", setting)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    start("one", "lora.dropout=0")
    assert [(row["stage"], row["step"]) for row in rows_of(out)] == [(row["stage"], row["step"]) for row in rows_of(tmp_path / "one")]
    model_folder.load(out)
    for name in TRAINED[:2]:
        mine, other = load_file(out / name), load_file(tmp_path / "one" / name)
        for key in mine:
            torch.testing.assert_close(mine[key], other[key], rtol=1e-3, atol=1e-4, msg=f"{name} {key}")


def test_views_are_kept_whether_large_pictures_are_scored_by_quadrants_or_not(corpus):
    spaces = [
        Views(load_dataset(corpus), make_recipe("lora", assignments=(f"preprocessing.{setting}",))).space
        for setting in ("quadrants=false", "multi_crop=true", "order=released", "view=crop")
    ]
    assert spaces[0] == spaces[1]
    assert len(set(spaces)) == 3
