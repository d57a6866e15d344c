"""What the tower says of every copy: CLIP's embedding, and of each block its class token and its mean patch token."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor, nn
from typing_extensions import override

from dgsnet.core import prefetch
from dgsnet.core.errors import DecodeError
from dgsnet.core.files import replacing
from dgsnet.export import onnx_graph
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.detector import Detector
from dgsnet.model.backbone import Backbone
from studies.common.copies import Copy, Listed, in_rounds, look
from studies.common.paths import RUNS

FOLDER = RUNS / "second_edition"
TOKENS = FOLDER / "tokens"
PREPROCESSING = Preprocessing(view="crop")
BLOCKS = tuple(range(1, 13))
CHUNK = 48
"""Copies a file."""
TOGETHER = 4
"""Views a call."""


def read_tokens(given: list[Listed], corpus: Path, repositories: Path) -> None:
    """Write the tokens of every copy, `CHUNK` a file, in the order of `in_rounds`. What is there is kept: it may be stopped anywhere.

    A file has `id` (N,), `cond` (N,), the copy, and `tokens` (N, D) float32. `failed.txt` names what cannot be seen.
    """
    TOKENS.mkdir(parents=True, exist_ok=True)
    tokens = open_tokens()
    failed = TOKENS / "failed.txt"
    done = {(key, copy) for file in sorted(TOKENS.glob("*.npz")) for key, copy in _names(file)}
    if failed.exists():
        done |= {tuple(line.split("\t")[:2]) for line in failed.read_text(encoding="utf-8").splitlines()}  # type: ignore[misc]
    work = [(image, copy) for image, copy in dict.fromkeys(in_rounds(given)) if (image.key, copy) not in done]

    def view(task: tuple[Listed, Copy]) -> NDArray[np.float32] | str:
        image, copy = task
        try:
            return PREPROCESSING(look(image, copy, image.read(corpus, repositories)))
        except (DecodeError, ValueError) as error:
            return str(error)

    rows: list[tuple[str, str, NDArray[np.float32]]] = []
    with Progress() as progress, failed.open("a", encoding="utf-8") as log:
        seen = prefetch.in_order(view, work, 1, CHUNK)
        for (image, copy), pixels in progress.track(zip(work, seen, strict=True), total=len(work), description="tokens"):
            if isinstance(pixels, str):
                log.write(f"{image.key}\t{copy}\t{pixels}\n")
                continue
            rows.append((image.key, copy, pixels))
            if len(rows) == CHUNK:
                _write(rows, tokens)
                rows = []
        _write(rows, tokens)


def open_tokens() -> Callable[[list[NDArray[np.float32]]], NDArray[np.float32]]:
    """Return what computes the tokens (N, D) of views (3, S, S), by the tower of `dgsnet-b16`, its graph written where it is not there.

    Every core works at views of its own, without waiting for the others: beside other work on the machine that is half as fast again.
    """
    import openvino  # noqa: PLC0415 - half as fast again as torch here

    graph = FOLDER / "tokens.onnx"
    if not graph.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        _write_graph(graph)
    # An f32 that is asked for: some processors would compute in bf16 otherwise.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": os.cpu_count() or 1}
    queue = openvino.AsyncInferQueue(openvino.Core().compile_model(graph, "CPU", settings))

    def tokens(views: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        found: dict[int, NDArray[np.float32]] = {}
        queue.set_callback(lambda request, place: found.update({place: np.array(request.get_output_tensor().data)}))
        for first in range(0, len(views), TOGETHER):
            queue.start_async({0: np.stack(views[first : first + TOGETHER])}, first)
        queue.wait_all()
        return np.concatenate([found[first] for first in sorted(found)])

    return tokens


def _write(rows: list[tuple[str, str, NDArray[np.float32]]], compute: Callable[[list[NDArray[np.float32]]], NDArray[np.float32]]) -> None:
    if not rows:
        return
    keys, copies, views = zip(*rows, strict=True)
    tokens = compute(list(views))
    with replacing(TOKENS / f"{len(list(TOKENS.glob('*.npz'))):05d}.npz") as aside, aside.open("wb") as stream:
        np.savez(stream, id=keys, cond=copies, tokens=tokens)


def _names(file: Path) -> Iterable[tuple[str, str]]:
    with np.load(file) as given:
        return list(zip(given["id"].tolist(), given["cond"].tolist(), strict=True))


class _Tokens(nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    @override
    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.backbone(pixels)
        return features


def _write_graph(graph: Path) -> None:
    """Write the tower of `dgsnet-b16`, its adapter merged, as a graph from views to all of its tokens."""
    method = onnx_graph.merged(Detector.from_pretrained("dgsnet-b16", provider="torch").method)
    method.backbone.read_blocks(BLOCKS, "class-and-patches")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Tokens(method.backbone),
            (torch.zeros(2, 3, 224, 224),),
            graph,
            input_names=["pixels"],
            output_names=["tokens"],
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
            opset_version=onnx_graph.OPSET,
            dynamo=True,
            external_data=True,
            verbose=False,
        )


@dataclass(frozen=True)
class Tokens:
    """Copies and what the tower says of them, row by row."""

    images: list[Listed]
    copies: NDArray[np.str_]
    features: NDArray[np.float32]
    """(N, D)."""

    @classmethod
    def load(cls, given: list[Listed]) -> Tokens:
        """Load what `read_tokens` has written of these images, in the order of images and copies, whatever the order of reading."""
        by_key, rows = {image.key: (place, image) for place, image in enumerate(given)}, []
        for file in sorted(TOKENS.glob("*.npz")):
            with np.load(file) as stored:
                for key, copy, tokens in zip(stored["id"].tolist(), stored["cond"].tolist(), stored["tokens"], strict=True):
                    if key in by_key:
                        rows.append((by_key[key][0], copy, by_key[key][1], tokens))
        rows.sort(key=lambda row: row[:2])
        return cls([row[2] for row in rows], np.array([row[1] for row in rows]), np.stack([row[3] for row in rows]))
