"""One fine-tuning step against the literal transcription of the published code (`literal.py`): same weights, batch and dropout draws.

Three steps take turns, one thread, one process: the literal one; ours with the frozen teacher's pass in it; ours with the teacher's
features cached, as over fixed views. A step is gradients and Adam. Before anything is timed, the gradients of all three are compared.

    python benchmarks/training_step.py --out benchmarks/results/training_step.json

`--backbone` is `random-b16` (a randomly initialised ViT-B/16, the default; nothing is downloaded), or a name or folder as in a recipe.
"""

# ruff: noqa: E402
from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy and torch load their BLAS

import argparse
import json
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from dgsnet import weights
from dgsnet.model.backbone import Backbone, load_tower
from dgsnet.model.methods import Batch, Dgs
from dgsnet.model.recipe import make_recipe
from literal import LiteralNetwork
from processor import processor_name

RANDOM = "random-b16"
REQUIRED = {"teacher_in_every_step": 1.1, "teacher_cached": 1.6, "bytes": 0.55}
LEARNING_RATE = 1e-4
KINDS = {  # of operators, by parts of their names; the first that fits counts
    "attention": ("scaled_dot_product", "softmax", "flash_attention"),
    "matrix products": ("addmm", "mm", "matmul", "linear", "convolution"),
    "dropout": ("dropout", "bernoulli"),
    "activation": ("gelu", "sigmoid", "silu"),
    "layer norm": ("layer_norm",),
    "optimiser": ("adam", "_foreach", "lerp", "addcdiv", "addcmul"),
}


def tower_of(name: str) -> CLIPVisionModelWithProjection:
    """The image tower to train."""
    if name != RANDOM:
        return load_tower(CLIPVisionModelWithProjection, weights.locate(name))
    settings = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    config = CLIPVisionConfig(**settings, image_size=224, patch_size=16, projection_dim=512)
    torch.manual_seed(0)
    return CLIPVisionModelWithProjection(config).eval()


def same_weights(network: LiteralNetwork, method: Dgs) -> dict[str, tuple[nn.Parameter, nn.Parameter]]:
    """Give both the same random adapter and heads; (literal, ours) of each trained parameter by name."""
    layers = method.backbone.vision.get_submodule("base_model.model.vision_model.encoder.layers")
    pairs: dict[str, tuple[nn.Parameter, nn.Parameter]] = {}
    for name, lora in network.loras():
        number, projection = name.split(".")
        adapter = layers.get_submodule(f"{number}.self_attn.{projection}")
        pairs[f"{name}.A"] = (lora.w_lora_A, adapter.get_parameter("lora_A.default.weight"))
        pairs[f"{name}.B"] = (lora.w_lora_B, adapter.get_parameter("lora_B.default.weight"))
    for head, source in ((network.img_fc, method.head), (network.text_fc, method.text), (network.img_frozen_fc, method.teacher)):
        head.load_state_dict(source.state_dict())
    for theirs, ours in (("img_fc", "head"), ("text_fc", "text")):
        for part in ("weight", "bias"):
            pairs[f"{ours}.{part}"] = (network.get_parameter(f"{theirs}.{part}"), method.get_parameter(f"{ours}.{part}"))
    with torch.no_grad():
        for name, (literal, mine) in pairs.items():
            if name.endswith(".B"):
                mine.normal_(std=0.01)
            literal.copy_(mine)
    return pairs


class Steps:
    """The three steps, and their parts for the split of the time."""

    def __init__(self, tower: CLIPVisionModelWithProjection, images: int) -> None:
        torch.manual_seed(0)
        self.network = LiteralNetwork(tower).train()
        self.method = Dgs(Backbone(tower, "benchmark", Path(), ""), make_recipe("dgs", "released"))
        trained = self.method.enter("finetune")
        self.pairs = same_weights(self.network, self.method)
        backbone = self.method.backbone
        self.batch = Batch(
            labels=(torch.arange(images) % 2).float(),
            pixels=torch.randn(images, 3, backbone.size, backbone.size),
            text=torch.randn(images, backbone.width),
        )
        self.cached = replace(self.batch, frozen=backbone.frozen(self.pixels))
        self.adam = {
            "literal": torch.optim.Adam(self.network.trained(), lr=LEARNING_RATE),
            "ours": torch.optim.Adam(trained, lr=LEARNING_RATE),
        }

    @property
    def pixels(self) -> Tensor:
        """(B, 3, S, S)."""
        assert self.batch.pixels is not None
        return self.batch.pixels

    @property
    def text(self) -> Tensor:
        """(B, D)."""
        assert self.batch.text is not None
        return self.batch.text

    def literal(self) -> None:
        """The published step."""
        self.network.backward_pass(self.pixels, self.text, self.batch.labels)
        self._update("literal")

    def teacher_in_every_step(self) -> None:
        """Ours, fresh views."""
        backward(self.method(self.batch).total)
        self._update("ours")

    def teacher_cached(self) -> None:
        """Ours, fixed views."""
        backward(self.method(self.cached).total)
        self._update("ours")

    def _update(self, whose: str) -> None:
        self.adam[whose].step()
        self.adam[whose].zero_grad()

    def largest_difference(self) -> float:
        """Of the gradients of the three steps, relative to each parameter's gradient, over all trained parameters."""
        found: list[list[Tensor]] = []
        passes: list[Callable[[], object]] = [
            lambda: self.network.backward_pass(self.pixels, self.text, self.batch.labels),
            lambda: backward(self.method(self.batch).total),
            lambda: backward(self.method(self.cached).total),
        ]
        for side, run in zip((0, 1, 1), passes, strict=True):
            torch.manual_seed(1)  # dropout
            run()
            gradients = [pair[side].grad for pair in self.pairs.values()]
            found.append([gradient.clone() for gradient in gradients if gradient is not None])
            for pair in self.pairs.values():
                pair[side].grad = None
        return max(float((a - b).norm() / a.norm()) for other in found[1:] for a, b in zip(found[0], other, strict=True))

    def split_literal(self, clock: Clock) -> None:
        """The published step in parts."""
        with clock("forward, student"):
            features = self.network.student(self.pixels)
        with clock("forward, teacher"):
            frozen = self.network.teacher(self.pixels)
        leaf = features.detach().requires_grad_()
        with clock("losses and surgery"):
            backward(self.network.losses(leaf, frozen, self.text, self.batch.labels).total)
        self._finish(clock, features, leaf, "literal")

    def split_ours(self, clock: Clock) -> None:
        """Our step in parts: the method runs whole, on a stand-in for its backbone that already has the features."""
        backbone = self.method.backbone
        with clock("forward, student"):
            features = backbone(self.pixels)
        with clock("forward, teacher"):
            frozen = backbone.frozen(self.pixels)
        leaf = features.detach().requires_grad_()
        self.method.backbone = Known(backbone, leaf)
        try:
            with clock("losses and surgery"):
                backward(self.method(replace(self.batch, frozen=frozen)).total)
        finally:
            self.method.backbone = backbone
        self._finish(clock, features, leaf, "ours")

    def _finish(self, clock: Clock, features: Tensor, leaf: Tensor, whose: str) -> None:
        with clock("backward, student"):
            torch.autograd.backward(features, leaf.grad)
        with clock("optimiser"):
            self._update(whose)


