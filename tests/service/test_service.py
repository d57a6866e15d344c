"""`dgsnet serve`: the interface over a real socket, its refusals, limits, keys, decoding processes, shutdown."""

import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial

import httpx2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dgsnet.core.errors import DgsnetError
from dgsnet.images.decode import DecodePolicy, decode
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.asked import Asked
from dgsnet.inference.detector import Detector
from dgsnet.provenance import load_marks
from dgsnet.service import ipc
from dgsnet.service.api_error import ApiError
from dgsnet.service.decoder_pool import DecoderPool
from dgsnet.service.keys import Keys, add_key
from dgsnet.service.queue_limit import QueueSlots
from dgsnet.service.rate_limit import RateLimiter, address_bucket
from dgsnet.service.settings import Settings
from dgsnet.service.uploads import Upload, UploadBudget
from tests.support.serving import PNG, SETTINGS, decoding_process_of, encoded, post, refused, serving

CENTRE = Preprocessing(view="crop")


@pytest.fixture(scope="module")
def client(detector):
    with serving(detector) as (client, _):
        yield client


# --- results ---


def test_rows_are_those_of_the_detector_whatever_is_sent_with_them(client, detector, files):
    data = [file.read_bytes() for file in files]
    expected = [{**detector.detect(one).as_dict(), "path": f"{number}.png"} for number, one in enumerate(data)]
    body = post(client, *data).json()
    assert set(body) == {"request_id", "latency_ms", "results"}
    assert body["latency_ms"] > 0
    assert [{name: row[name] for name in expected[0]} for row in body["results"]] == expected
    with ThreadPoolExecutor(6) as pool:
        alone = [response.json()["results"][0] for response in pool.map(lambda one: post(client, one), data)]
    assert [(row["score"], row["sha256"]) for row in alone] == [(row["score"], row["sha256"]) for row in expected]


def test_a_large_picture_is_scored_by_its_quadrants_here_too(detector):
    look = detector.config.preprocessing.model_copy(update={"view": "crop", "multi_crop": True})
    config = detector.config.model_copy(update={"preprocessing": look})
    large = Detector(detector.runtime, config, detector.name, detector.fingerprint)
    data = [encoded(side=side) for side in (500, 64)]
    with serving(large) as (client, _):
        rows = post(client, *data).json()["results"]
        drawn = Image.open(io.BytesIO(post(client, data[0], path="/v1/heatmap").content))
    assert [row["score"] for row in rows] == [large.detect(one).score for one in data]
    assert rows[0]["score"] != Detector(detector.runtime, config.model_copy(update={"preprocessing": CENTRE}), "", "").detect(data[0]).score
    assert np.array_equal(np.asarray(drawn), np.asarray(large.heatmap(data[0])))


def test_provenance_stands_in_the_row_and_changes_no_score(client):
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cat")
    plain, marked = post(client, encoded(), encoded(pnginfo=text)).json()["results"]
    assert plain["provenance"]["findings"] == []
    assert marked["provenance"]["findings"] == [{"kind": "png.parameters", "value": "a cat", "says": "generated"}]
    assert plain["score"] == marked["score"]
    assert (plain["provenance"]["says"], marked["provenance"]["says"]) == ([], ["generated"])
    assert marked["provenance"]["agrees"] is {"ai-generated": True, "real": False}.get(marked["verdict"])


def test_marks_of_ones_own_reach_the_decoders(detector, tmp_path):
    (tmp_path / "own.toml").write_text(
        '[[mark]]\nprogram = "House"\nsays = "generated"\nplaces = ["png.house"]\nkey = true\nsource = "our own files"\n'
    )
    text = PngImagePlugin.PngInfo()
    text.add_text("house", "1")
    with serving(detector, replace(SETTINGS, asked=Asked(provenance=True, marks=load_marks(tmp_path / "own.toml")))) as (client, _):
        (row,) = post(client, encoded(pnginfo=text)).json()["results"]
    assert row["provenance"]["says"] == ["generated"]
    assert "(House)" in row["provenance"]["summary"]


def test_a_broken_file_among_others_costs_its_row(client):
    good, broken, other = post(client, encoded(), encoded()[:200], encoded("BMP")).json()["results"]
    assert good["error"] is None
    assert broken["error"].startswith("1.png: truncated or damaged PNG")
    assert other["error"].startswith("2.png: is none of JPEG, PNG, WEBP, AVIF, HEIC, GIF")
    assert broken["score"] is broken["verdict"] is other["score"] is None


