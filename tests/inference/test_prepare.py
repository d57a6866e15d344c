"""Refused pictures keep what their file says of its origin: that needs no pixel."""

import io
import json

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dgsnet.images.decode import DecodePolicy
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.asked import Asked
from dgsnet.inference.prepare import prepare
from tests.support import containers


def encoded(side=64, **options):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "Camera 7"
    stream = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), 90, np.uint8)).save(stream, "JPEG", exif=exif.tobytes(), **options)
    return stream.getvalue()


def prepared(source, policy, *, provenance=True):
    return prepare(source, Preprocessing(view="crop"), policy, "model", Asked(provenance=provenance)).verdict


def kinds(verdict):
    return {one.kind for one in verdict.provenance.findings}


@pytest.mark.parametrize(("policy", "said"), [({"max_pixels": 4000}, "pixels"), ({"max_side": 63}, "side"), ({"max_bytes": 300}, "bytes")])
@pytest.mark.parametrize("source", ["path", "bytes", "file"])
def test_too_large(policy, said, source, tmp_path):
    data = encoded()
    (tmp_path / "a.jpg").write_bytes(data)
    given = {"path": tmp_path / "a.jpg", "bytes": data, "file": io.BytesIO(data)}[source]
    verdict = prepared(given, DecodePolicy(**policy))
    assert said in verdict.error
    assert {"exif.Make", "exif.Model"} <= kinds(verdict)
    assert prepared(given, DecodePolicy(**policy), provenance=False).provenance is None


def test_too_small_and_damaged():
    assert "exif.Make" in kinds(prepared(encoded(8), DecodePolicy()))
    damaged = prepared(encoded()[:-40], DecodePolicy())
    assert "damaged" in damaged.error
    assert "exif.Make" in kinds(damaged)


def test_a_png_whose_pixels_are_damaged_says_what_made_it():
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1")
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "PNG", pnginfo=info)
    data = stream.getvalue()
    verdict = prepared(data[: data.index(b"IDAT") + 10], DecodePolicy())
    assert verdict.error
    assert [one.says for one in verdict.provenance.findings] == ["generated"]


def test_a_workflow_of_two_megabytes_is_read_and_the_picture_scored():
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", json.dumps({"1": {"class_type": "KSampler", "note": "a" * 2_000_000}}), zip=True)
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "PNG", pnginfo=info)
    verdict = prepared(stream.getvalue(), DecodePolicy())
    assert verdict.error is None
    assert [one.says for one in verdict.provenance.findings] == ["generated"]


def test_what_is_no_picture_has_none(tmp_path):
    for source in (b"text", b"", tmp_path / "none.jpg", io.BytesIO(b"text"), np.zeros((2, 2))):
        verdict = prepared(source, DecodePolicy())
        assert verdict.error
        assert verdict.provenance is None


def test_a_format_that_is_not_taken_still_says_what_it_says():
    image = Image.new("RGB", (64, 64))
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    image.info["exif"] = exif.tobytes()
    verdict = prepared(containers.encoded("HEIC", image), DecodePolicy(formats=("JPEG",)))
    assert "is none of JPEG" in verdict.error
    assert "exif.Make" in kinds(verdict)
