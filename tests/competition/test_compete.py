"""A whole competition on tiny data: kept, gone on with, and honest about what it is not."""

import json
from io import StringIO

import pytest
from rich.console import Console

from dgsnet.competition import compete
from dgsnet.competition.protocol import DGS_PRESETS, RECIPE, Protocol, entries
from dgsnet.core.errors import DatasetError, RecipeError
from dgsnet.data.dataset import load_dataset
from dgsnet.model import methods
from dgsnet.model.recipe import make_recipe


def quiet():
    return Console(file=StringIO())


TINY = ("probe.epochs=1", "finetune.epochs=1", "finetune.batch=8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, corpus, tiny_clip):
    out = tmp_path_factory.mktemp("competition")
    settings = (f"backbone={tiny_clip}", *TINY)
    result = compete(corpus, out, chosen=("linear", "dgs", "dgs-released"), seeds=2, settings=settings, resamples=50, console=quiet())
    return out, settings, result


def test_every_entry_has_its_figures(finished):
    out, _, result = finished
    assert json.loads((out / "competition.json").read_text()) == result
    assert (result["protocol"], result["version"]) == ("unseen-generators", 1)
    assert set(result["methods"]) == {"linear", "dgs", "dgs-released"}
    assert set(result["pipelines"]) == {"as-made", "share"}
    for pipeline in result["pipelines"].values():
        for figures in pipeline["methods"].values():
            assert figures["auroc"]["low"] <= figures["auroc"]["value"] <= figures["auroc"]["high"]
            assert len(figures["seeds"]) == len(figures["seconds"]) == 2
            assert figures["auroc"]["value"] == pytest.approx(sum(figures["seeds"]) / 2)
            assert figures["by_generator"].keys() == result["methods"]["dgs"]["by_generator"].keys()
    assert result["methods"] == result["pipelines"]["as-made"]["methods"]
    assert result["methods"] != result["pipelines"]["share"]["methods"]
    assert result["margin"]["best_rival"] == "linear"
    assert result["margin"]["paper"] == 0.066


def test_a_second_call_trains_and_scores_nothing_again(finished, corpus):
    out, settings, result = finished
    kept = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file() and file.name != "competition.json"}
    again = compete(corpus, out, chosen=("linear", "dgs", "dgs-released"), seeds=2, settings=settings, resamples=50, console=quiet())
    assert again == result
    assert {file: file.stat().st_mtime_ns for file in kept} == kept


def test_what_is_no_result_of_the_protocol_says_why(finished):
    *_, result = finished
    assert result["conforms"] is False
    said = " ".join(result["shortfalls"])
    assert "generators are tested, of at least 50" in said
    assert "2 seeds, of at least 3" in said
    assert "setting backbone=" in said


def test_images_that_conform_are_told_from_those_that_do_not(corpus):
    dataset = load_dataset(corpus)
    training, test = dataset.with_split("train"), dataset.with_split("test")
    least = {"generators": 1, "photo_sources": 1, "images_each": 1, "seeds": 1}
    trained_on = Protocol(least=least).shortfalls(test, test, 1)
    assert any("were trained on" in one for one in trained_on)
    unseen = [one for one in Protocol(least=least).shortfalls(training, test, 1) if "trained on" not in one]
    assert unseen == []


def test_entries_share_the_recipe_but_for_what_they_are():
    protocol = Protocol()
    shared = make_recipe("lora", assignments=RECIPE)
    assert protocol.recipe_of("lora", 0) == shared
    assert protocol.recipe_of("lora", 2).seed == 2
    released = protocol.recipe_of("dgs-released", 0)
    assert released.surgery == make_recipe("dgs", "released").surgery
    assert released.features == "raw"
    assert (released.finetune, released.lora, released.data) == (shared.finetune, shared.lora, shared.data)
    assert protocol.recipe_of("feature-distillation", 0).method == "feature-distillation"


def test_all_methods_take_part_unless_some_are_chosen():
    assert entries(methods.available(), None) == (*methods.available(), *DGS_PRESETS)
    assert entries(methods.available(), ("rine", "lora", "rine")) == ("rine", "lora")
    with pytest.raises(RecipeError, match="unknown method 'rhine': expected some of dgs"):
        entries(methods.available(), ("rhine",))


def test_data_without_a_test_split_is_refused(tmp_path, corpus):
    lines = (corpus / "manifest.csv").read_text().splitlines()
    kept = [line.replace(",test", ",train") for line in lines]
    (tmp_path / "manifest.csv").write_text("\n".join(kept))
    with pytest.raises(DatasetError, match="no image of split test"):
        compete(tmp_path / "manifest.csv", tmp_path / "out", console=quiet())


def test_the_command_writes_table_and_figures(run, tmp_path, corpus, tiny_clip):
    chosen = ("--methods", "linear,rine", "--seeds", "1", "--set", f"backbone={tiny_clip}", "--set", "probe.epochs=1")
    code, out, _ = run("compete", "--data", str(corpus), "--out", str(tmp_path / "out"), *chosen)
    assert code == 0
    assert "Not a result of this protocol" in out
    assert (tmp_path / "out" / "competition.md").read_text().strip() == out.strip()
    assert set(json.loads((tmp_path / "out" / "competition.json").read_text())["methods"]) == {"linear", "rine"}
