"""Backbones out of wheels: that the package stands apart, and the reader of ONNX against `onnx`. The rest is tested with the store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import dgsnet
from dgsnet.weights.from_wheel import onnx_reader


def test_one_place_alone_knows_the_package() -> None:
    source = Path(dgsnet.__file__).parent
    outside = [file for file in source.rglob("*.py") if "from_wheel" not in file.parts]
    knowing = [file.relative_to(source).as_posix() for file in outside if "from_wheel" in file.read_text(encoding="utf-8")]
    assert knowing == ["weights/store.py"]
    assert (source / "weights" / "store.py").read_text(encoding="utf-8").count("from_wheel") == 1


def test_all_but_pulling_from_a_wheel_works_without_it(tmp_path: Path) -> None:
    script = """
import sys
sys.modules["dgsnet.weights.from_wheel"] = None  # as if it were deleted
from dgsnet import weights
from dgsnet.core.errors import UnreachableError
from dgsnet.weights import hub
assert {row.state for row in weights.list_weights()} == {"absent"}
def unreachable(source, downloads, *, progress):
    raise UnreachableError("no way")
hub.fetch_snapshot = unreachable
try:
    weights.pull("clip-vit-b16-hub")
except UnreachableError:
    print("asked")
"""
    environment = {"DGSNET_CACHE": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "asked\n"), done.stderr


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize(
    "kind", [TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64, TensorProto.DOUBLE]
)
def test_constants_are_read_as_onnx_reads_them(kind, typed):
    values = np.array([[0, 1, 100], [7, 3, 127]]) if kind == TensorProto.UINT8 else np.array([[-128, 0, 1], [-1, 3, 127]])
    array = values.astype(helper.tensor_dtype_to_np_dtype(kind))
    constant = helper.make_tensor("c", kind, array.shape, array.ravel().tolist()) if typed else numpy_helper.from_array(array, "c")
    node = helper.make_node("MatMulInteger", ["x", "c"], ["y"], name="/a/MatMul_quant")
    model = helper.make_model(helper.make_graph([node], "g", [], [], [constant]))
    graph = onnx_reader.read_graph(model.SerializeToString())
    assert graph.nodes == [onnx_reader.Node("/a/MatMul_quant", "MatMulInteger", ["x", "c"])]
    assert graph.constants["c"].dtype == array.dtype
    np.testing.assert_array_equal(graph.constants["c"], numpy_helper.to_array(constant))


def test_what_is_cut_short_is_no_model():
    constant = numpy_helper.from_array(np.arange(100, dtype=np.float32), "c")
    data = helper.make_model(helper.make_graph([], "g", [], [], [constant])).SerializeToString()
    for length in range(len(data)):
        try:
            found = onnx_reader.read_graph(data[:length])
        except ValueError:
            continue
        assert found.constants["c"].size == 100  # only what comes after the graph is missing
    onnx.load_model_from_string(data)
