"""One thread that runs the model for all requests; whatever waits when it is free is one batch, which changes no score."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

from dgsnet.inference.detector import Detector
from dgsnet.inference.prepare import Prepared
from dgsnet.inference.verdict import Verdict

Job = tuple[Prepared, "Future[Verdict]"]


class BatchScorer:
    """Scores prepared images in the order they come. Close when done."""

    def __init__(self, detector: Detector, batch: int, on_batch: Callable[[float, int], None] = lambda *_: None) -> None:
        """Start the thread. `batch` is of a GPU, see `Detector`; `on_batch` gets the seconds a batch took and the images in it."""
        self._detector, self._batch, self._on_batch = detector, detector.at_once(batch), on_batch
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="scorer", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True while it works."""
        return self._thread.is_alive()

    def score(self, prepared: Prepared) -> Future[Verdict]:
        """Queue an image for its verdict; a future that is cancelled before its turn costs nothing."""
        future: Future[Verdict] = Future()
        self._jobs.put((prepared, future))
        return future

    def close(self) -> None:
        """Finish what waits, then end."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs, last = [job], False
            while len(jobs) < self._batch and not last:
                try:
                    following = self._jobs.get_nowait()
                except queue.Empty:
                    break
                last = following is None
                jobs += [] if following is None else [following]
            self._score([one for one in jobs if one[1].set_running_or_notify_cancel()])
            if last:
                return

    def _score(self, jobs: list[Job]) -> None:
        if not jobs:
            return
        start = time.perf_counter()
        try:
            verdicts = list(self._detector.score_prepared([prepared for prepared, _ in jobs], self._batch))
        except Exception as error:  # whatever the model raises costs this batch, not the service
            for _, future in jobs:
                future.set_exception(error)
        else:
            for (_, future), verdict in zip(jobs, verdicts, strict=True):
                future.set_result(verdict)
        self._on_batch(time.perf_counter() - start, len(jobs))


def seconds_per_image(detector: Detector) -> float:
    """Measure how long the model alone takes for all views of a large grey picture, once it is warm."""
    preprocessing, number = detector.config.preprocessing, detector.at_once(1)
    size = preprocessing.size
    views = np.stack([preprocessing(np.full((size, size, 3), 128, np.uint8))] * number)
    detector.runtime.run(views)
    start = time.perf_counter()
    detector.runtime.run(views)
    return (time.perf_counter() - start) / number * len(preprocessing.parts(2 * size, 2 * size))
