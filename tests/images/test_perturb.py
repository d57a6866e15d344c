"""Perturbations do what their names say, as much as their severity says, the same each time."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from dgsnet.core.errors import DecodeError, RecipeError
from dgsnet.images import perturb
from dgsnet.images.decode import DecodePolicy, decode
from dgsnet.images.perturb import KINDS, SUITES, Perturbation, suite
from tests.support.pictures import textured

KEY = "0" * 64
EVERY = (*SUITES["full"], *SUITES["journeys"])


@pytest.fixture(scope="module")
def pixels():
    return textured(np.random.default_rng(1), fake=True, side=200)[:, :160].copy()


def after(perturbation, pixels, key=KEY):
    """What a detector sees of it."""
    return perturbation.seen(pixels, key).astype(np.int16)


def opened(data):
    assert isinstance(data, bytes)
    return Image.open(BytesIO(data))


def distance(a, b):
    return float(np.abs(a.astype(np.int16) - b).mean())


@pytest.mark.parametrize("perturbation", EVERY, ids=str)
def test_each_is_a_pure_function_that_changes_the_picture(perturbation, pixels):
    before = pixels.copy()
    found = perturbation.apply(pixels, KEY)
    assert np.array_equal(pixels, before)
    again = perturbation.apply(pixels.copy(), KEY)
    assert found == again if isinstance(found, bytes) else np.array_equal(found, again)
    changed = after(perturbation, pixels)
    assert changed.shape != pixels.shape or distance(changed, pixels) > 0
    if not isinstance(found, bytes):
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous
        assert not np.shares_memory(found, pixels)


@pytest.mark.parametrize("perturbation", [Perturbation("jpeg", 70), Perturbation("resize", 0.5)], ids=str)
def test_what_is_seen_of_it_is_what_decoding_it_gives(perturbation, pixels):
    seen = perturbation.seen(pixels, KEY)
    assert np.array_equal(seen, decode(perturbation.apply(pixels, KEY)).pixels)
    with pytest.raises(DecodeError, match="pixels"):
        Perturbation("jpeg", 70).seen(pixels, KEY, DecodePolicy(max_pixels=100))


@pytest.mark.parametrize(("name", "container"), [("jpeg", "JPEG"), ("webp", "WEBP")])
def test_a_lower_quality_is_a_smaller_file_further_from_the_picture(pixels, name, container):
    encoded = [Perturbation(name, quality).apply(pixels, KEY) for quality in (95, 90, 80, 70, 50)]
    assert {opened(data).format for data in encoded} == {container}
    sizes, errors = [len(data) for data in encoded], [distance(decode(data).pixels, pixels) for data in encoded]
    assert sizes == sorted(set(sizes), reverse=True)
    assert errors == sorted(set(errors))


def test_jpeg_has_the_quality_and_subsampling_it_names(pixels):
    image = opened(Perturbation("jpeg", 70).apply(pixels, KEY))
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=70)  # 4:2:0 is Pillow's own
    stream.seek(0)
    expected = JpegImageFile(stream)
    assert image.quantization == expected.quantization
    assert [layer[1:3] for layer in image.layer] == [(2, 2), (1, 1), (1, 1)]


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.25, 1.5, 2.0])
def test_resize_is_lanczos_and_lossless(pixels, scale):
    size = round(160 * scale), round(200 * scale)
    found = Perturbation("resize", scale).apply(pixels, KEY)
    assert np.array_equal(found, np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)))


@pytest.mark.parametrize("name", ["bicubic", "bilinear", "nearest"])
def test_other_filters_are_the_ones_they_name(pixels, name):
    found = Perturbation(f"resize_{name}", 0.5).apply(pixels, KEY)
    assert np.array_equal(found, np.asarray(Image.fromarray(pixels).resize((80, 100), Image.Resampling[name.upper()])))


@pytest.mark.parametrize(
    ("chain", "steps"),
    [
        (("resize_jpeg", 0.5), (("resize", 0.5), ("jpeg", 80))),
        (("blur_jpeg", 1), (("blur", 1), ("jpeg", 80))),
        (("messenger", None), (("resize", 0.5), ("jpeg", 60), ("jpeg", 70))),
    ],
)
def test_a_chain_is_its_steps_in_order(pixels, chain, steps):
    changed = pixels
    for name, severity in steps:
        changed = decode(Perturbation(name, severity).apply(changed, KEY)).pixels
    assert np.array_equal(after(Perturbation(*chain), pixels), changed)


def test_a_second_jpeg_has_its_grid_elsewhere(pixels):
    once = decode(Perturbation("jpeg", 50).apply(pixels, KEY)).pixels
    twice = Perturbation("jpeg_twice", 50).apply(pixels, KEY)
    assert opened(twice).size == (157, 197)
    assert distance(decode(twice).pixels, once[3:, 3:]) < 4
    assert Perturbation("jpeg_twice", 50).apply(pixels[:1, :1].copy(), KEY)  # nothing to cut


@pytest.mark.parametrize("kept", [0.9, 0.75, 0.5])
def test_crop_keeps_the_centre(pixels, kept):
    rows, columns = round(200 * kept), round(160 * kept)
    top, left = (200 - rows) // 2, (160 - columns) // 2
    assert np.array_equal(after(Perturbation("crop", kept), pixels), pixels[top : top + rows, left : left + columns])


def test_flip_mirrors_left_and_right(pixels):
    assert np.array_equal(after(Perturbation("flip"), pixels), pixels[:, ::-1])


def test_blur_has_the_sigma_it_names_and_keeps_colours_apart():
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20, 0] = 255
    for sigma in (0.5, 1.0):
        spread = after(Perturbation("blur", sigma), point).astype(float)
        assert spread[:, :, 1:].max() == 0
        profile = spread[20, :, 0] / spread[20, :, 0].sum()
        assert np.sqrt((profile * (np.arange(41) - 20) ** 2).sum()) == pytest.approx(sigma, rel=0.15)
    flat = np.full((30, 30, 3), 200, np.uint8)
    assert np.array_equal(after(Perturbation("blur", 2), flat), flat)


@pytest.mark.parametrize("sigma", [2, 5, 10])
def test_noise_has_the_sigma_it_names(sigma):
    grey = np.full((300, 300, 3), 128, np.uint8)
    added = after(Perturbation("noise", sigma), grey) - 128.0
    assert added.std() == pytest.approx(sigma, rel=0.03)
    assert abs(added.mean()) < 0.1


def test_noise_is_drawn_from_picture_and_severity_alone():
    grey = np.full((50, 50, 3), 128, np.uint8)

    def drawn(sigma, key):
        return (after(Perturbation("noise", sigma), grey, key) - 128.0) / sigma

    state = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    assert np.array_equal(drawn(5, KEY), drawn(5, KEY))
    assert np.array_equal(state, np.random.get_state(legacy=False)["state"]["key"])  # noqa: NPY002
    for other in (drawn(5, "1" * 64), drawn(10, KEY)):  # another picture, another severity: not the same noise, only scaled
        assert abs(np.corrcoef(drawn(5, KEY).ravel(), other.ravel())[0, 1]) < 0.1


def test_noise_and_gamma_do_not_wrap_around():
    white, black = np.full((40, 40, 3), 255, np.uint8), np.zeros((40, 40, 3), np.uint8)
    assert after(Perturbation("noise", 10), white).min() > 180
    assert after(Perturbation("noise", 10), black).max() < 75
    for exponent in (0.8, 1.25):
        assert np.array_equal(after(Perturbation("gamma", exponent), white), white)
        assert np.array_equal(after(Perturbation("gamma", exponent), black), black)


def test_gamma_is_its_formula():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for exponent in (0.8, 1.25):
        expected = np.rint(255 * (np.arange(256) / 255) ** exponent)
        assert np.array_equal(after(Perturbation("gamma", exponent), ramp)[0, :, 0], expected)
    assert after(Perturbation("gamma", 0.8), ramp).mean() > ramp.mean() > after(Perturbation("gamma", 1.25), ramp).mean()


def test_a_screenshot_is_larger_with_a_white_border(pixels):
    data = Perturbation("screenshot").apply(pixels, KEY)
    assert opened(data).format == "JPEG"
    shown = decode(data).pixels
    assert shown.shape == (250 + 40, 200 + 40, 3)
    assert min(edge.min() for edge in (shown[:10], shown[-10:], shown[:, :10], shown[:, -10:])) > 245
    inside = np.asarray(Image.fromarray(pixels).resize((200, 250), Image.Resampling.LANCZOS))
    assert 0 < distance(shown[20:-20, 20:-20], inside) < 5


def test_social_is_resize_and_then_jpeg(pixels):
    smaller = Perturbation("resize", 0.75).apply(pixels, KEY)
    assert isinstance(smaller, np.ndarray)
    assert Perturbation("social").apply(pixels, KEY) == Perturbation("jpeg", 75).apply(smaller, KEY)


def test_suites():
    assert list(SUITES) == ["everyday", "stability", "full", "journeys"]
    assert [str(one) for one in suite("everyday")] == ["jpeg 90", "jpeg 80", "jpeg 70", "resize 0.75", "resize 1.25", "resize 1.5"]
    assert {one.name for one in suite("stability")} == {"jpeg", "webp", "resize", "crop"}
    assert {one.name for one in suite("full")} <= set(KINDS)
    assert set(suite("everyday")) < set(suite("stability")) < set(suite("full"))
    sizes = [len(members) for members in SUITES.values()]
    assert [len(set(members)) for members in SUITES.values()] == sizes
    assert sizes == [6, 16, 45, 4]  # recorded runs (`studies/robustness`) are of these: whoever changes a suite makes them again


@pytest.mark.parametrize(
    ("name", "severity", "reason"),
    [
        ("no_such_kind", None, "unknown perturbation 'no_such_kind': expected one of jpeg, webp"),
        ("jpeg", None, "'jpeg' takes a severity"),
        ("flip", 1, "'flip' takes no severity"),
        ("jpeg", 0, "severity 0 of 'jpeg': expected a whole number in 1..100"),
        ("jpeg", 90.5, "severity 90.5 of 'jpeg': expected a whole number in 1..100"),
        ("resize", 5, r"severity 5 of 'resize': expected a number in 0.1..4"),
        ("blur", float("nan"), "severity nan of 'blur'"),
    ],
)
def test_what_is_no_perturbation_is_refused(name, severity, reason):
    with pytest.raises(RecipeError, match=reason):
        Perturbation(name, severity)


def test_an_unknown_suite_is_refused():
    with pytest.raises(RecipeError, match="unknown suite 'all': expected one of everyday, stability, full"):
        suite("all")


def test_a_picture_the_format_cannot_hold_is_refused():
    with pytest.raises(DecodeError, match="webp 75 cannot be applied"):
        Perturbation("webp", 75).apply(np.zeros((2, 16_384, 3), np.uint8), KEY)


@pytest.mark.parametrize("perturbation", EVERY, ids=str)
def test_a_picture_of_one_pixel_stays_a_picture(perturbation):
    assert min(after(perturbation, np.full((1, 1, 3), 9, np.uint8)).shape[:2]) >= 1


def test_perturbations_are_values():
    assert Perturbation("jpeg", 90) == Perturbation("jpeg", 90.0) != Perturbation("jpeg", 80)
    assert replace(Perturbation("jpeg", 90), severity=80) == Perturbation("jpeg", 80)
    assert str(Perturbation("flip")) == "flip"


@pytest.mark.parametrize("name", ["resize", "resize_nearest", "resize_jpeg", "screenshot"])
def test_what_would_grow_too_large_grows_as_far_as_it_may(pixels, monkeypatch, name):
    height, width = pixels.shape[:2]
    limit = round(1.3 * height * width)
    monkeypatch.setattr(perturb, "ENLARGED", DecodePolicy(max_pixels=limit))
    found = Perturbation(name, None if name == "screenshot" else 1.5).apply(pixels, KEY)
    grown = found if isinstance(found, np.ndarray) else decode(found).pixels
    assert 0.97 * limit < grown.shape[0] * grown.shape[1] <= limit
    if name != "screenshot":  # whose border is as wide above as beside
        assert grown.shape[0] / grown.shape[1] == pytest.approx(height / width, abs=0.03)
    # Larger than the limit already, so it is not enlarged.
    monkeypatch.setattr(perturb, "ENLARGED", DecodePolicy(max_pixels=height * width // 2))
    unchanged = Perturbation("resize", 1.5).apply(pixels, KEY)
    assert isinstance(unchanged, np.ndarray)
    assert unchanged.shape == pixels.shape


@pytest.mark.parametrize("name", ["resize", "resize_jpeg", "screenshot"])
def test_a_panorama_stays_within_the_longest_side(name):
    panorama = np.zeros((40, 14_000, 3), np.uint8)
    grown = Perturbation(name, None if name == "screenshot" else 1.5).seen(panorama, KEY)
    assert 14_000 < grown.shape[1] <= DecodePolicy().max_side
