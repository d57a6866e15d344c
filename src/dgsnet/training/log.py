"""The training log: one JSON line per step on disk, TensorBoard beside it, a progress bar on the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from dgsnet.core.files import write_text

STAGE_NAMES = {"probe": "stage 1, linear probe", "finetune": "stage 2, fine-tuning"}


class TrainingLog:
    """`log.jsonl`: one object per step with `stage`, `epoch`, `step`, the loss, its terms and what was observed."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def rewind(self, stage: str | None, step: int, stages: tuple[str, ...]) -> None:
        """Drop what was logged after `step` steps of `stage`: a run that died goes on from its checkpoint, and no step stands twice."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        if not self.file.exists():
            return
        done = stages.index(stage) if stage else -1
        kept = []
        for line in self.file.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the line a kill cut in half
            number = stages.index(row["stage"])
            if number < done or (number == done and row["step"] <= step):
                kept.append(line)
        write_text(self.file, "".join(f"{line}\n" for line in kept))

    def write(self, row: dict[str, Any]) -> None:
        """Append one step."""
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")


class TrainingProgress(Progress):
    """One bar per task, and below them the figures of the last step on lines of their own, so that a narrow terminal shows both."""

    def __init__(self, **options: Any) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self.figures = ""
        super().__init__(*columns, **options)

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the bars, then the figures if there are any."""
        yield self.make_tasks_table(self.tasks)
        if self.figures:
            yield Text(self.figures, style="dim")


def describe(row: dict[str, Any]) -> str:
    """Describe the figures of a step in words."""
    names = {"feature_norm": "||f||", "removed": "gradient removed", "alignment": "alignment / task"}
    return "  ".join(
        f"{names.get(key, key.replace('_', ' '))} {value:{'.1%' if key in {'removed', 'alignment'} else '.3f'}}"
        for key, value in row.items()
        if key not in {"stage", "epoch", "step"}
    )