def test_heatmap_is_a_png_of_the_pictures_size(client, detector):
    data = encoded(side=100)
    response = post(client, data, path="/v1/heatmap")
    assert response.headers["content-type"] == "image/png"
    drawn = Image.open(io.BytesIO(response.content))
    assert np.array_equal(np.asarray(drawn), np.asarray(detector.heatmap(data)))


def test_models_health_and_metrics(client, detector):
    (model,) = client.get("/v1/models").json()["models"]
    assert (model["name"], model["fingerprint"]) == (detector.name, detector.fingerprint)
    assert model["limits"]["formats"] == ["JPEG", "PNG", "WEBP", "AVIF", "HEIC", "GIF"]
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    post(client, encoded())
    text = client.get("/metrics").text
    assert re.search(r'dgsnet_requests_total\{route="/v1/detect",status="200"\} [1-9]', text)
    assert "dgsnet_images_waiting 0.0" in text


def test_the_interface_is_described(client):
    described = client.get("/openapi.json").json()
    operation = described["paths"]["/v1/detect"]["post"]
    assert set(operation["responses"]) == {"200", "400", "401", "413", "415", "422", "429", "503"}
    assert all(one["content"]["application/json"].get("example") for code, one in operation["responses"].items() if code != "200")
    assert described["components"]["schemas"]["Detection"]["examples"]
    assert "multipart/form-data" in operation["requestBody"]["content"]
    for name in ("Models", "Status"):
        assert described["components"]["schemas"][name]["examples"]
    assert described["paths"]["/metrics"]["get"]["responses"]["200"]["content"]["text/plain"]["example"]
    assert list(described["paths"]["/v1/heatmap"]["post"]["responses"]["200"]["content"]) == ["image/png"]
    assert client.get("/docs").status_code == 404  # it would load scripts from another host


# --- refusals ---


def announcing(side):
    """A PNG whose header announces a huge picture."""
    header = b"IHDR" + struct.pack(">II", side, side) + PNG[24:29]
    return PNG[:12] + header + struct.pack(">I", zlib.crc32(header)) + PNG[33:]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (PNG[:200], (422, "broken_image")),
        (encoded(side=8), (422, "too_small")),
        (b"", (415, "unsupported_format")),
        (b"<svg/>", (415, "unsupported_format")),
        (encoded("BMP"), (415, "unsupported_format")),
        (encoded("TIFF"), (415, "unsupported_format")),
        (announcing(65_535), (413, "image_too_large")),
    ],
)
def test_a_picture_that_cannot_be_scored(client, data, expected):
    assert refused(post(client, data)) == expected
    if expected[1] != "too_small":
        assert refused(post(client, data, path="/v1/heatmap")) == expected


@pytest.mark.parametrize(("side", "cut", "status"), [(8, None, 422), (64, -40, 422), (64, None, 413)])
def test_a_refused_picture_says_where_it_is_from(detector, side, cut, status):
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1")
    data = encoded(side=side, pnginfo=text)[:cut]
    policy = replace(SETTINGS.policy, max_pixels=1000) if status == 413 else SETTINGS.policy
    with serving(detector, replace(SETTINGS, policy=policy)) as (client, _):
        answer = post(client, data)
        row, _ = post(client, data, encoded(side=8)).json()["results"]
    assert refused(answer)[0] == status
    assert answer.json()["provenance"] == row["provenance"]
    assert (row["provenance"]["says"], row["provenance"]["agrees"], row["score"]) == (["generated"], None, None)


