"""`dgsnet detect`."""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dgsnet.artifacts.shipped import DEFAULT
from dgsnet.cli import options, terminal
from dgsnet.core.errors import DgsnetError

if TYPE_CHECKING:
    from rich.console import Console

    from dgsnet.data.left_out import LeftOut
    from dgsnet.images.decode import DecodedImage
    from dgsnet.inference.asked import Asked
    from dgsnet.inference.detector import Detector
    from dgsnet.inference.heatmap import Heatmap
    from dgsnet.inference.verdict import Verdict
    from dgsnet.reports.detection_page import Report


def detect(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Images, folders, globs, or - for paths on standard input.")],
    model: Annotated[str, typer.Option("--model", help="Shipped model, model folder, exported folder or hub id.")] = DEFAULT,
    out: Annotated[Path | None, typer.Option("--out", help="Write rows to F.jsonl, F.csv or F.parquet.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on standard output instead of a table.")] = False,
    batch_size: options.BatchSize = 32,
    device: options.Device = "cpu",
    provider: options.Provider = None,
    threads: options.Threads = None,
    operating_point: options.Point = "balanced",
    max_pixels: options.MaxPixels = None,
    max_bytes: options.MaxBytes = None,
    heatmap: Annotated[
        Path | None,
        typer.Option("--heatmap", metavar="DIR", help="Write a heatmap an image, DIR/NAME-SHA.png; up to fifty times the work."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a page to read, F.html; with --heatmap, heatmaps are on it.")
    ] = None,
    provenance: options.Provenance = None,
    trust_anchors: options.TrustAnchors = None,
    marks: options.Marks = None,
    watermarks: options.Watermarks = False,
    trustmark: options.TrustMark = None,
    steadiness: options.Steadiness = False,
) -> None:
    """Score images: one row an image. Exit code 1 when some could not be scored, 2 when none could; each of them is a row with `error`."""
    from rich.progress import Progress

    from dgsnet.inference import writers

    asked = options.asked(
        provenance=provenance,
        unasked=True,
        trust_anchors=trust_anchors,
        marks=marks,
        watermarks=watermarks,
        trustmark=trustmark,
        steadiness=steadiness,
    )
    images, left_out = _images(_lines_of_stdin() if paths == ["-"] else paths)
    file = writers.open_sink(out, provenance=asked.provenance) if out else None
    _check_pictures(heatmap, report)

    detector = options.loader(device, provider, threads, operating_point, options.decode_policy(max_pixels, max_bytes))(model)
    failed, console = 0, terminal.console()
    table = writers.TerminalTable(provenance=asked.provenance)
    with ExitStack() as stack:
        sinks: list[writers.Sink] = [stack.enter_context(file)] if file else []
        if json:
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # JSON is UTF-8 whatever the terminal is
            sinks.append(writers.JsonLines(sys.stdout, provenance=asked.provenance))
        pictures = stack.enter_context(_open_pictures(detector, heatmap, report, console)) if heatmap or report else None
        progress = stack.enter_context(Progress(console=console, transient=True, disable=not console.is_terminal))
        scored = stack.enter_context(closing(_scored(detector, images, batch_size, asked, bool(pictures))))
        for verdict, image in progress.track(scored, total=len(images), description="scoring"):
            for sink in sinks or [table]:
                sink.write(verdict)
            if pictures:
                pictures.write(verdict, image)
            if verdict.error:
                failed += 1
                console.print(f"not scored: {writers.printable(verdict.error)}", markup=False, highlight=False, soft_wrap=True)
    lost = terminal.name_left_out(left_out)
    if not sinks:
        table.show()
    if out:
        typer.echo(f"{len(images)} rows in {out}", err=True)
    if heatmap:
        typer.echo(f"heatmaps in {heatmap}", err=True)
    if report:
        typer.echo(f"report in {report}", err=True)
    if failed == len(images):
        raise DgsnetError(f"none of {len(images)} images could be scored")
    if failed or lost:
        raise typer.Exit(1)


def _scored(
    detector: Detector, images: list[str], batch_size: int, asked: Asked, with_images: bool
) -> Generator[tuple[Verdict, DecodedImage | None], None, None]:
    if with_images:
        from dgsnet.inference.with_images import detect_with_images

        yield from detect_with_images(detector, images, batch_size, asked)
    else:
        for verdict in detector.detect_many(images, batch_size, asked=asked):
            yield verdict, None


def _check_pictures(folder: Path | None, page: Path | None) -> None:
    """Find out before the model is loaded what would end the run after it."""
    if folder and folder.exists() and not folder.is_dir():
        raise DgsnetError(f"cannot write heatmaps to {folder}: it is a file, not a folder")
    if page:
        from dgsnet.reports.detection_page import check_name

        check_name(page)


@contextmanager
def _open_pictures(detector: Detector, folder: Path | None, page: Path | None, console: Console) -> Iterator[_Pictures]:
    from dgsnet.reports.detection_page import open_report

    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    with open_report(page, detector) if page else nullcontext() as report:
        yield _Pictures(detector, folder, report, console)


@dataclass(frozen=True)
class _Pictures:
    """A taker of verdicts, one by one: writes heatmaps into `folder` and cards onto `report`, of which one may be None."""

    detector: Detector
    folder: Path | None
    report: Report | None
    console: Console

    def write(self, verdict: Verdict, image: DecodedImage | None) -> None:
        """Write what belongs to one image; one that was not scored has a card only."""
        if verdict.error:
            image = None
        drawn = self._heatmap(self.folder, verdict, image) if self.folder and image else None
        if self.report:
            self.report.write(verdict, image.pixels if image else None, drawn)

    def _heatmap(self, folder: Path, verdict: Verdict, image: DecodedImage) -> Heatmap | None:
        """Draw a heatmap and write it into a folder; print why where there is none."""
        from dgsnet.inference import heatmap, writers

        try:
            drawn = self.detector.explain(image)
        except DgsnetError as error:
            self.console.print(f"no picture: {writers.printable(str(error))}", markup=False, highlight=False, soft_wrap=True)
            return None
        heatmap.save(drawn, heatmap.file_for(folder, verdict))
        return drawn


def _lines_of_stdin() -> list[str]:
    lines = [os.fsdecode(line).rstrip("\r\n") for line in sys.stdin.buffer]
    if not any(lines):
        raise DgsnetError("no paths on standard input")
    return [line for line in lines if line]


def _images(paths: Iterable[str]) -> tuple[list[str], LeftOut]:
    """List files named, images below folders, matches of globs, and what was left out.

    A name that matches nothing is listed: its row will say so. `DgsnetError` where there is nothing else than folders without image files.
    """
    from dgsnet.data.left_out import LeftOut

    images: list[str] = []
    left_out, refused = LeftOut(), []
    for path in paths:
        if path == "-":
            raise DgsnetError("- stands for paths on standard input: give it alone")
        # os.path answers "no" to names that no file can have, where Path raises
        if os.path.isdir(path):  # noqa: PTH112
            try:
                images += _below(Path(path), left_out)
            except DgsnetError as error:
                refused.append(error)
        elif glob.has_magic(path) and not os.path.exists(path):  # noqa: PTH110
            matches = [match for match in glob.glob(path, recursive=True) if Path(match).is_file()]  # noqa: PTH207 - patterns are strings
            images += sorted(matches) or [path]
        else:
            images.append(path)
    if refused and not images:
        raise refused[0]
    for one in refused:
        left_out.add("folders", str(one))
    return images, left_out


def _below(folder: Path, left_out: LeftOut) -> Iterator[str]:
    """Yield the image files of a folder, in their order; `DgsnetError` where it has none."""
    from dgsnet.data.dataset import no_images
    from dgsnet.data.layouts import list_samples

    listing, shards, found = list_samples(folder, labelled=False), dict[str, None](), False
    for sample in listing.samples:
        if sample.shard is None:
            found = True
            yield str(listing.root / sample.path)
        else:
            shards[sample.shard] = None
    if not found and shards:
        raise DgsnetError(f"{folder} holds shards of images, not files: use `dgsnet score`, which reads them")
    if not found:
        raise DgsnetError(no_images(folder, listing.left_out))
    left_out.update(listing.left_out)
    for shard in shards:
        left_out.add("shards of images; `dgsnet score` reads them", listing.root / shard)
