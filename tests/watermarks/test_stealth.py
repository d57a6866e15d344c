"""Settings in the lowest bits: what a generator hid is read, what somebody invented costs nothing, and a photograph says nothing."""

import gzip
import io
import json
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from dgsnet.images.decode import decode
from dgsnet.watermarks import Reader, stealth
from studies.watermarks.writing import hide

NOVELAI = {
    "Description": "a cat",
    "Software": "NovelAI",
    "Source": "NovelAI Diffusion V4",
    "Comment": json.dumps({"steps": 28, "prompt": "a cat"}),
}
WEB_UI = "a cat, über\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1"


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (130, 97, 3), dtype=np.uint8)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def opaque(pixels):
    return np.full((*pixels.shape[:2], 1), 255, np.uint8)


def file_of(pixels, alpha, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(np.concatenate([pixels, alpha], axis=2) if alpha is not None else pixels).save(stream, kind, **options)
    return stream.getvalue()


def found(data):
    return [(one.kind, one.value, one.says) for one in Reader()(decode(data, alpha=True))]


@pytest.mark.parametrize("signature", [b"stealth_pnginfo", b"stealth_pngcomp"])
def test_settings_of_a_web_ui_in_the_alpha_channel(pixels, signature):
    alpha = hide(opaque(pixels), signature, WEB_UI.encode())
    assert stealth.read(pixels, alpha[:, :, 0]) == [stealth.HiddenText(signature.decode(), WEB_UI)]
    ((kind, value, says),) = found(file_of(pixels, alpha))
    assert (kind, says) == (f"watermark.{signature.decode()}.parameters", "generated")
    assert value.startswith("a cat, über Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1 (false alarms: none in ")


@pytest.mark.parametrize("signature", [b"stealth_rgbinfo", b"stealth_rgbcomp"])
@pytest.mark.parametrize("text", [WEB_UI, WEB_UI + "!", WEB_UI + "!!"])  # lengths that end within a pixel, or on one
def test_settings_in_the_colours(pixels, signature, text):
    assert stealth.read(hide(pixels, signature, text.encode())) == [stealth.HiddenText(signature.decode(), text)]


def test_novelai_says_its_fields_one_by_one(pixels):
    alpha = hide(opaque(pixels), b"stealth_pngcomp", json.dumps(NOVELAI).encode())
    fields = {kind: value.partition(" (false alarms")[0] for kind, value, _ in found(file_of(pixels, alpha))}
    assert fields == {f"watermark.stealth_pngcomp.{name}": value for name, value in NOVELAI.items()}


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 60}, {"quality": 5, "alpha_quality": 100}])
def test_the_alpha_channel_of_a_webp_survives_even_where_its_colours_do_not(pixels, options):
    alpha = hide(opaque(pixels), b"stealth_pngcomp", WEB_UI.encode())
    ((kind, _, _),) = found(file_of(pixels, alpha, "WEBP", **options))
    assert kind == "watermark.stealth_pngcomp.parameters"


def test_colours_do_not_survive_a_jpeg(pixels):
    assert found(file_of(hide(pixels, b"stealth_rgbcomp", WEB_UI.encode()), None, "JPEG", quality=100, subsampling=0)) == []


@pytest.mark.parametrize("level", [0, 128, 254, 255])
def test_a_channel_without_a_text_says_nothing(pixels, level):
    assert stealth.read(pixels, opaque(pixels)[:, :, 0] & level) == []
    assert stealth.read(np.zeros((1, 1, 3), np.uint8), np.full((1, 1), 255, np.uint8)) == []
    assert stealth.read(np.zeros((1, 152, 3), np.uint8)) == []


@pytest.mark.parametrize("length", [0, 7, 130 * 97 - 144, 2**31, 2**32 - 1])
@pytest.mark.parametrize("signature", [b"stealth_pnginfo", b"stealth_pngcomp"])
def test_a_length_from_outside_is_held_against_the_picture(pixels, signature, length):
    alpha = hide(opaque(pixels), signature, WEB_UI.encode(), length=length)
    tracemalloc.start()
    hidden = stealth.read(pixels, alpha[:, :, 0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert hidden == [stealth.HiddenText(signature.decode(), None)]
    assert peak < 2**17
    ((kind, value, says),) = found(file_of(pixels, alpha))
    assert (kind, says) == (f"watermark.{signature.decode()}", "unknown")
    assert value.startswith("hidden settings are announced and cannot be read")


def test_the_longest_text_that_fits_is_read(pixels):
    text = b"x" * (130 * 97 // 8 - 19)
    assert stealth.read(pixels, hide(opaque(pixels), b"stealth_pnginfo", text)[:, :, 0])[0].text == text.decode()


def test_a_text_that_inflates_without_end_is_cut(rng):
    bomb = gzip.compress(b"\0" * 2**28)
    pixels = rng.integers(0, 256, (1500, 1500, 3), dtype=np.uint8)
    alpha = hide(opaque(pixels), b"stealth_pnginfo", bomb)  # compressed here already
    alpha = np.ascontiguousarray(alpha)
    flat = alpha.swapaxes(0, 1).reshape(-1)
    flat[:120] = flat[:120] & 254 | np.unpackbits(np.frombuffer(b"stealth_pngcomp", np.uint8))
    alpha = flat.reshape(1500, 1500).T
    tracemalloc.start()
    (hidden,) = stealth.read(pixels, alpha)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert hidden.text == "\0" * 2**20
    assert peak < 2**26


@pytest.mark.parametrize(
    "text",
    [b"\xff\xfe\x00broken", b"[" * 5000, b"[1, 2]", b"{", b"", b'{"a": {"b": [1]}, "\\ud800": "\\udfff"}', b'{"x": ' + b"9" * 5000 + b"}"],
)
def test_what_is_no_settings_ends_in_findings_that_can_be_printed(pixels, text):
    if text:
        for kind, value, _ in found(file_of(pixels, hide(opaque(pixels), b"stealth_pnginfo", text))):
            (kind + value).encode()
            assert len(value) <= 200


def test_damaged_gzip_is_announced_and_no_more(pixels):
    alpha = hide(opaque(pixels), b"stealth_pnginfo", b"no gzip at all")
    flat = alpha.swapaxes(0, 1).reshape(-1)
    flat[:120] = flat[:120] & 254 | np.unpackbits(np.frombuffer(b"stealth_pngcomp", np.uint8))
    assert stealth.read(pixels, flat.reshape(97, 130).T) == [stealth.HiddenText("stealth_pngcomp", None)]


def test_the_alpha_channel_is_kept_where_it_is_asked_for(pixels):
    alpha = hide(opaque(pixels), b"stealth_pngcomp", WEB_UI.encode())
    data = file_of(pixels, alpha)
    assert decode(data).alpha is None
    assert np.array_equal(decode(data, alpha=True).alpha, alpha[:, :, 0])
    picture = np.concatenate([pixels, alpha], axis=2)
    for source in (picture, Image.fromarray(picture)):
        assert np.array_equal(decode(source, alpha=True).alpha, alpha[:, :, 0])
    assert decode(pixels, alpha=True).alpha is None
    assert decode(file_of(pixels, None), alpha=True).alpha is None
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode(file_of(pixels, alpha, exif=exif), alpha=True)
    assert turned.alpha.shape == turned.pixels.shape[:2] == (97, 130)
    assert np.array_equal(turned.alpha, np.rot90(alpha[:, :, 0], -1))
