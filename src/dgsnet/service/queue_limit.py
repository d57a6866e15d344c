"""A limit of images in work or waiting. What gets no slot is refused at once, so that what has one is answered in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from dgsnet.service.api_error import overloaded

_LATEST_WEIGHT = 0.2  # of the latest image in the mean
_LIMIT_SHARE = 0.8  # of the time limit: how long an image may take is a mean, and some take longer


class QueueSlots:
    """A bounded number of slots, fewer where an image takes so long that the last would not be answered within the time limit."""

    def __init__(self, number: int, limit: float, seconds: float = 0.1, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with `number` free; `limit` is the time limit in seconds, `seconds` what an image takes, until some have been seen."""
        self._number, self._limit, self._seconds, self._clock = number, limit, seconds, clock
        self._in_use, self._last, self._lock = 0, clock(), threading.Lock()

    @property
    def in_use(self) -> int:
        """Images in work or waiting."""
        return self._in_use

    def acquire(self, count: int) -> None:
        """Acquire slots; `ApiError` (429) where there are not as many."""
        with self._lock:
            wanted = self._in_use + count
            # One that finds nobody waiting is taken however long images took: how long they take now is not known otherwise.
            if wanted > self._number or (self._in_use and wanted * self._seconds > self._limit * _LIMIT_SHARE):
                raise overloaded("queue_full", f"{self._in_use} images are waiting already; try again later", self._seconds * wanted / 2)
            if not self._in_use:
                self._last = self._clock()
            self._in_use = wanted

    def release(self, count: int, done: bool = True) -> None:
        """Release slots; `done` where the images are done with, and not given up on."""
        with self._lock:
            self._in_use -= count
            if done:  # they leave one by one while others wait: the time between is what one takes, however many are worked on at once
                now = self._clock()
                self._seconds += _LATEST_WEIGHT * ((now - self._last) / count - self._seconds)
                self._last = now
