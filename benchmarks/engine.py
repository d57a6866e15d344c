"""The scoring pipeline: end to end against the bare forward pass of the same engine, and against the literal way, all on the same files.

    python benchmarks/engine.py --out benchmarks/results/engine.json

| part | what |
|---|---|
| `large` | torch, ONNX Runtime, OpenVINO (fp32 each) and the literal way on 12-megapixel JPEGs, taking turns, round by round |
| `sizes` | images a second over the size of the picture, 256 pixels to 24 megapixels |
| `numbers` | seconds and memory over the number of images, 1e2 to 1e5, with a tiny model on one thread |

*Bare* is the forward pass alone, image after image, views made beforehand. Where the model has all cores, what decoding costs is lost to
it however well both overlap: `share_of_bare_processor`, bare over whole by processor time, is what the pipeline could reach by the clock.
*Literal* is what the published code describes: one picture at a time, decoded, cut by a loop over its patches, then through torch,
nothing beside anything else. The view is `patches` for all, also where the model was trained on another: here only speed counts. Parts
that --out holds already are kept; delete the file to begin again. Pictures are photographs that scikit-learn carries, enlarged, under
seeded noise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

import tiny_model
from dgsnet import Detector, export
from dgsnet.core.files import write_json
from dgsnet.images.preprocess import Preprocessing
from patch_selection import loop_torch
from plots import show_numbers, show_sizes
from process_memory import resident
from processor import processor_name

LARGE = (4000, 3000)
SIZES = ((256, 256), (512, 512), (1024, 1024), (2048, 1536), (4000, 3000), (6000, 4000))
NUMBERS = (100, 1_000, 10_000, 100_000)
REQUIRED = {"share_of_bare": 0.85, "times_as_fast_as_literal": 1.5}

Took = tuple[float, float]  # seconds by the clock, and of the processor


def photograph(file: Path, size: tuple[int, int], number: int) -> Path:
    """A JPEG of a size that depends on nothing but its number."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        pictures = load_sample_images().images
        enlarged = np.asarray(Image.fromarray(pictures[number % len(pictures)]).resize(size, Image.Resampling.BICUBIC))
        noise = np.random.default_rng(number).integers(-12, 13, enlarged.shape, dtype=np.int8)
        Image.fromarray(np.clip(enlarged.astype(np.int16) + noise, 0, 255).astype(np.uint8)).save(file, quality=90)
    return file


def viewing(detector: Detector, view: str) -> Detector:
    """A detector that looks at one view of each picture, of this kind."""
    look = detector.config.preprocessing.model_copy(update={"view": view, "multi_crop": False})
    config = detector.config.model_copy(update={"preprocessing": look})
    return Detector(detector.runtime, config, detector.name, detector.fingerprint, detector.policy, detector.ood)


def exported(detector: Detector, work: Path, form: export.Format, threads: int | None = None) -> Detector:
    """A detector of the exported model, written where it is not there yet."""
    folder = work / f"{form}-{detector.fingerprint[:12]}"
    if not (folder / "config.json").exists():
        export.export(detector, folder, form)
    return Detector.from_pretrained(folder, threads=threads)


def timed(work: Callable[[], object]) -> Took:
    """How long it takes."""
    wall, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - busy


def literal(detector: Detector, files: Sequence[Path]) -> None:
    """One after another: decode, loop over the patches, normalise, forward pass."""
    look = detector.config.preprocessing
    for file in files:
        pixels = np.array(Image.open(file).convert("RGB"))
        detector.runtime.run(look.normalise(loop_torch(pixels))[None])


def bare(detector: Detector, views: Sequence[NDArray[np.float32]]) -> None:
    """The forward passes alone."""
    for view in views:
        detector.runtime.run(view[None])


def views_of(look: Preprocessing, files: Sequence[Path]) -> list[NDArray[np.float32]]:
    """What the model sees."""
    return [look(np.asarray(Image.open(file).convert("RGB"))) for file in files]


def score(detector: Detector, files: Sequence[Path | bytes], number: int | None = None) -> None:
    """All of them, through the pipeline; with `number` so many, from the first again after the last."""
    sources = files if number is None else islice(cycle(files), number)
    assert not any(verdict.error for verdict in detector.detect_many(sources))


def large(detectors: dict[str, Detector], files: Sequence[Path], rounds: int) -> dict[str, Any]:
    """Each way on the same large photographs."""
    views = views_of(detectors["torch_fp32"].config.preprocessing, files)
    ways: dict[str, Callable[[], None]] = {"literal": lambda: literal(detectors["torch_fp32"], files)}
    for name, detector in detectors.items():
        ways[f"{name} bare"] = lambda detector=detector: bare(detector, views)  # type: ignore[misc]
        ways[f"{name} end to end"] = lambda detector=detector: score(detector, files)  # type: ignore[misc]
    took: dict[str, list[Took]] = {name: [] for name in ways}
    for detector in detectors.values():
        bare(detector, views[:1])
    for _ in range(rounds):
        for name, work in ways.items():
            took[name].append(timed(work))
    middle = {name: [statistics.median(part) / len(files) for part in zip(*times, strict=True)] for name, times in took.items()}
    table: dict[str, Any] = {
        name: {"seconds_an_image": round(wall, 4), "processor_seconds_an_image": round(busy, 4)} for name, (wall, busy) in middle.items()
    }
    for name in detectors:
        row = table[f"{name} end to end"]
        # Ratios of one round are of the same moments of the machine.
        row["share_of_bare"] = _ratio(took[f"{name} bare"], took[f"{name} end to end"])
        row["share_of_bare_processor"] = _ratio(took[f"{name} bare"], took[f"{name} end to end"], 1)
        row["times_as_fast_as_literal"] = _ratio(took["literal"], took[f"{name} end to end"])
    met = {name: all(table[f"{name} end to end"][what] >= least for what, least in REQUIRED.items()) for name in detectors}
    return {"pixels": list(LARGE), "images": len(files), "rounds": rounds, "ways": table, "met": met}


