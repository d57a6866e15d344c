"""`dgsnet score`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dgsnet.artifacts.shipped import DEFAULT
from dgsnet.cli import options, terminal
from dgsnet.core.errors import DgsnetError


class EngineName(StrEnum):
    """Engines that score images."""

    local = "local"
    ray = "ray"


def score(
    data: Annotated[Path, typer.Option("--data", help="Folder, manifest, tar shards or Parquet of images; labels may be missing.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for part-*.parquet, errors/, manifest.json and summary.json.")],
    model: options.Model = DEFAULT,
    engine: Annotated[EngineName, typer.Option("--engine", help="This process, or a Ray cluster: the same rows.")] = EngineName.local,
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address", envvar="RAY_ADDRESS", help="Cluster for --engine ray, host:port or auto; none: one is started on this machine."
        ),
    ] = None,
    ray_workers: Annotated[
        int | None, typer.Option("--ray-workers", min=1, help="Processes that score with --engine ray; none: one a CPU.")
    ] = None,
    shard: Annotated[str, typer.Option("--shard", metavar="I/N", help="Score this part of N only; I counts from 0 or from 1.")] = "1/1",
    batch_size: Annotated[
        int, typer.Option("--batch-size", "--batch", min=1, help="Images a GPU gets at once; changes no score on the CPU.")
    ] = 32,
    part_rows: Annotated[int, typer.Option("--part-rows", min=1, help="Rows a Parquet file.")] = 10_000,
    device: options.Device = "cpu",
    provider: options.Provider = None,
    threads: options.Threads = None,
    operating_point: options.Point = "balanced",
    max_pixels: options.MaxPixels = None,
    max_bytes: options.MaxBytes = None,
    provenance: options.Provenance = None,
    trust_anchors: options.TrustAnchors = None,
    marks: options.Marks = None,
    watermarks: options.Watermarks = False,
    trustmark: options.TrustMark = None,
    steadiness: options.Steadiness = False,
) -> None:
    """Score any number of images into Parquet files. After a kill the same call goes on where it stopped; no image is scored twice."""
    from dgsnet.score import run
    from dgsnet.score.cluster import Cluster
    from dgsnet.score.settings import Settings, Shard

    cluster = Cluster(ray_address, ray_workers) if engine is EngineName.ray else None
    asked = options.asked(
        provenance=provenance,
        trust_anchors=trust_anchors,
        marks=marks,
        watermarks=watermarks,
        trustmark=trustmark,
        steadiness=steadiness,
    )
    settings = Settings(
        model,
        device,
        provider,
        threads,
        operating_point,
        Shard.parse(shard),
        batch_size,
        part_rows,
        cluster,
        options.decode_policy(max_pixels, max_bytes),
        asked,
    )
    summary, output, left_out = run.score(data, out, settings, terminal.console())
    lost = terminal.name_left_out(left_out)
    terminal.name_failures("not scored", output.reasons(summary.parts))
    typer.echo(
        f"{summary.inputs} rows in {out} ({summary.failed} not scored, {summary.duplicates} with the bytes of an earlier image)", err=True
    )
    if summary.failed and not summary.scored:
        raise DgsnetError(f"none of {summary.inputs} images could be scored")
    if summary.failed or lost:
        raise typer.Exit(1)
