"""Actors of a Ray cluster: workers that hold a detector, and a coordinator that holds the rows of bytes scored before."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayActorError

from dgsnet import __version__
from dgsnet.core.errors import ScoringError, reason_of
from dgsnet.data.sample import Sample
from dgsnet.score.dedup_cache import SqliteDedupCache, at_path, without_path
from dgsnet.score.score_samples import SampleScorer
from dgsnet.score.settings import Settings
from dgsnet.score.worklist import Worklist

MAX_STARTS = 2
"""Workers that may start the same inputs together, and then the same input alone: when so many have died at it, it is what they died of."""

STOPPED = -1
"""The part of a row that is the reason to stop, where a worker cannot go on. Ray would wrap an exception in classes of its own."""


class Coordinator:
    """An actor: the deduplication cache of all workers, and how often which inputs were started.

    It is only there to save work: when it is gone, workers score duplicates again, to the same rows.
    """

    def __init__(self, file: str, columns: tuple[str, ...]) -> None:
        """Open the file of a `SqliteDedupCache` of rows with these columns, which nobody else has open."""
        self._cache = SqliteDedupCache(Path(file), columns)
        self._starts: Counter[tuple[int, int, bool]] = Counter()

    def count_start(self, part: int, start: int, alone: bool) -> int:
        """Count that inputs from a number on, or that one alone, are started; return how often they were before."""
        self._starts[part, start, alone] += 1
        return self._starts[part, start, alone] - 1

    def forget_start(self, part: int, number: int) -> None:
        """Take back that an input was started alone: it has a row."""
        del self._starts[part, number, True]

    def get(self, sha256: str) -> dict[str, Any] | None:
        """Return the row of these bytes wherever they lie (`without_path`); None where they have none yet."""
        found = self._cache.get(sha256, "")
        return found and without_path(found)

    def put(self, row: dict[str, Any]) -> None:
        """Add a row that has a `sha256`."""
        self._cache.put(row)


class SharedDedupCache:
    """`DedupCache` of one call of a worker: asks the coordinator, and keeps the answers, so that they are the same until the call ends."""

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator
        self._kept: dict[str, dict[str, Any]] = {}

    def get(self, sha256: str, path: str) -> dict[str, Any] | None:
        """See `DedupCache`."""
        if sha256 not in self._kept:
            try:
                found = ray.get(self._coordinator.get.remote(sha256))
            except RayActorError:
                found = None
            if found is None:
                return None
            self._kept[sha256] = found
        return at_path(self._kept[sha256], path)

    def put(self, row: dict[str, Any]) -> None:
        """See `DedupCache`."""
        self._kept[row["sha256"]] = without_path(row)
        self._coordinator.put.remote(row)


@dataclass(frozen=True)
class Job:
    """Configuration of a worker.

    Attributes:
        settings: of the run.
        fingerprint: of the driver's detector.
        worklist: file.
        root: folder that its paths are relative to.
        folder: the driver's, which paths are relative to; None where all are absolute.
        version: of dgsnet.
    """

    settings: Settings
    fingerprint: str
    worklist: Path
    root: Path
    folder: str | None
    version: str = __version__


class Worker:
    """An actor: inputs in, rows out."""

    def __init__(self, job: Job, coordinator: Any) -> None:
        """Load the model.

        Raises:
            ScoringError: this machine has another dgsnet, another model, or does not see the driver's files.
            ModelFolderError, WeightsError: no such model here.
        """
        here = socket.gethostname()
        if job.version != __version__:
            raise ScoringError(f"{here} has dgsnet {__version__}, the run was begun with {job.version}: install the same on all machines")
        if job.folder is not None:
            try:
                os.chdir(job.folder)
            except OSError as error:
                raise ScoringError(
                    f"{here} does not see {job.folder} ({error.strerror}): give absolute paths that all machines see"
                ) from error
        if not job.worklist.is_file():
            raise ScoringError(f"{here} does not see {job.worklist}: --out, --data and --model must lie where all machines see them")
        detector = job.settings.load()
        if detector.fingerprint != job.fingerprint:
            raise ScoringError(f"{job.settings.model} is another model on {here} than where the run was begun: copy that one")
        self._detector, self._settings, self._coordinator = detector, job.settings, coordinator
        self._worklist = Worklist(job.worklist, job.root)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Score inputs `start` to `stop` of a `part`, for each row of (part, start, stop).

        Returns (part, number, row) per input. A row is text, as it will be on disk: JSON keeps every bit of a number, and file names that
        are no Unicode. Where no row can be given at all, one of part `STOPPED` says why.
        """
        try:
            rows = [(part, number, json.dumps(row)) for one in batch.to_pylist() for part, number, row in self._rows(**one)]
        except Exception as error:
            rows = [(STOPPED, 0, reason_of(error))]
        return pa.table(list(map(list, zip(*rows, strict=True))), names=["part", "number", "row"])

    def _rows(self, part: int, start: int, stop: int) -> Iterator[tuple[int, int, dict[str, Any]]]:
        cache, settings = SharedDedupCache(self._coordinator), self._settings
        scorer = SampleScorer(self._detector, self._worklist.dataset(), cache, settings.batch_size, settings.asked)
        together = self._count_start(part, start, alone=False) < MAX_STARTS
        samples = self._worklist.samples(part, start, stop)
        rows = scorer.rows(samples) if together else self._one_by_one(scorer, part, start, samples)
        yield from ((part, number, row) for number, row in enumerate(rows, start))

    def _one_by_one(self, scorer: SampleScorer, part: int, start: int, samples: Iterator[Sample]) -> Iterator[dict[str, Any]]:
        """Yield the rows of inputs at which workers died one after the other; the input they died of has an `error`."""
        for number, sample in enumerate(samples, start):
            if self._count_start(part, number, alone=True) >= MAX_STARTS:
                yield scorer.failed(sample, "the process that scores it dies of it; leave it out")
                continue
            yield from scorer.rows([sample])
            with suppress(RayActorError):
                self._coordinator.forget_start.remote(part, number)

    def _count_start(self, part: int, start: int, *, alone: bool) -> int:
        """Return how often inputs were started before; 0 where the coordinator is gone."""
        try:
            return int(ray.get(self._coordinator.count_start.remote(part, start, alone)))
        except RayActorError:
            return 0
