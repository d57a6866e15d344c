"""Exported models against torch: seconds an image, AUROC, and verdicts that differ. One thread, one process, engines take turns by image.

    pip install nncf
    python benchmarks/exported.py --model dgsnet-b16 --data DATA --limit 100 --out benchmarks/results/exported.json

torch fp32, ONNX Runtime fp32, OpenVINO fp32, and OpenVINO int8: static, calibrated on DATA's train split, weights by channel,
activations by tensor with SmoothQuant, as NNCF does it for transformers. Once with all layers in int8, and once with those in fp32 that
transformers are known to be sensitive in: the second layer of every MLP, whose input has outliers, the first and the last two blocks, the
patch embedding and the heads. Scored is DATA's test split, balanced by label, chosen under a fixed seed. int8 becomes a precision of
`dgsnet export` only if it holds `REQUIRED`. The views are made beforehand, so that only the models are timed.
"""

# ruff: noqa: E402
from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy and torch load their BLAS

import argparse
import json
import random
import statistics
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from dgsnet import Detector, export
from dgsnet.artifacts import exported, names
from dgsnet.artifacts.config import read_config
from dgsnet.core.files import sha256_bytes
from dgsnet.data.dataset import Dataset, Sample, load_dataset
from dgsnet.images.decode import decode
from dgsnet.images.multi_crop import SCORING_SEED
from dgsnet.runtimes import Runtime, telemetry
from dgsnet.runtimes.graph import GraphContents
from dgsnet.runtimes.openvino import OpenVinoRuntime

with telemetry.off():
    import nncf
    import openvino

REQUIRED = {"auroc_difference": 0.003, "verdict_flips": 0.005, "ratio_to_fp32": 1.0}
SEED = 0
SPARED = "openvino_int8_spared"
INT8 = ("openvino_int8", SPARED)
EDGE = 2
"""Blocks at either end that stay in fp32 where sensitive layers are spared."""

Views = NDArray[np.float32]