FORM = {"content-type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"json": {}}, (415, "not_multipart")),
        ({"content": b""}, (415, "not_multipart")),
        ({"content": b"", "headers": {"content-type": "multipart/form-data"}}, (400, "malformed_multipart")),
        ({"content": b"nothing", "headers": FORM}, (400, "malformed_multipart")),
        ({"files": {"other": b"x"}}, (400, "no_file")),
        ({"files": [("file", b"x")] * 17}, (413, "too_many_files")),
        ({"content": b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\ntext\r\n--x--\r\n", "headers": FORM}, (400, "no_file")),
    ],
)
def test_requests_that_are_none(client, options, expected):
    assert refused(client.post("/v1/detect", **options)) == expected


def test_unknown_paths_and_methods(client):
    assert refused(client.get("/nothing")) == (404, "not_found")
    assert refused(client.get("/v1/detect")) == (405, "method_not_allowed")


def test_too_much_is_refused_while_it_is_read_and_never_on_disk(detector, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", lambda _: pytest.fail("an upload went to disk"))
    settings = replace(SETTINGS, policy=replace(SETTINGS.policy, max_bytes=3 << 20), max_body=5 << 20, max_uploading=6 << 20)
    with serving(detector, settings) as (client, _):
        big = encoded(side=900)
        assert 2 << 20 < len(big) < 3 << 20
        assert post(client, big, big).status_code == 200
        assert refused(post(client, bytes(4 << 20))) == (413, "file_too_large")
        assert refused(post(client, bytes(6 << 20))) == (413, "body_too_large")

        def chunks():  # of unknown length
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(40):
                yield bytes(1 << 20)

        assert refused(client.post("/v1/detect", content=chunks(), headers=FORM)) == (413, "file_too_large")
        small = [("file", (f"{number}.png", bytes(1 << 20))) for number in range(6)]
        body = client.build_request("POST", "/v1/detect", files=small)
        assert 6 << 20 < len(body.read()) < 7 << 20  # each file is within its limit, and the length is not announced
        whole = client.post("/v1/detect", content=iter([body.content]), headers={"content-type": body.headers["content-type"]})
        assert refused(whole) == (413, "body_too_large")
        slow = []  # one more each time: which of several that come at once finds no room is a matter of luck
        wait_for(lambda: slow.append(half_sent(client, 2 << 20)) or post(client, big).status_code == 429)
        assert refused(post(client, big)) == (429, "too_many_uploads")
        for one in slow:
            one.close()
        wait_for(lambda: post(client, big).status_code == 200)


def test_reserved_bytes_come_back_however_the_request_ends():
    budget = UploadBudget(10)
    with budget.reservation() as reserve:
        reserve(6)
        with suppress(ZeroDivisionError), budget.reservation() as other:
            other(4)
            with pytest.raises(ApiError, match="too many pictures"):
                reserve(1)
            raise ZeroDivisionError
        reserve(4)
    with budget.reservation() as reserve:
        reserve(10)


def half_sent(client, size):
    """A connection on which a form was begun and never ended."""
    connection = socket.create_connection((client.base_url.host, client.base_url.port))
    head = "POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(size)
    connection.sendall(head.encode() + f"{len(body):x}\r\n".encode() + body + b"\r\n")
    return connection


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it never came")


# --- limits ---


class Slow:
    """The model held up, so that what comes meanwhile has to wait."""

    def __init__(self, detector, monkeypatch):
        self.asked, self.go = threading.Event(), threading.Event()
        score_prepared = detector.score_prepared

        def held(batch, size):
            self.asked.set()
            self.go.wait(60)
            return score_prepared(batch, size)

        monkeypatch.setattr(detector, "score_prepared", held)


@pytest.fixture
def slow(detector, monkeypatch):
    held = Slow(detector, monkeypatch)
    yield held
    held.go.set()


def test_overload_is_answered_with_429_and_nothing_else(detector, slow):
    with serving(detector, replace(SETTINGS, queue=3)) as (client, _), ThreadPoolExecutor(12) as pool:
        data = encoded()
        asked = [pool.submit(post, client, data) for _ in range(3)]
        wait_for(lambda: "dgsnet_images_waiting 3.0" in client.get("/metrics").text)
        more = list(pool.map(lambda _: post(client, data), range(12)))
        assert {refused(one) for one in more} == {(429, "queue_full")}
        assert all(int(one.headers["retry-after"]) >= 1 for one in more)
        slow.go.set()
        assert [one.result().status_code for one in asked] == [200] * 3
        assert post(client, data).status_code == 200


def test_the_first_flood_is_refused_as_well_where_the_model_is_slow(detector, monkeypatch):
    run = detector.runtime.run
    monkeypatch.setattr(detector.runtime, "run", lambda views: (time.sleep(0.3), run(views))[1])
    with serving(detector, replace(SETTINGS, queue=100, request_seconds=5)) as (client, _), ThreadPoolExecutor(40) as pool:
        answers = [one.status_code for one in pool.map(lambda _: post(client, encoded()), range(40))]
    assert {200, 429} == set(answers)


def test_no_more_wait_than_can_be_answered_in_time():
    now = [0.0]
    slots = QueueSlots(100, limit=10, seconds=0.1, clock=lambda: now[0])
    for _ in range(30):  # one a second: the estimate learns it
        slots.acquire(1)
        now[0] += 1
        slots.release(1)
    slots.acquire(8)
    with pytest.raises(ApiError) as refused_with:
        slots.acquire(1)
    assert (refused_with.value.code, refused_with.value.headers) == ("queue_full", {"Retry-After": "4"})
    now[0] += 100
    slots.release(8, done=False)  # given up on: nothing is known of what they would have taken
    slots.acquire(1)
    slots.release(1)
    slots.acquire(100)  # nobody waits, so it is tried
    with pytest.raises(ApiError):
        slots.acquire(1)
    for _ in range(100):  # two seconds for all of them, in work at once
        now[0] += 0.02
        slots.release(1)
    slots.acquire(1)
    slots.acquire(99)


def test_time_limit_frees_the_slot(detector, slow):
    with serving(detector, replace(SETTINGS, queue=1, request_seconds=1)) as (client, _):
        assert refused(post(client, encoded())) == (503, "timeout")
        slow.go.set()
        wait_for(lambda: post(client, encoded()).status_code == 200)


def test_slow_clients_hold_up_nobody(client):
    slow = [half_sent(client, 1000) for _ in range(100)]
    assert post(client, encoded()).status_code == 200
    for one in slow:
        one.close()


def test_shutdown_finishes_what_was_taken(detector, slow):
    with serving(detector) as (client, server), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post, client, encoded())
        assert slow.asked.wait(60)
        server.should_exit = True
        wait_for(lambda: not server.servers[0].is_serving())
        slow.go.set()
        assert asked.result().status_code == 200


def test_a_failing_model_is_no_internal_error(detector, monkeypatch):
    def fail(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(detector, "score_prepared", fail)
    with serving(detector) as (client, _):
        assert refused(post(client, encoded())) == (503, "unavailable")
        assert client.get("/readyz").status_code == 200


def test_rates():
    now = [0.0]
    limiter = RateLimiter(60, lambda: now[0])
    for _ in range(6):
        limiter.acquire("a")
    with pytest.raises(ApiError) as refused_with:
        limiter.acquire("a")
    assert (refused_with.value.status, refused_with.value.headers) == (429, {"Retry-After": "1"})
    limiter.acquire("b")
    now[0] += 1
    limiter.acquire("a")
    assert address_bucket("2001:db8::1") == address_bucket("2001:db8::2") != address_bucket("2001:db8:0:1::1")
    assert address_bucket("10.0.0.1") != address_bucket("10.0.0.2")


# --- keys ---


def test_keys(detector, tmp_path):
    file = tmp_path / "keys"
    first, second = add_key(file, "first"), add_key(file, "second")
    assert first not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    with serving(detector, replace(SETTINGS, rate=40), Keys.load(file)) as (client, _):  # four at once
        for key in ("", "Bearer", "Bearer wrong", f"Basic {first}"):
            response = client.get("/v1/models", headers={"authorization": key} if key else {})
            assert refused(response) == (401, "unauthorised")
            assert response.headers["www-authenticate"] == "Bearer"
        assert refused(client.get("/v1/models", headers={"authorization": f"Bearer {first}"})) == (429, "rate_limited")
        assert client.get("/healthz").status_code == 200
    with serving(detector, SETTINGS, Keys.load(file)) as (client, _):
        assert refused(post(client, encoded())) == (401, "unauthorised")
        for key in (first, second):
            assert post(client, encoded(), headers={"authorization": f"Bearer {key}"}).status_code == 200


@pytest.mark.parametrize("content", ["", "# nothing\n", "abc name\n", f"{'0' * 64} a\n{'1' * 64} a\n"])
def test_files_that_hold_no_keys(tmp_path, content):
    (tmp_path / "keys").write_text(content)
    with pytest.raises(DgsnetError):
        Keys.load(tmp_path / "keys")


def test_other_origins_read_nothing_unless_named(client, detector):
    origin = {"origin": "https://example.org"}
    assert "access-control-allow-origin" not in client.get("/v1/models", headers=origin).headers
    with serving(detector, replace(SETTINGS, cors_origins=("https://example.org",))) as (open_client, _):
        assert open_client.get("/v1/models", headers=origin).headers["access-control-allow-origin"] == origin["origin"]


# --- decoding processes ---


def test_a_decoder_that_takes_too_long_is_killed_and_replaced(detector):
    """A process that is stopped stands for a picture that takes for ever."""
    with serving(detector, replace(SETTINGS, decode_seconds=2)) as (client, server):
        process = decoding_process_of(server)
        os.kill(process, signal.SIGSTOP)
        assert refused(post(client, encoded())) == (422, "decode_timeout")
        wait_for(lambda: "dgsnet_decoders_replaced_total 1.0" in client.get("/metrics").text)
        wait_for(lambda: post(client, encoded()).status_code == 200)
        assert not os.path.exists(f"/proc/{process}")  # noqa: PTH110


def test_a_decoder_that_dies_costs_one_picture(detector):
    with serving(detector) as (client, server):
        os.kill(decoding_process_of(server), signal.SIGKILL)
        assert refused(post(client, encoded())) == (422, "broken_image")
        assert post(client, encoded()).status_code == 200


class LateDecoder:
    """A decoder whose messages come in time up to one."""

    alive = True

    def __init__(self, in_time):
        header = {"stage": "views", "verdict": {"path": "a.png"}, "shape": None, "copies": 0}
        self.messages = iter([({"stage": "decoded"}, b""), (header, b"")][:in_time])

    def send(self, header, payload):
        pass

    def receive(self, seconds):
        try:
            return next(self.messages)
        except StopIteration:
            raise TimeoutError from None

    def kill(self):
        self.alive = False


@pytest.fixture(scope="module")
def decoders():
    pool = DecoderPool(CENTRE, "model", SETTINGS)
    yield pool
    pool.close()


@pytest.mark.parametrize(("in_time", "expected"), [(0, (422, "decode_timeout")), (1, (503, "timeout"))])
def test_what_comes_too_late_has_an_error_of_its_own(decoders, in_time, expected):
    for work in (partial(decoders._prepare, steadiness=False), decoders._decode):
        with pytest.raises(ApiError) as error:
            work(LateDecoder(in_time), Upload("a.png", PNG))
        assert (error.value.status, error.value.code) == expected
        assert error.value.message.startswith("a.png: ")


def test_metadata_that_come_too_late_cost_the_decoder_and_not_the_picture(decoders):
    late = LateDecoder(2)
    prepared = decoders._prepare(late, Upload("a.png", PNG), steadiness=False)
    assert prepared.verdict.path == "a.png"
    assert prepared.verdict.provenance.findings == []
    assert prepared.verdict.provenance.summary.startswith("The metadata of the file could not be read in time")
    assert not late.alive


def test_a_picture_is_decoded_in_the_pool_as_it_is_here(decoders):
    assert np.array_equal(decoders.decode(Upload("a.png", PNG)).result().pixels, decode(PNG).pixels)


def test_a_decoder_can_write_no_file(tmp_path):
    program = (
        "import signal; from dgsnet.service.decoder_process import _write_no_file; _write_no_file();"
        f"signal.signal(signal.SIGXFSZ, signal.SIG_IGN); open({str(tmp_path / 'a')!r}, 'wb', buffering=0).write(b'x')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "File too large" in ended.stderr


def test_messages():
    stream = io.BytesIO()
    ipc.write(stream, {"a": 1}, b"data")
    whole = stream.getvalue()
    assert ipc.read(io.BytesIO(whole), 10) == ({"a": 1}, b"data")
    for damaged in (whole[:-1], whole[:5], b""):
        with pytest.raises(EOFError):
            ipc.read(io.BytesIO(damaged), 10)
    with pytest.raises(EOFError):
        ipc.read(io.BytesIO(whole), 3)


# --- the command ---


def test_serve_and_stop(tiny_model, tmp_path):
    command = [sys.executable, "-m", "dgsnet", "serve", "--model", tiny_model, "--port", "0", "--decoders", "1", "--request-seconds", "120"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        address = next(match[0] for line in process.stderr if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
        with httpx2.Client(base_url=address, timeout=120, trust_env=False) as client:
            assert post(client, encoded()).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stderr.close()


def test_other_addresses_need_keys(run, tmp_path):
    code, _, err = run("serve", "--host", "192.0.2.1")
    assert (code, "without keys" in err) == (2, True)
    code, out, _ = run("serve", "--new-key", tmp_path / "keys", "--key-name", "me")
    assert code == 0
    assert Keys.load(tmp_path / "keys").name_of(out.strip()) == "me"
    code, _, err = run("serve", "--new-key", tmp_path / "keys", "--key-name", "me")
    assert (code, "already" in err) == (2, True)


def test_policy_of_formats():
    assert Settings().policy == DecodePolicy(formats=("JPEG", "PNG", "WEBP", "AVIF", "HEIC", "GIF"))


def test_nothing_of_a_request_is_logged(detector, caplog):
    with serving(detector) as (client, _), caplog.at_level("DEBUG"):
        client.post("/v1/detect", files={"file": ("secret-name.png", encoded())})
    assert "secret-name" not in json.dumps([record.getMessage() for record in caplog.records])
