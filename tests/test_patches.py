"""Patch selection against a literal loop over patches in float64."""

import tracemalloc
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from dgsnet.patches import is_low_resolution, select_patches, spectral_entropy

TIE = 1e-4


def literal_entropy(patch):
    """As the method says: grey scaled to 0..1, |FFT|^2 normalised to sum 1, Shannon entropy base 2."""
    scaled = patch.astype(np.float64) / 255
    grey = 0.299 * scaled[..., 0] + 0.587 * scaled[..., 1] + 0.114 * scaled[..., 2]
    power = np.abs(np.fft.fft2(grey)) ** 2
    if power.sum() == 0:
        return 0.0
    p = power / power.sum()
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def literal_entropies(image, patch=32):
    """Corner (left, top) of each whole patch, cropped at the top-left, and its entropy."""
    height, width = image.shape[0] // patch * patch, image.shape[1] // patch * patch
    return {
        (left, top): literal_entropy(image[top : top + patch, left : left + patch])
        for top in range(0, height, patch)
        for left in range(0, width, patch)
    }


@cache
def photographs():
    sample = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return [*load_sample_images().images, np.asarray(Image.open(sample).convert("RGB"))]


def noise(random, height, width):
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


def gradient(random, height, width):
    y, x = np.mgrid[0:height, 0:width]
    a, b, c = random.uniform(-1, 1, (3, 3))
    ramp = a * x[..., None] / width + b * y[..., None] / height + c * x[..., None] * y[..., None] / (height * width)
    return (127 + 120 * ramp / 3).astype(np.uint8)


