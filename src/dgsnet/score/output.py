"""The folder a run writes: manifest, parts, errors, summary. Whatever is there is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from dgsnet.core.errors import DatasetError, ScoringError
from dgsnet.core.files import replacing, write_json
from dgsnet.inference import resumable_parquet
from dgsnet.inference.parquet_writer import SCHEMA

MANIFEST, ERRORS = "manifest.json", "errors"
PART_SCHEMA = pa.schema([("key", pa.string()), *SCHEMA])
"""A row of `detect`, and before it the path within the data set."""
ERROR_SCHEMA = pa.schema([("key", pa.string()), ("path", pa.string()), ("reason", pa.string())])

Rows = Iterator[dict[str, Any]]


def agree_on(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest, or find that the folder has the same one. Of processes that begin at once, one writes and the others compare.

    Raises:
        ScoringError: the folder is of another run, or its manifest is damaged.
    """
    file = folder / MANIFEST
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".manifest.lock"):
        if not file.exists():
            write_json(file, manifest)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["identity"]
        differing = [name for name, value in manifest["identity"].items() if found[name] != value]
    except (ValueError, KeyError, TypeError) as error:
        raise ScoringError(f"{file} is damaged ({error}): choose another folder for --out") from error
    if differing:
        was = ", ".join(f"{name} {found[name]} (now {manifest['identity'][name]})" for name in differing)
        raise ScoringError(f"{folder} holds a run of {was}: choose another folder for --out, or go on with what it was begun with")


@dataclass(frozen=True)
class Output:
    """The files of one shard in the folder.

    Attributes:
        folder: of the run.
        mark: of the shard, in the name of each file.
        identity: what rows follow from; kept in each part.
    """

    folder: Path
    mark: str
    identity: dict[str, str]

    def part(self, number: int) -> Path:
        """The file of a part."""
        return self.folder / f"part{self.mark}-{number:05d}.parquet"

    def errors(self, number: int) -> Path:
        """The file of what failed in a part."""
        return self.folder / ERRORS / self.part(number).name

    @property
    def summary(self) -> Path:
        """What a finished shard says of itself."""
        return self.folder / f"summary{self.mark}.json"

    @property
    def work(self) -> Path:
        """A folder for what only this shard's process needs while it runs."""
        return self.folder / f".work{self.mark}"

    def finished(self, number: int, size: int) -> bool:
        """Whether a part of `size` rows is there.

        Raises:
            DatasetError: it is damaged.
            ScoringError: it is of another run.
        """
        target = self.part(number)
        if not target.exists():
            return False
        if resumable_parquet.read_identity(target) != self.identity or pq.read_metadata(target).num_rows != size:
            raise ScoringError(f"{target} is not the part that this run writes there: choose another folder for --out, or delete it")
        return True

    def write(self, number: int, size: int, rows_from: Callable[[int], Rows]) -> None:
        """Write a part and what failed in it. A part whose beginning is on disk is gone on with: `rows_from` gets the number of its rows.

        Raises:
            ScoringError: the engine gave too few rows or too many.
        """

        def exactly(done: int) -> Rows:
            rows, given = rows_from(done), done
            for row in islice(rows, size - done):
                yield row
                given += 1
            if given != size or next(rows, None) is not None:
                raise ScoringError(f"{self.part(number)}: the engine did not give {size} rows; start again, and report this if it stays")

        resumable_parquet.write(self.part(number), self.identity, PART_SCHEMA, exactly, size)
        self.write_errors(number)

    def write_errors(self, number: int) -> None:
        """The rows of a finished part that have an error, as a table of their own, where there are some and it is not there yet."""
        if self.errors(number).exists() or not _has_errors(self.part(number)):
            return
        with replacing(self.errors(number)) as aside, pq.ParquetWriter(aside, ERROR_SCHEMA) as writer:
            for batch in _batches(self.part(number), ["key", "path", "error"]):
                failed = pa.Table.from_batches([batch.filter(batch.column("error").is_valid())])
                if failed.num_rows:
                    writer.write_table(failed.rename_columns(ERROR_SCHEMA.names))

    def rows(self, number: int) -> Rows:
        """The rows of a part that are on disk, whether it is finished or not."""
        if self.part(number).exists():
            for batch in _batches(self.part(number)):
                yield from batch.to_pylist()
        else:
            yield from resumable_parquet.read_unfinished(self.part(number), self.identity)

    def reasons(self, parts: int) -> Iterator[str]:
        """Why images could not be scored, in their order."""
        for number in range(parts):
            if self.errors(number).exists():
                for batch in _batches(self.errors(number), ["reason"]):
                    yield from batch.column("reason").to_pylist()

    def tidy(self) -> None:
        """Delete what a killed process left half written."""
        shutil.rmtree(self.work, ignore_errors=True)
        for pattern in (f".part{self.mark}-[0-9]*.part", f"{ERRORS}/.part{self.mark}-[0-9]*.part", f".summary{self.mark}.json.*.part"):
            for left in self.folder.glob(pattern):
                left.unlink()
        for left in self.folder.glob(f".part{self.mark}-[0-9]*.partial.jsonl"):  # of a part that was finished just before the kill
            if (self.folder / f"{left.name[1:].removesuffix('.partial.jsonl')}.parquet").exists():
                left.unlink()


def _has_errors(part: Path) -> bool:
    metadata = pq.read_metadata(part)
    columns = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return any(group.column(columns.index("error")).statistics.null_count < group.num_rows for group in groups)


def _batches(file: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    try:
        yield from pq.ParquetFile(file).iter_batches(2048, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{file} cannot be read ({error}): delete it to have it written again") from error
