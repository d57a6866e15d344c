"""A verdict that an everyday copy of the picture would not get is called unsteady, and the score stays what it is."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dgsnet import Detector
from dgsnet.artifacts.calibration import Calibration
from dgsnet.images.augment import jpeg, resized
from dgsnet.images.decode import decode
from dgsnet.images.everyday_copies import everyday_copies
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.asked import Asked
from dgsnet.inference.verdict import UNSTEADY
from tests.support.pictures import textured


def picture(height, width):
    return np.ascontiguousarray(textured(np.random.default_rng(4), True, max(height, width))[:height, :width])


def with_calibration(detector, calibration, preprocessing=None):
    changes = {"calibration": calibration} | ({"preprocessing": preprocessing} if preprocessing else {})
    return Detector(detector.runtime, detector.config.model_copy(update=changes), "tiny", detector.fingerprint)


@pytest.mark.parametrize("size", [(700, 901), (230, 1500), (224, 224), (60, 90)])
def test_the_middle_of_a_copy_is_that_of_the_whole_copy(size):
    pixels, view = picture(*size), Preprocessing(view="crop")
    whole, parts = list(everyday_copies(pixels)), list(everyday_copies(pixels, 224))
    assert np.array_equal(whole[0], decode(jpeg(pixels, 85)).pixels)
    assert whole[1].shape[:2] == (round(size[0] * 0.75), round(size[1] * 0.75))
    for copy, part in zip(whole, parts, strict=True):
        assert part.size <= copy.size
    compressed = [view.take_view_with_boxes(copy)[0] for copy in (whole[0], parts[0])]
    assert np.array_equal(compressed[0], compressed[1])  # blocks begin at the same places, so not a grey level differs
    assert view.copy_views(pixels).shape == (2, 3, 224, 224)


def logits_of_copies(detector, pixels):
    return [detector.detect(copy).logit for copy in (decode(jpeg(pixels, 85)).pixels, resized(pixels, (225, 225)))]


def test_it_warns_where_a_copy_crosses_a_threshold_and_changes_no_score(detector):
    pixels = picture(300, 300)
    crop = with_calibration(detector, Calibration(), Preprocessing(view="crop"))
    plain = crop.detect(pixels)
    copies = logits_of_copies(crop, pixels)
    assert min(abs(copy - plain.logit) for copy in copies) > 1e-4
    for copy in copies:
        between = Calibration().score((copy + plain.logit) / 2)
        near = with_calibration(crop, Calibration(real=min(between, 0.5), generated=max(between, 0.5)))
        asked, told = near.detect(pixels), near.detect(pixels, steadiness=True)
        assert UNSTEADY not in asked.warnings
        assert UNSTEADY in told.warnings
        assert replace(told, warnings=asked.warnings) == asked
    beyond = Calibration().score(max(*copies, plain.logit) + 0.1)
    far = with_calibration(crop, Calibration(real=min(beyond, 0.5), generated=max(beyond, 0.5)))
    assert UNSTEADY not in far.detect(pixels, steadiness=True).warnings


def test_a_large_picture_shifts_as_its_middle_does(detector):
    pixels, preprocessing = picture(520, 600), Preprocessing(view="crop", multi_crop=True)
    large = with_calibration(detector, Calibration(), preprocessing)
    plain = large.detect(pixels)
    centre = with_calibration(detector, Calibration(), Preprocessing(view="crop"))
    shift = centre.detect(decode(jpeg(pixels, 85)).pixels).logit - centre.detect(pixels).logit
    seen = large._see([large._prepare(pixels, Asked(steadiness=True))], 1)[0]
    assert seen.logit == plain.logit
    assert seen.of_copies[0] == pytest.approx(plain.logit + 4 / 3 * shift, abs=1e-5)


def test_the_command_and_the_way_of_reports_say_the_same(run, tiny_model, tmp_path):
    Image.fromarray(picture(260, 260)).save(tmp_path / "one.png")
    rows = {}
    for name, options in (("plain", ()), ("steady", ("--steadiness",)), ("report", ("--steadiness", "--report", tmp_path / "r.html"))):
        out = tmp_path / f"{name}.jsonl"
        assert run("detect", tmp_path / "one.png", "--model", tiny_model, "--out", out, *options)[0] == 0
        rows[name] = json.loads(out.read_text())
    assert rows["steady"] == rows["report"]
    assert {**rows["steady"], "warnings": []} == {**rows["plain"], "warnings": []}
