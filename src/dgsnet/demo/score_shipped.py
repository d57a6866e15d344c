"""Score photographs, their reconstructions and any pictures handed over with the shipped detector: the demo's first part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from dgsnet.artifacts import shipped
from dgsnet.data.dataset import load_dataset
from dgsnet.demo.photographs import Photograph
from dgsnet.images.decode import Source
from dgsnet.inference import writers
from dgsnet.inference.detector import Detector

ROWS = "shipped.jsonl"
BACKBONE = "clip-vit-b16"


def score(out: Path, found: Sequence[Photograph], pairs: Path, images: Sequence[Path], console: Console) -> Path:
    """Score them with the shipped model, print a table, and return `out/shipped.jsonl`, one row an image.

    Of the pairs it scores the first reconstruction of each decoder and photograph of the test split.
    """
    detector = Detector.from_pretrained(shipped.DEFAULT)
    named: list[tuple[str, Source]] = [(f"photograph: {one.name}", one.pixels) for one in found]
    reconstructions = load_dataset(pairs).with_split("test")
    generated = [sample for sample in reversed(reconstructions.samples) if sample.label == 1]
    first = {(sample.generator, sample.group): reconstructions.root / sample.path for sample in generated}
    named += [(f"reconstruction by {generator}: {group}", file) for (generator, group), file in sorted(first.items())]
    named += [(str(image), image) for image in images]
    console.print(
        f"the shipped model {shipped.DEFAULT} on {len(found)} photographs, {len(first)} reconstructions and {len(images)} pictures of yours"
    )
    table, target = writers.TerminalTable(), out / ROWS
    with writers.open_sink(target) as sink:
        for (name, _), verdict in zip(named, detector.detect_many(source for _, source in named), strict=True):
            row = replace(verdict, path=name)
            sink.write(row)
            table.write(row)
    table.show()
    return target
