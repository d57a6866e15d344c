"""The engine that scores on a Ray cluster, through `ray.data`: this process lists, takes rows in order and writes; workers do the rest.

Workers read images themselves, so only paths of images and rows travel. Ray keeps the order, holds back what would run ahead, and starts
dead workers again; what they were at is done again and gives the same rows.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dgsnet.core.errors import DgsnetError, ScoringError
from dgsnet.inference.detector import Detector
from dgsnet.runtimes.graph import GraphRuntime
from dgsnet.score.cluster import Cluster, remove_temp_folder
from dgsnet.score.dedup_cache import DedupCache, SqliteDedupCache
from dgsnet.score.settings import Settings
from dgsnet.score.worklist import Worklist

_TASK_ROWS = 64
"""Inputs per task: enough that Ray's part of it is small beside the model's."""
_MAX_TASKS = 20_000
"""About as many tasks as this process keeps track of; of longer runs each gets more inputs."""
_MIN_TASKS_PER_WORKER = 8
"""So many, that all workers end at about the same time."""
_CPUS_PER_THREAD = 0.5
"""That a worker reserves for each of its threads, which use a whole one: the other half is where the workers of a lost machine are started
again. Were there none, what they were at would wait until a machine joins."""
_MAX_START_DEATHS = 3
"""Workers that may die while they load the model, one after the other."""

_NumberedRow = tuple[int, int, str]
"""Part, number in it, row as JSON."""


@dataclass
class RayEngine:
    """Engine of the workers of a cluster. `cache` gets each row."""

    worklist: Worklist
    cache: DedupCache
    stream: Iterator[_NumberedRow]
    """All that has no row yet, in order."""

    def rows(self, part: int, done: int) -> Iterator[dict[str, Any]]:
        """Yield the rows of a part from number `done` on; parts in order. `ScoringError` where the cluster gives up or gives others."""
        for number in range(done, self.worklist.size(part)):
            found = next(self.stream, None)
            if found is None or found[:2] != (part, number):
                raise ScoringError(f"the cluster gave {found and found[:2]} where part {part}, row {number} comes: start again")
            row: dict[str, Any] = json.loads(found[2])
            if row["sha256"] is not None:
                self.cache.put(row)
            yield row


@contextmanager
def open_engine(
    cluster: Cluster, settings: Settings, detector: Detector, worklist: Worklist, cache: SqliteDedupCache, todo: Mapping[int, int]
) -> Iterator[RayEngine]:
    """Start workers on the parts that are not finished, given with the number of rows each has; `ScoringError` where there is no cluster.

    The workers' detectors must agree with `detector`; the worklist must lie where all machines see it.
    """
    note = worklist.file.parent.with_name(f".ray{worklist.file.parent.name}")
    remove_temp_folder(note)
    left = {part: (done, worklist.size(part)) for part, done in todo.items() if done < worklist.size(part)}
    if not left:
        yield RayEngine(worklist, cache, iter(()))
        return
    with cluster.connect(note) as workers:
        chunks = list(_chunks(left, workers, 8 * settings.batch_size if settings.device != "cpu" else _TASK_ROWS))
        with _start_workers(settings, detector, worklist, cache.file, chunks, workers) as stream:
            yield RayEngine(worklist, cache, stream)


def _chunks(left: Mapping[int, tuple[int, int]], workers: int, wanted: int) -> Iterator[dict[str, int]]:
    total = sum(stop - start for start, stop in left.values())
    rows = max(min(wanted, total // (_MIN_TASKS_PER_WORKER * workers)), total // _MAX_TASKS, 1)
    for part, (start, stop) in left.items():
        yield from ({"part": part, "start": begin, "stop": min(begin + rows, stop)} for begin in range(start, stop, rows))


@contextmanager
def _start_workers(
    settings: Settings, detector: Detector, worklist: Worklist, cache_file: Path, chunks: list[dict[str, int]], workers: int
) -> Iterator[Iterator[_NumberedRow]]:
    import ray  # noqa: PLC0415 - an extra
    import ray.data  # noqa: PLC0415
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415

    from dgsnet.score.ray_worker import Coordinator, Job, Worker  # noqa: PLC0415

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    copy = shutil.copyfile(cache_file, cache_file.with_name("registry.sqlite"))
    coordinator = ray.remote(num_cpus=0, scheduling_strategy=here)(Coordinator).remote(str(copy.absolute()), settings.columns)
    paths = (worklist.file, worklist.root, *[Path(settings.model)] * Path(settings.model).is_dir())
    threads = settings.threads or 1
    job = Job(
        # Of a torch model Ray says it, by OMP_NUM_THREADS.
        replace(settings, threads=threads if isinstance(detector.runtime, GraphRuntime) else None),
        fingerprint=detector.fingerprint,
        worklist=worklist.file,
        root=worklist.root,
        folder=None if all(path.is_absolute() for path in paths) else os.getcwd(),  # noqa: PTH109 - to go there by chdir
    )
    inputs = ray.data.from_items(chunks, override_num_blocks=len(chunks))
    inputs.context.execution_options.preserve_order = True
    inputs.context.enable_progress_bars = False
    inputs.context.max_consecutive_actor_init_deaths = _MAX_START_DEATHS
    scored = inputs.map_batches(
        Worker,
        fn_constructor_kwargs={"job": job, "coordinator": coordinator},
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(chunks))),
        num_cpus=_CPUS_PER_THREAD * threads,
        num_gpus=None if settings.device == "cpu" else 1,
    )
    stream = _stream(scored)
    try:
        yield stream
    finally:
        stream.close()
        ray.kill(coordinator)


def _stream(scored: Any) -> Any:
    """Yield (part, number, row) of a data set as they come."""
    from dgsnet.score.ray_worker import STOPPED  # noqa: PLC0415

    try:
        for table in scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            for part, number, row in zip(*(table.column(name).to_pylist() for name in ("part", "number", "row")), strict=True):
                if part == STOPPED:
                    raise ScoringError(row)
                yield part, number, row
    except GeneratorExit:
        raise
    except Exception as error:  # Ray's own classes, which derive from several
        raise ScoringError(f"the cluster gave up: {_reason(error)}. What it has scored is kept; the same call goes on") from error


def _reason(error: BaseException) -> str:
    """Return a worker's own error, where there is one; else the last line of Ray's."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DgsnetError):
            return str(getattr(seen, "cause", seen))
        seen = seen.__cause__ or getattr(seen, "cause", None)
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip().rstrip(".")
