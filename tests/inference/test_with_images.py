"""Verdicts beside decoded images: the same verdicts, each image decoded once, few of them in memory."""

import weakref

import numpy as np
import pytest

import dgsnet.inference.prepare
from dgsnet.images.decode import decode, decode_with_data
from dgsnet.inference.asked import Asked
from dgsnet.inference.with_images import detect_with_images


@pytest.mark.parametrize("provenance", [False, True])
def test_verdicts_are_those_of_the_detector(detector, files, provenance):
    sources = [*files[:4], b"no picture", np.zeros((8, 8, 3), np.uint8), "missing.png", files[4].read_bytes()]
    found = list(detect_with_images(detector, sources, asked=Asked(provenance=provenance)))
    assert [verdict for verdict, _ in found] == list(detector.detect_many(sources, provenance=provenance))
    for (verdict, image), source in zip(found, sources, strict=True):
        assert (image is None) == (verdict.sha256 is None)
        if image is not None:
            assert np.array_equal(image.pixels, decode(source).pixels)
            assert image.sha256 == verdict.sha256


def test_few_images_are_in_memory(detector, files, monkeypatch):
    decoded = []

    def remembering(source, policy, *, alpha):
        image, data = decode_with_data(source, policy, alpha=alpha)
        decoded.append(weakref.ref(image))
        return image, data

    monkeypatch.setattr(dgsnet.inference.prepare, "decode_with_data", remembering)
    most = 0
    for _ in detect_with_images(detector, files * 4):
        most = max(most, sum(image() is not None for image in decoded))
    assert len(decoded) == 4 * len(files) > 12
    assert 1 <= most <= 4


def test_stopping_early_stops_reading(detector, files):
    taken = []
    scored = detect_with_images(detector, (taken.append(file) or file for file in files * 4))
    next(scored)
    scored.close()
    assert len(taken) <= 2