class Known(Backbone):
    """Gives features that are known already."""

    def __init__(self, backbone: Backbone, features: Tensor) -> None:
        nn.Module.__init__(self)
        self.joint_width, self.blocks, self.features = backbone.width, (), features

    def forward(self, pixels: Tensor) -> Tensor:
        """The known features."""
        return self.features


class Clock:
    """Milliseconds of named parts."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Time a block."""
        start = time.perf_counter()
        yield
        self.times[part].append(1000 * (time.perf_counter() - start))

    def medians(self) -> dict[str, float]:
        """By part."""
        return {part: round(statistics.median(values), 3) for part, values in self.times.items()}


def backward(loss: Tensor) -> None:
    """Gradients of a loss."""
    torch.autograd.backward(loss)


def parameter_bytes(parameters: Iterable[Tensor]) -> int:
    """Bytes of memory that hold these parameters; what two of them share counts once."""
    storages = {parameter.untyped_storage().data_ptr(): parameter.untyped_storage().nbytes() for parameter in parameters}
    return sum(storages.values())


def measure(steps: list[Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each. Rounds alternate, so that a busy moment of the machine hits all; the first round is warm-up."""
    times: dict[str, list[float]] = {step.__name__: [] for step in steps}
    for number in range(rounds + 1):
        for step in steps:
            start = time.perf_counter()
            step()
            if number:
                times[step.__name__].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def operators(step: Callable[[], None]) -> dict[str, float]:
    """Share of one step's time by kind of operator."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    shares: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        name = event.key.lower()
        kind = next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "element-wise and all else")
        shares[kind] += event.self_cpu_time_total
    total = sum(shares.values())
    return {kind: round(share / total, 4) for kind, share in sorted(shares.items(), key=lambda item: -item[1])}


def run(backbone: str, images: int, rounds: int) -> dict[str, Any]:
    """Compare gradients, measure, split the time."""
    steps = Steps(tower_of(backbone), images)
    difference = steps.largest_difference()
    assert difference < 1e-3, f"the steps do not compute the same: gradients differ by {difference:.1e}"
    medians = measure([steps.literal, steps.teacher_in_every_step, steps.teacher_cached], rounds)
    clocks = {"literal": Clock(), "ours": Clock()}
    for _ in range(rounds):
        steps.split_literal(clocks["literal"])
        steps.split_ours(clocks["ours"])
    held = {"literal": parameter_bytes(steps.network.parameters()), "ours": parameter_bytes(steps.method.parameters())}
    ratios = {name: round(medians["literal"] / value, 3) for name, value in medians.items() if name != "literal"}
    ratios["bytes"] = round(held["ours"] / held["literal"], 4)
    met = {name: ratios[name] <= wanted if name == "bytes" else ratios[name] >= wanted for name, wanted in REQUIRED.items()}
    return {
        "benchmark": "one fine-tuning step of the preset `released`, one thread, median milliseconds of alternating rounds after warm-up",
        "backbone": backbone,
        "batch": images,
        "rounds": rounds,
        "ratio": ratios,
        "required": REQUIRED,
        "met": met,
        "median_ms": {name: round(value, 2) for name, value in medians.items()},
        "parameter_bytes": held,
        "largest_gradient_difference": difference,
        "split_ms": {name: clock.medians() for name, clock in clocks.items()},
        "operators": {step.__name__: operators(step) for step in (steps.literal, steps.teacher_in_every_step, steps.teacher_cached)},
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__},
        "cpu": processor_name(),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default=RANDOM, help=f"{RANDOM}, or the name or folder of a backbone")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    text = json.dumps(run(arguments.backbone, arguments.batch, arguments.rounds), indent=2)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
