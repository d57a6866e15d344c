"""Heatmaps: the evidence of each cell of a picture, and where it lies.

Two rules give each cell its evidence, positive towards AI-generated:

* ``occlusion`` (Zeiler and Fergus, arXiv 1311.2901): how far the logit falls when the cell is blanked. One forward pass a cell.
* ``gradient`` (integrated gradients, Sundararajan et al., arXiv 1703.01365): the gradient of the logit with respect to the input, averaged
  on the way from the blank view to the view, times what the cell adds to the blank. `STEPS` forward and backward passes; over all cells it
  sums up to about the logit minus that of the blank view.

Blank is 0 after normalisation, the mean colour the backbone was trained with. How well a rule ranks cells is measured with `deletion_curve`
(Petsiuk et al., arXiv 1806.07421); `studies/heatmap` does so. Occlusion is the default: gradients of a vision transformer are noisy,
and a gradient needs a method that lets it through, which `linear` does not.

A picture that is scored by several views has the cells of all of them, each with its share of the picture's logit; their sides are
twice as long then, so that five views take not five times but twice as long.

Evidence says what this model answered to, not what is wrong with a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from dgsnet.core.errors import DgsnetError
from dgsnet.core.files import replacing
from dgsnet.images.decode import DecodedImage
from dgsnet.images.multi_crop import SCORING_SEED
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.verdict import Verdict

if TYPE_CHECKING:
    from dgsnet.runtimes import Runtime

Rule = Literal["occlusion", "gradient"]

STEPS = 4
"""Points on the way from the blank view to the view at which `gradient` looks."""

GENERATED, REAL = "#b2182b", "#2166ac"
"""Colours of evidence towards AI-generated and towards a photograph: the ends of ColorBrewer's RdBu (``RdBu`` in matplotlib), a diverging
map that the colour-blind can read."""

OPACITY = 0.65
"""Of the strongest evidence; the picture stays visible beneath."""

DARKEST = 80
"""What black becomes in the grey picture, 0..255: a tint on black could not be told from another."""

FAINT = 0.05
"""Least evidence (logit) that gets full colour: where every cell has less, the whole heatmap is pale, as it should be."""

_AT_ONCE = 7  # views a forward pass takes: a row of the usual grid


@dataclass(frozen=True)
class Heatmap:
    """The evidence of one picture. N cells.

    `image` has the picture's size; `evidence` is (N,) in units of the logit, `boxes` (N, 4) left, top, right, bottom in pixels of the
    picture, and `scale` the evidence drawn in full colour.
    """

    image: Image.Image
    evidence: NDArray[np.float64]
    boxes: NDArray[np.int64]
    scale: float


def explain(runtime: Runtime, preprocessing: Preprocessing, image: DecodedImage, rule: Rule = "occlusion") -> Heatmap:
    """Draw the heatmap of a decoded picture by one of the module's rules; `DgsnetError` where the picture is too small to judge."""
    views, boxes, patch = _views_of(preprocessing, image)
    values = np.concatenate([evidence(runtime, view, patch, rule) for view in views])
    values *= preprocessing.weight(len(views))
    scale = max(float(np.abs(values).max()), FAINT)
    return Heatmap(render(image.pixels, boxes, values, scale), values, boxes, scale)


def evidence(runtime: Runtime, view: NDArray[np.float32], patch: int = 32, rule: Rule = "occlusion") -> NDArray[np.float64]:
    """Return the evidence per cell of a view, in units of the logit: positive pushes towards AI-generated, negative towards a photograph.

    Args:
        runtime: the model, in eval mode.
        view: (3, S, S) float32, normalised.
        patch: side of a cell, pixels.
        rule: see the module.

    Returns:
        (G * G,) float64 with G = ceil(S / patch), row by row.

    Raises:
        ValueError: an unknown rule, or `gradient` of a method whose logits have none.
        DgsnetError: `gradient` of a model that runs without torch.
    """
    if rule not in get_args(Rule):
        raise ValueError(f"expected a rule of {', '.join(get_args(Rule))}, but got {rule!r}")
    return _occlusion(runtime, view, patch) if rule == "occlusion" else _gradient(runtime, view, patch)