def _ratio(first: list[Took], second: list[Took], clock: int = 0) -> float:
    return round(statistics.median(a[clock] / b[clock] for a, b in zip(first, second, strict=True)), 3)


def sizes(shipped: Detector, engine: Detector, folder: Path, images: int) -> list[dict[str, Any]]:
    """Images a second by size: the pipeline with patches and with the crop, the bare forward pass, the literal way."""
    rows = []
    for width, height in SIZES:
        files = [photograph(folder / f"{width}x{height}-{number}.jpg", (width, height), number) for number in range(images)]
        views = views_of(engine.config.preprocessing, files)
        few = files[:2] if width * height > 5e6 else files
        seconds = {
            "bare": timed(lambda views=views: bare(engine, views))[0] / images,  # type: ignore[misc]
            "patches": timed(lambda files=files: score(engine, files))[0] / images,  # type: ignore[misc]
            "crop": timed(lambda files=files: score(viewing(engine, "crop"), files))[0] / images,  # type: ignore[misc]
            "literal": timed(lambda few=few: literal(shipped, few))[0] / len(few),  # type: ignore[misc]
        }
        rows.append(
            {
                "megapixels": width * height / 1e6,
                "images_a_second": {name: round(1 / one, 4) for name, one in seconds.items()},
                "share_of_bare": {view: round(seconds["bare"] / seconds[view], 3) for view in ("patches", "crop")},
            }
        )
        print(rows[-1])
    return rows


def numbers(tiny: Detector, most: int) -> list[dict[str, Any]]:
    """Seconds and memory by number of images, 64 x 64 pixels, a pool of 200 different ones over and over."""
    with tempfile.TemporaryDirectory() as folder:
        pool = [Path(folder) / f"{number}.png" for number in range(200)]
        for number, file in enumerate(pool):
            tiny_model.save(file, number, 64)
        contents: list[Path | bytes] = [file.read_bytes() for file in pool]
    score(tiny, contents)
    rows = []
    for number in (number for number in NUMBERS if number <= most):
        wall, busy = timed(lambda number=number: score(tiny, contents, number))  # type: ignore[misc]
        rows.append({"images": number, "seconds": round(wall, 3), "processor_seconds": round(busy, 3), "resident_mb": round(resident(), 1)})
        print(rows[-1])
    return rows


def parts(args: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names of the parts, and what measures them; models are loaded once."""
    loaded: dict[str, Detector] = {}

    def detectors() -> dict[str, Detector]:
        if not loaded:
            shipped = Detector.from_pretrained(args.model, provider="torch")
            every = {"torch_fp32": shipped} | {f"{form}_fp32": exported(shipped, args.work, form) for form in ("onnx", "openvino")}
            loaded.update({name: viewing(detector, "patches") for name, detector in every.items()})
        return loaded

    def tiny() -> Detector:
        if not (args.work / "tiny" / "model").exists():
            tiny_model.make(args.work / "tiny")
        return exported(Detector.from_pretrained(args.work / "tiny" / "model"), args.work, "onnx", threads=1)

    pictures = args.work / "pictures"

    def files() -> list[Path]:
        return [photograph(pictures / f"large-{number}.jpg", LARGE, number) for number in range(args.images)]

    yield "large", lambda: large(detectors(), files(), args.rounds)
    yield "sizes", lambda: sizes(detectors()["torch_fp32"], detectors()["onnx_fp32"], pictures, args.few)
    yield "numbers", lambda: numbers(tiny(), args.most)


def main() -> None:
    """Measure what is missing, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dgsnet-b16")
    parser.add_argument("--images", type=int, default=6, help="large photographs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--few", type=int, default=6, help="pictures of each size")
    parser.add_argument("--most", type=int, default=NUMBERS[-1], help="images of the longest run with the tiny model")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "dgsnet-engine", help="pictures and exported models")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)

    result: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    for name, measure in parts(args):
        if name not in result:
            begun = time.perf_counter()
            result[name] = measure()
            result.setdefault("minutes", {})[name] = round((time.perf_counter() - begun) / 60, 2)
            write_json(args.out, result)
    result |= {
        "benchmark": "scoring end to end against the bare forward pass and the literal way, fp32, all cores",
        "required": REQUIRED,
        "cores": os.cpu_count(),
        "cpu": processor_name(),
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("numpy", "onnxruntime", "openvino", "pillow", "torch")},
    }
    write_json(args.out, result)
    show_sizes(result["sizes"], args.out.with_name("engine_sizes.png"))
    show_numbers(result["numbers"], args.out.with_name("engine_numbers.png"))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
