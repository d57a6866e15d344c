"""How many images may be in work or wait for it. What has no place is refused at once, so that what has one is answered in time."""

from __future__ import annotations

import threading

from dgsnet.service.errors import overloaded

_NEW = 0.2  # weight of the latest image in the mean


class Places:
    """A bounded number of places."""

    def __init__(self, number: int, seconds: float = 0.5) -> None:
        """`seconds` is what an image takes, until some have been seen."""
        self._number, self._taken, self._seconds, self._lock = number, 0, seconds, threading.Lock()

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
            if self._taken + count > self._number:
                wait = self._seconds * max(1, self._taken + count - self._number)
                raise overloaded("queue_full", f"{self._taken} images are waiting already; try again later", wait)
            self._taken += count

    def give(self, count: int) -> None:
        """Leave places."""
        with self._lock:
            self._taken -= count

    def took(self, seconds: float) -> None:
        """Note what one image has taken, for when to try again."""
        with self._lock:
            self._seconds += _NEW * (seconds - self._seconds)
