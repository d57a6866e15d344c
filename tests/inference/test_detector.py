"""One image, one score: whatever it comes as, whatever is scored with it; and no image ends a run."""

import hashlib
import itertools
import socket
import threading
import weakref
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dgsnet.inference.prepare
from dgsnet import Detector, Verdict
from dgsnet.artifacts.calibration import Calibration
from dgsnet.core.errors import DgsnetError, ModelFolderError
from dgsnet.images.decode import decode, decode_with_data
from dgsnet.images.preprocess import Preprocessing
from tests.support.pictures import textured

CONTRACT = ["path", "sha256", "score", "logit", "verdict", "warnings", "width", "height", "format", "model", "error"]


def picture(height, width):
    return np.ascontiguousarray(textured(np.random.default_rng(1), True, max(height, width))[:height, :width])


class Counting(BytesIO):
    """An encoded image that notes when it is read."""

    def __init__(self, content, reads):
        super().__init__(content)
        self.reads = reads

    def read(self, *size):
        self.reads.append(threading.get_ident())
        return super().read(*size)


def decoders():
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_the_score_does_not_depend_on_the_neighbours(detector, files):
    sources = [*files, "missing.png", *files[:5]]
    alone = [detector.detect(source) for source in sources]
    assert len({verdict.logit for verdict in alone}) == len(files) + 1  # None is one: the model does tell these images apart
    for size in (1, 2, 7, 32):
        assert list(detector.detect_many(sources, size)) == alone


def test_views_filled_up_to_a_batch_keep_their_logits(detector, files):
    prepared = [detector._prepare(file) for file in files[:3]]
    single = [detector._see([one], 1)[0].logit for one in prepared]
    assert [seen.logit for seen in detector._see(prepared, 8)] == pytest.approx(single, abs=1e-5)
    assert detector._see([], 8) == []


def test_a_large_picture_has_four_thirds_of_the_mean_of_the_logits_of_its_parts(detector, files):
    config = detector.config.model_copy(update={"preprocessing": Preprocessing(view="crop", multi_crop=True)})
    large = Detector(detector.method, config, detector.name, detector.fingerprint)
    pixels = picture(460, 610)
    parts = [pixels[118:342, 193:417], pixels[:230, :305], pixels[:230, 305:], pixels[230:, :305], pixels[230:, 305:]]
    alone = [large.detect(np.ascontiguousarray(part)).logit for part in parts]
    assert len(set(alone)) == 5
    assert large.detect(pixels).logit == pytest.approx(np.mean(alone) * 4 / 3, abs=1e-6)
    assert large.detect(pixels).score == pytest.approx(config.calibration.score(np.mean(alone) * 4 / 3), abs=1e-6)
    prepared = [large._prepare(source) for source in (files[0], pixels, files[1])]
    single = [large._see([one], 1)[0].logit for one in prepared]
    for size in (2, 3, 8):
        assert [seen.logit for seen in large._see(prepared, size)] == pytest.approx(single, abs=1e-5)


@pytest.mark.parametrize(
    "wrap", [str, Path, Path.read_bytes, lambda file: BytesIO(file.read_bytes()), Image.open, lambda f: decode(f).pixels]
)
def test_every_kind_of_source_gives_the_same_score(detector, files, wrap):
    expected, verdict = detector.detect(files[0]), detector.detect(wrap(files[0]))
    assert (verdict.score, verdict.logit, verdict.verdict) == (expected.score, expected.logit, expected.verdict)
    assert (verdict.width, verdict.height) == (256, 256)


def test_a_row_says_what_was_scored_and_by_what(detector, files, tiny_model):
    verdict = detector.detect(files[0])
    assert list(verdict.as_dict()) == CONTRACT
    assert verdict.path == str(files[0])
    assert verdict.sha256 == hashlib.sha256(files[0].read_bytes()).hexdigest()
    assert (verdict.format, verdict.model, verdict.error) == ("PNG", tiny_model.name, None)
    assert verdict.score == pytest.approx(1 / (1 + np.exp(-verdict.logit)), abs=1e-15)
    assert detector.detect(files[0].read_bytes()).path is None


def test_the_model_is_named_after_its_folder_even_from_inside(tiny_model, monkeypatch):
    monkeypatch.chdir(tiny_model)
    assert Detector.from_pretrained(".").name == tiny_model.name


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("no/such.png", "no/such.png: no such file"),
        (Path(), "is not a file"),
        (b"GIF89a", "cannot be decoded"),
        (b"", "is empty"),
        (BytesIO(b"text"), "is none of JPEG"),
        (picture(40, 31), "image: 31x40 pixels are too few to judge"),
        (np.zeros((64, 64, 3), np.float32), "no picture"),
        (None, "cannot decode a NoneType"),
    ],
)
def test_what_cannot_be_scored_is_a_verdict_with_an_error(detector, source, reason):
    verdict = detector.detect(source)
    assert reason in verdict.error
    assert (verdict.score, verdict.logit, verdict.verdict, verdict.warnings) == (None, None, None, [])
    assert verdict.model == detector.name
    assert list(verdict.as_dict()) == CONTRACT


