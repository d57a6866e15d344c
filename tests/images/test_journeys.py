"""Journeys do to a picture what sites and messengers do, the same to the same picture, and heed nothing but the picture."""

import inspect
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dgsnet.core.errors import RecipeError
from dgsnet.images import journeys
from dgsnet.images.decode import decode
from dgsnet.images.journeys import JOURNEYS
from dgsnet.images.jpeg_quality import of_tables
from dgsnet.images.perturb import Perturbation, journey
from tests.support.pictures import textured

KEYS = [f"{number:064x}" for number in range(40)]


@pytest.fixture(scope="module")
def picture():
    return textured(np.random.default_rng(2), fake=False, side=700)[:, :520].copy()


def travelled(name, pixels, key):
    data = journey(name).apply(pixels, key)
    assert isinstance(data, bytes)
    return data


@pytest.mark.parametrize("name", JOURNEYS)
def test_a_journey_is_drawn_from_the_picture_alone(name, picture):
    before = picture.copy()
    once, again, other = (travelled(name, picture, key) for key in (KEYS[0], KEYS[0], KEYS[1]))
    assert once == again != other
    assert np.array_equal(picture, before)
    assert list(inspect.signature(JOURNEYS[name]).parameters) == ["pixels", "rng"]  # no label could have a part in it


def test_a_share_has_the_sizes_and_qualities_it_names(picture):
    large = np.repeat(np.repeat(picture, 2, axis=0), 2, axis=1)
    seen: list[Any] = [Image.open(BytesIO(travelled("share", large, key))) for key in KEYS]
    shorts = [min(image.size) for image in seen]
    assert min(shorts) >= 320
    assert max(shorts) <= 1080
    assert max(shorts) > 2 * min(shorts)
    formats = [image.format for image in seen]
    assert 3 <= formats.count("WEBP") <= 20
    assert set(formats) == {"JPEG", "WEBP"}
    qualities = [of_tables(image.quantization) for image in seen if image.format == "JPEG"]
    assert min(qualities) >= 70
    assert max(qualities) <= 92


def test_a_site_never_enlarges(picture):
    small = picture[:200, :160].copy()
    for key in KEYS:
        width, height = Image.open(BytesIO(travelled("share", small, key))).size
        assert 120 <= width <= 160
        assert 150 <= height <= 200


def test_a_messenger_bounds_the_longest_side_and_forwards_some(picture):
    long = np.tile(picture, (3, 1, 1))
    longest = {max(Image.open(BytesIO(travelled("messenger", long, key))).size) for key in KEYS}
    assert longest == {1280, 1600}
    assert {max(Image.open(BytesIO(travelled("messenger", picture, key))).size) for key in KEYS[:5]} == {700}


def test_a_repost_has_its_grid_elsewhere_and_less_of_the_picture(picture, monkeypatch):
    monkeypatch.setattr(journeys, "_scaled", lambda pixels, factor, rng: pixels)
    for key in KEYS[:8]:
        seen = decode(travelled("repost", picture, key)).pixels
        assert 0.9 * 700 - 1 <= seen.shape[0] <= 0.98 * 700 + 1
        assert 0.9 * 520 - 1 <= seen.shape[1] <= 0.98 * 520 + 1


def test_any_is_each_of_the_others_now_and_then(picture, monkeypatch):
    taken = []
    for name in ("share", "messenger", "screenshot", "repost"):
        monkeypatch.setattr(journeys, name, lambda pixels, rng, name=name: taken.append(name) or b"")
    for number in range(200):
        journeys.any_of_them(picture, np.random.default_rng(number))
    counts = {name: taken.count(name) for name in set(taken)}
    assert counts.keys() == {"share", "messenger", "screenshot", "repost"}
    assert counts["share"] > 1.4 * max(counts[name] for name in ("messenger", "screenshot", "repost"))


def test_the_smallest_picture_that_is_scored_travels():
    small = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
    for name in JOURNEYS:
        for key in KEYS:
            assert min(decode(travelled(name, small, key)).pixels.shape[:2]) >= 28  # a repost cuts at most a tenth off, twice never


def test_an_unknown_journey_is_refused():
    with pytest.raises(RecipeError, match="unknown journey 'teleport': expected one of share, messenger, screenshot, repost, any"):
        journey("teleport")
    assert journey("any") == Perturbation("journey_any")
