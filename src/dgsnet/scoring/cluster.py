"""The engine that scores on a Ray cluster: the same operator, run by actors that each hold a detector.

Actors read the run's folder and the images themselves, so both must lie where every node sees them under the same path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dgsnet.errors import ScoringError
from dgsnet.rows import arrow_table
from dgsnet.scoring.known import KnownOnDisk
from dgsnet.scoring.operator import Operator
from dgsnet.scoring.output import PART_SCHEMA
from dgsnet.scoring.worklist import Worklist

if TYPE_CHECKING:
    from dgsnet.scoring.run import Settings

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when a cluster is started: nothing is sent anywhere
try:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise ScoringError("--engine ray needs Ray: pip install 'dgsnet[cluster]'") from error

_TASK = 128
"""Images an actor scores at a time; what is lost and done again when it dies."""


@dataclass(frozen=True)
class _KnownOnDriver:
    """`dgsnet.scoring.known.Known` by way of the one actor that has the index."""

    actor: Any

    def get(self, sha256: str, path: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = ray.get(self.actor.get.remote(sha256, path))
        return found

    def put(self, row: dict[str, Any]) -> None:
        self.actor.put.remote(row)

    def count(self) -> int:
        return int(ray.get(self.actor.count.remote()))


class _Scorer:
    """An actor: a detector, and a place in the worklist to score at each call."""

    def __init__(self, settings: Settings, worklist: Worklist, fingerprint: str, known: Any) -> None:
        detector = settings.load()
        if detector.fingerprint != fingerprint:
            raise ScoringError(f"the model {settings.model} is another one on this node: give all nodes the same folder")
        self.worklist = worklist
        self.operator = Operator(detector, worklist.dataset(), _KnownOnDriver(known), settings.batch_size)

    def __call__(self, tasks: dict[str, Any]) -> Iterator[pa.Table]:
        for part, start, stop in zip(tasks["part"], tasks["start"], tasks["stop"], strict=True):
            yield arrow_table(self.operator.rows(self.worklist.samples(int(part), int(start), int(stop))), PART_SCHEMA)


@dataclass(frozen=True)
class RayEngine:
    """Rows of all open parts, in order, from one stream.

    Attributes:
        worklist: the inputs.
        stream: rows, from the first open part to the last.
    """

    worklist: Worklist
    stream: Iterator[dict[str, Any]]

    def rows(self, part: int, done: int) -> Iterator[dict[str, Any]]:
        """The rows of a part from number `done` on; those before it are scored once more, and dropped."""
        return islice(self.stream, done, self.worklist.size(part))


@contextmanager
def ray_engine(settings: Settings, worklist: Worklist, fingerprint: str, index: Path, parts: list[int]) -> Iterator[RayEngine]:
    """An engine on the cluster that `RAY_ADDRESS` names, or on one of this machine alone that is started for the run.

    Args:
        settings: of the run.
        worklist: the inputs.
        fingerprint: of the detector that every node must have.
        index: file of `KnownOnDisk`.
        parts: those to score, in order.

    Raises:
        ScoringError: Ray is not installed, or the cluster has no room for a detector.
    """
    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, logging_level="warning", **({} if "RAY_ADDRESS" in os.environ else {"include_dashboard": False}))
    try:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        known = ray.remote(KnownOnDisk).options(num_cpus=0, scheduling_strategy=here).remote(index)
        yield RayEngine(worklist, _rows(settings, worklist, fingerprint, known, parts))
        ray.get(known.close.remote())
    finally:
        if started:
            ray.shutdown()


def _rows(settings: Settings, worklist: Worklist, fingerprint: str, known: Any, parts: list[int]) -> Iterator[dict[str, Any]]:
    tasks = [
        {"part": part, "start": start, "stop": min(start + _TASK, worklist.size(part))}
        for part in parts
        for start in range(0, worklist.size(part), _TASK)
    ]
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    rows = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
        _Scorer,
        fn_constructor_args=(settings, worklist, fingerprint, known),
        batch_size=1,
        concurrency=settings.workers or _room(settings),
        num_gpus=1 if settings.device.startswith("cuda") else 0,
    )
    for table in rows.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from table.to_pylist()


def _room(settings: Settings) -> int:
    """Detectors the cluster has room for: one a GPU, or one a CPU."""
    kind = "GPU" if settings.device.startswith("cuda") else "CPU"
    room = int(ray.cluster_resources().get(kind, 0))
    if room < 1:
        raise ScoringError(f"the Ray cluster has no {kind}: choose another --device, or add nodes")
    return room
