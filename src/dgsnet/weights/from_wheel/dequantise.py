"""Conversion of an int8 ONNX export of a CLIP image tower back into the floats that transformers loads.

Dynamic quantisation replaces each linear layer's weight W (in, out) by int8 values q, a zero point z and a scale s for each output
channel, W = (q - z) s. Biases, norms and embeddings stay floats under their module names. Linear layers lose theirs, but the node that
multiplies keeps its module's path: `/vision_model/encoder/layers.0/mlp/fc1/MatMul_quant`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dgsnet.core.errors import WeightsError
from dgsnet.core.files import replacing, write_json
from dgsnet.weights.from_wheel.onnx_reader import read_graph
from dgsnet.weights.tensors import VISION_PREFIXES

Floats = npt.NDArray[np.float32]

CLIP_VIT_B16: Mapping[str, Any] = {
    "architectures": ["CLIPVisionModelWithProjection"],
    "attention_dropout": 0.0,
    "dtype": "float32",
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "image_size": 224,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-05,
    "model_type": "clip_vision_model",
    "num_attention_heads": 12,
    "num_channels": 3,
    "num_hidden_layers": 12,
    "patch_size": 16,
    "projection_dim": 512,
}
"""config.json of the image tower, as transformers writes it."""

CLIP_PREPROCESSOR: Mapping[str, Any] = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 224},
}
"""preprocessor_config.json of OpenAI's CLIP."""


def dequantise(onnx_model: bytes, *, label: str = "the ONNX model") -> dict[str, Floats]:
    """Read the image tower's tensors under their names in transformers; `label` names the file in errors."""
    try:
        graph = read_graph(onnx_model)
    except ValueError as error:
        raise WeightsError(f"{label}: not an ONNX model ({error}); download it again") from error

    def constant(name: str, node: str) -> npt.NDArray[Any]:
        if name not in graph.constants:
            raise WeightsError(f"{label}: node {node} needs the constant {name}, which is not there; this is not the export dgsnet knows")
        return graph.constants[name]

    tensors: dict[str, Floats] = {
        name: array.astype(np.float32) for name, array in graph.constants.items() if name.startswith(VISION_PREFIXES)
    }
    for node in graph.nodes:
        if node.op_type != "MatMulInteger":
            continue
        quantised = constant(node.input[1], node.name).astype(np.float32)
        scale = constant(node.input[1].removesuffix("_quantized") + "_scale", node.name)
        zero = constant(node.input[3], node.name).astype(np.float32) if len(node.input) > 3 else np.float32(0)
        module = ".".join(node.name.strip("/").split("/")[:-1])
        # ONNX multiplies x @ W with W (in, out); torch's Linear stores (out, in).
        tensors[f"{module}.weight"] = np.ascontiguousarray(((quantised - zero) * scale).T)
    return tensors


def tensor_shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of every tensor of `CLIPVisionModelWithProjection(config)`, without building it."""
    width, inner, patch = config["hidden_size"], config["intermediate_size"], config["patch_size"]

    def norm(module: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{module}.weight", (width,)
        yield f"{module}.bias", (width,)

    def linear(module: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{module}.weight", (outputs, inputs)
        yield f"{module}.bias", (outputs,)

    embeddings = "vision_model.embeddings"
    yield f"{embeddings}.class_embedding", (width,)
    yield f"{embeddings}.patch_embedding.weight", (width, config["num_channels"], patch, patch)
    yield f"{embeddings}.position_embedding.weight", ((config["image_size"] // patch) ** 2 + 1, width)
    yield from norm("vision_model.pre_layrnorm")  # the spelling is transformers' own
    for number in range(config["num_hidden_layers"]):
        layer = f"vision_model.encoder.layers.{number}"
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from linear(f"{layer}.self_attn.{projection}", width, width)
        yield from linear(f"{layer}.mlp.fc1", width, inner)
        yield from linear(f"{layer}.mlp.fc2", inner, width)
        yield from norm(f"{layer}.layer_norm1")
        yield from norm(f"{layer}.layer_norm2")
    yield from norm("vision_model.post_layernorm")
    yield "visual_projection.weight", (config["projection_dim"], width)


def write_vision_tower(onnx_model: bytes, folder: Path, config: Mapping[str, Any] = CLIP_VIT_B16, *, label: str = "the ONNX model") -> None:
    """Write `folder` so that `CLIPVisionModelWithProjection.from_pretrained(folder)` loads it, every tensor filled and none left over."""
    from safetensors.numpy import save  # noqa: PLC0415

    tensors = dequantise(onnx_model, label=label)
    expected = dict(tensor_shapes(config))
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != expected:
        wrong = sorted(name for name in expected.keys() | found.keys() if found.get(name) != expected.get(name))
        name = wrong[0]
        raise WeightsError(
            f"{label}: {len(wrong)} tensors are not as in CLIP, first {name}: "
            f"expected {expected.get(name, 'none')}, found {found.get(name, 'none')}; this is not the export dgsnet knows"
        )
    with replacing(folder / "model.safetensors") as aside:
        aside.write_bytes(save(dict(sorted(tensors.items())), metadata={"format": "pt"}))  # save_file would deny others to read it
    write_json(folder / "config.json", dict(config))
    write_json(folder / "preprocessor_config.json", dict(CLIP_PREPROCESSOR))
