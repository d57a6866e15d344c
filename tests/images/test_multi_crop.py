"""The rule of multi-crop scoring as arithmetic; the views it leads to are tested with `Preprocessing`."""

from __future__ import annotations

import numpy as np
import pytest

from dgsnet.images.multi_crop import scored_parts
from dgsnet.images.preprocess import Preprocessing


@pytest.mark.parametrize(("height", "width"), [(448, 448), (449, 1001), (900, 700)])
def test_the_quadrants_tile_a_large_picture_row_by_row(height, width):
    whole, *quadrants = scored_parts(height, width, 224)
    assert whole == (0, 0, width, height)
    covered = np.zeros((height, width), int)
    for number, (left, top, right, bottom) in enumerate(quadrants, 1):
        assert min(right - left, bottom - top) >= 224
        covered[top:bottom, left:right] += number
    assert [int(covered[y, x]) for y in (0, -1) for x in (0, -1)] == [1, 2, 3, 4]
    assert set(np.unique(covered)) == {1, 2, 3, 4}  # each pixel in one of them


@pytest.mark.parametrize(("height", "width"), [(447, 2000), (2000, 447), (1, 1)])
def test_a_small_picture_has_one_part(height, width):
    assert scored_parts(height, width, 224) == [(0, 0, width, height)]


def test_five_views_weigh_four_thirds_of_one():
    tiny = Preprocessing(view="resize", size=32)
    assert tiny.weight(1) == 1
    assert 5 * tiny.weight(5) == pytest.approx(4 / 3)


def test_preprocessing_follows_the_rule_only_where_it_is_switched_on():
    size = 64, 96
    tiny = Preprocessing(view="resize", size=32)
    assert tiny.parts(*size) == [(0, 0, 96, 64)]
    assert tiny.model_copy(update={"multi_crop": True}).parts(*size) == scored_parts(*size, 32)