@pytest.mark.parametrize(
    ("height", "width", "low"), [(223, 224, True), (224, 224, False), (32, 1568, False), (160, 300, True), (32, 32, True)]
)
def test_fewer_than_49_patches_is_a_warning(detector, height, width, low):
    verdict = detector.detect(picture(height, width))
    assert verdict.warnings == (["low_resolution"] if low else [])
    assert verdict.score is not None


@pytest.mark.parametrize(("score", "said"), [(0.29, "real"), (0.3, "inconclusive"), (0.69, "inconclusive"), (0.7, "ai-generated")])
def test_thresholds_decide_the_verdict(score, said):
    assert Calibration(real=0.3, generated=0.7).verdict(score) == said


def test_temperature_divides_the_logit(detector, files):
    plain = detector.detect(files[0])
    warm = Detector(detector.method, detector.config.model_copy(update={"calibration": Calibration(temperature=2)}), "warm", "")
    assert warm.detect(files[0]).logit == plain.logit
    assert warm.detect(files[0]).score == pytest.approx(1 / (1 + np.exp(-plain.logit / 2)), abs=1e-15)


def test_order_is_kept_when_the_first_takes_longest(detector, files):
    held = threading.Event()

    class Slow(BytesIO):
        def read(self, *size):
            held.wait(10)
            return super().read(*size)

    class Last(BytesIO):
        def read(self, *size):
            held.set()
            return super().read(*size)

    contents = [file.read_bytes() for file in files[:4]]
    verdicts = list(detector.detect_many([Slow(contents[0]), *contents[1:3], Last(contents[3])]))
    assert [verdict.sha256 for verdict in verdicts] == [hashlib.sha256(content).hexdigest() for content in contents]


def test_sources_are_taken_as_verdicts_are(detector, files):
    taken = itertools.count()
    sources = (files[next(taken) % len(files)] for _ in itertools.count())
    verdicts = detector.detect_many(sources, batch_size=4)
    for _ in range(20):
        next(verdicts)
    verdicts.close()
    assert 20 <= next(taken) <= 20 + 2 * 4


def test_waiting_images_do_not_hold_their_pictures(detector, files, monkeypatch):
    pictures = []

    def remembering(source, policy, *, alpha):
        image, data = decode_with_data(source, policy, alpha=alpha)
        pictures.append(weakref.ref(image.pixels))
        return image, data

    monkeypatch.setattr(dgsnet.inference.prepare, "decode_with_data", remembering)
    verdicts = detector.detect_many(files, batch_size=32)
    next(verdicts)
    verdicts.close()  # no decoder is at work any more, so that what is alive is what is held
    pending = detector._prepare(files[0])
    assert len(pictures) > 1
    assert pending.views is not None
    assert not any(picture() is not None for picture in pictures)


def test_stopping_early_ends_the_decoders_and_their_work(detector, files):
    reads: list[int] = []
    content = files[0].read_bytes()
    verdicts = detector.detect_many((Counting(content, reads) for _ in range(1000)), batch_size=100)
    next(verdicts)
    assert decoders()
    verdicts.close()
    assert not decoders()
    assert len(reads) < 200


def test_an_error_of_the_iterable_is_the_callers(detector, files):
    def sources():
        yield files[0]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(detector.detect_many(sources()))
    assert not decoders()
    with pytest.raises(ValueError, match="at least 1"):
        list(detector.detect_many(files, 0))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dgsnet-b99", r"no model ships under that name \(these do: dgsnet-b16\)"),
        ("owner/name", "the hub did not give one"),
        ("owner/name@v1", "the hub did not give one"),
        ("here/typo", "no such folder, and no model ships"),
        ("file", "it is a file"),
        ("here", "config.json is missing"),
    ],
)
def test_a_model_that_is_not_there_is_one_sentence(name, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ModelFolderError, match=reason) as raised:
        Detector.from_pretrained(name)
    assert "\n" not in str(raised.value)
    assert name in str(raised.value)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_an_unknown_device_is_one_sentence(tiny_model, device):
    with pytest.raises(DgsnetError, match=f"device '{device}' cannot be used") as raised:
        Detector.from_pretrained(tiny_model, device=device)
    assert "\n" not in str(raised.value)


def test_loading_and_scoring_need_no_network(tiny_model, files, monkeypatch):
    def refuse(*_):
        raise AssertionError("touched the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert isinstance(Detector.from_pretrained(tiny_model).detect(files[0]), Verdict)
