"""The table of hostile files (`hostile_files`), put to the command line and to the service over a real socket."""

import functools
import io
import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dgsnet.core.errors import DecodeError, SizeError
from dgsnet.images import decompression_limits
from dgsnet.images.decode import DecodePolicy, decode
from dgsnet.images.preprocess import Preprocessing
from dgsnet.service.decoder_process import handle_job
from dgsnet.service.settings import Settings
from tests.support.hostile_files import FILES, SCORED, write
from tests.support.hostile_mutations import mutated
from tests.support.hostile_parts import encoded
from tests.support.serving import decoding_process_of, post, refused, serving

pytestmark = pytest.mark.xdist_group("hostile")  # their answers are asked for once

# Wall clocks tell nothing of a busy machine: the decoder may take its time here, and its processor time is what is limited below.
SETTINGS = Settings(rate=0, decoders=1, request_seconds=600, decode_seconds=120)
MEMORY = 400 * 2**20  # bytes at the peak of a decoding process, of which 100 MB are the process itself
NAMES = [file.name for file in FILES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    write(folder)
    return folder


@pytest.fixture(scope="module")
def rows(folder, tiny_model):
    """Rows of the command line, by a process of its own."""
    command = [sys.executable, "-m", "dgsnet", "detect", "-", "--model", tiny_model, "--json"]
    paths = "\n".join(str(folder / name) for name in NAMES)
    ended = subprocess.run(command, input=paths, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Warning" not in ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.fixture(scope="module")
def service(detector):
    with serving(detector, SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def answers(folder, service):
    """What the service says of each file and its decoder's processor seconds; the decoder's memory at its peak; the service's figures."""
    client, server = service
    process = decoding_process_of(server)
    told, before = [], processor_seconds(process)
    for name in NAMES:
        response = post(client, (folder / name).read_bytes())
        after = processor_seconds(process)
        told.append((response, after - before))
        before = after
    metrics = client.get("/metrics").text
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return told, int(peak[1]) * 1024, metrics


def processor_seconds(process):
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_there_are_many_files_each_of_its_own_name():
    assert len(set(NAMES)) == len(NAMES) >= 300


def test_files_are_the_same_every_time(folder):
    assert [file.name for file in FILES if file.make() != (folder / file.name).read_bytes()] == []


def test_command_line(rows, folder):
    assert [row["path"] for row in rows] == [str(folder / name) for name in NAMES]
    wrong: dict[str, Any] = {}
    for file, row in zip(FILES, rows, strict=True):
        scored = row["error"] is None
        if scored != (file.answer.cli == SCORED) or (not scored and file.answer.cli not in row["error"]):
            wrong[file.name] = (file.answer.cli, row["error"])
        elif scored and (not 0 <= row["score"] <= 1 or (file.size and file.size != (row["width"], row["height"]))):
            wrong[file.name] = (file.size, row)
        elif not scored and (row["score"] is not None or not row["error"].startswith(row["path"])):
            wrong[file.name] = row
    assert wrong == {}


def test_the_same_in_this_process(rows, folder, tiny_model, run):
    some = range(0, len(NAMES), 5)
    code, out, _ = run("detect", *(folder / NAMES[number] for number in some), "--model", tiny_model, "--json")
    assert code == 1
    assert [json.loads(line) for line in out.splitlines()] == [rows[number] for number in some]


def test_service(answers, rows):
    told, _, _ = answers
    wrong = {}
    for file, row, (response, _) in zip(FILES, rows, told, strict=True):
        if response.status_code != 200:
            said = refused(response)
        else:
            (result,) = response.json()["results"]
            said = (200, SCORED) if all(result[name] == row[name] for name in set(row) - {"path"}) else result
        if said != (file.answer.status, file.answer.code):
            wrong[file.name] = (file.answer, said, response.text)
    assert wrong == {}


def test_the_decoder_keeps_its_limits(answers):
    told, peak, metrics = answers
    assert peak < MEMORY
    assert {name: took for name, (_, took) in zip(NAMES, told, strict=True) if took > Settings().decode_seconds} == {}
    assert "dgsnet_decoders_replaced_total 0.0" in metrics
    assert "dgsnet_images_waiting 0.0" in metrics


def test_a_picture_that_needs_too_much_memory_is_refused_and_the_process_goes_on(detector):
    large = encoded("PNG", np.zeros((5000, 6000), np.uint8))
    with serving(detector, replace(SETTINGS, decoder_memory=100 * 2**20)) as (client, server):
        process = decoding_process_of(server)
        assert refused(post(client, large)) == (422, "broken_image")
        assert post(client, encoded("PNG")).status_code == 200
        assert decoding_process_of(server) == process
    with serving(detector, SETTINGS) as (client, _):
        assert post(client, large).status_code == 200


# --- what nobody has thought of ---


@functools.cache
def small():
    return [data for file in FILES if 0 < len(data := file.make()) <= 16_384]


SMALL = st.deferred(lambda: st.sampled_from(small()))  # not made while tests are only collected


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged metadata
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), SMALL, SMALL, st.sampled_from(["error", "fill"]))
def test_a_decoding_process_answers_whatever_is_damaged(seed, data, other, truncated):
    damaged = mutated(data, other, np.random.default_rng(seed))
    policy = DecodePolicy(max_pixels=250_000, truncated=truncated)
    said = [header for header, _ in handle_job({"wants": "views", "path": None}, damaged, Preprocessing(view="crop"), policy, "model")]
    json.dumps(said)
    assert [header["stage"] for header in said] in (["failed"], ["decoded", "views", "provenance"])


WHOLE_PART = b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
PARTS = [
    b"--x\r\n", b"--x--\r\n", b"--x", b"\r\n", b"\r\n\r\n", b"\n", b": ", b'"', b"; ", b"\0", b"\xff" * 9, b"a" * 5000,
    b"Content-Disposition: form-data", b'; name="file"', b'; filename="a.png"', b"; filename*=utf-8''%ff", b"Content-Type: image/png",
    WHOLE_PART, encoded("PNG", np.zeros((40, 40), np.uint8)),
]  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(PARTS) | st.binary(max_size=20), max_size=12), st.sampled_from(["x", "", '"x"', "y; charset=utf-7", "x" * 300])
)
def test_a_body_of_any_kind_is_answered(service, parts, boundary):
    client, _ = service
    kind = f"multipart/form-data; boundary={boundary}"
    response = client.post("/v1/detect", content=b"".join([b"--x\r\n", *parts]), headers={"content-type": kind})
    if response.status_code != 200:
        assert refused(response) in {
            (400, "malformed_multipart"), (400, "no_file"), (415, "unsupported_format"), (422, "broken_image"), (413, "too_many_files"),
        }  # fmt: skip


