"""How many images may be in work or wait for it. What has no place is refused at once, so that what has one is answered in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from dgsnet.service.api_error import overloaded

_NEW = 0.2  # weight of the latest image in the mean
_PATIENCE = 0.8  # of the time limit: how long an image may take is a mean, and some take longer


class Places:
    """A bounded number of places, fewer where an image takes so long that the last would not be answered within the time limit."""

    def __init__(self, number: int, limit: float, seconds: float = 0.1, clock: Callable[[], float] = time.monotonic) -> None:
        """`limit` is the time limit in seconds; `seconds` is what an image takes, until some have been seen."""
        self._number, self._limit, self._seconds, self._clock = number, limit, seconds, clock
        self._taken, self._last, self._lock = 0, clock(), threading.Lock()

    @property
    def taken(self) -> int:
        """Images in work or waiting."""
        return self._taken

    def take(self, count: int) -> None:
        """Take places.

        Raises:
            Refusal: there are not as many.
        """
        with self._lock:
            wanted = self._taken + count
            # One that finds nobody waiting is taken however long images took: how long they take now is not known otherwise.
            if wanted > self._number or (self._taken and wanted * self._seconds > self._limit * _PATIENCE):
                raise overloaded("queue_full", f"{self._taken} images are waiting already; try again later", self._seconds * wanted / 2)
            if not self._taken:
                self._last = self._clock()
            self._taken = wanted

    def give(self, count: int, done: bool = True) -> None:
        """Leave places; `done` where the images are done with, and not given up on."""
        with self._lock:
            self._taken -= count
            if done:  # they leave one by one while others wait: the time between is what one takes, however many are worked on at once
                now = self._clock()
                self._seconds += _NEW * ((now - self._last) / count - self._seconds)
                self._last = now
