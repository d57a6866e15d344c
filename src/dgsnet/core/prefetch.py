"""Work ahead of whoever takes its results: reading, decoding and cutting views go on in threads while the model computes.

Threads are enough: Pillow, numpy and hashlib let go of the interpreter while they work, and so do the runtimes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_MOST = 16  # workers; a GPU that 16 cores cannot feed is rare, and each worker holds a decoded picture


def default_workers() -> int:
    """Return as many threads as this process may use cores, at most 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST)


def in_order(function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int, ahead: int) -> Generator[_Result, None, None]:
    """Yield the results of `function`, in the order of the items, whatever finishes first.

    Items are taken in the thread that takes results, when it takes one. An exception, of the items or of `function`, is raised in its
    place; then, as when the generator is closed early, what has not begun is dropped, and no thread is left.

    Args:
        function: called in a thread, at most `workers` at once.
        items: may be endless.
        workers: threads.
        ahead: items, at least 1, that are taken before the first result is: what is in memory at once.
    """
    pool = ThreadPoolExecutor(workers, "ahead")
    waiting: deque[Future[_Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
