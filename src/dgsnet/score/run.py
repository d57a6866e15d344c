"""A scoring run, from its beginning or from where it was killed, to its end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from dgsnet import __version__
from dgsnet.core.errors import DatasetError, ScoringError
from dgsnet.core.files import write_json
from dgsnet.data.dataset import no_images
from dgsnet.data.layouts import list_samples
from dgsnet.data.left_out import LeftOut
from dgsnet.inference.detector import Detector
from dgsnet.score.dedup_cache import SqliteDedupCache
from dgsnet.score.output import PART_SCHEMA, PART_SCHEMA_WITH_PROVENANCE, Output, claim_folder
from dgsnet.score.progress import ScoringProgress
from dgsnet.score.score_samples import SampleScorer
from dgsnet.score.settings import Settings
from dgsnet.score.worklist import Worklist


@dataclass(frozen=True)
class Summary:
    """Counts of a finished shard: `inputs` is `scored` plus `failed`; `duplicates` of them had the bytes of an earlier one."""

    inputs: int
    scored: int
    failed: int
    duplicates: int
    parts: int


def score(data: Path, out: Path, settings: Settings, console: Console) -> tuple[Summary, Output, LeftOut]:
    """Score a data set, or the rest of it; return the counts, the folder, and what the listing of the data passed over.

    After `kill -9` at any moment the same call goes on: what has a row is not scored again.

    Args:
        data: whatever `dgsnet.data.layouts` knows; labels may be missing.
        out: folder of the run. Shards of one run share it and may run at the same time.
        settings, console: of the run, and for its progress.

    Raises:
        DatasetError: the data cannot be listed, or holds no images.
        ScoringError: the folder is of another run, a process is at this shard, or there is no cluster.
        ModelFolderError, WeightsError: no such model.
    """
    suffix = settings.shard.suffix
    if settings.cluster:
        settings.cluster.check()
    out.mkdir(parents=True, exist_ok=True)
    with _exclusive_lock(out / f".lock{suffix}"):
        detector = settings.load()
        output = Output(out, suffix, {})
        output.delete_leftovers()
        listing = list_samples(data, labelled=False)
        worklist = Worklist.write(output.work / "inputs.parquet", listing, settings.shard, settings.part_rows)
        if not worklist.total_inputs:
            raise DatasetError(no_images(data, listing.left_out))
        identity = {
            "model": detector.fingerprint,
            "data": worklist.fingerprint,
            "threshold": str(detector.config.calibration.generated),
            "dgsnet": __version__,
        } | settings.identity
        claim_folder(out, _manifest(identity, detector, data, worklist, settings))
        output = Output(out, suffix, identity, PART_SCHEMA_WITH_PROVENANCE if settings.asked.provenance else PART_SCHEMA)
        summary = _finish(output, worklist, detector, settings, console)
        output.delete_leftovers()
    return summary, output, listing.left_out


def _manifest(identity: dict[str, str], detector: Detector, data: Path, worklist: Worklist, settings: Settings) -> dict[str, Any]:
    """Return the manifest: `identity` is what another process or a later one must agree with; the rest is for people."""
    return {
        "identity": identity | {"shards": settings.shard.count, "part_rows": settings.part_rows},
        "model": detector.name,
        "data": str(data),
        "inputs": worklist.total_inputs,
        "device": settings.device,
        "batch_size": settings.batch_size,
    }


def _finish(output: Output, worklist: Worklist, detector: Detector, settings: Settings, console: Console) -> Summary:
    sizes = {part: worklist.size(part) for part in range(worklist.parts)}
    open_parts = [part for part, size in sizes.items() if not output.finished(part, size)]
    if not open_parts and output.summary.exists():
        return Summary(**json.loads(output.summary.read_text(encoding="utf-8")))
    cache_file, tally, on_disk = output.work / "known.sqlite", _Tally(), Counter[int]()
    with closing(SqliteDedupCache(cache_file, settings.columns)) as cache:
        for part in sizes:
            for row in output.rows(part):
                tally.add(row)
                on_disk[part] += 1
                if row["sha256"] is not None:
                    cache.put(row)
    for part in sizes.keys() - set(open_parts):
        output.write_errors(part)  # a kill may have come between the two
    with closing(SqliteDedupCache(cache_file, settings.columns)) as cache, ScoringProgress(console, len(worklist), tally.rows) as progress:
        todo = {part: on_disk[part] for part in open_parts}
        with _open_engine(settings, detector, worklist, cache, todo) as engine:
            for part in open_parts:
                output.write(part, sizes[part], partial(_counted, engine, part, tally, progress))
        summary = Summary(tally.rows, tally.rows - tally.failed, tally.failed, tally.hashed - cache.count(), worklist.parts)
    write_json(output.summary, asdict(summary))
    return summary


_Engine = Callable[[int, int], Iterator[dict[str, Any]]]
"""Yields the rows of a part from a number on; the cache has got each."""


@contextmanager
def _open_engine(
    settings: Settings, detector: Detector, worklist: Worklist, cache: SqliteDedupCache, todo: dict[int, int]
) -> Iterator[_Engine]:
    if settings.cluster is None:
        scorer = SampleScorer(detector, worklist.dataset(), cache, settings.batch_size, settings.asked)
        yield lambda part, done: scorer.rows(worklist.samples(part, done))
        return
    from dgsnet.score.ray_engine import open_engine  # noqa: PLC0415 - what needs an extra stays apart

    with open_engine(settings.cluster, settings, detector, worklist, cache, todo) as engine:
        yield engine.rows


@dataclass
class _Tally:
    rows: int = 0
    failed: int = 0
    hashed: int = 0

    def add(self, row: dict[str, Any]) -> None:
        self.rows += 1
        self.failed += row["error"] is not None
        self.hashed += row["sha256"] is not None


def _counted(engine: _Engine, part: int, tally: _Tally, progress: ScoringProgress, done: int) -> Iterator[dict[str, Any]]:
    for row in engine(part, done):
        tally.add(row)
        progress.advance()
        yield row


def _exclusive_lock(file: Path) -> AbstractContextManager[object]:
    """Take a shard's lock, one process at a time; the system releases it when that process ends, however it ends."""
    try:
        return FileLock(file).acquire(timeout=0)
    except Timeout as error:
        raise ScoringError(f"another process is writing to {file.parent}: wait for it, or give each its own --shard or --out") from error
