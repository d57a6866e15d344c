"""`dgsnet.artifacts.open_model`: one way to open every kind of model, and what it refuses."""

from __future__ import annotations

import pytest

from dgsnet.artifacts.open_model import RuntimeOptions, open_model
from dgsnet.core.errors import DgsnetError, ModelFolderError
from dgsnet.runtimes.graph import GraphRuntime
from dgsnet.runtimes.pytorch import PyTorchRuntime


def test_each_kind_of_folder_opens_in_the_runtime_it_is_made_for(tiny_model, tmp_path, run):
    opened = open_model(tiny_model)
    assert isinstance(opened.runtime, PyTorchRuntime)
    assert opened.name == tiny_model.name
    assert opened.fingerprint.graph == opened.fingerprint.backbone_build == ""
    assert run("export", "--model", tiny_model, "--out", tmp_path / "graph")[0] == 0
    exported = open_model(tmp_path / "graph")
    assert isinstance(exported.runtime, GraphRuntime)
    assert exported.config.preprocessing == opened.config.preprocessing
    assert exported.config.recipe == opened.config.recipe
    assert exported.config.export is not None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (RuntimeOptions(provider="cpu"), "has no graph to run on 'cpu'"),
        (RuntimeOptions(provider="cpu", device="cuda"), "name one or the other"),
        (RuntimeOptions(provider="openvino", backbone="clip-vit-b16"), "name one or the other"),
        (RuntimeOptions(threads=2), "OMP_NUM_THREADS"),
        (RuntimeOptions(device="nonsense"), "cannot be used here"),
    ],
)
def test_options_of_another_kind_of_model_are_refused(tiny_model, options, reason):
    with pytest.raises(DgsnetError, match=reason):
        open_model(tiny_model, options)


def test_an_exported_model_has_its_own_backbone_and_no_device(tiny_model, tmp_path, run):
    run("export", "--model", tiny_model, "--out", tmp_path / "graph")
    for options in (RuntimeOptions(device="cuda"), RuntimeOptions(backbone="clip-vit-b16")):
        with pytest.raises(DgsnetError, match="name neither"):
            open_model(tmp_path / "graph", options)


def test_what_is_no_model_is_said(tmp_path):
    with pytest.raises(ModelFolderError, match="no such folder"):
        open_model(str(tmp_path / "none"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFolderError, match="a file, not a folder"):
        open_model(tmp_path / "file")