def deletion_curve(
    runtime: Runtime, preprocessing: Preprocessing, image: DecodedImage, order: Sequence[int], counts: Sequence[int] | None = None
) -> NDArray[np.float64]:
    """Return logits while cells are blanked one after the other: the sooner they fall, the better `order` puts the evidence first.

    Args:
        runtime, preprocessing: the model.
        image: the picture.
        order: cells, the first to be blanked first; as long as the views have cells, or shorter.
        counts: how many cells are blank at each point; 0, 1, .. len(order) where not given.

    Returns:
        (len(counts),) logits; the one of count 0 is the logit of `Detector.detect`.

    Raises:
        DgsnetError: the picture is too small to judge.
        ValueError: a cell that is none.
    """
    views, boxes, patch = _views_of(preprocessing, image)
    if not all(0 <= cell < len(boxes) for cell in order):
        raise ValueError(f"expected cells of 0..{len(boxes) - 1}, but got {list(order)}")
    points = range(len(order) + 1) if counts is None else counts
    cells = len(boxes) // len(views)
    logits = np.zeros(len(points))
    for number, view in enumerate(views):
        states = [[cell % cells for cell in order[:count] if cell // cells == number] for count in points]
        logits += _logits(runtime, [blanked(view, state, patch) for state in states])
    return logits * preprocessing.weight(len(views))


def blanked(view: NDArray[np.float32], cells: Sequence[int], patch: int = 32) -> NDArray[np.float32]:
    """Return a copy of a normalised view (3, S, S) with some cells blank."""
    grid = -(-view.shape[1] // patch)
    copy = view.copy()
    for cell in cells:
        row, column = divmod(int(cell), grid)
        copy[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch] = 0
    return copy


def render(pixels: NDArray[np.uint8], boxes: NDArray[np.int64], values: NDArray[np.float64], scale: float) -> Image.Image:
    """Draw evidence in colour over the picture in light grey.

    A box is tinted `GENERATED` or `REAL` as its evidence is positive or negative, with an opacity that grows with its size up to `OPACITY`
    at `scale`. Where boxes overlap their evidence is averaged. What no box covers was not shown to the model and stays plain grey.

    Args:
        pixels: (H, W, 3) uint8.
        boxes: (N, 4), left, top, right, bottom in pixels of the picture; one without area is not drawn.
        values: (N,) evidence.
        scale: evidence that gets full opacity, above 0.

    Returns:
        RGB, W x H.
    """
    lifted = np.rint(np.linspace(DARKEST, 255, 256)).astype(np.uint8)
    drawn = np.array(Image.fromarray(lifted[np.asarray(Image.fromarray(pixels).convert("L"))]).convert("RGB"))
    # The edges of all boxes cut the picture into rectangles of one tint each, so no float plane of the picture's size is needed.
    x, y = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    total, count = np.zeros((len(y), len(x))), np.zeros((len(y), len(x)), np.int64)
    for (left, right), (top, bottom), value in zip(
        np.searchsorted(x, boxes[:, [0, 2]]), np.searchsorted(y, boxes[:, [1, 3]]), values, strict=True
    ):
        total[top:bottom, left:right] += value
        count[top:bottom, left:right] += 1
    for row, column in np.argwhere(count > 0):
        value = total[row, column] / count[row, column]
        opacity = OPACITY * min(abs(value) / scale, 1)
        tint = np.array(ImageColor.getrgb(GENERATED if value > 0 else REAL))
        area = drawn[y[row] : y[row + 1], x[column] : x[column + 1]]
        area[...] = np.rint(area * (1 - opacity) + tint * opacity)
    return Image.fromarray(drawn)


def file_for(folder: Path, verdict: Verdict) -> Path:
    """Return where the heatmap of a scored image goes: the name of its file with the first digits of its sha256, so that files of one name
    in several folders do not collide."""
    # File systems allow 255 bytes a name; 50 characters are 200 at most.
    stem = Path(verdict.path).stem[:50] if verdict.path else "image"
    return folder / f"{stem}-{(verdict.sha256 or '')[:8]}.png"


def save(heatmap: Heatmap, target: Path) -> None:
    """Write the image of a heatmap as PNG."""
    with replacing(target) as aside:
        heatmap.image.save(aside, "PNG")


def _views_of(preprocessing: Preprocessing, image: DecodedImage) -> tuple[list[NDArray[np.float32]], NDArray[np.int64], int]:
    """Return the normalised views that are scored, the boxes of their cells, one view after the other, and the cells' side."""
    parts = preprocessing.parts(image.height, image.width)
    if len(parts) > 1 and preprocessing.view != "patches":  # which would choose other patches
        preprocessing = preprocessing.model_copy(update={"patch": 2 * preprocessing.patch})
    views, boxes = [], []
    for left, top, right, bottom in parts:
        try:
            view, within = preprocessing.take_view_with_boxes(image.pixels[top:bottom, left:right], SCORING_SEED)
        except ValueError as error:
            raise DgsnetError(f"no heatmap: {image.width}x{image.height} pixels are too few to judge ({error})") from error
        views.append(preprocessing.normalise(view))
        boxes.append(within + np.array([left, top, left, top]))
    return views, np.concatenate(boxes), preprocessing.patch


def _occlusion(runtime: Runtime, view: NDArray[np.float32], patch: int) -> NDArray[np.float64]:
    cells = (-(-view.shape[1] // patch)) ** 2
    logits = _logits(runtime, [view, *(blanked(view, [cell], patch) for cell in range(cells))])
    fall: NDArray[np.float64] = logits[0] - logits[1:]
    return fall


def _gradient(runtime: Runtime, view: NDArray[np.float32], patch: int) -> NDArray[np.float64]:
    method = runtime.method  # what has none refuses here, before torch is asked for
    import torch  # noqa: PLC0415 - the other rule needs scores only

    with torch.inference_mode(False), torch.enable_grad():
        whole = torch.from_numpy(view).to(method.backbone.device)
        gradient = torch.zeros_like(whole)
        for step in range(STEPS):
            place = (whole * ((step + 0.5) / STEPS))[None].requires_grad_()
            logit = method.predict(place)
            if not logit.requires_grad:
                raise ValueError(f"the logits of the method {method.name!r} have no gradient")
            gradient += torch.autograd.grad(logit.sum(), place)[0][0] / STEPS
    return _sum_over_cells((gradient * whole).double().sum(dim=0).cpu().numpy(), patch)


def _sum_over_cells(plane: NDArray[np.float64], patch: int) -> NDArray[np.float64]:
    starts = np.arange(0, plane.shape[0], patch)
    summed: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(plane, starts, axis=0), starts, axis=1).ravel()
    return summed


def _logits(runtime: Runtime, views: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Return the logits of some views; one at a time where the detector scores so, that a view has one logit."""
    size = _AT_ONCE if runtime.batches else 1
    batches = [np.stack(views[start : start + size]) for start in range(0, len(views), size)]
    return np.concatenate([runtime.run(batch)[1] for batch in batches])