def blocks(random, height, width):
    size = int(random.integers(3, 50))
    small = random.integers(0, 256, (-(-height // size), -(-width // size), 3), dtype=np.uint8)
    return np.kron(small, np.ones((size, size, 1), np.uint8))[:height, :width]


def flat(random, height, width):
    image = np.empty((height, width, 3), np.uint8)
    image[...] = random.integers(0, 256, 3)
    image[:: int(random.integers(20, 90)), ::7] = random.integers(0, 256, 3)  # specks, in some of the patches
    return image


def saturated(random, height, width):
    return (random.normal(size=(height, width, 1)) * random.uniform(50, 400) + 128).clip(0, 255).astype(np.uint8).repeat(3, axis=2)


def photograph(random, height, width):
    image = photographs()[int(random.integers(3))]
    top, left = (int(random.integers(0, max(1, s - n + 1))) for s, n in zip(image.shape, (height, width), strict=False))
    return image[top : top + height, left : left + width]


KINDS = [noise, gradient, blocks, flat, saturated, photograph]
ONE_BY_ONE = [(kind, seed) for kind in KINDS for seed in range(33)] + [(photograph, 33), (photograph, 34)]


def check_selection(image, low=24, high=25):
    tiles, boxes = select_patches(image, low=low, high=high, order="entropy")
    truth = literal_entropies(image)
    corners = [(int(left), int(top)) for left, top, _, _ in boxes]
    assert set(corners) <= set(truth)
    assert len(set(corners)) == low + high
    chosen = np.array([truth[corner] for corner in corners])
    ranked = np.sort(list(truth.values()))
    # The chosen have, rank by rank, the entropies of the truth's extremes: the set is the same up to ties.
    np.testing.assert_allclose(np.sort(chosen[:low]), ranked[:low], atol=2 * TIE)
    np.testing.assert_allclose(np.sort(chosen[low:]), ranked[len(ranked) - high :], atol=2 * TIE)
    # Whoever is clearly inside is chosen, whoever is clearly outside is not.
    for corner, entropy in truth.items():
        inside = entropy < ranked[low - 1] - 2 * TIE or entropy > ranked[-high] + 2 * TIE
        outside = ranked[low - 1] + 2 * TIE < entropy < ranked[-high] - 2 * TIE
        assert not (inside and corner not in corners), corner
        assert not (outside and corner in corners), corner
    assert (np.diff(chosen) >= -2 * TIE).all(), "order `entropy` does not rise"
    return tiles, boxes, truth


def check_cells(image, tiles, boxes, patch=32, grid=7):
    """Each box lies in the picture, and its cell is exactly those pixels."""
    assert tiles.dtype == np.uint8
    assert tiles.shape == (grid * patch, grid * patch, 3)
    assert boxes.shape == (grid * grid, 4)
    assert boxes.dtype == np.int64
    for cell, (left, top, right, bottom) in enumerate(boxes):
        assert 0 <= left < right <= image.shape[1]
        assert 0 <= top < bottom <= image.shape[0]
        y, x = cell // grid * patch, cell % grid * patch
        assert np.array_equal(tiles[y : y + patch, x : x + patch], image[top:bottom, left:right])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_selection_is_that_of_the_literal_loop(kind):
    for _, seed in [case for case in ONE_BY_ONE if case[0] is kind]:
        random = np.random.default_rng(seed)
        height, width = (int(n) for n in random.integers(224, 400, 2))
        image = kind(random, height, width)
        tiles, boxes, truth = check_selection(image)
        check_cells(image, tiles, boxes)
        corners = list(truth)[:: max(1, len(truth) // 12)]
        patches = np.stack([image[top : top + 32, left : left + 32].transpose(2, 0, 1) for left, top in corners])
        np.testing.assert_allclose(spectral_entropy(patches), [truth[corner] for corner in corners], atol=TIE)


def test_the_suite_covers_200_images():
    assert len(ONE_BY_ONE) == 200


@pytest.mark.parametrize("shape", [(224, 224), (223 + 32, 32 * 130 + 5), (32 * 130, 32 * 7), (1000, 777)])
def test_whatever_the_blocks_of_the_transform_are(shape):
    """Wide pictures are cut within a row of patches, tall ones between rows."""
    image = photographs()[0][np.arange(shape[0])[:, None] % 427, np.arange(shape[1]) % 640]
    image = image ^ np.random.default_rng(0).integers(0, 8, image.shape, dtype=np.uint8)
    check_cells(image, *check_selection(image)[:2])


def test_pictures_that_are_views():
    image = photographs()[1]
    for view in (image[::-1], image[:, ::-1], image[..., ::-1], image[::2, ::2].repeat(2, 0), np.asfortranarray(image)):
        tiles, boxes = select_patches(view)
        again, boxes_again = select_patches(np.ascontiguousarray(view))
        assert np.array_equal(tiles, again)
        assert np.array_equal(boxes, boxes_again)


def test_the_image_is_not_changed_and_the_tiles_are_its_own():
    image = photographs()[0].copy()
    before = image.copy()
    tiles, _ = select_patches(image)
    tiles[...] = 0
    assert np.array_equal(image, before)


# Entropy


def test_entropy_of_known_spectra():
    y, x = np.mgrid[0:32, 0:32]
    flat_patch = np.full((32, 32), 100.0)
    impulse = np.zeros((32, 32))
    impulse[3, 5] = 1
    wave = np.cos(2 * np.pi * 3 * x / 32)  # two lines of equal power
    waves = wave + np.cos(2 * np.pi * (5 * y + 2 * x) / 32)  # four
    checker = (-1.0) ** (x + y)  # the Nyquist line alone
    patches = np.stack([np.stack([p] * 3) for p in (flat_patch, impulse, wave, waves, checker, np.zeros((32, 32)))])
    np.testing.assert_allclose(spectral_entropy(patches), [0, 10, 1, 2, 0, 0], atol=1e-5)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 15, 16, 31, 32, 64])
def test_entropy_of_any_side(side):
    patches = np.random.default_rng(side).integers(0, 256, (5, 3, side, side), dtype=np.uint8)
    truth = [literal_entropy(patch.transpose(1, 2, 0)) for patch in patches]
    got = spectral_entropy(patches)
    assert got.shape == (5,)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, truth, atol=TIE)


@pytest.mark.parametrize("factor", [1 / 255, 1.0, 1e-30, 1e30])
def test_entropy_does_not_depend_on_scale(factor):
    patches = np.random.default_rng(0).uniform(0, 255, (4, 3, 32, 32))
    np.testing.assert_allclose(spectral_entropy(patches * factor), spectral_entropy(patches), atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 97, 300])
def test_entropy_of_any_number(count):
    patches = np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
    np.testing.assert_allclose(spectral_entropy(patches), [literal_entropy(p.transpose(1, 2, 0)) for p in patches], atol=TIE)


def test_entropy_of_what_is_no_number_is_no_number():
    patches = np.ones((2, 3, 32, 32))
    patches[1, 0, 0, 0] = np.nan
    assert np.isnan(spectral_entropy(patches)).tolist() == [False, True]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensor_in_tensor_out(dtype):
    patches = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(dtype)
    got = spectral_entropy(patches)
    assert isinstance(got, torch.Tensor)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got, spectral_entropy(patches.double().numpy()), atol=1e-6)
    assert isinstance(spectral_entropy(patches.double().numpy()), np.ndarray)


