"""A heatmap's evidence is right in sign and size, lies where the model looked, and ranks cells better than chance."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dgsnet import Verdict
from dgsnet.core.errors import DecodeError, DgsnetError
from dgsnet.images.decode import decode
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference import heatmap
from dgsnet.runtimes.pytorch import PyTorchRuntime
from tests.support.fakes import Fake
from tests.support.models import with_preprocessing
from tests.support.pictures import SIDE, textured

GENERATED, REAL = (0xB2, 0x18, 0x2B), (0x21, 0x66, 0xAC)


class Weighing(torch.nn.Module, Fake):
    """A method whose logit is a weighted sum of its input: the evidence of a cell is known by hand, under both rules the same."""

    name = "weighing"
    backbone = SimpleNamespace(device=torch.device("cpu"), fingerprint="")

    def __init__(self, weights):
        super().__init__()
        self.weights = torch.tensor(weights, dtype=torch.float32)

    def embed(self, pixels):
        return pixels

    def logits(self, read):
        return (read * self.weights).sum(dim=(1, 2, 3)) + 3

    def predict(self, pixels):
        return self.logits(self.embed(pixels))


class Saturating(Weighing):
    """A logit that gradients at the view itself hardly see."""

    def logits(self, read):
        return torch.tanh((read * self.weights).sum(dim=(1, 2, 3)))


def weighed(side, patch, seed=0):
    """A random view, a method that weighs it, and the share of each cell in its logit."""
    rng = np.random.default_rng(seed)
    view, weights = rng.normal(size=(2, 3, side, side)).astype(np.float32) / 50
    product, grid = (view * weights).sum(axis=0, dtype=np.float64), -(-side // patch)
    cells = [product[r * patch : (r + 1) * patch, c * patch : (c + 1) * patch].sum() for r in range(grid) for c in range(grid)]
    return view, weights, np.array(cells)


# --- where cells come from ---


@pytest.mark.parametrize(("height", "width"), [(224, 224), (300, 500), (777, 333), (40, 64), (1000, 100)])
@pytest.mark.parametrize("settings", [{"view": "patches"}, {"view": "patches", "order": "released"}, {"view": "resize"}])
def test_boxes_say_where_each_cell_comes_from(height, width, settings):
    look = Preprocessing(**settings)
    # a picture whose colours tell places: red grows to the right, green downwards
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 / width, y * 255 / height, np.zeros_like(x)], axis=2).astype(np.uint8)
    view, boxes = look.take_view_with_boxes(pixels, 3)
    assert (look.normalise(view) == look(pixels, 3)).all()
    assert boxes.shape == (49, 4)
    for cell, (left, top, right, bottom) in enumerate(boxes):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        row, column = divmod(cell, 7)
        tile = view[row * 32 : (row + 1) * 32, column * 32 : (column + 1) * 32]
        # half a pixel of rounding at each side of a box
        assert np.abs(tile.mean(axis=(0, 1)) - pixels[top:bottom, left:right].mean(axis=(0, 1))).max() < 2 + 128 / min(height, width)


def test_boxes_of_a_resized_picture_tile_its_centre_square():
    _, boxes = Preprocessing(view="resize").take_view_with_boxes(np.zeros((320, 480, 3), np.uint8))
    covered = np.zeros((320, 480), int)
    for left, top, right, bottom in boxes:
        covered[top:bottom, left:right] += 1
    assert (covered[:, 80:400] == 1).all()
    assert covered.sum() == 320 * 320


def test_cells_that_do_not_divide_the_input_are_cut_off():
    _, boxes = Preprocessing(view="resize", size=80).take_view_with_boxes(np.zeros((80, 120, 3), np.uint8))
    assert boxes[[0, 2, 8]].tolist() == [[20, 0, 52, 32], [84, 0, 100, 32], [84, 64, 100, 80]]
    view, weights, cells = weighed(80, 32)
    assert heatmap.evidence(PyTorchRuntime(Weighing(weights)), view) == pytest.approx(cells, abs=1e-5)


# --- evidence ---


@pytest.mark.parametrize("rule", ["occlusion", "gradient"])
def test_evidence_of_a_linear_model_is_the_cells_share_of_its_logit(rule):
    view, weights, cells = weighed(SIDE, 32)
    assert cells.min() < -0.005 < 0.005 < cells.max()
    before, method = view.copy(), Weighing(weights)
    found = heatmap.evidence(PyTorchRuntime(method), view, rule=rule)
    assert found == pytest.approx(cells, abs=1e-5)
    assert (view == before).all()
    with torch.inference_mode():  # as a caller may have it
        assert (heatmap.evidence(PyTorchRuntime(method), view, rule=rule) == found).all()


def test_gradients_are_averaged_on_the_way_from_blank():
    view, _, _ = weighed(SIDE, 32)
    method = Saturating(np.sign(view) * 3 / np.abs(view).sum())  # every cell pushes the same way, until the logit saturates
    logit = method.predict(torch.from_numpy(view)[None]).item()
    assert logit > 0.99
    averaged = heatmap.evidence(PyTorchRuntime(method), view, rule="gradient")
    assert averaged.sum() == pytest.approx(logit, abs=0.01)  # at the view alone: 0.03


@pytest.mark.parametrize("rule", ["occlusion", "gradient"])
def test_evidence_of_a_transformer(detector, files, rule):
    (view,), _, _ = heatmap._views_of(detector.config.preprocessing, decode(files[0]))
    found = heatmap.evidence(detector.runtime, view, rule=rule)
    assert found.shape == (49,)
    assert len(set(found.tolist())) == 49
    assert (heatmap.evidence(detector.runtime, view, rule=rule) == found).all()
    assert all(parameter.grad is None for parameter in detector.method.parameters())


def test_a_rule_that_cannot_be_followed_is_an_error():
    view, weights, _ = weighed(SIDE, 32)
    with pytest.raises(ValueError, match="occlusion, gradient, but got 'guess'"):
        heatmap.evidence(PyTorchRuntime(Weighing(weights)), view, rule="guess")  # type: ignore[arg-type]
    method = Weighing(weights)
    method.predict = torch.no_grad()(method.predict)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="'weighing' have no gradient"):
        heatmap.evidence(PyTorchRuntime(method), view, rule="gradient")


# --- the deletion test ---


def test_blanking_is_of_the_cells_named():
    view = np.ones((3, SIDE, SIDE), np.float32)
    blank = heatmap.blanked(view, [0, 13])
    assert (view == 1).all()
    assert (blank[:, :32, :32] == 0).all()
    assert (blank[:, 32:64, 192:] == 0).all()
    assert (blank == 0).sum() == 2 * 3 * 32 * 32


def test_the_hottest_cells_are_those_the_logit_rests_on(detector, files):
    random = np.random.default_rng(0)
    areas = []
    for file in files:
        values = detector.explain(decode(file)).evidence
        orders = np.argsort(-values), random.permutation(49), np.argsort(values)
        areas.append(
            [
                heatmap.deletion_curve(
                    detector.runtime, detector.config.preprocessing, decode(file), order.tolist(), range(0, 50, 7)
                ).mean()
                for order in orders
            ]
        )
    hottest, chance, coldest = np.mean(areas, axis=0)
    assert hottest < chance < coldest
    assert np.mean([hot < cold for hot, _, cold in areas]) > 0.9


def test_a_deletion_curve_begins_with_the_detectors_logit(detector, files):
    for one in (detector, with_preprocessing(detector, view="resize"), with_preprocessing(detector, order="released")):
        curve = heatmap.deletion_curve(one.runtime, one.config.preprocessing, decode(files[0]), range(49))
        blank = heatmap.deletion_curve(one.runtime, one.config.preprocessing, decode(files[1]), range(49), [49])
        assert curve.shape == (50,)
        assert curve[0] == one.detect(files[0]).logit
        assert curve[-1] == blank[0]  # nothing is left of either picture
    with pytest.raises(ValueError, match=r"cells of 0\.\.48"):
        heatmap.deletion_curve(detector.runtime, detector.config.preprocessing, decode(files[0]), [49])


def test_a_large_picture_has_the_cells_of_all_its_views(detector):
    pixels = textured(np.random.default_rng(4), True, 600)[:500]
    look = {"view": "crop", "multi_crop": True}
    large = with_preprocessing(detector, **look)
    found = large.explain(decode(pixels))
    grid = 4  # cells of 64 pixels, the last ones of 32
    assert found.evidence.shape == (5 * grid**2,)
    corner = pixels[250:, 300:]  # the last quadrant, which is too small to have quadrants
    alone = with_preprocessing(detector, view="crop", patch=64).explain(decode(np.ascontiguousarray(corner)))
    assert found.evidence[-(grid**2) :] == pytest.approx(alone.evidence / 5 * 4 / 3, abs=1e-6)
    assert (found.boxes[-(grid**2) :] - alone.boxes == (300, 250, 300, 250)).all()
    order = np.argsort(-found.evidence)
    curve = heatmap.deletion_curve(large.runtime, large.config.preprocessing, decode(pixels), order.tolist(), [0, 1, len(order)])
    assert curve[0] == pytest.approx(large.detect(pixels).logit, abs=1e-6)
    assert curve[0] - curve[1] == pytest.approx(found.evidence[order[0]], abs=1e-6)
    blank = heatmap.deletion_curve(detector.runtime, detector.config.preprocessing, decode(pixels[:224, :224].copy()), range(49), [49])[0]
    assert curve[2] == pytest.approx(blank * 4 / 3, abs=1e-6)


# --- the picture ---


def test_colours_are_the_evidences():
    pixels = np.full((64, 96, 3), (90, 120, 60), np.uint8)
    grey = np.rint(80 + np.rint(0.299 * 90 + 0.587 * 120 + 0.114 * 60) * 175 / 255)
    boxes = np.array([[0, 0, 32, 32], [32, 0, 64, 32], [0, 32, 32, 64], [16, 32, 48, 64], [64, 64, 96, 64]])
    drawn = np.asarray(heatmap.render(pixels, boxes, np.array([2.0, -1.0, 2.0, -4.0, 9.0]), scale=2.0))

    def tint(colour, share):
        return np.rint(grey * (1 - heatmap.OPACITY * share) + np.array(colour) * heatmap.OPACITY * share)

    assert drawn.shape == (64, 96, 3)
    assert (drawn[:32, :32] == tint(GENERATED, 1)).all()
    assert (drawn[:32, 32:64] == tint(REAL, 0.5)).all()
    assert (drawn[32:, :16] == tint(GENERATED, 1)).all()
    assert (drawn[32:, 16:32] == tint(REAL, 0.5)).all()  # the mean of 2 and -4
    assert (drawn[32:, 32:48] == tint(REAL, 1)).all()
    assert (drawn[:, 64:] == grey).all()  # a box without area draws nothing
    assert (drawn[32:, 48:] == grey).all()


def test_a_heatmap_has_the_pictures_size_and_tints_what_was_seen(detector):
    pixels = np.ascontiguousarray(textured(np.random.default_rng(1), True, 460)[:300])
    found = detector.explain(decode(pixels))
    assert found.image.size == (460, 300)
    assert found.scale == max(np.abs(found.evidence).max(), heatmap.FAINT)
    drawn = np.asarray(found.image).astype(int)
    coloured = np.ptp(drawn, axis=2) > 0
    seen = np.zeros((300, 460), bool)
    for left, top, right, bottom in found.boxes:
        seen[top:bottom, left:right] = True
    assert not coloured[~seen].any()
    left, top, right, bottom = found.boxes[np.abs(found.evidence).argmax()]
    assert coloured[top:bottom, left:right].mean() > 0.9
    assert (np.asarray(detector.heatmap(pixels)) == drawn).all()


def test_evidence_too_faint_to_mean_anything_stays_pale(detector, files, monkeypatch):
    monkeypatch.setattr(heatmap, "evidence", lambda *_: np.full(49, 0.001))
    found = detector.explain(decode(files[0]))
    assert found.scale == heatmap.FAINT
    assert np.ptp(np.asarray(found.image).astype(int), axis=2).max() < 10


def test_what_has_no_heatmap_is_an_error(detector):
    with pytest.raises(DecodeError, match=r"no\.png: no such file"):
        detector.heatmap("no.png")
    with pytest.raises(DgsnetError, match="20x40 pixels are too few"):
        detector.heatmap(np.zeros((40, 20, 3), np.uint8))


def test_files_of_one_name_have_heatmaps_of_two(tmp_path):
    one, other = (heatmap.file_for(tmp_path, Verdict(f"{folder}/x.y.png", sha256=folder * 64)) for folder in "ab")
    assert (one, other) == (tmp_path / "x.y-aaaaaaaa.png", tmp_path / "x.y-bbbbbbbb.png")
    long = heatmap.file_for(tmp_path, Verdict("\U0001f600" * 63, sha256="c" * 64))
    heatmap.save(heatmap.Heatmap(Image.new("RGB", (3, 2)), np.zeros(0), np.zeros((0, 4), np.int64), 1.0), long)
    assert Image.open(long).size == (3, 2)
    assert list(Path(tmp_path).iterdir()) == [long]
