"""Each warning on pictures that should and should not raise it: photographs that packages carry, and screens drawn here."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from dgsnet.demo.photographs import photographs
from dgsnet.images import content_flags, jpeg_quality
from dgsnet.images.decode import decode
from dgsnet.inference.verdict import PLAIN

WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "while", "seven", "wizards", "mix", "coffee")

MISTAKEN = "brick"
"""Courses of a pavement seen straight from above: the one photograph here that is taken for a drawing."""

PHOTOGRAPHS = {one.name: one.pixels for one in photographs()}


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def warnings(data: bytes | np.ndarray) -> list[str]:
    return content_flags.warnings(decode(data))


def words(rng: np.random.Generator, count: int) -> str:
    return " ".join(WORDS[i] for i in rng.integers(0, len(WORDS), count))


def page(side: int, rng: np.random.Generator, ink: str = "#141414", paper: str = "white") -> Image.Image:
    size = max(11, side // 50)
    image = Image.new("RGB", (side, side), paper)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for y in range(size, side - size, int(size * 1.5)):
        draw.text((size, y), words(rng, 30)[: int((side - 2 * size) / size * 2)], ink, font)
    return image


def terminal(side: int, rng: np.random.Generator) -> Image.Image:
    return page(side, rng, "#98c379", "#181a1f")


def interface(side: int, rng: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", (side, side), "#f0f2f5")
    draw, size = ImageDraw.Draw(image), max(11, side // 60)
    font = ImageFont.load_default(size)
    draw.rectangle((0, 0, side, size * 3), "#2d5aa0")
    draw.text((size, size), "File  Edit  View  Window  Help", "white", font)
    for y in range(size * 4, side - size * 6, size * 7):
        draw.rounded_rectangle((size, y, side - size * 2, y + size * 6), 4, "white", "#c8c8c8")
        draw.text((size * 2, y + size), words(rng, 5), "#1e1e1e", font)
        draw.rectangle((size * 2, y + 3 * size, size * 10, y + 5 * size), "#28a745")
    return image


def chart(side: int, rng: np.random.Generator) -> Image.Image:
    figure = Figure(figsize=(side / 100, side / 100), dpi=100)
    axes = figure.subplots()
    axes.bar(range(8), rng.uniform(1, 9, 8))
    axes.set_title("Sales by region")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())


SCREENS = (page, terminal, interface, chart)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_as_they_are_raise_nothing(name):
    assert warnings(PHOTOGRAPHS[name]) == (["text_or_screenshot"] if name == MISTAKEN else [])


@pytest.mark.parametrize("quality", [75, 90])
def test_mild_compression_of_photographs_raises_nothing(quality):
    raised = {name: warnings(encoded(Image.fromarray(pixels), quality=quality)) for name, pixels in PHOTOGRAPHS.items()}
    assert {name for name, found in raised.items() if found} <= {MISTAKEN}


@pytest.mark.parametrize("quality", [10, 25, 40])
def test_heavy_compression_is_told_by_a_files_tables(quality):
    for pixels in PHOTOGRAPHS.values():
        assert "heavy_compression" in warnings(encoded(Image.fromarray(pixels), quality=quality))


def test_heavy_compression_is_told_by_pixels_after_a_crop_in_a_png():
    found = []
    for pixels in PHOTOGRAPHS.values():
        again = Image.open(BytesIO(encoded(Image.fromarray(pixels), quality=30))).convert("RGB")
        cut = again.crop((3, 5, again.width, again.height))
        found.append("heavy_compression" in warnings(encoded(cut, "PNG")))
    assert np.mean(found) >= 0.8


def test_heavy_compression_is_told_under_a_milder_one_on_another_grid():
    found = []
    for name in ("astronaut", "camera", "chelsea", "coffee"):
        once = Image.open(BytesIO(encoded(Image.fromarray(PHOTOGRAPHS[name]), quality=30)))
        data = encoded(once.crop((3, 5, once.width, once.height)), quality=85)
        assert decode(data).jpeg_quality == 85
        found.append("heavy_compression" in warnings(data))
    assert all(found)


@pytest.mark.parametrize("draw", SCREENS)
def test_screens_are_not_taken_for_coarse_blocks(draw):
    for seed in range(3):
        data = encoded(draw(700, np.random.default_rng(seed)), quality=85)
        assert warnings(data) == ["text_or_screenshot"]


@pytest.mark.parametrize("quality", [5, 30, 50, 75, 95])
def test_the_quality_of_libjpegs_own_tables_is_exact(quality):
    data = encoded(Image.fromarray(PHOTOGRAPHS["coffee"]), quality=quality)
    assert decode(data).jpeg_quality == quality


def test_only_jpeg_files_have_a_quality():
    assert decode(encoded(Image.new("RGB", (40, 40)), "PNG")).jpeg_quality is None
    assert jpeg_quality.of_tables({}) is None
    assert jpeg_quality.of_tables({0: [1] * 12}) is None


@pytest.mark.parametrize("draw", SCREENS)
@pytest.mark.parametrize("side", [400, 1200])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_screens_are_found(draw, side, kind):
    image = draw(side, np.random.default_rng(side))
    data = encoded(image, "PNG") if kind == "PNG" else encoded(image, "JPEG", quality=85)
    assert "text_or_screenshot" in warnings(data)


def test_smooth_pictures_and_flat_colours_are_no_screens():
    slope = np.broadcast_to(np.linspace(0, 255, 300).astype(np.uint8)[None, :, None], (300, 300, 3))
    for pixels in (slope, np.zeros((300, 300, 3), np.uint8), np.full((300, 300, 3), 255, np.uint8)):
        assert "text_or_screenshot" not in warnings(np.ascontiguousarray(pixels))


def test_a_photograph_on_white_is_no_screen():
    canvas = np.full((600, 600, 3), 255, np.uint8)
    canvas[150:450, 100:500] = PHOTOGRAPHS["chelsea"][:300, :400]
    assert "text_or_screenshot" not in warnings(canvas)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_any_picture_gets_known_warnings(height, width, bits, seed):
    pixels = np.random.default_rng(seed).integers(0, 2 ** (8 - 2 * bits), (height, width, 3)).astype(np.uint8)
    assert set(warnings(pixels)) <= PLAIN.keys()
