"""Splits: the part of a data set that a command takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dgsnet.cli import terminal
from dgsnet.core.errors import DatasetError

if TYPE_CHECKING:
    from dgsnet.data.dataset import Dataset


def load(data: Path, split: str | None, default: str = "", caption_column: str = "caption") -> Dataset:
    """Load labelled data, name what it leaves out, and return the part that `chosen` does."""
    from dgsnet.data.dataset import load_dataset

    dataset = load_dataset(data, caption_column=caption_column)
    terminal.name_left_out(dataset.left_out)
    return chosen(dataset, split, default)


def names(dataset: Dataset) -> list[str]:
    """Return the splits the data names, sorted."""
    return sorted({sample.split for sample in dataset if sample.split})


def chosen(dataset: Dataset, split: str | None, default: str) -> Dataset:
    """Return the split asked for, else the `default` one, else all of data that has no such split.

    Raises:
        DatasetError: the data has no split of the name asked for.
    """
    present = names(dataset)
    if split is None and default not in present:
        return dataset
    wanted = split or default
    if wanted not in present:
        raise DatasetError(f"the data has no split {wanted!r}: it has {', '.join(present) or 'none'}")
    part = dataset.with_split(wanted)
    terminal.console().print(f"split {wanted!r}: {len(part)} of {len(dataset)} images")
    return part
