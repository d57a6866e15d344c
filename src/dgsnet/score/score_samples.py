"""Score samples in order, equal bytes once: what an engine runs."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image

from dgsnet.core.errors import DatasetError, DecodeError, ScoringError, reason_of
from dgsnet.core.files import sha256_bytes
from dgsnet.core.prefetch import in_order
from dgsnet.data.dataset import Dataset
from dgsnet.data.sample import Sample
from dgsnet.images.decode import read_file
from dgsnet.inference.asked import NOTHING, Asked
from dgsnet.inference.detector import Detector
from dgsnet.inference.verdict import Verdict
from dgsnet.score.dedup_cache import DedupCache, at_path, without_path

_READERS, _AHEAD = 4, 8  # threads that read files, and files that are read ahead
_ALONE = 128
"""Samples scored one by one after something raised: more than are read ahead."""


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
    asked: Asked = NOTHING

    def rows(self, samples: Iterable[Sample]) -> Iterator[dict[str, Any]]:
        """Yield one row per sample, in order: that of `dgsnet detect` and `key`, the path within the data set.

        A sample at which something raises that should not has an `error`, and the next is scored.

        Raises:
            ScoringError: the model cannot score a plain picture either.
        """
        left, alone = deque(samples), 0
        while left:
            try:
                # What is read ahead may raise before the rows in front of it are there: then one by one, until it is found.
                for row in self._rows([left[0]] if alone else list(left)):
                    left.popleft()
                    yield row
                alone = max(alone - 1, 0)
            except Exception as error:
                if alone:
                    self._check_model(error)
                    yield self.failed(left.popleft(), f"cannot be scored ({reason_of(error)}); leave it out")
                alone = 0 if alone else _ALONE

    def failed(self, sample: Sample, reason: str) -> dict[str, Any]:
        """Return the row of a sample that has no score for a reason that does not lie in decoding it."""
        path = str(self.dataset.root / sample.path)
        return {"key": sample.path} | Verdict(path, model=self.detector.name, error=f"{path}: {reason}").as_dict(
            provenance=self.asked.provenance
        )

    def _check_model(self, error: Exception) -> None:
        """Find out whether an image or the model is to blame for an error: raise `ScoringError` where a plain picture ends the same way."""
        stream = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)).save(stream, "PNG")
        plain = _EncodedImage(Sample("plain", None, "", "", None, None, ""), "plain picture", stream.getvalue())
        try:
            with closing(self.detector.detect_many(iter([cast(BinaryIO, plain)]), self.batch_size, asked=self.asked)) as verdicts:
                next(verdicts)
        except Exception as again:
            raise ScoringError(f"{self.detector.name} cannot score a plain picture ({reason_of(again)})") from error

    def _rows(self, samples: Iterable[Sample]) -> Iterator[dict[str, Any]]:
        """Yield the rows of samples. Those with equal bytes wait in memory for the first of them, without their bytes."""
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
            closing(self.detector.detect_many(sources(), self.batch_size, asked=self.asked)) as verdicts,
        ):
            for verdict in verdicts:
                yield from duplicates()
                one = pending.popleft()
                row = verdict.as_dict(provenance=self.asked.provenance) | {"path": one.path}
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
