"""The rule by which scoring takes several views of a large picture and makes one logit of theirs; training takes one view of any picture.

A picture of at least twice the view's side, both ways, is scored by its own view and that of each of its quadrants. Its logit is the mean
of theirs times `MULTI_CROP_GAIN`.
"""

from __future__ import annotations

SCORING_SEED = 0
"""A model whose patches are shuffled sees one fixed shuffle in scoring, so that an image has one score."""

MULTI_CROP_GAIN = 4 / 3
"""The mean over five views varies less from picture to picture than the logit of one view: by a quarter on photographs left out in training
(`studies/large_pictures`). Times this it varies as much, and thresholds chosen on single views go on meaning what they say."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the picture; right and bottom are the first beyond it."""


def scored_parts(height: int, width: int, size: int) -> list[Box]:
    """List the parts of a picture of this size that a view of `size` pixels a side is taken of each: the whole first, then its quadrants.

    The quadrants go row by row and tile the picture; a picture below twice `size` on a side has the whole alone.
    """
    whole = (0, 0, width, height)
    if min(height, width) < 2 * size:
        return [whole]
    x, y = (0, width // 2, width), (0, height // 2, height)
    return [whole, *((x[column], y[row], x[column + 1], y[row + 1]) for row in (0, 1) for column in (0, 1))]
