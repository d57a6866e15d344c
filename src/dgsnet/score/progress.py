"""Progress of a run: images done, images/s and time left, as a bar on a terminal, as one line per minute where there is none."""

from __future__ import annotations

import time
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

_LINE_EVERY = 60.0  # seconds


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} images/s")


class ScoringProgress:
    """Counts images from `done` to `total`. Use as a context manager."""

    def __init__(self, console: Console, total: int, done: int) -> None:
        columns = TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeElapsedColumn(), TimeRemainingColumn()
        self._console, self._total, self._done_before, self._done = console, total, done, done
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=300)
        self._task = self._bar.add_task("scoring", total=total, completed=done)
        self._start = self._printed = time.monotonic()

    def advance(self) -> None:
        """Count one more image."""
        self._done += 1
        self._bar.advance(self._task)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._printed >= _LINE_EVERY:
            self._printed = now
            self._console.print(self.line(now - self._start), highlight=False)

    def line(self, seconds: float) -> str:
        """Return the line to print after so many seconds."""
        rate = (self._done - self._done_before) / seconds
        left = f"{timedelta(seconds=round((self._total - self._done) / rate))} left" if rate else "no end in sight"
        return f"{self._done} of {self._total}, {rate:.1f} images/s, {left}"

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()
