"""Score samples in order, equal bytes once: what an engine runs."""

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
from dgsnet.inference.detector import Detector
from dgsnet.score.dedup_cache import DedupCache, at_path, without_path

if TYPE_CHECKING:
    from dgsnet.inference.verdict import ReadProvenance, ReadWatermarks

_READERS, _AHEAD = 4, 8  # threads that read files, and files that are read ahead


@dataclass(frozen=True)
class _EncodedImage:
    """A sample with its bytes, or why there are none: the file object a detector takes, which names it `name` in an error.

    `name` is the path where the sample lies, `sha256` that of the bytes.
    """

    sample: Sample
    name: str
    data: bytes | Exception
    sha256: str | None = None

    def read(self, limit: int) -> bytes:
        if isinstance(self.data, Exception):
            raise self.data
        return self.data[:limit]


@dataclass(frozen=True)
class _PendingRow:
    """A sample that was read and has no row yet; a `duplicate` has bytes that came before."""

    key: str
    path: str
    sha256: str | None
    duplicate: bool


@dataclass(frozen=True)
class SampleScorer:
    """Scores samples, which `dataset` reads: equal bytes once, and not at all where `cache` has a row of them."""

    detector: Detector
    dataset: Dataset
    cache: DedupCache
    batch_size: int
    provenance: bool | ReadProvenance = False
    """As `Detector.detect_many` takes it."""
    watermarks: ReadWatermarks | None = None
    """As `Detector.detect_many` takes it."""

    def rows(self, samples: Iterable[Sample]) -> Iterator[dict[str, Any]]:
        """Yield one row per sample, in order: that of `dgsnet detect` and `key`, the path within the data set.

        Samples with equal bytes wait in memory for the first of them, without their bytes.
        """
        pending: deque[_PendingRow] = deque()
        in_flight: set[str] = set()  # sha256 of what the detector is scoring
        failed: dict[str, dict[str, Any]] = {}  # what cannot be decoded has no sha256 in its row, and so is not cached beyond this call

        def sources() -> Iterator[BinaryIO]:
            for image in images:
                sha256 = image.sha256
                duplicate = sha256 is not None and (
                    sha256 in in_flight or sha256 in failed or self.cache.get(sha256, image.name) is not None
                )
                pending.append(_PendingRow(image.sample.path, image.name, sha256, duplicate))
                if not duplicate:
                    if sha256 is not None:
                        in_flight.add(sha256)
                    yield cast(BinaryIO, image)

        def duplicates() -> Iterator[dict[str, Any]]:
            """Yield the rows of what is pending before the next verdict: the first of their bytes has its row by now."""
            while pending and pending[0].duplicate:
                one = pending.popleft()
                row = at_path(failed[one.sha256], one.path) if one.sha256 in failed else self.cache.get(str(one.sha256), one.path)
                yield {"key": one.key} | cast(dict[str, Any], row)

        with (
            closing(in_order(self._read, samples, _READERS, _AHEAD)) as images,
            closing(
                self.detector.detect_many(sources(), self.batch_size, provenance=self.provenance, watermarks=self.watermarks)
            ) as verdicts,
        ):
            for verdict in verdicts:
                yield from duplicates()
                one = pending.popleft()
                row = verdict.as_dict(provenance=bool(self.provenance or self.watermarks)) | {"path": one.path}
                if row["sha256"] is not None:
                    self.cache.put(row)
                elif one.sha256 is not None:
                    failed[one.sha256] = without_path(row)
                in_flight.discard(str(one.sha256))
                yield {"key": one.key} | row
        yield from duplicates()

    def _read(self, sample: Sample) -> _EncodedImage:
        path = str(self.dataset.root / sample.path)
        policy = self.detector.policy
        try:
            data = self.dataset.read(sample, policy.max_bytes + 1) if sample.shard else read_file(self.dataset.root / sample.path, policy)
        except DatasetError as error:
            return _EncodedImage(sample, path, DecodeError(str(error).removeprefix(f"{path}: ")))
        except (DecodeError, OSError) as error:
            return _EncodedImage(sample, path, error)
        return _EncodedImage(sample, path, data, sha256_bytes(data))
