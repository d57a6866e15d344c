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
from dgsnet.inference.parquet_writer import SCHEMA, SCHEMA_WITH_PROVENANCE
from dgsnet.inference.verdict import PROVENANCE

MANIFEST, ERRORS = "manifest.json", "errors"
PART_SCHEMA = pa.schema([("key", pa.string()), *SCHEMA])
"""A row of `detect`, and before it the path within the data set."""
PART_SCHEMA_WITH_PROVENANCE = pa.schema([("key", pa.string()), *SCHEMA_WITH_PROVENANCE])
"""The same and the optional column."""
_UNSAID = {"limits": "usual", PROVENANCE: "no", "watermarks": "no", "steadiness": "no"}  # of a run that was not asked for them
ERROR_SCHEMA = pa.schema([("key", pa.string()), ("path", pa.string()), ("reason", pa.string())])

Rows = Iterator[dict[str, Any]]


def claim_folder(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest, or check that the folder has the same one. Of processes that begin at once, one writes and the others compare.

    Raises:
        ScoringError: the folder is of another run, or its manifest is damaged.
    """
    file = folder / MANIFEST
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".manifest.lock"):
        if not file.exists():
            write_json(file, manifest)
    try:
        found = _UNSAID | json.loads(file.read_text(encoding="utf-8"))["identity"]
        wanted = _UNSAID | manifest["identity"]
        differing = [name for name, value in wanted.items() if found[name] != value]
    except (ValueError, KeyError, TypeError) as error:
        raise ScoringError(f"{file} is damaged ({error}): choose another folder for --out") from error
    if differing:
        was = ", ".join(f"{name} {found[name]} (now {wanted[name]})" for name in differing)
        raise ScoringError(f"{folder} holds a run of {was}: choose another folder for --out, or go on with what it was begun with")


@dataclass(frozen=True)
class Output:
    """The files of one shard in the folder of a run; the shard's suffix is in the name of each."""

    folder: Path
    suffix: str
    identity: dict[str, str]
    """Facts that the rows follow from, kept in each part."""
    schema: pa.Schema = PART_SCHEMA

    def part(self, number: int) -> Path:
        """Return the file of a part."""
        return self.folder / f"part{self.suffix}-{number:05d}.parquet"

    def errors(self, number: int) -> Path:
        """Return the file of the errors of a part."""
        return self.folder / ERRORS / self.part(number).name

    @property
    def summary(self) -> Path:
        """File that a finished shard writes its counts to."""
        return self.folder / f"summary{self.suffix}.json"

    @property
    def work(self) -> Path:
        """Folder of what only this shard's process needs while it runs."""
        return self.folder / f".work{self.suffix}"

    def finished(self, number: int, size: int) -> bool:
        """Tell whether a part of `size` rows is there; `DatasetError` where it is damaged, `ScoringError` where it is of another run."""
        target = self.part(number)
        if not target.exists():
            return False
        if resumable_parquet.read_identity(target) != self.identity or pq.read_metadata(target).num_rows != size:
            raise ScoringError(f"{target} is not the part that this run writes there: choose another folder for --out, or delete it")
        return True

    def write(self, number: int, size: int, rows_from: Callable[[int], Rows]) -> None:
        """Write a part and its errors. A part whose beginning is on disk is continued: `rows_from` gets the number of its rows.

        Raises:
            ScoringError: the engine gave too few rows or too many.
        """

        def counted(done: int) -> Rows:
            rows, given = rows_from(done), done
            for row in islice(rows, size - done):
                yield row
                given += 1
            if given != size or next(rows, None) is not None:
                raise ScoringError(f"{self.part(number)}: the engine did not give {size} rows; start again, and report this if it stays")

        resumable_parquet.write(self.part(number), self.identity, self.schema, counted, size)
        self.write_errors(number)

    def write_errors(self, number: int) -> None:
        """Write the rows of a finished part that have an error, where there are some, to a table of their own that is not there yet."""
        if self.errors(number).exists() or not _has_errors(self.part(number)):
            return
        with replacing(self.errors(number)) as aside, pq.ParquetWriter(aside, ERROR_SCHEMA) as writer:
            for batch in _batches(self.part(number), ["key", "path", "error"]):
                failed = pa.Table.from_batches([batch.filter(batch.column("error").is_valid())])
                if failed.num_rows:
                    writer.write_table(failed.rename_columns(ERROR_SCHEMA.names))

    def rows(self, number: int) -> Rows:
        """Yield the rows of a part that are on disk, whether it is finished or not."""
        if self.part(number).exists():
            for batch in _batches(self.part(number)):
                yield from batch.to_pylist()
        else:
            yield from resumable_parquet.read_unfinished(self.part(number), self.identity)

    def reasons(self, parts: int) -> Iterator[str]:
        """Yield why images could not be scored, in their order."""
        for number in range(parts):
            if self.errors(number).exists():
                for batch in _batches(self.errors(number), ["reason"]):
                    yield from batch.column("reason").to_pylist()

    def delete_leftovers(self) -> None:
        """Delete what a killed process left half written."""
        shutil.rmtree(self.work, ignore_errors=True)
        parts = f".part{self.suffix}-[0-9]*.part"
        for pattern in (parts, f"{ERRORS}/{parts}", f".summary{self.suffix}.json.*.part"):
            for left in self.folder.glob(pattern):
                left.unlink()
        for left in self.folder.glob(f".part{self.suffix}-[0-9]*.partial.jsonl"):  # of a part that was finished just before the kill
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
