"""The model that ships: whole, small, and not loadable on a backbone it was not trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open

from dgsnet import Detector
from dgsnet.artifacts import model_folder, names, shipped
from dgsnet.artifacts.ood_file import load_ood
from dgsnet.core.errors import ModelFolderError

FOLDER = shipped.find(shipped.DEFAULT)


def test_the_default_ships():
    assert shipped.DEFAULT in shipped.available()
    assert FOLDER is not None
    assert shipped.find("no-such-model") is None


def test_it_is_small_and_holds_no_pickle():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 8 * 2**20
    assert {file.suffix for file in FOLDER.iterdir()} <= {".json", ".safetensors", ".md", ".png", ".onnx"}


def test_it_is_calibrated_knows_its_photographs_and_fits_the_backbone():
    config = model_folder.load_config(FOLDER)
    assert config.calibration.fitted is not None
    assert config.calibration.real <= 0.5 <= config.calibration.generated
    assert config.backbone["name"] == "clip-vit-b16"
    rank, width = config.recipe["lora"]["rank"], 768
    with safe_open(FOLDER / names.ADAPTER, "pt") as adapter:
        shapes = {name: adapter.get_slice(name).get_shape() for name in adapter.keys()}  # noqa: SIM118 - not a dict
    assert len(shapes) == 12 * 3 * 2
    assert all(shape in ([rank, width], [width, rank]) for shape in shapes.values())
    assert config.recipe["blocks"] == list(range(1, 13))
    assert config.recipe["refitted"]["kind"] == "mlp"
    directions, hidden = (config.recipe["refitted"]["mlp"][name] for name in ("directions", "hidden"))
    read = directions * (1 + 2 * 12)
    with safe_open(FOLDER / names.HEADS, "pt") as heads:
        assert heads.get_slice("mlp.tokens").get_shape() == [2 * 12, width, directions]
        assert heads.get_slice("mlp.hidden_weight").get_shape() == [hidden, read]
    assert load_ood(FOLDER, read) is not None


def test_each_operating_point_is_at_hand_with_its_figures():
    calibration = model_folder.load_config(FOLDER).calibration
    cautious, balanced, sensitive = (calibration.at(point) for point in ("cautious", "balanced", "sensitive"))
    assert cautious.generated > balanced.generated > sensitive.generated
    assert cautious.real < balanced.real
    card = (FOLDER / names.CARD).read_text()
    for point in ("cautious", "balanced", "sensitive"):
        assert f"| `{point}` |" in card


def test_its_card_says_what_it_was_trained_on_and_that_it_proves_nothing():
    card = (FOLDER / names.CARD).read_text()
    for said in ("A signal, not proof", "licence", "What it misses", "inconclusive"):
        assert said in card


def test_an_unrelated_backbone_is_refused(tiny_clip):
    with pytest.raises(ModelFolderError, match="scores would mean nothing"):
        model_folder.load(FOLDER, backbone=str(tiny_clip))


def test_its_configuration_names_no_folder_of_the_machine_it_was_made_on():
    for file in FOLDER.glob("*.json"):
        assert not [value for value in _strings(json.loads(file.read_text())) if value.startswith("/")]


def _strings(value):
    if isinstance(value, dict):
        return [text for part in value.values() for text in _strings(part)]
    if isinstance(value, list):
        return [text for part in value for text in _strings(part)]
    return [value] if isinstance(value, str) else []


def test_a_path_is_a_folder_even_where_a_shipped_model_has_its_name(tiny_model, tmp_path, monkeypatch):
    shutil.copytree(tiny_model, tmp_path / shipped.DEFAULT)
    monkeypatch.chdir(tmp_path)
    for own in (Path(shipped.DEFAULT), f"./{shipped.DEFAULT}"):
        assert Detector.from_pretrained(own).fingerprint == Detector.from_pretrained(tiny_model).fingerprint