def balanced(dataset: Dataset, split: str, number: int) -> list[Sample]:
    """As many photographs as generated images of a split."""
    chosen: list[Sample] = []
    for label in (0, 1):
        known = [sample for sample in dataset.samples if sample.split == split and sample.label == label]
        chosen += random.Random(SEED).sample(known, min(number // 2, len(known)))  # noqa: S311 - a sample, no secret
    return chosen


def views_of(detector: Detector, dataset: Dataset, samples: list[Sample]) -> list[Views]:
    """What the model sees of pictures, each (1, 3, S, S)."""
    look = detector.config.preprocessing
    return [look(decode(dataset.read(sample), detector.policy).pixels, SCORING_SEED)[None] for sample in samples]


def quantised(graph: Path, views: list[Views], out: Path, spare: bool) -> Path:
    """Write the int8 IR of an ONNX graph, with sensitive layers spared or not."""
    model = openvino.Core().read_model(graph)
    kind, preset = nncf.ModelType.TRANSFORMER, nncf.QuantizationPreset.MIXED
    ignored = nncf.IgnoredScope(names=sensitive(model)) if spare else None
    made = nncf.quantize(model, nncf.Dataset(views), model_type=kind, preset=preset, subset_size=len(views), ignored_scope=ignored)
    openvino.save_model(made, out, compress_to_fp16=False)
    return out


def sensitive(model: openvino.Model) -> list[str]:
    """Layers to keep in fp32, told by their order and the shape of their weights: the names of nodes are numbers."""
    layers = [node for node in model.get_ordered_ops() if node.get_type_name() in {"Convolution", "MatMul"}]
    closing = [place for place, node in enumerate(layers) if _narrows(node)]  # the last layer of each block
    within = range(closing[EDGE - 1] + 1, closing[-EDGE - 1] + 1)
    return [node.get_friendly_name() for place, node in enumerate(layers) if place not in within or place in closing]


def _narrows(node: openvino.Node) -> bool:
    """Whether a layer is the second of an MLP: four times as many numbers in as out."""
    given, made = (port.get_partial_shape()[-1] for port in (node.input(0), node.output(0)))
    known = node.get_type_name() == "MatMul" and given.is_static and made.is_static
    return bool(known and given.get_length() == 4 * made.get_length())


def measured(engines: dict[str, Runtime], views: list[Views]) -> tuple[dict[str, list[float]], dict[str, list[list[float]]]]:
    """Logits, and (wall, processor) seconds, of each view by engine."""
    logits: dict[str, list[float]] = {name: [] for name in engines}
    seconds: dict[str, list[list[float]]] = {name: [] for name in engines}
    for engine in engines.values():
        engine.run(views[0])
    for number, view in enumerate(views):
        names = list(engines)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            wall, busy = time.perf_counter(), time.process_time()
            _, given = engines[name].run(view)
            seconds[name].append([time.perf_counter() - wall, time.process_time() - busy])
            logits[name].append(float(given[0]))
    return logits, seconds


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dgsnet-b16")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=100, help="images of the test split")
    parser.add_argument("--calibrate", type=int, default=100, help="images of the train split")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)

    dataset, detector = load_dataset(args.data), Detector.from_pretrained(args.model, provider="torch")
    chosen = balanced(dataset, "test", args.limit)
    views = views_of(detector, dataset, chosen)
    with tempfile.TemporaryDirectory() as folder:
        onnx, ir = (export.export(detector, Path(folder) / form, form) for form in ("onnx", "openvino"))
        graph, calibration = (
            onnx / names.GRAPHS["onnx"][0],
            views_of(detector, dataset, balanced(dataset, "train", args.calibrate)),
        )
        small = {name: quantised(graph, calibration, Path(folder) / f"{name}.xml", name == SPARED) for name in INT8}
        origin = read_config(onnx, "exported_format").export
        assert origin is not None
        contents = GraphContents(origin.backbone, detector.config.preprocessing.size, origin.width, "")
        engines: dict[str, Runtime] = {
            "torch_fp32": detector.runtime,
            "onnx_fp32": exported.load(onnx, threads=1)[0],
            "openvino_fp32": exported.load(ir, threads=1)[0],
        } | {name: OpenVinoRuntime(file, contents, threads=1) for name, file in small.items()}
        logits, seconds = measured(engines, views)

    labels = [sample.label for sample in chosen]
    middle = {name: [statistics.median(part) for part in zip(*times, strict=True)] for name, times in seconds.items()}
    reference, calibrated = logits["torch_fp32"], detector.config.calibration
    verdicts = {name: [calibrated.verdict(calibrated.score(logit)) for logit in given] for name, given in logits.items()}
    auroc = {name: float(roc_auc_score(labels, given)) for name, given in logits.items()}
    table: dict[str, dict[str, float]] = {}
    for name, given in logits.items():
        flips = [a != b for a, b in zip(verdicts[name], verdicts["torch_fp32"], strict=True)]
        table[name] = {
            "median_seconds": round(middle[name][0], 4),
            "median_processor_seconds": round(middle[name][1], 4),
            "times_as_fast_as_torch": round(middle["torch_fp32"][0] / middle[name][0], 3),
            "times_as_fast_as_torch_processor": round(middle["torch_fp32"][1] / middle[name][1], 3),
            "auroc": round(auroc[name], 5),
            "auroc_difference": round(auroc[name] - auroc["torch_fp32"], 5),
            "verdict_flips": sum(flips) / len(flips),
            "max_logit_difference": max(abs(a - b) for a, b in zip(given, reference, strict=True)),
        }
    fastest = min(one["median_processor_seconds"] for name, one in table.items() if name not in INT8)
    holds = {
        name: abs(one["auroc_difference"]) <= REQUIRED["auroc_difference"]
        and one["verdict_flips"] <= REQUIRED["verdict_flips"]
        and fastest / one["median_processor_seconds"] > REQUIRED["ratio_to_fp32"]
        for name, one in table.items()
        if name in INT8
    }
    result: dict[str, Any] = {
        "benchmark": "exported models against torch: one image at a time, one thread, engines take turns",
        "images": len(views),
        "calibration_images": len(calibration),
        "engines": table,
        "required_of_int8": REQUIRED,
        "int8_kept": holds,
        "model": detector.fingerprint,
        "views": sha256_bytes(b"".join(view.tobytes() for view in views)),
        "versions": {name: metadata.version(name) for name in ("numpy", "nncf", "onnxruntime", "openvino", "torch")},
        "instructions": openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    }
    text = json.dumps(result, indent=2) + "\n"
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
