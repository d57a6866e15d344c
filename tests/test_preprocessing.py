"""The view `crop`; `patches` and `resize` are tested where patches and heatmaps are."""

from __future__ import annotations

import numpy as np
import pytest

from dgsnet.preprocessing import Preprocessing

CROP = Preprocessing(view="crop")


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (256, 256), (300, 517), (225, 1000)])
def test_a_crop_is_the_native_centre(height, width):
    pixels = picture(height, width)
    top, left = (height - 224) // 2, (width - 224) // 2
    view, boxes = CROP.look_with_boxes(pixels)
    assert (view == pixels[top : top + 224, left : left + 224]).all()
    for cell, (x0, y0, x1, y1) in enumerate(boxes):
        row, column = divmod(cell, 7)
        assert (view[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32] == pixels[y0:y1, x0:x1]).all()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (100, 300), (223, 224), (40, 51)])
def test_a_smaller_picture_is_continued_by_its_mirror_image(height, width):
    pixels = picture(height, width)
    view, boxes = CROP.look_with_boxes(pixels)
    top, left = (height - 224) // 2, (width - 224) // 2
    for y, x in ((0, 0), (111, 7), (223, 223), (5, 200)):
        there = [index % (2 * side) for index, side in ((top + y, height), (left + x, width))]
        row, column = (i if i < side else 2 * side - 1 - i for i, side in zip(there, (height, width), strict=True))
        assert (view[y, x] == pixels[row, column]).all()
    assert boxes[:, 2].max() <= width
    assert boxes[:, 3].max() <= height
    assert boxes.min() >= 0


def test_too_small_and_low_resolution():
    with pytest.raises(ValueError, match="at least 32x32"):
        CROP.look(picture(31, 300))
    assert CROP.warnings(223, 500) == ["low_resolution"]
    assert CROP.warnings(224, 224) == []
