"""Samples in, rows out, in order: what an engine runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from dgsnet.core.errors import DatasetError, DecodeError
from dgsnet.core.files import sha256_bytes
from dgsnet.core.prefetch import in_order
from dgsnet.data.dataset import Dataset
from dgsnet.data.sample import Sample
from dgsnet.images.decode import read_file
from dgsnet.score.dedup_cache import Known, at_path, without_path

if TYPE_CHECKING:
    from dgsnet.inference.detector import Detector

_READERS, _AHEAD = 4, 8  # threads that read files, and files that are read ahead


@dataclass(frozen=True)
class _Read:
    """A sample with its bytes, or why there are none: the file object a detector takes, which names it `name` in an error.

    `path` is where the sample lies, `sha256` that of the bytes.
    """

    sample: Sample
    path: str
    data: bytes | Exception
    sha256: str | None = None

    @property
    def name(self) -> str:
        return self.path

    def read(self, limit: int) -> bytes:
        if isinstance(self.data, Exception):
            raise self.data
        return self.data[:limit]


@dataclass(frozen=True)
class _Waiting:
    """A sample that was read and has no row yet; a `copy` has bytes that came before."""

    key: str
    path: str
    sha256: str | None
    copy: bool


@dataclass(frozen=True)
class Operator:
    """Scores samples; equal bytes once.

    Attributes:
        detector: the model.
        dataset: what reads the samples.
        known: what was said of which bytes before.
        batch_size: images a GPU gets at once.
    """

    detector: Detector
    dataset: Dataset
    known: Known
    batch_size: int

    def rows(self, samples: Iterable[Sample]) -> Iterator[dict[str, Any]]:
        """One row a sample, in order: that of `dgsnet detect` and `key`, the path within the data set.

        Samples with equal bytes wait in memory for the first of them, without their bytes.
        """
        waiting: deque[_Waiting] = deque()
        asked: set[str] = set()  # sha256 of what the detector is at
        failed: dict[str, dict[str, Any]] = {}  # what cannot be decoded has no sha256 in its row, and so is not known beyond this call

        def sources() -> Iterator[BinaryIO]:
            for read in reads:
                sha256 = read.sha256
                copy = sha256 is not None and (sha256 in asked or sha256 in failed or self.known.get(sha256, read.path) is not None)
                waiting.append(_Waiting(read.sample.path, read.path, sha256, copy))
                if not copy:
                    if sha256 is not None:
                        asked.add(sha256)
                    yield cast(BinaryIO, read)

        def copies() -> Iterator[dict[str, Any]]:
            """Rows of what waits before the next verdict: the first of their bytes has its row by now."""
            while waiting and waiting[0].copy:
                one = waiting.popleft()
                row = at_path(failed[one.sha256], one.path) if one.sha256 in failed else self.known.get(str(one.sha256), one.path)
                yield {"key": one.key} | cast(dict[str, Any], row)

        with (
            closing(in_order(self._read, samples, _READERS, _AHEAD)) as reads,
            closing(self.detector.detect_many(sources(), self.batch_size)) as verdicts,
        ):
            for verdict in verdicts:
                yield from copies()
                one = waiting.popleft()
                row = verdict.as_dict() | {"path": one.path}
                if row["sha256"] is not None:
                    self.known.put(row)
                elif one.sha256 is not None:
                    failed[one.sha256] = without_path(row)
                asked.discard(str(one.sha256))
                yield {"key": one.key} | row
        yield from copies()

    def _read(self, sample: Sample) -> _Read:
        path = str(self.dataset.root / sample.path)
        try:
            data = self._bytes(sample)
        except DatasetError as error:
            return _Read(sample, path, DecodeError(str(error).removeprefix(f"{path}: ")))
        except (DecodeError, OSError) as error:
            return _Read(sample, path, error)
        return _Read(sample, path, data, sha256_bytes(data))

    def _bytes(self, sample: Sample) -> bytes:
        if sample.shard is None:
            return read_file(self.dataset.root / sample.path, self.detector.policy)
        return self.dataset.read(sample, self.detector.policy.max_bytes + 1)
