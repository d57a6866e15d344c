"""Flips are counted as a person would count them, a killed run goes on, and the files hold what the command line shows."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import roc_auc_score

from dgsnet import Detector, Verdict
from dgsnet.artifacts.calibration import Calibration
from dgsnet.core.errors import DatasetError, DecodeError
from dgsnet.data.dataset import load_dataset
from dgsnet.evaluation import evaluate, robustness
from dgsnet.evaluation.benchmarks import protocol, registry
from dgsnet.evaluation.predictions import PREDICTIONS, predict
from dgsnet.images.decode import FORMATS, DecodePolicy, decode
from dgsnet.images.perturb import SUITES, Perturbation
from dgsnet.reports import robustness_page, robustness_plots
from tests.support.fakes import Fake
from tests.support.pictures import textured

PARTIAL = ".predictions.partial.jsonl"
FEW = (Perturbation("jpeg", 70), Perturbation("noise", 5), Perturbation("flip"))
REAL, FAKE, MAYBE = "real", "ai-generated", "inconclusive"
NOTHING = {"value": None, "low": None, "high": None}


class Killed(BaseException):
    """Nothing in the package catches this."""


class Scripted(Fake):
    """Stands in for a detector: scores what it gets by its hash, notes what it saw, and can die before number `dies_at`."""

    def __init__(self, fingerprint="f", dies_at=None):
        self.fingerprint, self.dies_at, self.seen, self.policy = fingerprint, dies_at, [], DecodePolicy()
        self.config = SimpleNamespace(calibration=Calibration(generated=0.6, real=0.4))

    def detect_many(self, sources, batch_size):
        for number, source in enumerate(sources):
            if number == self.dies_at:
                raise Killed
            try:
                digest = decode(source).sha256
            except DecodeError as error:
                yield Verdict(None, error=str(error))
                continue
            self.seen.append(digest)
            score = int(digest[:8], 16) / 16**8
            yield Verdict(None, digest, score, 8 * score - 4, self.config.calibration.verdict(score), model="scripted")


@pytest.fixture
def data(corpus):
    return load_dataset(corpus).with_split("test")


def rows_of(predictions):
    return pq.read_table(predictions).to_pylist()


def table_of(tmp_path, images, perturbations):
    """A predictions file of images given as (label, clean, after each perturbation): (verdict, logit), or None where it failed."""
    rows = []
    for number, (label, *outcomes) in enumerate(images):
        for (name, severity), outcome in zip([("none", None), *perturbations], outcomes, strict=True):
            verdict, logit = outcome or (None, None)
            score = None if outcome is None else 1 / (1 + np.exp(-logit))
            facts = {"perturbation": name, "severity": severity, "label": label, "path": f"{number}.png"}
            rows.append(facts | {"score": score, "logit": logit, "verdict": verdict, "error": None if outcome else "no"})
    target = tmp_path / "given.parquet"
    pq.write_table(pa.Table.from_pylist(rows), target)
    return target


HAND_MADE: list[tuple[Any, ...]] = [  # label, as it is, jpeg 90, jpeg 70, flip
    (0, (REAL, -2.0), (REAL, -1.0), (FAKE, 1.0), (REAL, -2.0)),
    (0, (REAL, -3.0), (MAYBE, 0.0), (MAYBE, 0.5), (REAL, -3.0)),
    (1, (FAKE, 2.0), (FAKE, 2.5), (REAL, -2.0), (FAKE, 2.0)),
    (1, (MAYBE, 0.0), (FAKE, 2.0), (MAYBE, 0.0), (MAYBE, 0.0)),
    (1, (FAKE, 4.0), (FAKE, 4.0), (FAKE, 3.0), None),
]
HAND_MADE_PERTURBATIONS = [("jpeg", 90.0), ("jpeg", 70.0), ("flip", None)]


def values(one, *names):
    return [pytest.approx(one[name]["value"]) for name in names]


# --- scoring ---


def test_rows_are_what_the_detector_says_of_the_image_and_of_the_perturbed_image(detector, data, tmp_path):
    some = data.balanced_subset(4, seed=0)
    rows = rows_of(robustness.predict(detector, some, tmp_path, FEW))
    assert pq.read_schema(tmp_path / PREDICTIONS).equals(robustness.SCHEMA)
    assert len(rows) == 4 * (1 + len(FEW))
    for number, sample in enumerate(some):
        clean, *perturbed = rows[number * (1 + len(FEW)) : (number + 1) * (1 + len(FEW))]
        facts = {name: getattr(sample, name) for name in ("label", "split", "source", "generator", "group")}
        expected = detector.detect(some.root / sample.path).as_dict() | {"path": sample.path}
        assert clean == {"perturbation": "none", "severity": None} | facts | expected
        image = decode(some.root / sample.path)
        for row, perturbation in zip(perturbed, FEW, strict=True):
            verdict = detector.detect(perturbation.apply(image.pixels, image.sha256)).as_dict() | {"path": sample.path}
            assert row == {"perturbation": perturbation.name, "severity": perturbation.severity} | facts | verdict
        assert len({row["logit"] for row in (clean, *perturbed)}) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [PREDICTIONS]


@pytest.mark.parametrize("dies_at", [0, 1, 4, 18, 47])
def test_a_killed_run_goes_on_and_scores_nothing_twice(data, tmp_path, dies_at):
    whole = robustness.predict(Scripted(), data, tmp_path / "whole", FEW)
    dying, going_on = Scripted(dies_at=dies_at), Scripted()
    with pytest.raises(Killed):
        robustness.predict(dying, data, tmp_path / "killed", FEW)
    assert not (tmp_path / "killed" / PREDICTIONS).exists()
    with (tmp_path / "killed" / PARTIAL).open("a") as stream:
        stream.write('{"perturbation": "jp')  # a line that a kill cut
    resumed = robustness.predict(going_on, data, tmp_path / "killed", FEW)
    assert resumed.read_bytes() == whole.read_bytes()
    assert dying.seen + going_on.seen == [row["sha256"] for row in rows_of(whole)]
    assert (len(dying.seen), len(dying.seen + going_on.seen)) == (dies_at, 48)
    assert robustness.predict(Scripted(dies_at=0), data, tmp_path / "killed", FEW) == resumed  # finished: nothing is scored


def test_a_killed_process_keeps_every_row_it_scored(corpus, data, tmp_path):
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[3]); from tests.evaluation.test_robustness import *\n"
        "class Dying(Scripted):\n"
        "    def detect_many(self, sources, batch_size):\n"
        "        for number, verdict in enumerate(super().detect_many(sources, batch_size)):\n"
        "            os.kill(os.getpid(), 9) if number == 21 else None\n"
        "            yield verdict\n"
        "robustness.predict(Dying(), load_dataset(sys.argv[1]).with_split('test'), Path(sys.argv[2]), FEW)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, str(corpus), str(tmp_path / "out"), str(Path(__file__).parents[2])]
    assert subprocess.run(command, env=environment, check=False, timeout=120).returncode == -9
    going_on = Scripted()
    resumed = robustness.predict(going_on, data, tmp_path / "out", FEW)
    assert len(going_on.seen) == 48 - 21
    assert resumed.read_bytes() == robustness.predict(Scripted(), data, tmp_path / "whole", FEW).read_bytes()


def test_predictions_of_another_model_data_or_perturbations_are_refused(corpus, data, tmp_path):
    robustness.predict(Scripted(), data, tmp_path / "done", FEW)
    with pytest.raises(Killed):
        robustness.predict(Scripted(dies_at=3), data, tmp_path / "begun", FEW)
    refusal = "another model, other data, other perturbations or another version: choose another folder"
    for folder in (tmp_path / "done", tmp_path / "begun"):
        for model, images, perturbations in (
            (Scripted(fingerprint="g"), data, FEW),
            (Scripted(), load_dataset(corpus), FEW),
            (Scripted(), data, FEW[:2]),
        ):
            with pytest.raises(DatasetError, match=refusal):
                robustness.predict(model, images, folder, perturbations)
        with pytest.raises(DatasetError, match="choose another folder"):
            predict(Scripted(), data, folder)
    predict(SimpleEvaluation(), data, tmp_path / "evaluated")
    with pytest.raises(DatasetError, match=refusal):
        robustness.predict(Scripted(), data, tmp_path / "evaluated", FEW)


class SimpleEvaluation(Scripted):
    def detect_many(self, sources, batch_size=1):
        return super().detect_many(sources, batch_size)


@pytest.mark.parametrize("perturbations", [(), (FEW[0], FEW[1], FEW[0])])
def test_perturbations_are_some_each_once(data, tmp_path, perturbations):
    with pytest.raises(ValueError, match="expected perturbations, each once, but got"):
        robustness.predict(Scripted(), data, tmp_path, perturbations)


def test_pictures_are_perturbed_only_when_they_are_wanted(data, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(Perturbation, "apply", lambda self, pixels, sha256: made.append(self) or pixels)

    class Counting(Scripted):
        def detect_many(self, sources, batch_size):
            for number, verdict in enumerate(super().detect_many(sources, batch_size)):
                assert len(made) <= number + 1
                yield verdict

    robustness.predict(Counting(), data, tmp_path, FEW)
    assert len(made) == 12 * len(FEW)


def test_what_cannot_be_decoded_perturbed_or_judged_is_a_row(corpus, detector, tmp_path):
    for label in ("real", "fake"):
        (tmp_path / "data" / label).mkdir(parents=True)
        shutil.copy(corpus / "test" / label / "0.png", tmp_path / "data" / label / "0.png")
    (tmp_path / "data" / "fake" / "1.png").write_bytes(b"not a picture")
    Image.new("RGB", (40, 50)).save(tmp_path / "data" / "real" / "1.png")  # half of it is less than one patch
    Image.new("RGB", (64, 16_384)).save(tmp_path / "data" / "real" / "2.png")  # too high for WebP
    perturbations = (Perturbation("crop", 0.5), Perturbation("webp", 75))
    predictions = robustness.predict(detector, load_dataset(tmp_path / "data"), tmp_path / "out", perturbations)
    failed = {(row["path"], row["perturbation"]): row["error"] for row in rows_of(predictions) if row["error"]}
    broken = f"fake/1.png: is none of {', '.join(FORMATS)}; convert it to PNG or leave it out"
    assert set(failed) == {("fake/1.png", name) for name in ("none", "crop", "webp")} | {("real/1.png", "crop"), ("real/2.png", "webp")}
    assert {failed["fake/1.png", name] for name in ("none", "crop", "webp")} == {broken}
    assert failed["real/1.png", "crop"].startswith("real/1.png after crop 0.5: ")
    assert failed["real/2.png", "webp"].startswith("real/2.png: webp 75 cannot be applied (")
    result = robustness.evaluate(predictions, tmp_path / "out", resamples=10)
    crop, webp = result["perturbations"]
    assert [crop["failed"], webp["failed"], result["clean"]["failed"]] == [2, 2, 1]
    assert [crop["images"], webp["images"], result["overall"]["images"]] == [3, 3, 2]
    assert (crop["n_real"], crop["n_fake"]) == (2, 1)
    assert (result["computed_from"]["rows"], result["computed_from"]["failed_rows"]) == (15, 5)


# --- figures ---


def test_flips_of_a_hand_made_example(tmp_path):
    predictions = table_of(tmp_path, HAND_MADE, HAND_MADE_PERTURBATIONS)
    result = robustness.evaluate(predictions, tmp_path, resamples=20)
    assert [(one["perturbation"], one["severity"]) for one in result["perturbations"]] == HAND_MADE_PERTURBATIONS
    jpeg90, jpeg70, flip = result["perturbations"]
    assert values(jpeg90, *robustness.CHANGE) == [2 / 5, 0, 2 / 5, (1 + 3 + 0.5 + 2 + 0) / 5]
    assert values(jpeg70, *robustness.CHANGE) == [3 / 5, 2 / 5, 1 / 5, (3 + 3.5 + 4 + 0 + 1) / 5]
    assert values(flip, *robustness.CHANGE) == [0, 0, 0, 0]
    assert (jpeg90["images"], flip["images"]) == (5, 4)
    photographs, generated = jpeg70["by_label"]["real"], jpeg70["by_label"]["fake"]
    assert values(photographs, *robustness.CHANGE) == [1, 1 / 2, 1 / 2, 6.5 / 2]
    assert values(generated, *robustness.CHANGE) == [1 / 3, 1 / 3, 0, 5 / 3]
    assert (photographs["images"], generated["images"]) == (2, 3)

    overall = result["overall"]  # the last image has no score mirrored, so "any" is over the first four, each of which flips somewhere
    assert overall["images"] == 4
    assert values(overall, "flips_any", "opposite_any") == [1, 1 / 2]
    assert values(overall, *robustness.MEAN_CHANGE) == [1 / 3, 2 / 15, 1 / 5, (6.5 / 5 + 11.5 / 5) / 3]
    assert values(overall["by_label"]["fake"], "flips_any", "opposite_any", "mean_flip_rate") == [1, 1 / 2, 2 / 9]
    jpeg = result["by_kind"]["jpeg"]
    assert jpeg["images"] == 5
    assert values(jpeg, "flips_any", "opposite_any", "mean_flip_rate") == [4 / 5, 2 / 5, 1 / 2]
    assert list(result["by_kind"]) == ["jpeg", "flip"]
    assert result["by_suite"] == {}


def test_accuracy_is_that_of_the_perturbed_images(tmp_path):
    result = robustness.evaluate(table_of(tmp_path, HAND_MADE, HAND_MADE_PERTURBATIONS), tmp_path, resamples=20)
    labels = [image[0] for image in HAND_MADE]
    for column, one in enumerate([result["clean"], *result["perturbations"][:2]], start=1):
        logits = np.array([image[column][1] for image in HAND_MADE])
        assert one["auroc"]["value"] == pytest.approx(roc_auc_score(labels, logits))
        real, fake = np.mean(logits[:2] < 0), np.mean(logits[2:] >= 0)
        assert values(one, "real_acc", "fake_acc", "balanced_acc") == [real, fake, (real + fake) / 2]
        assert (one["n_real"], one["n_fake"], one["failed"]) == (2, 3, 0)
    assert "flip_rate" not in result["clean"]
    assert result["perturbations"][2]["failed"] == 1


def test_the_threshold_is_the_models(data, tmp_path):
    predictions = robustness.predict(Scripted(), data, tmp_path, FEW)
    result = robustness.evaluate(predictions, tmp_path, resamples=10)
    fakes = [row["score"] for row in rows_of(predictions) if row["label"] == 1 and row["perturbation"] == "jpeg"]
    assert result["perturbations"][0]["fake_acc"]["value"] == pytest.approx(np.mean(np.array(fakes) >= 0.6))
    assert result["computed_from"]["threshold"] == 0.6


def test_intervals_are_those_of_resampled_images(tmp_path):
    images = [
        (label, (REAL, -1.0), (FAKE if number < flips else REAL, -1.0)) for label, flips in ((0, 10), (1, 40)) for number in range(50)
    ]
    result = robustness.evaluate(table_of(tmp_path, images, [("flip", None)]), tmp_path, resamples=4000)
    one = result["perturbations"][0]
    rng = np.random.default_rng(5)
    real, fake = rng.binomial(50, 0.2, 20_000), rng.binomial(50, 0.8, 20_000)  # each label keeps its size
    for found, drawn in (
        (one["flip_rate"], (real + fake) / 100),
        (one["by_label"]["real"]["flip_rate"], real / 50),
        (result["overall"]["flips_any"], (real + fake) / 100),
    ):
        assert [found["low"], found["high"]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.011)
    assert values(one, "flip_rate", "opposite_rate", "inconclusive_rate") == [0.5, 0.5, 0]
    few = robustness.evaluate(tmp_path / "given.parquet", tmp_path, resamples=7)
    assert few["perturbations"][0]["flip_rate"] == few["overall"]["flips_any"] == few["overall"]["mean_flip_rate"]  # the same resamples


def test_one_resample_serves_all_perturbations(tmp_path):
    """Two perturbations of which exactly one flips each image: their mean is certain, though neither rate is."""
    images = [(n % 2, (REAL, -1.0), *((FAKE if (n % 4 < 2) == side else REAL, -1.0) for side in (True, False))) for n in range(40)]
    result = robustness.evaluate(table_of(tmp_path, images, [("jpeg", 90.0), ("jpeg", 80.0)]), tmp_path, resamples=50)
    assert result["perturbations"][0]["flip_rate"]["low"] < 0.45
    assert result["overall"]["mean_flip_rate"] == pytest.approx({"value": 0.5, "low": 0.5, "high": 0.5})


def test_an_image_that_failed_counts_in_no_resample(tmp_path):
    images = [(number % 2, (REAL, -1.0), (FAKE, 1.0) if number < 6 else None) for number in range(12)]
    result = robustness.evaluate(table_of(tmp_path, images, [("flip", None)]), tmp_path, resamples=50)
    assert result["perturbations"][0]["flip_rate"] == {"value": 1, "low": 1, "high": 1}


def test_one_label_alone_and_a_perturbation_that_always_fails(tmp_path):
    images = [(1, (FAKE, 1.0), (REAL, -1.0), None), (1, (FAKE, 1.0), (FAKE, 1.0), None)]
    result = robustness.evaluate(table_of(tmp_path, images, [("flip", None), ("resize", 2.0)]), tmp_path, resamples=10)
    flip, resize = result["perturbations"]
    assert flip["flip_rate"]["value"] == 0.5
    assert flip["auroc"] == flip["by_label"]["real"]["flip_rate"] == NOTHING
    assert all(resize[name] == NOTHING for name in (*robustness.ACCURACY, *robustness.CHANGE))
    assert (resize["images"], resize["failed"], result["overall"]["images"]) == (0, 2, 0)
    assert result["overall"]["flips_any"] == NOTHING
    assert result["overall"]["mean_flip_rate"]["value"] == 0.5
    robustness_plots.write(tmp_path, result)
    assert (tmp_path / "severity.png").exists()


def test_a_suite_run_whole_has_its_own_figures(data, tmp_path):
    suite = SUITES["everyday"]
    more = robustness.predict(Scripted(), data, tmp_path / "more", (*FEW, *(one for one in suite if one not in FEW)))
    result = robustness.evaluate(more, tmp_path / "more", resamples=30)
    alone = robustness.evaluate(robustness.predict(Scripted(), data, tmp_path / "alone", suite), tmp_path / "alone", resamples=30)
    assert list(result["by_suite"]) == ["everyday"]
    assert result["by_suite"]["everyday"]["flips_any"] == alone["overall"]["flips_any"]
    assert result["overall"]["mean_flip_rate"] != alone["overall"]["mean_flip_rate"]


def test_the_files_follow_from_the_predictions_alone(data, tmp_path):
    predictions = robustness.predict(Scripted(), data, tmp_path / "a", FEW)
    result = robustness.evaluate(predictions, tmp_path / "a", resamples=50)
    assert json.loads((tmp_path / "a" / "metrics.json").read_text()) == result
    again = robustness.evaluate(Path(shutil.copy(predictions, tmp_path / "copy.parquet")), tmp_path / "b", resamples=50)
    for name, figures in (("a", result), ("b", again)):
        robustness_plots.write(tmp_path / name, figures)
    for name in ("metrics.json", "metrics.csv", "severity.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert result["computed_from"]["predictions"]["perturbations"] == "jpeg 70, noise 5, flip"


def test_csv_holds_the_figures_of_the_json(tmp_path):
    result = robustness.evaluate(table_of(tmp_path, HAND_MADE, HAND_MADE_PERTURBATIONS), tmp_path, resamples=20)
    with (tmp_path / "metrics.csv").open(newline="") as stream:
        clean, *lines = csv.DictReader(stream)
    assert (clean["perturbation"], clean["severity"], clean["flip_rate"]) == ("none", "", "")
    assert [(line["perturbation"], line["severity"]) for line in lines] == [("jpeg", "90"), ("jpeg", "70"), ("flip", "")]
    for line, one in zip(lines, result["perturbations"], strict=True):
        assert (line["n_real"], line["n_fake"], line["failed"]) == tuple(str(one[name]) for name in ("n_real", "n_fake", "failed"))
        for name in (*robustness.ACCURACY, *robustness.CHANGE):
            for part, column in (("value", name), ("low", f"{name}_low"), ("high", f"{name}_high")):
                assert float(line[column]) == pytest.approx(one[name][part], abs=1e-6)


def test_the_plot_has_a_panel_a_kind(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, target, **_: drawn.append(self) or target.write_bytes(b"png"))
    result = robustness.evaluate(table_of(tmp_path, HAND_MADE, HAND_MADE_PERTURBATIONS), tmp_path, resamples=20)
    robustness_plots.write(tmp_path, result)
    jpeg, flip = drawn[0].axes[:2]
    assert [axes.get_title(loc="left") for axes in (jpeg, flip)] == ["jpeg", "flip"]
    assert [label.get_text() for label in jpeg.get_xticklabels()] == ["90", "70"]
    auroc, flips = (bars.lines[0].get_ydata() for bars in jpeg.containers)
    for number, one in enumerate(result["perturbations"][:2]):
        assert [auroc[number], flips[number]] == values(one, "auroc", "flip_rate")


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([(0, (REAL, -1.0), None)], "no labelled image has a score both as it is and under a perturbation"),
        ([(0, None, (REAL, -1.0))], "no labelled image has a score both as it is and under a perturbation"),
        ([(None, (REAL, -1.0), (REAL, -1.0))], "no labelled image"),
    ],
)
def test_predictions_that_cannot_be_judged_are_one_sentence(tmp_path, images, reason):
    with pytest.raises(DatasetError, match=reason) as raised:
        robustness.evaluate(table_of(tmp_path, images, [("flip", None)]), tmp_path)
    assert "given.parquet" in str(raised.value)
    assert not (tmp_path / "metrics.json").exists()


def test_predictions_of_evaluate_are_told_from_those_of_robustness(data, tmp_path):
    predictions = predict(SimpleEvaluation(), data, tmp_path)
    with pytest.raises(DatasetError, match="holds no predictions under perturbations: it lacks perturbation, severity"):
        robustness.evaluate(predictions, tmp_path)


def test_each_generator_has_its_curve(data, tmp_path):
    predictions = robustness.predict(Scripted(), data, tmp_path, FEW)
    result = robustness.evaluate(predictions, tmp_path, resamples=10)
    rows = rows_of(predictions)
    assert set(result["by_generator"]) == {row["generator"] for row in rows if row["label"]}
    for name, one in result["by_generator"].items():
        assert one["n_fake"] == sum(row["generator"] == name and row["perturbation"] == "none" for row in rows)
        for state, figure in zip(("none", "jpeg", "noise", "flip"), (one["clean"], *one["auroc"]), strict=True):
            chosen = [row for row in rows if row["perturbation"] == state and (row["label"] == 0 or row["generator"] == name)]
            expected = roc_auc_score([row["label"] for row in chosen], [row["score"] for row in chosen])
            assert figure["value"] == pytest.approx(expected)
    robustness_plots.write(tmp_path, result)
    assert Image.open(tmp_path / "generators.png").format == "PNG"


# --- comparison ---


def runs_of(data, tmp_path, count=2):
    """Runs of detectors that score at random: each is fooled by the digest in a way of its own."""

    class Other(Scripted):
        def __init__(self, number):
            super().__init__(fingerprint=str(number))
            self.number = number

        def detect_many(self, sources, batch_size):
            for verdict in super().detect_many(sources, batch_size):
                score = None if verdict.score is None else (verdict.score * (self.number + 1)) % 1
                yield verdict if score is None else Verdict(None, verdict.sha256, score, 8 * score - 4, Calibration().verdict(score))

    return [robustness.predict(Other(number), data, tmp_path / f"run{number}", FEW) for number in range(count)]


def test_runs_are_compared_in_pairs(data, tmp_path):
    files = runs_of(data, tmp_path)
    result = robustness.compare(files, tmp_path / "both", resamples=200)
    assert result == json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert list(result["detectors"]) == ["run0", "run1"]
    means = []
    for file, one in zip(files, result["detectors"].values(), strict=True):
        rows = rows_of(file)
        expected = {}
        for state in ("none", "jpeg", "noise", "flip"):
            chosen = [row for row in rows if row["perturbation"] == state]
            expected[state] = roc_auc_score([row["label"] for row in chosen], [row["score"] for row in chosen])
        assert one["clean"]["auroc"]["value"] == pytest.approx(expected.pop("none"))
        assert [each["auroc"]["value"] for each in one["perturbations"]] == [pytest.approx(value) for value in expected.values()]
        assert one["mean"]["auroc"]["value"] == pytest.approx(np.mean(list(expected.values())))
        assert one["changes"]["mean_flip_rate"] == robustness.evaluate(file, tmp_path, resamples=200)["overall"]["mean_flip_rate"]
        means.append(one["mean"]["auroc"]["value"])
    difference = result["differences"]["run1"]
    assert difference["mean"]["auroc"]["value"] == pytest.approx(means[1] - means[0])
    by_kind = [one["auroc"]["value"] for one in difference["by_kind"].values()]
    assert np.mean(by_kind) == pytest.approx(means[1] - means[0])  # one severity of each kind
    robustness_page.write_comparison(tmp_path / "both", result)
    robustness_plots.write_comparison(tmp_path / "both", result)
    assert "| run1 |" in (tmp_path / "both" / "comparison.md").read_text()
    assert {Image.open(tmp_path / "both" / f"{name}.png").format for name in ("auroc", "balanced_acc")} == {"PNG"}


def test_a_detector_compared_with_itself_differs_by_nothing(data, tmp_path):
    """The same resamples serve both, so that an unpaired interval would show."""
    first = runs_of(data, tmp_path, 1)[0]
    result = robustness.compare([first, shutil.copy(first, tmp_path / "copy.parquet")], tmp_path / "out", names=("a", "b"), resamples=50)
    assert result["differences"]["b"]["mean"]["auroc"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert result["detectors"]["a"]["mean"]["auroc"]["low"] < result["detectors"]["a"]["mean"]["auroc"]["high"]


def test_only_images_that_all_scored_everywhere_count(data, tmp_path):
    files = runs_of(data, tmp_path)
    table = pq.read_table(files[1]).to_pylist()
    broken = next(row for row in table if row["perturbation"] == "noise")
    broken |= {"score": None, "logit": None, "verdict": None, "error": "no"}
    pq.write_table(pa.Table.from_pylist(table, pq.read_schema(files[1])), files[1])
    result = robustness.compare(files, tmp_path / "out", resamples=5)
    assert result["computed_from"]["images"] == len(data) - 1


def test_runs_that_cannot_be_compared_are_one_sentence(data, tmp_path):
    files = runs_of(data, tmp_path)
    with pytest.raises(DatasetError, match="at least two"):
        robustness.compare(files[:1], tmp_path / "out")
    with pytest.raises(DatasetError, match="no detector 'x'"):
        robustness.compare(files, tmp_path / "out", baseline="x")
    table = pq.read_table(files[1])
    for column, value, said in (("label", 2, "contradict"), ("path", "other", "no scored image"), ("perturbation", "none", "no perturb")):
        changed = [row | {column: 1 - row["label"] if column == "label" else value} for row in table.to_pylist()]
        pq.write_table(pa.Table.from_pylist(changed, table.schema), files[1])
        with pytest.raises(DatasetError, match=said):
            robustness.compare(files, tmp_path / "out")


# --- command line ---


def test_the_command_compares_finished_runs(run, data, tmp_path):
    runs_of(data, tmp_path)
    options = ("--compare", tmp_path / "run0", tmp_path / "run1", "--out", tmp_path / "out", "--resamples", 20)
    code, out, _ = run("robustness", *options, "--baseline", "run1")
    assert code == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"comparison.json", "comparison.md", "auroc.png", "balanced_acc.png"}
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    lines = out.splitlines()
    assert lines[1].split()[0] == "run0"
    assert f"{result['differences']['run0']['mean']['auroc']['value']:+.3f}" in lines[1]
    assert "baseline" in lines[2]
    code, _, err = run("robustness", "--compare", tmp_path / "none", tmp_path / "run1", "--out", tmp_path / "out")
    assert (code, "is no predictions file" in err) == (2, True)


def test_the_command_shows_the_figures_of_the_json(run, tiny_model, corpus, tmp_path):
    arguments = ("robustness", "--model", tiny_model, "--data", corpus, "--out", tmp_path, "--limit", 5, "--resamples", 20)
    code, out, err = run(*arguments)
    assert code == 0
    assert "split 'test': 12 of 44 images" in err
    assert len(rows_of(tmp_path / "predictions.parquet")) == 4 * 7
    result = json.loads((tmp_path / "metrics.json").read_text())
    assert list(result["by_suite"]) == ["everyday"]
    lines = [line.rstrip() for line in out.splitlines()]
    names = [str(one) for one in SUITES["everyday"]]
    assert [line.split("  ")[0] for line in lines] == ["perturbation", "none", *names, "mean of these", "any of these"]
    assert f"{result['perturbations'][2]['auroc']['value']:.3f}" in lines[4]
    assert f"{result['overall']['flips_any']['value']:.3f}" in lines[-1]
    assert Image.open(tmp_path / "severity.png").format == "PNG"
    before = (tmp_path / "predictions.parquet").stat().st_mtime_ns
    assert run(*arguments)[:2] == (0, out)
    assert (tmp_path / "predictions.parquet").stat().st_mtime_ns == before


def test_an_image_that_fails_is_named_once_and_ends_with_1(run, detector, tmp_path, monkeypatch):
    monkeypatch.setattr(Detector, "from_pretrained", lambda *_, **__: Scripted())
    rng = np.random.default_rng(0)
    for label in ("real", "fake"):
        (tmp_path / "data" / label).mkdir(parents=True)
        Image.fromarray(textured(rng, label == "fake", 64)).save(tmp_path / "data" / label / "0.png")
    (tmp_path / "data" / "fake" / "1.png").write_bytes(b"not a picture")
    code, out, err = run("robustness", "--model", "m", "--data", tmp_path / "data", "--out", tmp_path / "out", "--resamples", 5)
    assert code == 1
    assert err.count("not scored: fake/1.png: is none of") == 1
    assert "mean of these" in out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--suite", "all"), "unknown suite 'all': expected one of everyday, stability, full"),
        (("--limit", "0"), "--limit"),
        (("--split", "nonsense"), "the data has no split 'nonsense': it has test, train, val"),
        (("--nonsense",), "--nonsense"),
        (("--compare",), "leave out --model, --data, --split and --limit"),
        (("--baseline", "a"), "--baseline goes with --compare only"),
    ],
)
def test_wrong_usage_ends_with_2(run, corpus, tmp_path, monkeypatch, options, named):
    monkeypatch.setattr(Detector, "from_pretrained", None)
    code, out, err = run("robustness", "--model", "m", "--data", corpus, "--out", tmp_path / "out", *options)
    assert (code, out) == (2, "")
    assert named in err
    assert not (tmp_path / "out").exists()


def test_predictions_under_perturbations_are_not_pooled(data, tmp_path, run):
    """Each image stands many times in them: pooled figures would have intervals that are far too narrow."""
    predictions = robustness.predict(Scripted(), data, tmp_path / "robust", (Perturbation("flip"),))
    for judged in (
        lambda: evaluate.evaluate(predictions, tmp_path / "out"),
        lambda: protocol.evaluate(registry.benchmark("corpus"), predictions, tmp_path / "out"),
    ):
        with pytest.raises(DatasetError, match=r"predictions\.parquet holds predictions under perturbations, each image many times"):
            judged()
    code, _, said = run("evaluate", "--predictions", predictions, "--out", tmp_path / "out")
    assert code == 2
    assert "under perturbations" in said
    assert not (tmp_path / "out").exists()
