"""The marks of `invisible-watermark`: what its writers wrote is found, and nothing is found where they wrote nothing."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dgsnet.images.decode import decode
from dgsnet.watermarks import Reader, dwt_dct, reader
from studies.watermarks.writing import FLOAT, write, write_as_program
from tests.support.pictures import textured

FLOAT_BGR, FLOAT_RGB, BYTES_BGR = 0, 2, 4
"""Ways of reading, as `dwt_dct.block_answers` orders them."""


def picture(side=512, seed=5):
    """A picture with soft colours and grain, such as the writers get."""
    rng = np.random.default_rng(seed)
    return np.clip(128 + (textured(rng, False, side) - 128.0) * 0.3, 0, 255).astype(np.uint8)


def jpeg(pixels, quality, subsampling=2):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling=subsampling)
    return decode(stream.getvalue()).pixels


def strengths(pixels):
    return {reading.message.name: reading.strength for reading in dwt_dct.read(pixels)}


def votes(answers, bits):
    return dwt_dct.votes(answers, bits) * 255 > 127


@pytest.mark.parametrize("message", dwt_dct.MESSAGES, ids=lambda message: message.name)
@pytest.mark.parametrize("side", [256, 512])
def test_each_mark_is_found_and_no_other(message, side):
    marked = strengths(write_as_program(picture(side), message))
    assert {name for name, strength in marked.items() if strength >= dwt_dct.THRESHOLD} == {message.name}
    assert max(strengths(picture(side)).values()) < dwt_dct.THRESHOLD


def test_the_messages_are_those_of_the_programs():
    known = {message.name: "".join(map(str, message.bits)) for message in dwt_dct.MESSAGES}
    assert known["sdxl"] == "101100111110110010010000011110111011000110011110"
    assert known["flux"] == "1010101111111010000111100111001111010100101110"
    texts = {"stable_diffusion_1": b"StableDiffusionV1", "stable_diffusion_2": b"SDV2", "invokeai": b"InvokeAI"}
    assert {name: int(known[name], 2).to_bytes(len(text), "big") for name, text in texts.items()} == texts
    assert set(FLOAT) - {"sdxl_rgb"} == set(known)


def test_the_same_pixels_read_as_floats_and_as_bytes_say_different_things():
    sdxl = dwt_dct.MESSAGES[0]
    answers = dwt_dct.block_answers(write(picture(), sdxl, floats=True))
    right = [int((votes(answers[way], 48) == sdxl.bits).sum()) for way in (FLOAT_BGR, FLOAT_RGB, BYTES_BGR)]
    assert right[0] == 48
    assert max(right[1:]) < 36


def test_red_and_blue_exchanged_by_the_writer():
    sdxl = dwt_dct.MESSAGES[0]
    marked = write(picture(), sdxl, floats=True, rgb=True)
    assert votes(dwt_dct.block_answers(marked)[FLOAT_RGB], 48).tolist() == sdxl.bits.astype(bool).tolist()
    assert strengths(marked)["sdxl"] > dwt_dct.THRESHOLD


# What `WatermarkDecoder("bits", n).decode(..., "dwtDct")` of invisible-watermark 0.2.0 (OpenCV 5.0.0) said of these pictures.
DECODED = [
    (FLOAT_BGR, 48, 0x94AC9BA913BD, 0),
    (FLOAT_BGR, 136, 0xBAF93FFBDDBC9DA309F5829120BCA49A20, 0),
    (FLOAT_BGR, 46, 0x1FBF90FCCA02, 0),
    (BYTES_BGR, 136, 0x787C2FABF4D946F330365F5BE9ADE781AC, 6),
    (BYTES_BGR, 32, 0x90C12FE3, 0),
]


@pytest.mark.parametrize(("way", "bits", "said", "apart"), DECODED)
def test_what_the_package_decodes(way, bits, said, apart):
    """Of noise, where every vote is close; bytes are not rounded here, which turns a few."""
    pixels = np.random.default_rng(11).integers(0, 256, (300, 343, 3), dtype=np.uint8)
    read = int("".join(map(str, votes(dwt_dct.block_answers(pixels)[way], bits).astype(int))), 2)
    assert (read ^ said).bit_count() <= apart


@pytest.mark.parametrize(("quality", "subsampling"), [(95, 0), (90, 0), (95, 2)])
def test_a_good_jpeg_keeps_a_mark_even_where_chroma_is_halved(quality, subsampling):
    sdxl = dwt_dct.MESSAGES[0]
    assert strengths(jpeg(write_as_program(picture(), sdxl), quality, subsampling))["sdxl"] > dwt_dct.THRESHOLD


def test_halved_chroma_is_what_the_writers_own_way_of_reading_does_not_survive():
    sdxl = dwt_dct.MESSAGES[0]
    answers = dwt_dct.block_answers(jpeg(write_as_program(picture(), sdxl), 95))
    plain, sharpened = (votes(answers[way], 48) for way in (FLOAT_BGR, FLOAT_BGR + 1))
    assert (plain == sdxl.bits).sum() < 32
    assert (sharpened == sdxl.bits).sum() > 42


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_picture_reads_as_zeros_which_is_no_mark(level):
    readings = {reading.message.name: reading for reading in dwt_dct.read(np.full((256, 256, 3), level, np.uint8))}
    assert (readings["sdxl"].agree, readings["sdxl"].strength) == (21, 0)
    assert all(reading.strength == 0 for reading in readings.values())


@pytest.mark.parametrize("shape", [(255, 256), (7, 20_000), (20_000, 7), (1, 1)])
def test_pictures_that_no_writer_takes(shape):
    assert dwt_dct.read(np.zeros((*shape, 3), np.uint8)) == []


def test_sides_that_are_no_multiples_of_a_block_keep_the_writers_count(monkeypatch):
    flux = next(one for one in dwt_dct.MESSAGES if one.name == "flux")
    marked = write_as_program(picture(530)[:517, :523], flux)
    assert strengths(marked)["flux"] > 10
    whole = dwt_dct.block_answers(marked)
    monkeypatch.setattr(dwt_dct, "_ROWS", 16)
    assert all(np.array_equal(one, other) for one, other in zip(whole, dwt_dct.block_answers(marked), strict=True))


def test_of_a_huge_picture_the_top_is_read(monkeypatch):
    sdxl = dwt_dct.MESSAGES[0]
    marked = write_as_program(picture(), sdxl)
    monkeypatch.setattr(dwt_dct, "_LARGEST", 512 * 256)
    assert len(dwt_dct.block_answers(marked)[0]) == 64 * 32
    assert strengths(marked)["sdxl"] > dwt_dct.THRESHOLD


def test_the_figures_of_false_alarms_are_those_of_the_study():
    found = json.loads((Path(__file__).parents[2] / "studies" / "watermarks" / "results" / "unmarked.json").read_text())
    assert found["threshold"] == dwt_dct.THRESHOLD
    assert found["crops"] >= reader.UNMARKED
    assert found["any_message"]["count"] == found["settings_in_colours"]["count"] == 0
    tries = [one["shifted"] for one in found["messages"].values()]
    assert sum(one["crops_with_an_alarm"] for one in tries) / sum(one["tries"] for one in tries) < 1e-5


def test_a_finding_says_how_often_it_is_wrong():
    (one,) = Reader()(decode(write_as_program(picture(), dwt_dct.MESSAGES[0])))
    assert (one.kind, one.says) == ("watermark.sdxl", "generated")
    assert one.value.startswith("mark of Stable Diffusion XL")
    assert "false alarms: none in" in one.value
    assert Reader()(decode(picture())) == []
