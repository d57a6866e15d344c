"""Batched patch selection against the literal loop over patches that the published code describes, one thread, one process.

Two transcriptions of the loop, torch and numpy, are timed; the ratio reported is against the faster one.

    python benchmarks/patch_selection.py --out benchmarks/results/patch_selection.json
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
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dgsnet.patches import select_patches
from processor import processor_name

Image = NDArray[np.uint8]
PATCH, LOW, HIGH, GRID = 32, 24, 25, 7


def loop_torch(image: Image) -> Image:
    """Patch after patch in torch: grey, fft2, normalise, entropy; argsort; tile."""
    height, width = image.shape[0] // PATCH * PATCH, image.shape[1] // PATCH * PATCH
    pixels = torch.from_numpy(image[:height, :width]).permute(2, 0, 1).float() / 255
    patches, entropies = [], []
    for top in range(0, height, PATCH):
        for left in range(0, width, PATCH):
            patch = pixels[:, top : top + PATCH, left : left + PATCH]
            grey = 0.299 * patch[0] + 0.587 * patch[1] + 0.114 * patch[2]
            power = torch.fft.fft2(grey).abs() ** 2
            power = power / power.sum()
            entropies.append(-(power * torch.log2(power + 1e-12)).sum())
            patches.append(patch)
    rank = torch.argsort(torch.stack(entropies))
    tiles = torch.zeros(3, GRID * PATCH, GRID * PATCH)
    for cell, index in enumerate([*rank[:LOW].tolist(), *rank[-HIGH:].tolist()]):
        row, column = divmod(cell, GRID)
        tiles[:, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] = patches[index]
    chosen: Image = (tiles * 255).round().byte().permute(1, 2, 0).numpy()
    return chosen


def loop_numpy(image: Image) -> Image:
    """The same loop in numpy."""
    height, width = image.shape[0] // PATCH * PATCH, image.shape[1] // PATCH * PATCH
    patches, entropies = [], []
    for top in range(0, height, PATCH):
        for left in range(0, width, PATCH):
            patch = image[top : top + PATCH, left : left + PATCH]
            pixels = patch / 255
            grey = 0.299 * pixels[..., 0] + 0.587 * pixels[..., 1] + 0.114 * pixels[..., 2]
            power = np.abs(np.fft.fft2(grey)) ** 2
            power = power / power.sum()
            entropies.append(-(power * np.log2(power + 1e-12)).sum())
            patches.append(patch)
    rank = np.argsort(entropies)
    tiles = np.zeros((GRID * PATCH, GRID * PATCH, 3), np.uint8)
    for cell, index in enumerate([*rank[:LOW], *rank[-HIGH:]]):
        row, column = divmod(cell, GRID)
        tiles[row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] = patches[index]
    return tiles


def batched(image: Image) -> Image:
    """What this package does."""
    return select_patches(image, order="entropy")[0]


def cells(tiles: Image) -> set[bytes]:
    """The chosen patches, whatever their order: ties may be ranked either way."""
    return {cell.tobytes() for row in np.split(tiles, GRID) for cell in np.split(row, GRID, axis=1)}


def one_megapixel() -> Image:
    """Smooth shapes under noise of varying strength, so that every patch has another entropy."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:1024, 0:1024] / 1024
    base = 128 + 60 * np.sin(7 * x + 3 * y)[..., None] * np.array([1, 0.8, 0.5])
    noise = random.normal(size=(1024, 1024, 3)) * (1 + 40 * (x * y)[..., None])
    image: Image = (base + noise).clip(0, 255).astype(np.uint8)
    return image


def measure(functions: list[Callable[[Image], Image]], image: Image, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median milliseconds of each, by the clock and of the processor.

    Rounds alternate, so that a busy moment of the machine hits all; each timed call follows a warm one. Processor time leaves out the
    moments in which another program had the core.
    """
    wall: dict[str, list[float]] = {function.__name__: [] for function in functions}
    processor: dict[str, list[float]] = {function.__name__: [] for function in functions}
    for _ in range(rounds):
        for function in functions:
            function(image)
            start, busy = time.perf_counter(), time.process_time()
            function(image)
            wall[function.__name__].append(1000 * (time.perf_counter() - start))
            processor[function.__name__].append(1000 * (time.process_time() - busy))
    medians = ({name: round(statistics.median(values), 3) for name, values in times.items()} for times in (wall, processor))
    return next(medians), next(medians)


def ratio(medians: dict[str, float]) -> float:
    """How many times faster than the faster loop."""
    return round(min(medians["loop_torch"], medians["loop_numpy"]) / medians["batched"], 2)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    image = one_megapixel()
    shared = len(cells(loop_numpy(image)) & cells(batched(image)))
    assert shared >= LOW + HIGH - 2, f"the loop and the batch chose different patches: {shared} of {LOW + HIGH} shared"
    wall, processor = measure([loop_torch, loop_numpy, batched], image, arguments.rounds)
    result = {
        "benchmark": "patch selection, 1024x1024, one thread, median milliseconds of alternating rounds",
        "ratio": ratio(wall),
        "ratio_processor_time": ratio(processor),
        "median_ms": wall,
        "median_processor_ms": processor,
        "rounds": arguments.rounds,
        "cells_shared_with_numpy_loop": shared,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__},
        "cpu": processor_name(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
