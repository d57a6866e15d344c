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
    max_pixels: options.MaxPixels = None,
    max_bytes: options.MaxBytes = None,
) -> None:
    """Score any number of images into Parquet files. After a kill the same call goes on where it stopped; no image is scored twice."""
    from dgsnet.score import run
    from dgsnet.score.cluster import Cluster
    from dgsnet.score.settings import Settings, Shard

    cluster = Cluster(ray_address, ray_workers) if engine is EngineName.ray else None
    policy = options.decode_policy(max_pixels, max_bytes)
    settings = Settings(model, device, provider, threads, Shard.parse(shard), batch_size, part_rows, cluster, policy)
    summary, output = run.score(data, out, settings, terminal.console())
    terminal.name_failures("not scored", output.reasons(summary.parts))
    typer.echo(
        f"{summary.inputs} rows in {out} ({summary.failed} not scored, {summary.duplicates} with the bytes of an earlier image)", err=True
    )
    if summary.failed and not summary.scored:
        raise DgsnetError(f"none of {summary.inputs} images could be scored")
    if summary.failed:
        raise typer.Exit(1)
