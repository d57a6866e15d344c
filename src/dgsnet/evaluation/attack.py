"""White-box attack on a detector: the worst change of at most `epsilon` grey levels a pixel that a gradient finds.

Auto-PGD (Croce and Hein, 2020, arXiv 2003.01690): projected gradient steps with momentum, whose size halves where the logit no longer
moves, starting again from the best point. A detector has one logit, so its two losses (cross entropy and the difference of logits ratio)
have gradients of one direction, and the logit itself is what is pushed.

What stands between picture and backbone is passed straight through (backward pass differentiable approximation): cells are chosen anew in
every forward pass, and in the backward pass the choice counts as fixed, so that each pixel of a chosen cell gets its gradient; a resized
view hands each picture pixel the gradient of the view pixel above it. The figure that counts is the score of the rounded picture through
the whole pipeline, which the caller takes from `Detector.detect`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from dgsnet.images.multi_crop import SCORING_SEED

if TYPE_CHECKING:
    from dgsnet.inference.detector import Detector

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

_MOMENTUM, _PROGRESS, _FIRST_CHECK, _SHRINK, _SHORTEST = 0.75, 0.75, 0.22, 0.03, 0.06  # of the paper, section 3


@dataclass(frozen=True)
class Attack:
    """An attacked picture.

    `pixels` is (H, W, 3) uint8, at most `epsilon` from the original; `logits` (steps + 1,) is the logit of the best point so far, the
    original's first. They are those of pixels before rounding: the rounded picture may score a little differently.
    """

    pixels: Pixels
    logits: Floats


def auto_pgd(detector: Detector, pixels: Pixels, label: int, epsilon: float, steps: int = 10) -> Attack:
    """Push a picture's logit away from its label.

    Args:
        detector: the model that is attacked.
        pixels: (H, W, 3) uint8.
        label: 0 photograph (to be called generated), 1 generated (to be called a photograph).
        epsilon: grey levels of 0..255 that a channel of a pixel may change by.
        steps: gradient steps, each a forward and a backward pass.

    Raises:
        ValueError: the picture is too small to be shown, or an argument is out of range.
    """
    if label not in (0, 1) or epsilon < 0 or steps < 1:
        raise ValueError(f"expected label 0 or 1, epsilon >= 0 and at least one step, but got {label}, {epsilon} and {steps}")
    sign = 1.0 if label == 0 else -1.0
    original = pixels.astype(np.float64)
    low, high = np.maximum(original - epsilon, 0), np.minimum(original + epsilon, 255)

    def within(point: Floats) -> Floats:
        return np.clip(point, low, high)

    size, now, before = 2.0 * epsilon, original, original
    gain, gradient = _gain(detector, now, sign)
    best, best_gain, best_gradient = now, gain, gradient
    gains, history, checked_size, checked_gain = 0, [gain], size, gain
    next_check, period = max(1, round(_FIRST_CHECK * steps)), max(1, round(_FIRST_CHECK * steps))
    since = 0
    for step in range(1, steps + 1):
        ahead = within(now + size * np.sign(gradient))
        drift = now - before
        moved = within(now + (_MOMENTUM if step > 1 else 1.0) * (ahead - now) + (1 - _MOMENTUM) * drift)
        before, now = now, moved
        previous = gain
        gain, gradient = _gain(detector, now, sign)
        gains, since = gains + int(gain > previous), since + 1
        if gain > best_gain:
            best, best_gain, best_gradient = now, gain, gradient
        history.append(best_gain)
        if step == next_check:
            stalled = size == checked_size and best_gain == checked_gain
            checked_size, checked_gain = size, best_gain
            if gains < _PROGRESS * since or stalled:
                size /= 2
                before = now = best
                gain, gradient = best_gain, best_gradient
            period = max(period - max(1, round(_SHRINK * steps)), 1, round(_SHORTEST * steps))
            next_check, gains, since = step + period, 0, 0
    rounded = np.clip(np.rint(best), np.ceil(low), np.floor(high)).astype(np.uint8)
    return Attack(rounded, sign * np.array(history))


def _gain(detector: Detector, point: Floats, sign: float) -> tuple[float, Floats]:
    """Return sign * logit of a picture (H, W, 3) of any grey levels, and its gradient by pixel, straight through the choice of cells."""
    preprocessing = detector.config.preprocessing
    parts = preprocessing.parts(*point.shape[:2])
    logit, gradient, weight = 0.0, np.zeros(point.shape), preprocessing.weight(len(parts))
    for left, top, right, bottom in parts:
        of_part, by_part = _logit(detector, point[top:bottom, left:right])
        logit += weight * of_part
        gradient[top:bottom, left:right] += weight * by_part
    return sign * logit, sign * gradient


def _logit(detector: Detector, point: Floats) -> tuple[float, Floats]:
    """Return the logit of the view of one part of a picture, and its gradient by the part's pixels."""
    preprocessing, method = detector.config.preprocessing, detector.method
    rounded, boxes = preprocessing.take_view_with_boxes(np.rint(point).astype(np.uint8), SCORING_SEED)
    view = rounded.astype(np.float64)
    if preprocessing.view != "resize":  # the cells are pixels of the picture, so the view can be taken of what is not rounded
        view = _gather(point, view, boxes, preprocessing.patch)
    with torch.inference_mode(False), torch.enable_grad():
        shown = torch.from_numpy(preprocessing.normalise(view)).unsqueeze(0).to(method.backbone.device).requires_grad_()
        logit = method.predict(shown)[0]
        (gradient,) = torch.autograd.grad(logit, shown)
    # d normalised / d grey level is 1 / (255 * std) by channel.
    by_view = (gradient[0].double().cpu().numpy() / (255 * np.array(preprocessing.std))[:, None, None]).transpose(1, 2, 0)
    return float(logit.detach()), _scatter(by_view, boxes, point.shape, preprocessing.patch)


def _gather(point: Floats, view: Floats, boxes: NDArray[np.int64], patch: int) -> Floats:
    """Return the view with each cell that is a plain piece of the picture taken from `point`; mirrored edges stay rounded."""
    taken = view.copy()
    for (row, column), (left, top, right, bottom) in _cells(boxes, view.shape[1], patch):
        cell = taken[row : row + patch, column : column + patch]
        if (bottom - top, right - left) == cell.shape[:2]:
            cell[:] = point[top:bottom, left:right]
    return taken


def _scatter(by_view: Floats, boxes: NDArray[np.int64], shape: tuple[int, ...], patch: int) -> Floats:
    """Return gradients by the view's pixels at the picture's pixels they come from; a box of another size than its cell is sampled."""
    by_picture = np.zeros(shape)
    for (row, column), (left, top, right, bottom) in _cells(boxes, by_view.shape[1], patch):
        cell = by_view[row : row + patch, column : column + patch]
        height, width = bottom - top, right - left
        if height < 1 or width < 1:
            continue
        rows = np.arange(height) * cell.shape[0] // height
        columns = np.arange(width) * cell.shape[1] // width
        by_picture[top:bottom, left:right] += cell[np.ix_(rows, columns)]
    return by_picture


def _cells(boxes: NDArray[np.int64], side: int, patch: int) -> list[tuple[tuple[int, int], tuple[int, int, int, int]]]:
    """Return ((row, column) of a cell in the view, its box in the picture)."""
    grid = -(-side // patch)
    return [((number // grid * patch, number % grid * patch), tuple(map(int, box))) for number, box in enumerate(boxes)]  # type: ignore[misc]
