"""Run the demo: photographs, decoders, pairs, training, test, table and plot. Every part is kept; a second call goes on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from dgsnet import weights
from dgsnet.core.errors import DgsnetError
from dgsnet.core.files import write_json
from dgsnet.data.dataset import load_dataset
from dgsnet.demo import score_shipped
from dgsnet.demo.make_pairs import make_pairs, test_psnr
from dgsnet.demo.photographs import Photograph, photographs
from dgsnet.demo.settings import Settings
from dgsnet.evaluation import evaluate, metrics
from dgsnet.evaluation.interval import Interval
from dgsnet.evaluation.predictions import predict, read_predictions
from dgsnet.inference.detector import Detector
from dgsnet.reports import demo_report
from dgsnet.training import train

SETTINGS, RESULT, PLOT = "settings.json", "demo.json", "demo.png"


def run(
    out: Path, settings: Settings, *, backbone: str = score_shipped.BACKBONE, images: Sequence[Path] = (), console: Console | None = None
) -> dict[str, Any]:
    """Run the demo, or go on with it where an earlier call stopped.

    Args:
        out: folder for decoders, pairs, models, predictions, the table as `demo.json` and the plot `demo.png`.
        settings: size of every part.
        backbone: name or folder of the backbone; pulled when it is missing. With any but that of the shipped model, it is not shown.
        images: pictures for the shipped model to score besides.
        console: where messages and progress go; stderr by default. The table goes to stdout.

    Returns:
        The content of `demo.json`: figures by method and decoder, the decoders' PSNR, CPU seconds of each part done in this call.

    Raises:
        DgsnetError: `out` holds a demo with other settings, or a part fails.
    """
    console = console or Console(stderr=True)
    seconds: dict[str, float] = {}
    with _timed("photographs", seconds):
        found = photographs()
        _claim(out, found, settings, backbone)
    console.print(f"{len(found)} photographs that installed packages carry:")
    for photograph in found:
        console.print(f"  {photograph.split:5} {photograph.name}: {photograph.caption} ({photograph.licence})", highlight=False)
    with _timed("weights", seconds):
        weights.locate(backbone)
    with _timed("decoders and reconstructions", seconds), Progress(console=console, transient=True) as progress:
        pairs = make_pairs(out, found, settings, progress)
    if backbone == score_shipped.BACKBONE:
        with _timed("shipped model", seconds):
            score_shipped.score(out, found, pairs, images, console)
    predictions: dict[str, Path] = {}
    for method in settings.methods:
        console.print(f"[bold]{method}[/]")
        with _timed(f"train {method}", seconds):
            model = train(pairs, out / "models" / method, settings.recipe_of(method, backbone), resume=True, console=console)
        with _timed(f"test {method}", seconds):
            predictions[method] = _predict(model, pairs, out / "test" / method, backbone, console)
            evaluate.evaluate(predictions[method], out / "test" / method, resamples=settings.resamples)
    with _timed("report", seconds):
        by_method = {method: figures(file, settings) for method, file in predictions.items()}
        result = {"figures": by_method, "psnr": test_psnr(pairs), "cpu_seconds": seconds, "plot": PLOT}
        demo_report.plot(out / PLOT, result, settings.decoders)
    write_json(out / RESULT, result)
    demo_report.show(Console(), result, settings.decoders)
    console.print(f"plot: {out / PLOT}")
    return result


@contextmanager
def _timed(part: str, seconds: dict[str, float]) -> Iterator[None]:
    start = time.process_time()
    yield
    seconds[part] = round(time.process_time() - start, 1)


def _predict(model: Path, pairs: Path, out: Path, backbone: str, console: Console) -> Path:
    detector = Detector.from_pretrained(model, backbone=backbone)
    with Progress(console=console, transient=True) as progress:
        return predict(detector, load_dataset(pairs).with_split("test"), out, progress)


def figures(predictions: Path, settings: Settings) -> dict[str, Any]:
    """Return AUROC and balanced accuracy (at score 0.5) with 95 % intervals, by decoder and as means over seen and unseen decoders.

    A decoder's figures pool its reconstructions with all photographs of the test split; the means are `mean, seen` and `mean, unseen`.
    """
    rows = [row for row in read_predictions(predictions).to_pylist() if row["score"] is not None]
    found: dict[str, Any] = {}
    for kind, names in settings.decoders.items():
        kept = [row for row in rows if row["label"] == 0 or row["generator"] in names]
        columns = [row["label"] for row in kept], [row["score"] for row in kept], [row["generator"] for row in kept]
        for name, figure in metrics.by_generator(*columns, resamples=settings.resamples).items():
            found[name] = _chosen(figure.figures)
        found[f"mean, {kind}"] = _chosen(metrics.macro_average(*columns, resamples=settings.resamples))
    return found


def _chosen(estimates: dict[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {name: estimates[name].as_dict() for name in ("auroc", "balanced_acc")}


def _claim(out: Path, found: list[Photograph], settings: Settings, backbone: str) -> None:
    """Write down the demo's settings, or refuse a folder of a demo with others."""
    contents = {photograph.name: hashlib.sha256(photograph.pixels.tobytes()).hexdigest() for photograph in found}
    wanted = json.loads(json.dumps({"backbone": backbone, "settings": asdict(settings), "photographs": contents}))
    file = out / SETTINGS
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != wanted:
        raise DgsnetError(f"{out} holds a demo with other settings or photographs: choose another --out, or delete it")
    write_json(file, wanted)