def test_tensor_that_requires_a_gradient():
    assert not spectral_entropy(torch.rand(2, 3, 32, 32, requires_grad=True)).requires_grad


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 4, 32, 32), (1, 32, 32, 3), (1, 3, 32, 16), (1, 3, 0, 0)])
def test_spectral_entropy_refuses(shape):
    with pytest.raises(ValueError, match="expected patches"):
        spectral_entropy(np.zeros(shape))


# Orders


def test_orders_hold_the_same_cells():
    image = photographs()[0]
    by_order = {order: select_patches(image, order=order) for order in ("position", "entropy", "released")}
    for tiles, boxes in by_order.values():
        check_cells(image, tiles, boxes)
    sets = {order: sorted(map(tuple, boxes)) for order, (_, boxes) in by_order.items()}
    assert sets["position"] == sets["entropy"] == sets["released"]
    corners = [(top, left) for left, top, _, _ in by_order["position"][1].tolist()]
    assert corners == sorted(corners)


@pytest.mark.parametrize("order", ["position", "entropy"])
def test_deterministic_orders_know_no_seed(order):
    image = photographs()[1]
    first = select_patches(image, order=order)
    np.random.seed(3)  # noqa: NPY002
    second = select_patches(image, order=order, seed=5)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_released_order_is_a_function_of_the_seed():
    image = photographs()[1]
    boxes = [select_patches(image, order="released", seed=seed)[1].tolist() for seed in (0, 0, 1, 2)]
    assert boxes[0] == boxes[1]
    assert boxes[0] != boxes[2] != boxes[3]


