"""Samples of a data set as a detector gets them after something was done to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import BinaryIO, cast

from dgsnet.core.errors import DecodeError
from dgsnet.data.dataset import Dataset, Sample, open_sample
from dgsnet.images.decode import DecodePolicy, Source, decode
from dgsnet.images.perturb import Perturbation

Work = tuple[Sample, Perturbation | None]
"""A sample, and what is done to it; None: it stays as it is."""


def perturbed_sources(dataset: Dataset, work: Iterable[Work], policy: DecodePolicy) -> Iterator[Source]:
    """Yield what the detector gets, in order; a picture is decoded once for all that is done to it in a row, and changed when asked for.

    A picture that cannot be decoded is yielded as it is, so that the detector says why; one that cannot be changed raises DecodeError when
    the detector reads it, which becomes the error of its row.
    """
    for sample, tasks in groupby(work, key=lambda task: task[0]):
        original = open_sample(dataset, sample)
        try:
            image = decode(original, policy)
        except DecodeError:
            image = None
        for _, perturbation in tasks:
            if image is None or perturbation is None:
                yield original
                continue
            try:
                yield perturbation.apply(image.pixels, image.sha256)
            except DecodeError as error:
                yield cast(BinaryIO, _Refused(sample.path, str(error)))


@dataclass(frozen=True)
class _Refused:
    """Stands for a picture that could not be perturbed, so that its row says why."""

    name: str
    why: str

    def read(self, limit: int) -> bytes:
        raise DecodeError(self.why)
