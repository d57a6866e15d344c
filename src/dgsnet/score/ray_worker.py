"""What runs in the processes of a Ray cluster: workers that hold a detector, and one that knows what was said of which bytes."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayActorError

from dgsnet import __version__
from dgsnet.core.errors import ScoringError
from dgsnet.score.dedup_cache import KnownOnDisk, at_path, without_path
from dgsnet.score.score_samples import Operator
from dgsnet.score.settings import Settings
from dgsnet.score.worklist import Worklist

BEGINNINGS = 8
"""Workers that may begin the same inputs; when so many have died at them, one of the inputs is what they died of."""


class Registry:
    """An actor: what was said of which bytes, for all workers, and how often which inputs were begun.

    It is only there to save work: when it is gone, workers score copies again, and say the same of them.
    """

    def __init__(self, file: str) -> None:
        """Open what is known: a file of `KnownOnDisk`, which nobody else has open."""
        self._known = KnownOnDisk(Path(file))
        self._begun: Counter[tuple[int, int]] = Counter()

    def begin(self, part: int, start: int) -> int:
        """Note that inputs are begun; how often they were before."""
        self._begun[part, start] += 1
        return self._begun[part, start] - 1

    def get(self, sha256: str) -> dict[str, Any] | None:
        """What is to be said of these bytes wherever they lie (`without_path`); None where nothing was said yet."""
        found = self._known.get(sha256, "")
        return found and without_path(found)

    def put(self, row: dict[str, Any]) -> None:
        """Remember a row that has a `sha256`."""
        self._known.put(row)


class KnownToAll:
    """`Known` of one call of a worker: asks the registry, and keeps what it said, so that it says the same until the call ends."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry
        self._kept: dict[str, dict[str, Any]] = {}

    def get(self, sha256: str, path: str) -> dict[str, Any] | None:
        """See `Known`."""
        if sha256 not in self._kept:
            try:
                found = ray.get(self._registry.get.remote(sha256))
            except RayActorError:
                found = None
            if found is None:
                return None
            self._kept[sha256] = found
        return at_path(self._kept[sha256], path)

    def put(self, row: dict[str, Any]) -> None:
        """See `Known`."""
        self._kept[row["sha256"]] = without_path(row)
        self._registry.put.remote(row)

    def count(self) -> int:
        """See `Known`; of this call."""
        return len(self._kept)


@dataclass(frozen=True)
class Job:
    """What a worker needs to be told.

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
    """An actor of the pipeline: inputs in, rows out."""

    def __init__(self, job: Job, registry: Any) -> None:
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
        self._detector, self._settings, self._registry = detector, job.settings, registry
        self._worklist = Worklist(job.worklist, job.root)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Score inputs `start` to `stop` of a `part`, for each row of (part, start, stop).

        Gives (part, number, row) an input. A row is text, as it will be on disk: JSON keeps every bit of a number, and file names that
        are no Unicode.
        """
        rows = [(part, number, json.dumps(row)) for one in batch.to_pylist() for part, number, row in self._rows(**one)]
        return pa.table(list(map(list, zip(*rows, strict=True))), names=["part", "number", "row"])

    def _rows(self, part: int, start: int, stop: int) -> Any:
        self._begin(part, start, stop)
        operator = Operator(self._detector, self._worklist.dataset(), KnownToAll(self._registry), self._settings.batch_size)
        for number, row in enumerate(operator.rows(self._worklist.samples(part, start, stop)), start):
            yield part, number, row

    def _begin(self, part: int, start: int, stop: int) -> None:
        try:
            before = ray.get(self._registry.begin.remote(part, start))
        except RayActorError:
            return
        if before >= BEGINNINGS:
            first, *_, last = [sample.path for sample in self._worklist.samples(part, start, stop)] * 2
            raise ScoringError(f"{before} workers died one after the other at the inputs from {first} to {last}: one of these is the cause")
