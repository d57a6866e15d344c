"""An exported model says what torch says, without torch."""

import json
import os
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from PIL import Image

from dgsnet import Detector
from dgsnet.artifacts import model_folder
from dgsnet.core.errors import DgsnetError, ModelFolderError
from tests.support.models import KINDS, trained


@pytest.fixture(scope="module")
def folders(tiny_clip, tmp_path_factory):
    """Model folder and the folder its export goes to, by method."""
    root = tmp_path_factory.mktemp("export")
    return {method: (trained(tiny_clip, root / method, method), root / f"{method}-onnx") for method in KINDS}


@pytest.fixture(scope="module")
def exported(folders):
    from dgsnet import export

    return {method: export.export(Detector.from_pretrained(source), out) for method, (source, out) in folders.items()}


@pytest.fixture(scope="module")
def openvino_folder(folders, tmp_path_factory):
    from dgsnet import export

    return export.export(Detector.from_pretrained(folders["lora"][0]), tmp_path_factory.mktemp("ir"), "openvino")


@pytest.mark.parametrize("method", KINDS)
def test_rows_are_those_of_torch(folders, exported, files, method):
    ours, theirs = Detector.from_pretrained(folders[method][0]), Detector.from_pretrained(exported[method])
    sources = [*files, "missing.png"]
    one, other = list(ours.detect_many(sources)), list(theirs.detect_many(sources, 3))
    assert len({verdict.logit for verdict in other}) > len(files) // 2
    assert [v.logit for v in other[:-1]] == pytest.approx([v.logit for v in one[:-1]], abs=1e-3)
    for a, b in zip(one, other, strict=True):
        assert (a.verdict, a.warnings, a.error, a.sha256, a.width) == (b.verdict, b.warnings, b.error, b.sha256, b.width)
    assert "out_of_domain" in other[0].warnings
    assert [theirs.detect(source) for source in sources] == other


def test_the_adapter_matters_and_is_merged(folders, exported, files):
    ours = Detector.from_pretrained(folders["lora"][0])
    with ours.method.backbone.vision.disable_adapter():
        plain = ours.detect(files[0]).logit
    assert abs(plain - Detector.from_pretrained(exported["lora"]).detect(files[0]).logit) > 1e-2


def test_openvino_runs_its_own_format_and_onnx(folders, exported, openvino_folder, files):
    ours = [verdict.logit for verdict in Detector.from_pretrained(folders["lora"][0]).detect_many(files)]
    for folder, provider in ((openvino_folder, None), (openvino_folder, "openvino"), (exported["lora"], "openvino")):
        theirs = Detector.from_pretrained(folder, provider=provider, threads=1)
        together = [verdict.logit for verdict in theirs.detect_many(files)]
        assert together == pytest.approx(ours, abs=1e-3)
        assert [theirs.detect(file).logit for file in files] == together


@pytest.mark.parametrize("command", ["score", "evaluate", "robustness"])
def test_commands_run_on_the_provider_asked_for(run, exported, corpus, tmp_path, command):
    code, _, err = run(
        command, "--data", corpus, "--out", tmp_path, "--model", exported["lora"], "--provider", "openvino", "--threads", "1"
    )
    assert code == 0, err
    table = pq.read_table(next(tmp_path.glob("p*.parquet")), columns=["path", "logit"])
    logits = dict(zip(*(table.column(name).to_pylist() for name in ("path", "logit")), strict=True))
    asked = list(logits)[:8]
    files = [corpus / name for name in asked]
    on = {name: Detector.from_pretrained(exported["lora"], provider=name, threads=1) for name in ("openvino", "cpu")}
    if command != "robustness":  # its rows are of changed pictures
        assert [verdict.logit for verdict in on["openvino"].detect_many(files)] == [logits[name] for name in asked]
        assert [verdict.logit for verdict in on["cpu"].detect_many(files)] != [logits[name] for name in asked]
    code, _, err = run(command, "--data", corpus, "--out", tmp_path / "no", "--model", exported["lora"], "--provider", "coreml")
    assert code == 2
    assert "coreml" in err