def test_ties_are_ranked_by_position():
    boxes = select_patches(np.full((320, 320, 3), 90, np.uint8), order="entropy")[1]
    corners = [(top // 32 * 10 + left // 32) for left, top, _, _ in boxes.tolist()]
    assert corners == [*range(24), *range(75, 100)]


def test_ties_among_other_patches_are_ranked_by_position():
    """A flat and a noise in turn: only a stable ranking keeps each kind in the order of the picture."""
    random = np.random.default_rng(0)
    kinds = [np.full((32, 32, 3), 20, np.uint8), random.integers(0, 256, (32, 32, 3), dtype=np.uint8)]
    image = np.vstack([np.hstack([kinds[(row + column) % 2] for column in range(20)]) for row in range(20)])
    places = [top // 32 * 20 + left // 32 for left, top, _, _ in select_patches(image, order="entropy")[1].tolist()]
    calm, busy = ([i for i in range(400) if (i // 20 + i % 20) % 2 == kind] for kind in range(2))
    assert places == [*calm[:24], *busy[-25:]]


# Small pictures


def mostly_bright(height, width):
    return np.random.default_rng(height * width).integers(1, 256, (height, width, 3), dtype=np.uint8)


def check_small(image, patch=32, low=24, high=25):
    grid = round((low + high) ** 0.5)
    for order in ("position", "entropy", "released"):
        tiles, boxes = select_patches(image, patch, low, high, order)
        check_cells(image, tiles, boxes, patch, grid)
        assert tiles.min() > 0, "a black cell in a picture that is nowhere black"
    return boxes


@pytest.mark.parametrize(
    "shape", [(32, 32), (33, 33), (33, 40), (40, 33), (63, 64), (100, 100), (256, 100), (32, 4000), (4000, 32), (223, 224)]
)
def test_small_pictures(shape):
    image = mostly_bright(*shape)
    boxes = check_small(image)
    distinct = len(set(map(tuple, boxes.tolist())))
    positions = (shape[0] - 31) * (shape[1] - 31)
    assert distinct == min(49, positions) or (distinct > 1 and positions < 100), "windows repeat though there are enough positions"
    # What there is is seen: windows reach both ends of each axis unless whole patches suffice.
    if is_low_resolution(*shape) and positions <= 49:
        assert boxes[:, 2].max() == shape[1]
        assert boxes[:, 3].max() == shape[0]


def test_entropy_rises_when_windows_repeat():
    image = mostly_bright(33, 40)
    _, boxes = select_patches(image, order="entropy")
    entropies = [literal_entropy(image[top:bottom, left:right]) for left, top, right, bottom in boxes]
    assert (np.diff(entropies) >= -2 * TIE).all()


def test_every_window_is_used_when_there_are_too_few():
    boxes = select_patches(mostly_bright(33, 40))[1]
    assert len(set(map(tuple, boxes.tolist()))) == 2 * 9


@given(st.integers(8, 120), st.integers(8, 120), st.sampled_from([(0, 1), (1, 0), (2, 2), (4, 5), (24, 25), (49, 0)]))
@settings(max_examples=60, deadline=None)
def test_any_size(height, width, counts):
    check_small(mostly_bright(height, width), 8, *counts)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_any_patch(height, width, patch):
    if min(height, width) >= patch:
        check_small(mostly_bright(height, width), patch, 4, 5)


@pytest.mark.parametrize(
    ("height", "width", "low"),
    [(224, 224, False), (223, 224, True), (32, 32, True), (32, 48 * 32, True), (32, 49 * 32, False), (10, 5000, True), (1024, 1024, False)],
)
def test_is_low_resolution(height, width, low):
    assert is_low_resolution(height, width) is low


@pytest.mark.parametrize(
    ("image", "settings_", "word"),
    [
        (np.zeros((64, 64), np.uint8), {}, "uint8"),
        (np.zeros((64, 64, 4), np.uint8), {}, "uint8"),
        (np.zeros((64, 64, 3), np.float32), {}, "uint8"),
        (np.zeros((31, 64, 3), np.uint8), {}, "at least 32x32"),
        (np.zeros((64, 31, 3), np.uint8), {}, "at least 32x32"),
        (np.zeros((64, 64, 3), np.uint8), {"patch": 0}, "at least 1 pixel"),
        (np.zeros((64, 64, 3), np.uint8), {"low": 24, "high": 24}, "square"),
        (np.zeros((64, 64, 3), np.uint8), {"low": 0, "high": 0}, "square"),
        (np.zeros((64, 64, 3), np.uint8), {"low": -1, "high": 2}, "square"),
        (np.zeros((64, 64, 3), np.uint8), {"low": -3, "high": 2}, "square"),
        (np.zeros((64, 64, 3), np.uint8), {"order": "random"}, "order"),
    ],
)
def test_select_patches_refuses(image, settings_, word):
    with pytest.raises(ValueError, match=word):
        select_patches(image, **settings_)


@pytest.mark.parametrize("shape", [(4000, 3000), (32, 200_000)])
def test_memory_does_not_grow_with_the_picture(shape):
    image = np.resize(photographs()[0], (*shape, 3))
    select_patches(image[:320, :320]) if shape[0] > 320 else None
    tracemalloc.start()
    try:
        select_patches(image)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12e6, f"{peak / 1e6:.0f} MB for an image of {image.nbytes / 1e6:.0f} MB"


def test_a_long_and_flat_picture_is_covered_by_at_least_its_whole_patches():
    pixels = np.random.default_rng(3).integers(0, 256, (64, 700, 3), dtype=np.uint8)  # 2 x 21 whole patches, too few for 49 cells
    _, boxes = select_patches(pixels)
    assert set(boxes[:, 0]) <= set(np.rint(np.linspace(0, 668, 21)).astype(int))  # 7 x 7 windows would do, and leave most of it unseen
    assert set(boxes[:, 1]) == {0, 16, 32}
    assert len(set(map(tuple, boxes))) == 49
