"""A model folder with a graph scores without torch what it scores with it, and the cache is never taken for what it is not."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from dgsnet import Detector, export
from dgsnet.artifacts import fingerprint, model_folder, names, onnx_builder, shipped
from dgsnet.artifacts.fingerprint import Fingerprint
from dgsnet.artifacts.names import GRAPH, WEIGHT_MAP
from dgsnet.core import extras
from dgsnet.core.errors import DgsnetError, MissingPackageError, ModelFolderError, WeightsError
from dgsnet.images.decode import decode
from dgsnet.model.backbone import Backbone
from tests.support.models import KINDS, USER_CACHE, trained
from tests.support.pictures import textured


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tiny_clip, tmp_path_factory):
    """A model folder that scores without torch: `lora` with an adapter, `linear` with blocks and none."""
    made = trained(tiny_clip, tmp_path_factory.mktemp("planned") / request.param, request.param)
    export.write_weightless(Detector.from_pretrained(made), made)
    return made


@pytest.fixture
def other_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DGSNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def real_weights(other_cache):
    """The user's backbones, pulled if need be, in a cache that is empty besides."""
    (USER_CACHE / "weights").mkdir(parents=True, exist_ok=True)
    other_cache.mkdir()
    (other_cache / "weights").symlink_to(USER_CACHE / "weights")


def assembled(cache):
    (only,) = (cache / "assembled").iterdir()
    return only


def test_it_says_what_torch_says(folder, files):
    plain, torchs = Detector.from_pretrained(folder, threads=1), Detector.from_pretrained(folder, provider="torch")
    ours, theirs = list(plain.detect_many(files)), list(torchs.detect_many(files))
    assert len({verdict.logit for verdict in ours}) > len(files) // 2
    assert [verdict.logit for verdict in ours] == pytest.approx([verdict.logit for verdict in theirs], abs=1e-4)
    assert [(one.verdict, one.warnings) for one in ours] == [(one.verdict, one.warnings) for one in theirs]
    assert plain.fingerprint != torchs.fingerprint
    assert Fingerprint.parse(plain.fingerprint).model == torchs.fingerprint == fingerprint.of_model_folder(folder).model


def test_the_adapter_is_merged(folder, files):
    torchs = Detector.from_pretrained(folder, provider="torch")
    if not torchs.method.adapted:
        return
    with torchs.method.backbone.vision.disable_adapter():
        bare = torchs.detect(files[0]).logit
    assert abs(bare - Detector.from_pretrained(folder).detect(files[0]).logit) > 1e-2


def test_openvino_runs_it_too(folder, files):
    pair = [Detector.from_pretrained(folder, provider=provider, threads=1).detect(files[0]).logit for provider in ("cpu", "openvino")]
    assert pair[0] == pytest.approx(pair[1], abs=1e-4)


def test_graph_and_plan_hold_no_weights_and_name_no_folder(folder):
    for name in (GRAPH, WEIGHT_MAP):
        content = (folder / name).read_bytes()
        assert len(content) < 1 << 17
        assert os.fsencode(folder.parent) not in content
        assert b"/src/dgsnet" not in content
        assert b"site-packages" not in content


def test_detect_imports_no_torch_and_writes_into_the_cache_alone(folder, files, tmp_path):
    script = """
import sys
from dgsnet.cli import main
try:
    main()
finally:
    heavy = {"torch", "transformers", "peft", "onnx", "pyarrow", "sklearn", "matplotlib", "yaml"} & sys.modules.keys()
    assert not heavy, heavy
"""
    before = {file.name: (file.stat().st_mtime_ns, file.stat().st_ino) for file in folder.iterdir()}
    rows = []
    for heat in ((), ("--heatmap", tmp_path / "maps")):
        command = [sys.executable, "-c", script, "detect", "--model", folder, "--json", "--threads", "1", *heat, files[0]]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"DGSNET_CACHE": str(tmp_path / "c")})
        assert done.returncode == 0, done.stderr
        rows.append(json.loads(done.stdout))
    assert rows[0] == rows[1]
    assert rows[0]["logit"] == Detector.from_pretrained(folder, threads=1).detect(files[0]).logit
    assert {file.name: (file.stat().st_mtime_ns, file.stat().st_ino) for file in folder.iterdir()} == before
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"assembled", "downloads"}
    assert len(list((tmp_path / "maps").iterdir())) == 1


def test_heatmaps_are_those_of_torch(folder, files):
    image = decode(files[0])
    ours, theirs = (Detector.from_pretrained(folder, provider=provider).explain(image) for provider in ("cpu", "torch"))
    assert ours.evidence == pytest.approx(theirs.evidence, abs=1e-4)
    assert np.abs(ours.evidence).max() > 1e-3
    with pytest.raises(DgsnetError, match="ask for torch"):
        Detector.from_pretrained(folder).explain(image, "gradient")