def test_signals_arrive_after_one_openvino_model_of_two_is_gone(openvino_folder):
    """In a process of its own: what this guards against is a segmentation fault."""
    script = """
import gc, os, signal, sys
from dgsnet.inference.detector import Detector
signal.signal(signal.SIGCHLD, lambda *_: None)
for _ in range(3):
    older = Detector.from_pretrained(sys.argv[1])
    newer = Detector.from_pretrained(sys.argv[1])
    del older
    gc.collect()
    del newer
    gc.collect()
for _ in range(20):
    os.kill(os.getpid(), signal.SIGCHLD)
print("alive")
"""
    told = subprocess.run([sys.executable, "-c", script, openvino_folder], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "alive\n"), told.stderr


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_detect_imports_no_torch_and_reports_to_nobody(exported, openvino_folder, files, form, tmp_path):
    folder = {"onnx": exported["lora"], "openvino": openvino_folder}[form]
    script = """
import sys
from dgsnet.cli import main
try:
    main()
finally:
    heavy = {"torch", "transformers", "peft", "onnx", "pyarrow", "scipy", "sklearn", "matplotlib"} & sys.modules.keys()
    heavy |= {"openvino_telemetry", "openvino.tools.ovc"} & sys.modules.keys()
    assert not heavy, heavy
"""
    unset = ("ORT_DISABLE_TELEMETRY", "CI", "XDG_CACHE_HOME")  # with which a runtime is quiet or writes elsewhere
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", script, "detect", "--model", folder, "--json", "--threads", "1", files[0]],
        env=kept | {"OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["logit"] == Detector.from_pretrained(folder, threads=1).detect(files[0]).logit
    assert not list(tmp_path.iterdir())


def test_verify_finds_a_graph_of_another_model(folders, exported, corpus, tmp_path):
    from dgsnet import export
    from dgsnet.data.dataset import load_dataset

    dataset = load_dataset(corpus)
    source, other = Detector.from_pretrained(folders["lora"][0]), Detector.from_pretrained(exported["linear"])
    assert export.verify(source, Detector.from_pretrained(exported["lora"]), dataset, dataset.samples[:4])["passed"]
    found = export.verify(source, other, dataset, dataset.samples[:4])
    assert (found["images"], found["passed"]) == (4, False)
    assert found["max_logit_difference"] > found["tolerance"]


def test_what_is_no_whole_export_is_refused(exported, tmp_path):
    broken = shutil.copytree(exported["lora"], tmp_path / "broken")
    with (broken / "model.onnx.data").open("ab") as graph:
        graph.write(b"\0")
    with pytest.raises(ModelFolderError, match="export the model again"):
        Detector.from_pretrained(broken)
    (broken / "config.json").unlink()
    with pytest.raises(ModelFolderError, match=r"config\.json is missing"):
        Detector.from_pretrained(broken)


def test_an_exported_model_scores_and_draws_heatmaps(exported, files):
    detector = Detector.from_pretrained(exported["lora"])
    with pytest.raises(DgsnetError, match="give the model folder it was exported from"):
        _ = detector.method
    assert detector.heatmap(files[0]).size == Image.open(files[0]).size
    with pytest.raises(ModelFolderError, match="is an exported model"):
        model_folder.load_config(exported["lora"])
    with pytest.raises(DgsnetError, match="a provider, not a device"):
        Detector.from_pretrained(exported["lora"], device="cuda")


def test_a_provider_that_cannot_run_it_is_one_sentence(folders, exported, openvino_folder, monkeypatch):
    with pytest.raises(DgsnetError, match=r"'cuda' is missing here \(available: cpu, openvino\).*onnxruntime-gpu"):
        Detector.from_pretrained(exported["lora"], provider="cuda")
    with pytest.raises(DgsnetError, match="expected one of cpu, cuda, openvino, coreml"):
        Detector.from_pretrained(exported["lora"], provider="tpu")
    with pytest.raises(DgsnetError, match="runs on openvino, not on 'cpu'"):
        Detector.from_pretrained(openvino_folder, provider="cpu")
    with pytest.raises(DgsnetError, match="OMP_NUM_THREADS"):
        Detector.from_pretrained(folders["lora"][0], threads=1)


@pytest.mark.parametrize(("option", "value"), [("--format", "tflite"), ("--precision", "int4"), ("--precision", "int8")])
def test_what_cannot_be_exported_is_one_sentence(run, folders, tmp_path, option, value):
    code, _, err = run("export", "--model", folders["lora"][0], "--out", tmp_path / "out", option, value)
    assert code == 2
    assert value in err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_not_overwritten(run, folders):
    code, _, err = run("export", "--model", folders["lora"][0], "--out", folders["linear"][0])
    assert code == 2
    assert "it is not empty" in err
