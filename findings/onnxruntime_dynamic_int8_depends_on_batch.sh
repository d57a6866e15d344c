#!/usr/bin/env bash
# ONNX Runtime: a graph of `quantize_dynamic` gives an image other features beside another image than alone.
#
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6, Python 3.11, on a CPU.
#
# Behaviour: `quantize_dynamic` puts DynamicQuantizeLinear before a matrix product. That operator takes one scale and one zero point from the least
# and the greatest value of the whole tensor, so over all images of the batch and all their tokens. A neighbour of larger activations makes the
# steps coarser for everybody: an image's result depends on what it was batched with, and vision transformers have such tokens. The float graph
# does not do that, nor does one of `quantize_static`, whose scales are constants.
#
# Why it matters: a score that changes with the batch size, the order of the files or the number of workers cannot be repeated, and a threshold
# that was fitted in batches is not the one that a single upload meets. Score one image at a time, or quantise statically.
#
# Output seen (change of an image's features when a neighbour joins, relative to their size):
#   float:   0.0000
#   static:  0.0000
#   dynamic, neighbour alike:          0.0160
#   dynamic, neighbour 20 times as large: 0.1147
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6 2> /dev/null
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2> "$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static

random = np.random.default_rng(0)
weights = numpy_helper.from_array(random.normal(size=(64, 32)).astype(np.float32) / 8, "weights")
graph = helper.make_graph(
    [helper.make_node("MatMul", ["tokens", "weights"], ["features"])],
    "layer",
    [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["images", 5, 64])],
    [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["images", 5, 32])],
    [weights],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "float.onnx")

image, alike = random.normal(size=(2, 1, 5, 64)).astype(np.float32)
large = 20 * alike


class Reader(CalibrationDataReader):
    def __init__(self) -> None:
        self.batches = iter([{"tokens": one} for one in (image, alike, large)])

    def get_next(self):
        return next(self.batches, None)


quantize_dynamic("float.onnx", "dynamic.onnx", weight_type=QuantType.QInt8, per_channel=True)
quantize_static("float.onnx", "static.onnx", Reader())


def change(file: str, neighbour: np.ndarray) -> float:
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    alone = session.run(None, {"tokens": image})[0][0]
    beside = session.run(None, {"tokens": np.concatenate([image, neighbour])})[0][0]
    return float(np.linalg.norm(beside - alone) / np.linalg.norm(alone))


fixed = {name: change(f"{name}.onnx", large) for name in ("float", "static")}
near, far = change("dynamic.onnx", alike), change("dynamic.onnx", large)
print(f"float:   {fixed['float']:.4f}")
print(f"static:  {fixed['static']:.4f}")
print(f"dynamic, neighbour alike:          {near:.4f}")
print(f"dynamic, neighbour 20 times as large: {far:.4f}")
assert max(fixed.values()) < 1e-5 and near > 1e-4 and far > 0.02, "the behaviour has changed"
PYTHON