def test_what_lies_in_the_cache_is_used_as_it_lies(folder, files, other_cache):
    first = Detector.from_pretrained(folder).detect(files[0])
    weights = assembled(other_cache) / "model.onnx.data"
    before = weights.stat()
    assert Detector.from_pretrained(folder).detect(files[0]) == first
    assert (weights.stat().st_ino, weights.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    os.utime(weights)  # copied: other times, the same content
    assert Detector.from_pretrained(folder).detect(files[0]) == first
    assert weights.stat().st_ino == before.st_ino


@pytest.mark.parametrize("damage", ["changed", "short", "gone", "no record"])
def test_what_is_damaged_in_the_cache_is_put_together_again(folder, files, other_cache, run, damage):
    first = Detector.from_pretrained(folder).detect(files[0])
    weights = assembled(other_cache) / "model.onnx.data"
    content = bytearray(weights.read_bytes())
    if damage == "changed":
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
        os.utime(weights, (1, 1))
    elif damage == "short":
        weights.write_bytes(content[:-4])
    elif damage == "gone":
        weights.unlink()
    else:
        (weights.parent / "dgsnet_assembled.json").unlink()
    code, out, _ = run("weights", "verify", weights.parent.name)
    assert (code, "damaged" in out) == (2, True)
    assert Detector.from_pretrained(folder).detect(files[0]) == first
    assert run("weights", "verify", weights.parent.name)[0] == 0
    assert weights.parent.name in run("weights", "list")[1]


def test_other_heads_another_graph_or_another_backbone_are_refused(folder, other_cache, tiny_clip, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    heads = dict(model_folder._load_tensors(copy / names.HEADS))
    name = next(name for name in ("mlp.hidden_bias", "head.weight", "teacher.weight") if name in heads)
    torch.manual_seed(3)
    model_folder._save_tensors(copy / names.HEADS, heads | {one: tensor + 1 for one, tensor in heads.items() if name in one})
    with pytest.raises(ModelFolderError, match="other heads than lie beside it"):
        Detector.from_pretrained(copy)
    shutil.copyfile(folder / names.HEADS, copy / names.HEADS)
    (copy / GRAPH).write_bytes((copy / GRAPH).read_bytes() + b"\0")
    with pytest.raises(ModelFolderError, match="is not the graph"):
        Detector.from_pretrained(copy)
    shutil.copyfile(folder / GRAPH, copy / GRAPH)
    plan = json.loads((copy / WEIGHT_MAP).read_text())
    (copy / WEIGHT_MAP).write_text(json.dumps(plan | {"backbone": "0" * 64}))
    with pytest.raises(WeightsError, match="was trained on the backbone"):
        Detector.from_pretrained(copy)
    (copy / WEIGHT_MAP).write_text("{}")
    with pytest.raises(ModelFolderError, match="--weightless"):
        Detector.from_pretrained(copy)
    assert not list((other_cache / "assembled").glob("*"))


def test_a_model_saved_anew_loses_the_graph_of_the_old_one(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    method, config = model_folder.load(copy)
    record = config.model_dump(include={"backbone", "data", "captions", "versions"})
    model_folder.save(copy, method, record)
    assert not onnx_builder.has_graph(copy)
    assert not (copy / GRAPH).exists()


def test_who_asks_for_torch_gets_it(folder, files):
    detector = Detector.from_pretrained(folder, provider="torch")
    assert isinstance(detector.method.backbone, Backbone)
    with pytest.raises(DgsnetError, match="ask for torch"):
        _ = Detector.from_pretrained(folder).method
    with pytest.raises(DgsnetError, match="name one or the other"):
        Detector.from_pretrained(folder, provider="cpu", device="cuda")
    with pytest.raises(DgsnetError, match="OMP_NUM_THREADS"):
        Detector.from_pretrained(folder, provider="torch", threads=2)


def test_the_command_writes_the_graph_and_says_what_it_cannot(run, tiny_clip, tmp_path, files):
    made = trained(tiny_clip, tmp_path / "made", "linear")
    assert run("export", "--model", made, "--weightless", "--out", tmp_path / "x")[0] == 2
    assert run("export", "--model", made)[0] == 2
    assert not onnx_builder.has_graph(made)
    assert run("export", "--model", made, "--weightless")[0] == 0
    assert onnx_builder.has_graph(made)
    assert {file.name for file in made.iterdir()} == {
        "config.json",
        "heads.safetensors",
        "domain.safetensors",
        "README.md",
        GRAPH,
        WEIGHT_MAP,
    }


# --- the shipped model ---


def test_the_shipped_model_scores_without_torch_what_it_scores_with_it(real_weights, tmp_path):
    """On the real weights, put together here."""
    folder, rng = shipped.find(shipped.DEFAULT), np.random.default_rng(5)
    pictures = []
    for number, (fake, side) in enumerate([(False, 320), (True, 256), (False, 200)]):
        Image.fromarray(textured(rng, fake, side)).save(tmp_path / f"{number}.png")
        pictures.append(tmp_path / f"{number}.png")
    plain, torchs = Detector.from_pretrained(folder.name), Detector.from_pretrained(folder.name, provider="torch")
    ours, theirs = ([verdict.logit for verdict in one.detect_many(pictures)] for one in (plain, torchs))
    assert len(set(ours)) == len(pictures)
    assert ours == pytest.approx(theirs, abs=1e-3)
    assert plain.warnings == torchs.warnings == []


# --- what is read and said ---


def test_a_missing_package_is_one_sentence_with_the_extra():
    for package, extra in (("torch", "train"), ("sklearn.metrics", "train"), ("uvicorn", "serve"), ("ray.data", "cluster")):
        with pytest.raises(MissingPackageError, match=rf"{package.partition('.')[0]}.*dgsnet\[{extra}\]"), extras.missing_packages():
            raise ModuleNotFoundError(name=package)
    with pytest.raises(ModuleNotFoundError), extras.missing_packages():
        raise ModuleNotFoundError(name="something_else")


def test_without_torch_the_command_says_what_to_install(tiny_model, files):
    script = "import sys; sys.modules['torch'] = None; from dgsnet.cli import main; main()"
    for arguments in (("detect", "--model", tiny_model, files[0]), ("train", "--data", tiny_model, "--out", "never")):
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr == "dgsnet: this needs the package torch, which is not installed: pip install 'dgsnet[train]'\n"
