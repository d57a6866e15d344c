"""The view `crop`; `patches` and `resize` are tested where patches and heatmaps are."""

from __future__ import annotations

import numpy as np
import pytest

from dgsnet.images.preprocess import Preprocessing

CROP = Preprocessing(view="crop")


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (256, 256), (300, 517), (225, 1000)])
def test_a_crop_is_the_native_centre(height, width):
    pixels = picture(height, width)
    top, left = (height - 224) // 2, (width - 224) // 2
    view, boxes = CROP.take_view_with_boxes(pixels)
    assert (view == pixels[top : top + 224, left : left + 224]).all()
    for cell, (x0, y0, x1, y1) in enumerate(boxes):
        row, column = divmod(cell, 7)
        assert (view[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32] == pixels[y0:y1, x0:x1]).all()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (100, 300), (223, 224), (40, 51)])
def test_a_smaller_picture_is_continued_by_its_mirror_image(height, width):
    pixels = picture(height, width)
    view, boxes = CROP.take_view_with_boxes(pixels)
    top, left = (height - 224) // 2, (width - 224) // 2
    for y, x in ((0, 0), (111, 7), (223, 223), (5, 200)):
        there = [index % (2 * side) for index, side in ((top + y, height), (left + x, width))]
        row, column = (i if i < side else 2 * side - 1 - i for i, side in zip(there, (height, width), strict=True))
        assert (view[y, x] == pixels[row, column]).all()
    assert boxes[:, 2].max() <= width
    assert boxes[:, 3].max() <= height
    assert boxes.min() >= 0


@pytest.mark.parametrize(("height", "width"), [(448, 448), (449, 1001), (900, 700)])
def test_a_large_picture_is_scored_by_its_centre_and_those_of_its_quadrants(height, width):
    preprocessing, pixels = CROP.model_copy(update={"multi_crop": True}), picture(height, width)
    middles = [(height / 2, width / 2), *((y, x) for y in (height / 4, height * 3 / 4) for x in (width / 4, width * 3 / 4))]
    views = preprocessing.views(pixels)
    assert views.shape == (5, 3, 224, 224)
    for view, (y, x) in zip(views, middles, strict=True):
        places = [(top, left) for top in range(round(y) - 113, round(y) - 110) for left in range(round(x) - 113, round(x) - 110)]
        windows = [pixels[top : top + 224, left : left + 224] for top, left in places if top >= 0 and left >= 0]
        assert any(window.shape == (224, 224, 3) and (preprocessing.normalise(window) == view).all() for window in windows)
    assert (CROP.views(pixels) == views[:1]).all()
    assert (preprocessing(pixels) == views[0]).all()  # what training takes


def test_a_picture_without_room_for_quadrants_is_scored_by_one_view():
    preprocessing = CROP.model_copy(update={"multi_crop": True})
    for height, width in ((447, 2000), (2000, 447), (224, 224), (100, 100)):
        assert (preprocessing.views(picture(height, width)) == CROP.views(picture(height, width))).all()
        assert preprocessing.views(picture(height, width)).shape == (1, 3, 224, 224)


def test_too_small_and_low_resolution():
    with pytest.raises(ValueError, match="at least 32x32"):
        CROP.take_view_with_boxes(picture(31, 300))
    assert CROP.warnings(223, 500) == ["low_resolution"]
    assert CROP.warnings(224, 224) == []


def test_multi_crop_is_read_under_its_first_name_and_written_under_it():
    for name in ("quadrants", "multi_crop"):
        assert Preprocessing.model_validate({"view": "crop", name: True}).multi_crop
    written = Preprocessing(view="crop", multi_crop=True).model_dump(mode="json")
    assert list(written) == ["view", "size", "patch", "low", "high", "order", "quadrants", "mean", "std"]
    assert Preprocessing.model_validate(written) == Preprocessing(view="crop", multi_crop=True)
    assert Preprocessing.model_validate(written | {"multi_crop": False}).multi_crop is False  # what `--set` adds to defaults counts
