from __future__ import annotations

import inspect
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from dgsnet.images import augment
from dgsnet.images.augment import Augmentation, Crop, ReEncode, Resize
from dgsnet.images.decode import DecodePolicy

ALWAYS = Augmentation(
    crop=Crop(probability=1, low=0.3), resize=Resize(probability=1), flip=True, reencode=ReEncode(probability=1, low=50, high=90)
)


def noise(height: int = 300, width: int = 400, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def view(settings_: Augmentation, pixels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    return settings_.apply(pixels, np.random.default_rng(seed))


def test_all_off_by_default():
    pixels = noise()
    assert view(Augmentation(), pixels, 0) is pixels


def test_probability_zero_changes_nothing():
    pixels = noise()
    off = Augmentation(crop=Crop(probability=0), resize=Resize(probability=0), reencode=ReEncode(probability=0))
    assert all(np.array_equal(view(off, pixels, seed), pixels) for seed in range(5))


def test_a_view_is_a_function_of_the_seed():
    pixels = noise()
    assert np.array_equal(view(ALWAYS, pixels, 7), view(ALWAYS, pixels, 7))
    assert len({view(ALWAYS, pixels, seed).tobytes() for seed in range(6)}) == 6


def test_the_input_stays_as_it_was_and_global_randomness_untouched():
    pixels = noise()
    before = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    view(ALWAYS, pixels, 1)
    assert np.array_equal(pixels, noise())
    assert np.array_equal(before, np.random.get_state(legacy=False)["state"]["key"])  # noqa: NPY002


def test_no_draw_can_depend_on_the_label():
    assert list(inspect.signature(Augmentation.apply).parameters) == ["self", "pixels", "rng"]


@pytest.mark.parametrize("step", ["crop", "resize", "flip", "reencode"])
def test_switching_a_step_off_leaves_the_draws_of_the_others(step: str, monkeypatch: pytest.MonkeyPatch):
    def draws(switched: Augmentation) -> dict[str, object]:
        taken: dict[str, object] = {}
        for name, kind in (("crop", Crop), ("resize", Resize), ("reencode", ReEncode)):

            def note(self: object, pixels: NDArray[np.uint8], rng: np.random.Generator, name: str = name) -> NDArray[np.uint8]:
                taken[name] = rng.bit_generator.state["state"]["state"]
                return pixels

            monkeypatch.setattr(kind, "_apply", note)
        rng = np.random.default_rng(3)
        taken["flip"] = bool((switched.apply(noise(), rng) != noise()).any())
        taken["rest"] = rng.bit_generator.state["state"]["state"]
        return taken

    everything = draws(ALWAYS)
    without = draws(ALWAYS.model_copy(update={step: False if step == "flip" else None}))
    assert {name: without.get(name) for name in everything if name != step} == {k: v for k, v in everything.items() if k != step}


def test_flip_mirrors_half_of_the_time():
    pixels = noise(8, 10)
    views = [view(Augmentation(flip=True), pixels, seed) for seed in range(60)]
    mirrored = [np.array_equal(one, pixels[:, ::-1]) for one in views]
    assert all(one or np.array_equal(other, pixels) for one, other in zip(mirrored, views, strict=True))
    assert 15 < sum(mirrored) < 45


def test_crop_is_a_window_of_the_same_aspect_and_enough_area():
    height, width = 500, 700
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows % 256, columns % 256, (rows // 256) * 16 + columns // 256], axis=2).astype(np.uint8)
    starts = set()
    for seed in range(20):
        part = view(Augmentation(crop=Crop(probability=1, low=0.4)), pixels, seed)
        top = int(part[0, 0, 0]) + 256 * (int(part[0, 0, 2]) // 16)
        left = int(part[0, 0, 1]) + 256 * (int(part[0, 0, 2]) % 16)
        assert np.array_equal(part, pixels[top : top + part.shape[0], left : left + part.shape[1]])
        assert part.shape[1] / part.shape[0] == pytest.approx(width / height, rel=0.01)
        assert part.shape[0] * part.shape[1] >= 0.39 * height * width
        starts.add((top, left))
    assert len(starts) > 15


def test_crop_keeps_a_side_of_224_and_leaves_small_pictures_whole():
    tight = Augmentation(crop=Crop(probability=1, low=0.01))
    assert min(min(view(tight, noise(300, 400), seed).shape[:2]) for seed in range(10)) >= 224
    small = noise(200, 900)
    assert np.array_equal(view(tight, small, 0), small)


def test_resize_stays_in_its_range_and_above_224():
    pixels = noise(400, 600)
    sizes = [view(Augmentation(resize=Resize(probability=1, low=0.7, high=1.2)), pixels, seed).shape for seed in range(20)]
    assert all(279 <= height <= 481 and abs(width - 1.5 * height) <= 1 for height, width, _ in sizes)
    assert len(set(sizes)) > 10
    assert any(size[0] < 400 for size in sizes)
    assert any(size[0] > 400 for size in sizes)
    assert view(Augmentation(resize=Resize(probability=1, low=0.1, high=0.1)), pixels, 0).shape == (224, 336, 3)
    assert view(Augmentation(resize=Resize(probability=1, low=0.1, high=0.1)), noise(100, 100), 0).shape == (100, 100, 3)


def test_resize_does_not_enlarge_beyond_the_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(augment, "ENLARGED", DecodePolicy(max_pixels=300 * 300, max_side=400))
    enlarge = Augmentation(resize=Resize(probability=1, low=4, high=4))
    assert view(enlarge, noise(250, 250), 0).shape == (300, 300, 3)
    assert view(enlarge, noise(310, 310), 0).shape == (310, 310, 3)
    assert view(enlarge, noise(20, 200), 0).shape == (40, 400, 3)


def test_resize_draws_its_filter():
    pixels = noise(300, 300)
    each = {
        view(Augmentation(resize=Resize(probability=1, low=0.9, high=0.9, filters=(name,))), pixels, 0).tobytes()
        for name in ("lanczos", "bicubic", "bilinear")
    }
    drawn = {view(Augmentation(resize=Resize(probability=1, low=0.9, high=0.9)), pixels, seed).tobytes() for seed in range(25)}
    assert len(each) == 3
    assert drawn == each


def expected_jpeg(pixels: NDArray[np.uint8], quality: int, subsampling: int) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(buffer)).tobytes()


def test_reencode_draws_quality_and_subsampling_of_jpeg():
    pixels = noise(32, 48)
    every = {expected_jpeg(pixels, quality, chroma) for quality in (70, 71) for chroma in (0, 1, 2)}
    once = Augmentation(reencode=ReEncode(probability=1, formats=("jpeg",), low=70, high=71))
    assert {view(once, pixels, seed).tobytes() for seed in range(60)} == every


def test_reencode_draws_the_format():
    pixels = noise(16, 16)
    one = {
        name: {
            view(Augmentation(reencode=ReEncode(probability=1, formats=(name,), low=80, high=80)), pixels, s).tobytes() for s in range(20)
        }
        for name in ("jpeg", "webp")
    }
    both = {view(Augmentation(reencode=ReEncode(probability=1, low=80, high=80)), pixels, seed).tobytes() for seed in range(40)}
    assert len(one["jpeg"]) == 3
    assert len(one["webp"]) == 1
    assert both == one["jpeg"] | one["webp"]


def test_a_picture_too_wide_for_webp_becomes_jpeg():
    wide = noise(2, 16_384)
    assert view(Augmentation(reencode=ReEncode(probability=1, formats=("webp",))), wide, 0).shape == wide.shape


def test_the_container_comes_last(monkeypatch: pytest.MonkeyPatch):
    order: list[str] = []
    for kind in (ReEncode, Crop, Resize):
        monkeypatch.setattr(kind, "_apply", lambda self, pixels, rng: order.append(type(self).__name__) or pixels)
    view(ALWAYS, noise(), 0)
    assert order == ["Crop", "Resize", "ReEncode"]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 320), st.integers(1, 320), st.integers(0, 2**32))
def test_any_size_gives_contiguous_writable_rgb(height: int, width: int, seed: int):
    out = view(ALWAYS, noise(height, width), seed)
    assert out.dtype == np.uint8
    assert out.shape[2] == 3
    assert out.flags.c_contiguous
    assert out.flags.writeable
    assert min(out.shape[:2]) >= min(224, height, width)


@pytest.mark.parametrize(
    "bad",
    [
        {"blur": True},
        {"resize": {"low": 2, "high": 1}},
        {"resize": {"filters": ["nearest"]}},
        {"reencode": {"formats": []}},
        {"reencode": {"formats": ["png"]}},
        {"reencode": {"low": 0}},
        {"reencode": {"low": 90, "high": 80}},
        {"crop": {"probability": 1.1}},
        {"crop": {"low": 0}},
        {"crop": {"label": 1}},
    ],
)
def test_settings_out_of_range_are_refused(bad: dict[str, object]):
    with pytest.raises(ValidationError):
        Augmentation.model_validate(bad)


def test_settings_survive_json():
    assert Augmentation.model_validate_json(ALWAYS.model_dump_json()) == ALWAYS
