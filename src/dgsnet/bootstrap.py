"""The stratified bootstrap: how often each sample comes up, resample by resample. Every bootstrap interval of the project is drawn here."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CHUNK_CELLS = 2**18  # resamples x samples at a time: bounds memory, and 2 MB a matrix stays near the cache


def weightings(strata: ArrayLike, resamples: int, seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """Weights (R, N) in chunks that together have `resamples` rows: weight k is a sample drawn k times.

    Every stratum is drawn from itself, as often as it has samples, by a random stream of its own: what is drawn of one depends neither on
    the others nor on the chunks.

    Args:
        strata: (N,) whole numbers from 0 on.
        resamples: at least 1.
        seed: at least 0; the same seed gives the same weights.
    """
    codes = np.asarray(strata)
    present = np.unique(codes)
    members = [np.flatnonzero(codes == code) for code in present]
    streams = [np.random.default_rng([seed, int(code)]) for code in present]
    chunk = max(1, _CHUNK_CELLS // len(codes))
    for done in range(0, resamples, chunk):
        rows = min(chunk, resamples - done)
        weights = np.empty((rows, len(codes)))
        for places, stream in zip(members, streams, strict=True):
            drawn = stream.integers(len(places), size=(rows, len(places))) + np.arange(rows)[:, None] * len(places)
            weights[:, places] = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        yield weights
