"""`dgsnet.artifacts.fingerprint`: one text form, and what changes it."""

from __future__ import annotations

import shutil

import pytest

from dgsnet.artifacts import fingerprint
from dgsnet.artifacts.fingerprint import Fingerprint
from dgsnet.inference.detector import Detector


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fingerprint("ab"), "ab"),
        (Fingerprint("ab", backbone_build="cd"), "ab+cd"),
        (Fingerprint("ab", graph="ef"), "ab~ef"),
        (Fingerprint("ab", "cd", "ef"), "ab+cd~ef"),
    ],
)
def test_the_text_form_goes_both_ways(value, text):
    assert str(value) == text
    assert Fingerprint.parse(text) == value


def test_running_on_the_backbone_it_was_trained_on_changes_nothing():
    model = Fingerprint("ab")
    assert model.running("a" * 64, "a" * 64, "") == model
    assert str(model.running("a" * 64, "b" * 64, "")) == f"ab+{'b' * 16}"
    assert str(model.running("a" * 64, "a" * 64, "ef")) == "ab~ef"


def test_every_part_of_a_model_folder_counts(tiny_model, tmp_path):
    whole = fingerprint.of_model_folder(tiny_model)
    assert Detector.from_pretrained(tiny_model).fingerprint == str(whole)
    for name in ("config.json", "heads.safetensors", "adapter_model.safetensors"):
        copy = shutil.copytree(tiny_model, tmp_path / name)
        (copy / name).write_bytes((copy / name).read_bytes() + b" ")
        assert fingerprint.of_model_folder(copy) != whole
    copy = shutil.copytree(tiny_model, tmp_path / "card")
    (copy / "README.md").write_text("another card")
    assert fingerprint.of_model_folder(copy) == whole