# --- what costs more than its bytes ---


@pytest.mark.parametrize(
    "name", ["bomb_exif_overlapping.png", "bomb_exif_overlapping.webp", "bomb_exif_joined.jpg", "bomb_overlapping.tif"]
)
def test_a_directory_of_thousands_of_entries_is_not_read(name, recwarn):
    data = next(file.make() for file in FILES if file.name == name)
    assert decompression_limits.directory_entries(data if name.endswith("tif") else data[data.index(b"II*\0") :]) > 256
    with suppress(DecodeError):
        decode(data)
    assert [str(one.message) for one in recwarn] == []


def test_entries_of_a_directory():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    for block in (exif.tobytes(), b"Exif\0\0" + exif.tobytes(), exif.tobytes()[6:]):
        assert decompression_limits.directory_entries(block) == 2
    assert decompression_limits.directory_entries(encoded("TIFF")) == 10
    assert decompression_limits.directory_entries(b"II+\0\x08\0\0\0" + (16).to_bytes(8, "little") + (7).to_bytes(8, "little")) == 7
    # A big-endian BigTIFF has 64-bit places, but Pillow reads 32-bit ones.
    for plain, big in ((1000, 1), (1, 1000)):
        head = b"MM\0+" + (16).to_bytes(4) + (24).to_bytes(8)
        assert decompression_limits.directory_entries(head + plain.to_bytes(2) + bytes(6) + big.to_bytes(8)) == 1000
    for block in (b"", b"II*\0", b"MM\0*\0\0\0\x08", b"II*\0\xff\xff\xff\xff\0\0", b"II+\0\x08\0\0\0" + b"\xff" * 8):
        assert decompression_limits.directory_entries(block) == 0


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "PA", "LA", "1", "CMYK", "I;16", "F", "HSV", "YCbCr"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_large_pictures_are_converted_in_strips_to_the_same_pixels(mode, orientation, monkeypatch):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (37, 50, 4), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(pixels.view(np.uint16)[..., 0])
    elif mode == "F":
        image = Image.fromarray(pixels[..., 0].astype(np.float32) / 255)
    else:
        image = Image.fromarray(pixels).convert("P" if mode == "PA" else mode)
        image = image.convert("PA") if mode == "PA" else image
        if mode == "P":
            image.info["transparency"] = 3
    image.getexif()[0x0112] = orientation
    whole = decode(image).pixels
    assert whole.shape == ((50, 37, 3) if orientation > 5 else (37, 50, 3))
    monkeypatch.setattr("dgsnet.images.decode._STRIP", 151)  # three rows
    assert np.array_equal(decode(image).pixels, whole)


def test_scans_are_counted_in_the_picture_alone():
    progressive = encoded("JPEG", progressive=True)
    few = DecodePolicy(max_scans=12)
    assert decode(progressive, few).width == 64
    not_scans = b"\xff\xda" * 50
    comment = b"\xff\xfe" + (len(not_scans) + 2).to_bytes(2) + not_scans
    assert decode(b"\xff\xd8" + comment + progressive[2:] + not_scans, few).width == 64
    assert decode(progressive, replace(few, max_scans=10)).width == 64
    assert "more than 9 scans" in error_of(progressive, replace(few, max_scans=9))


def error_of(data, policy):
    with pytest.raises(SizeError) as error:
        decode(data, policy)
    return str(error.value)


def test_only_the_policy_decides_on_a_webp(monkeypatch):
    data = encoded("WEBP")
    assert "64x64 has a side longer" in error_of(data, DecodePolicy(max_side=63))
    stream = io.BytesIO(data)
    assert decode(stream).width == 64
