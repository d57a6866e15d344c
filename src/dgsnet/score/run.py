"""A scoring run, from its beginning or from where it was killed, to its end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout
from rich.console import Console

from dgsnet import __version__
from dgsnet.core.errors import DatasetError, ScoringError
from dgsnet.core.files import write_json
from dgsnet.data.layouts import list_samples
from dgsnet.inference.detector import Detector
from dgsnet.score.dedup_cache import KnownOnDisk
from dgsnet.score.local_engine import LocalEngine
from dgsnet.score.output import Output, agree_on
from dgsnet.score.progress import Meter
from dgsnet.score.score_samples import Operator
from dgsnet.score.settings import Settings
from dgsnet.score.worklist import Worklist


@dataclass(frozen=True)
class Summary:
    """What a finished shard says of itself: `inputs` is `scored` plus `failed`; `duplicates` of them had the bytes of an earlier one."""

    inputs: int
    scored: int
    failed: int
    duplicates: int
    parts: int


def score(data: Path, out: Path, settings: Settings, console: Console) -> tuple[Summary, Output]:
    """Score a data set, or the rest of it.

    After `kill -9` at any moment the same call goes on: what has a row is not scored again.

    Args:
        data: whatever `dgsnet.data.layouts` knows; labels may be missing.
        out: folder of the run. Shards of one run share it and may run at the same time.
        settings: of the run.
        console: for progress.

    Raises:
        DatasetError: the data cannot be listed, or holds no images.
        ScoringError: the folder is of another run, a process is at this shard, or there is no cluster.
        ModelFolderError, WeightsError: no such model.
    """
    mark = settings.shard.mark
    if settings.cluster:
        settings.cluster.check()
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out / f".lock{mark}"):
        detector = settings.load()
        output = Output(out, mark, {})
        output.tidy()
        worklist = Worklist.write(output.work / "inputs.parquet", list_samples(data, labelled=False), settings.shard, settings.part_rows)
        if not worklist.seen:
            raise DatasetError(f"{data}: holds no images")
        identity = {
            "model": detector.fingerprint,
            "data": worklist.fingerprint,
            "threshold": str(detector.config.calibration.generated),
            "dgsnet": __version__,
        }
        agree_on(out, _manifest(identity, detector, data, worklist, settings))
        output = Output(out, mark, identity)
        summary = _finish(output, worklist, detector, settings, console)
        output.tidy()
    return summary, output


def _manifest(identity: dict[str, str], detector: Detector, data: Path, worklist: Worklist, settings: Settings) -> dict[str, Any]:
    """`identity` is what another process or a later one must agree with; the rest is for people."""
    return {
        "identity": identity | {"shards": settings.shard.count, "part_rows": settings.part_rows},
        "model": detector.name,
        "data": str(data),
        "inputs": worklist.seen,
        "device": settings.device,
        "batch_size": settings.batch_size,
    }


def _finish(output: Output, worklist: Worklist, detector: Detector, settings: Settings, console: Console) -> Summary:
    sizes = {part: worklist.size(part) for part in range(worklist.parts)}
    open_parts = [part for part, size in sizes.items() if not output.finished(part, size)]
    if not open_parts and output.summary.exists():
        return Summary(**json.loads(output.summary.read_text(encoding="utf-8")))
    index, tally, there = output.work / "known.sqlite", _Tally(), Counter[int]()
    with closing(KnownOnDisk(index)) as known:
        for part in sizes:
            for row in output.rows(part):
                tally.add(row)
                there[part] += 1
                if row["sha256"] is not None:
                    known.put(row)
    for part in sizes.keys() - set(open_parts):
        output.write_errors(part)  # a kill may have come between the two
    with closing(KnownOnDisk(index)) as known, Meter(console, len(worklist), tally.rows) as meter:
        todo = {part: there[part] for part in open_parts}
        with _engine(settings, detector, worklist, known, index, todo) as engine:
            for part in open_parts:
                output.write(part, sizes[part], partial(_counted, engine, part, tally, meter))
        summary = Summary(tally.rows, tally.rows - tally.failed, tally.failed, tally.hashed - known.count(), worklist.parts)
    write_json(output.summary, asdict(summary))
    return summary


class _Engine(Protocol):
    def rows(self, part: int, done: int) -> Iterator[dict[str, Any]]:
        """The rows of a part from number `done` on; `known` has learnt of each."""


@contextmanager
def _engine(
    settings: Settings, detector: Detector, worklist: Worklist, known: KnownOnDisk, index: Path, todo: dict[int, int]
) -> Iterator[_Engine]:
    if settings.cluster is None:
        yield LocalEngine(Operator(detector, worklist.dataset(), known, settings.batch_size), worklist)
        return
    from dgsnet.score.ray_engine import open_engine  # noqa: PLC0415 - what needs an extra stays apart

    with open_engine(settings.cluster, settings, detector, worklist, known, index, todo) as engine:
        yield engine


@dataclass
class _Tally:
    rows: int = 0
    failed: int = 0
    hashed: int = 0

    def add(self, row: dict[str, Any]) -> None:
        self.rows += 1
        self.failed += row["error"] is not None
        self.hashed += row["sha256"] is not None


def _counted(engine: _Engine, part: int, tally: _Tally, meter: Meter, done: int) -> Iterator[dict[str, Any]]:
    for row in engine.rows(part, done):
        tally.add(row)
        meter.advance()
        yield row


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """One process a shard; the system lets go of the lock when that process ends, however it ends."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ScoringError(f"another process is writing to {file.parent}: wait for it, or give each its own --shard or --out") from error
    try:
        yield
    finally:
        lock.release()
