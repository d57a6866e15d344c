"""Similarity of two representations of the same images; pure functions of feature matrices, one row per image.

All are invariant to rotation and isotropic scaling, which lose nothing, and none to an arbitrary linear map, which may.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Similarity:
    """A figure of two (N, D) matrices, and (N,) the same figure without each image."""

    value: float
    leave_one_out: Floats


def linear_cka(x: Floats, y: Floats) -> Similarity:
    """Return the linear centred kernel alignment, debiased: HSIC_1(K, L) / sqrt(HSIC_1(K, K) HSIC_1(L, L)), K = x x', L = y y'.

    HSIC_1 is the unbiased estimator of Song et al. 2012 (eq. 5), put into CKA by Nguyen, Raghu & Kornblith 2021. The plain estimator
    (`biased_cka`) grows with D / N whatever the features are: for independent features it is near 1 when D is far above N, so it would call
    a destroyed network preserved. This one stays at 0.

    Args:
        x: (N, D1), N >= 5.
        y: (N, D2), of the same images.

    Returns:
        At most 1, 0 expected of independent features and then also slightly below; NaN where one of them is constant.

    Raises:
        ValueError: the numbers of images differ or are below 5.
    """
    _check(x, y, 5)
    k, l = _gram(x), _gram(y)  # noqa: E741 - the paper's letters
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    (kl, kl_out), (kk, kk_out), (ll, ll_out) = _hsic(k, l), _hsic(k, k), _hsic(l, l)
    return Similarity(_ratio(kl, kk, ll), np.array([_ratio(*each) for each in zip(kl_out, kk_out, ll_out, strict=True)]))


def biased_cka(x: Floats, y: Floats) -> float:
    """Return linear CKA as Kornblith et al. 2019 state it: ||y'x||_F^2 / (||x'x||_F ||y'y||_F), columns centred.

    Args:
        x: (N, D1).
        y: (N, D2), of the same images.

    Returns:
        0..1; NaN where one of them is constant. Compare only at the same N and D: see `linear_cka`.
    """
    _check(x, y, 2)
    k, l = _gram(x), _gram(y)  # noqa: E741
    return _ratio(float((k * l).sum()), float((k * k).sum()), float((l * l).sum()))


def _gram(x: Floats) -> Floats:
    centred = x - x.mean(axis=0)
    return np.asarray(centred @ centred.T)


def _hsic(k: Floats, l: Floats) -> tuple[float, Floats]:  # noqa: E741
    """Return HSIC_1 of two (N, N) kernels whose diagonals are 0, and (N,) HSIC_1 without each image.

    What image i adds to each of the three sums follows from its row alone, so leaving out each image in turn costs no more than the whole.
    """
    n = len(k)
    r, s, q = k.sum(axis=1), l.sum(axis=1), (k * l).sum(axis=1)
    trace, r_sum, s_sum, product = q.sum(), r.sum(), s.sum(), r @ s
    left_out = _hsic_of(trace - 2 * q, r_sum - 2 * r, s_sum - 2 * s, product - r * s - l @ r - k @ s + q, n - 1)
    return float(_hsic_of(trace, r_sum, s_sum, product, n)), np.asarray(left_out)


def _hsic_of(trace: Floats, r_sum: Floats, s_sum: Floats, product: Floats, n: int) -> Floats:
    """Compute it from tr(KL), 1'K1, 1'L1 and 1'KL1."""
    return (trace + r_sum * s_sum / ((n - 1) * (n - 2)) - 2 * product / (n - 2)) / (n * (n - 3))


def _ratio(kl: float, kk: float, ll: float) -> float:
    scale = np.sqrt(max(kk, 0.0)) * np.sqrt(max(ll, 0.0))
    return float(kl / scale) if scale > 0 else float("nan")


def neighbours(x: Floats, k: int) -> NDArray[np.intp]:
    """Return the k nearest neighbours of each image by cosine, itself left out: (N, D) -> (N, k), nearest first, the earlier on ties."""
    if not 1 <= k < len(x):
        raise ValueError(f"expected k from 1 to {len(x) - 1} for {len(x)} images, but got {k}")
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    distance = -(unit @ unit.T)
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1, kind="stable")[:, :k]


def knn_overlap(x: Floats, y: Floats, k: int = 10) -> Floats:
    """Return for each image the share of its k nearest neighbours that x and y have in common: (N,), 0..1; by chance k / (N - 1)."""
    _check(x, y, 2)
    near_x, near_y = neighbours(x, k), neighbours(y, k)
    return np.asarray((near_x[:, :, None] == near_y[:, None, :]).any(axis=2).mean(axis=1))


def procrustes(x: Floats, y: Floats) -> Similarity:
    """Return the orthogonal Procrustes distance: 1 - ||a'b||_*, a and b being x and y centred and scaled to Frobenius norm 1.

    That is half of min_Q ||a - bQ||_F^2 over orthogonal Q (Schönemann 1966; as a distance of representations, Ding et al. 2021). It has a
    bias of its own: with N images in D > N dimensions a rotation can make much of anything fit. Compare at the same N and D.

    The figures without an image hold Q fixed: Q is at its optimum, so what an image moves through it is of second order.

    Args:
        x: (N, D), N >= 2.
        y: (N, D), of the same images.

    Returns:
        0: alike up to rotation and scale; 1: nothing in common. NaN where one of them is constant.
    """
    _check(x, y, 2)
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    u, _, v = np.linalg.svd(a.T @ b, full_matrices=False)
    shared, a_square, b_square = ((a @ u) * (b @ v.T)).sum(axis=1), (a**2).sum(axis=1), (b**2).sum(axis=1)
    sums = shared.sum(), a_square.sum(), b_square.sum()
    value = 1 - _ratio(*sums)
    parts = zip(shared, a_square, b_square, strict=True)
    left_out = [1 - _ratio(*(whole - part for whole, part in zip(sums, each, strict=True))) for each in parts]
    return Similarity(float(np.clip(value, 0, 1)), np.array(left_out))


def singular_values(x: Floats) -> Floats:
    """Return singular values of the centred features, falling: (N, D) -> (min(N, D),)."""
    return np.asarray(np.linalg.svd(x - x.mean(axis=0), compute_uv=False))


def effective_rank(values: Floats) -> float:
    """Return exp of the entropy of singular values' shares of their sum (Roy & Vetterli 2007, definition 1): 1..number of values, or 0.

    Unlike the rank, it does not count directions in which next to nothing happens.
    """
    total = values.sum()
    if total <= 0:
        return 0.0
    shares = values[values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def cosine(x: Floats, y: Floats) -> Floats:
    """Return the cosine of each row of x with that of y: (N, D), (N, D) -> (N,), -1..1."""
    scale = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.asarray((x * y).sum(axis=1) / np.maximum(scale, np.finfo(np.float64).tiny))


def _check(x: Floats, y: Floats, least: int) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < least:
        raise ValueError(f"expected two matrices of the same {least} or more images, but got {x.shape} and {y.shape}")
