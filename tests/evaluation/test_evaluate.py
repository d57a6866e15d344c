"""Predictions survive a kill, metrics follow from them alone, and `metrics.json` is what the contract says."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from dgsnet import Verdict
from dgsnet.artifacts.calibration import Calibration
from dgsnet.core.errors import DatasetError
from dgsnet.core.files import sha256_bytes
from dgsnet.data.dataset import load_dataset
from dgsnet.evaluation import evaluate
from dgsnet.evaluation.predictions import PREDICTION_SCHEMA, PREDICTIONS, predict, recorded_threshold
from dgsnet.images import perturb
from dgsnet.images.decode import FORMATS, decode
from tests.support.fakes import Fake

METRICS = ("auroc", "ap", "acc", "real_acc", "fake_acc", "balanced_acc", "tpr_at_fpr_1", "tpr_at_fpr_5", "ece")
PARTIAL = ".predictions.partial.jsonl"


class Killed(BaseException):
    """Nothing in the package catches this."""


class Scripted(Fake):
    """Stands in for a detector: scores an image by its hash, notes which it saw, and can die before image number `dies_at`."""

    def __init__(self, fingerprint="f", dies_at=None):
        self.fingerprint, self.dies_at, self.seen = fingerprint, dies_at, []
        self.config = SimpleNamespace(calibration=Calibration(generated=0.6, real=0.6))

    def detect_many(self, sources):
        for number, source in enumerate(sources):
            if number == self.dies_at:
                raise Killed
            digest = sha256_bytes(source.read(-1))
            self.seen.append(digest)
            yield Verdict(source.name, digest, int(digest[:8], 16) / 16**8, 0.0, model="scripted")


@pytest.fixture
def data(corpus):
    return load_dataset(corpus).with_split("test")


@pytest.fixture(scope="module")
def predictions(corpus, detector, tmp_path_factory):
    """Of the real, tiny model on the test split."""
    return predict(detector, load_dataset(corpus).with_split("test"), tmp_path_factory.mktemp("predictions"))


def rows_of(predictions):
    return pq.read_table(predictions).to_pylist()


def file_of(tmp_path, rows):
    target = tmp_path / "given.parquet"
    pq.write_table(pa.Table.from_pylist(rows), target)
    return target


def row(label, score, generator="", **more):
    return {"label": label, "score": score, "generator": generator, "path": "x.png", "error": None, **more}


def test_predictions_are_rows_of_detect_with_what_is_known(predictions, data, detector):
    rows = rows_of(predictions)
    assert [one["path"] for one in rows] == [sample.path for sample in data]
    assert pq.read_schema(predictions).equals(PREDICTION_SCHEMA)
    for one, sample in zip(rows, data, strict=True):
        expected = detector.detect(data.root / sample.path).as_dict() | {"path": sample.path}
        facts = {name: getattr(sample, name) for name in ("label", "split", "source", "generator", "group")}
        assert one == facts | expected
    assert sorted(path.name for path in predictions.parent.iterdir()) == [PREDICTIONS]


def test_metrics_json_is_the_contracts(predictions, tmp_path):
    result = evaluate.evaluate(predictions, tmp_path, resamples=100)
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert list(result["by_generator"]) == ["decoder0", "decoder1"]
    for report in (result["overall"], *result["by_generator"].values()):
        assert set(report) == {*METRICS, "n_real", "n_fake"}
        for name in METRICS:
            assert set(report[name]) == {"value", "low", "high"}
            assert 0 <= report[name]["low"] <= report[name]["high"] <= 1
    assert (result["overall"]["n_real"], result["overall"]["n_fake"]) == (6, 6)
    assert all((report["n_real"], report["n_fake"]) == (6, 3) for report in result["by_generator"].values())
    assert set(result["mean_over_generators"]) == set(METRICS)


def test_a_generator_is_pooled_with_all_photographs(predictions, tmp_path):
    result = evaluate.evaluate(predictions, tmp_path, resamples=10)
    rows = rows_of(predictions)
    for name, report in result["by_generator"].items():
        pool = [one for one in rows if one["label"] == 0 or one["generator"] == name]
        labels, scores = [one["label"] for one in pool], [one["score"] for one in pool]
        assert report["auroc"]["value"] == pytest.approx(roc_auc_score(labels, scores))
        assert report["ap"]["value"] == pytest.approx(average_precision_score(labels, scores))
        assert report["acc"]["value"] == pytest.approx(
            np.mean([(score >= 0.5) == label for label, score in zip(labels, scores, strict=True)])
        )
    aurocs = [report["auroc"]["value"] for report in result["by_generator"].values()]
    assert result["mean_over_generators"]["auroc"]["value"] == pytest.approx(np.mean(aurocs))


def test_metrics_follow_from_the_predictions_alone(predictions, tmp_path):
    first = evaluate.evaluate(predictions, tmp_path / "a", resamples=50)
    copied = shutil.copy(predictions, tmp_path / "copy.parquet")
    assert evaluate.evaluate(copied, tmp_path / "b", resamples=50) == first
    for name in ("metrics.json", "metrics.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_csv_holds_the_figures_of_the_json(predictions, tmp_path):
    result = evaluate.evaluate(predictions, tmp_path, resamples=50)
    with (tmp_path / "metrics.csv").open(newline="") as stream:
        lines = {line["generator"]: line for line in csv.DictReader(stream)}
    assert list(lines) == ["overall", "decoder0", "decoder1"]
    for name, report in {"overall": result["overall"], **result["by_generator"]}.items():
        assert lines[name]["n_fake"] == str(report["n_fake"])
        for metric in METRICS:
            for part, column in (("value", metric), ("low", f"{metric}_low"), ("high", f"{metric}_high")):
                assert float(lines[name][column]) == pytest.approx(report[metric][part], abs=1e-6)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_null_where_both_are_needed(tmp_path, label):
    predictions = file_of(tmp_path, [row(label, 0.2, "g" * label), row(label, 0.9, "g" * label)])
    result = evaluate.evaluate(predictions, tmp_path, resamples=10)
    defined = {"acc", "ece", "fake_acc" if label else "real_acc"}
    for name in METRICS:
        assert (result["overall"][name]["value"] is not None) == (name in defined), name
        assert (result["overall"][name]["low"] is None) == (result["overall"][name]["value"] is None)
    assert list(result["by_generator"]) == ["g"] * label
    overall = (tmp_path / "metrics.csv").read_text().splitlines()[1].split(",")
    assert overall[:6] == ["overall", str(2 - 2 * label), str(2 * label), "", "", ""]


def test_group_names_another_column(tmp_path):
    rows = [row(0, 0.1, source="camera"), row(1, 0.8, "a", source="web"), row(1, 0.7, "b", source="web"), row(1, 0.6, "c", source=None)]
    result = evaluate.evaluate(file_of(tmp_path, rows), tmp_path, group="source", resamples=10)
    assert {name: report["n_fake"] for name, report in result["by_generator"].items()} == {"unknown": 1, "web": 2}
    assert result["computed_from"]["group"] == "source"
    with pytest.raises(DatasetError, match="no column 'maker' to group by: it has label, score"):
        evaluate.evaluate(file_of(tmp_path, rows), tmp_path, group="maker")


def test_images_of_a_group_are_drawn_together(tmp_path, run):
    """Each image stands there five times under one group; one has no group and stands alone."""
    rng = np.random.default_rng(0)
    labels, scores = np.repeat([0, 1], 20), np.clip(rng.normal(0.5, 0.2, 40) + np.repeat([-0.1, 0.1], 20), 0, 1)
    rows = {"label": np.repeat(labels, 5), "score": np.repeat(scores, 5), "generator": ["g"] * 200, "verdict": ["real"] * 200}
    rows |= {"path": [str(number) for number in range(200)], "group": [None, *(str(number // 5) for number in range(1, 200))]}
    pq.write_table(pa.table(rows), tmp_path / "given.parquet")
    apart, together = (
        evaluate.evaluate(tmp_path / "given.parquet", tmp_path / str(cluster), resamples=300, cluster=cluster)
        for cluster in (None, "group")
    )
    widths = [one["overall"]["auroc"]["high"] - one["overall"]["auroc"]["low"] for one in (apart, together)]
    assert apart["overall"]["auroc"]["value"] == together["overall"]["auroc"]["value"]
    assert widths[1] > 1.8 * widths[0]
    assert together["computed_from"]["bootstrap"].endswith("images of one group together")
    code, _, err = run("evaluate", "--predictions", tmp_path / "given.parquet", "--out", tmp_path / "x", "--cluster", "film")
    assert (code, "no column 'film' to draw together by" in err) == (2, True)


def test_a_generator_may_be_called_overall(tmp_path):
    evaluate.evaluate(file_of(tmp_path, [row(0, 0.1), row(1, 0.8, "overall"), row(1, 0.8, "x")]), tmp_path, resamples=10)
    assert [line.split(",")[:3] for line in (tmp_path / "metrics.csv").read_text().splitlines()[1:]] == [
        ["overall", "1", "2"],
        ["overall", "1", "1"],
        ["x", "1", "1"],
    ]


def test_the_threshold_is_the_models(data, tmp_path):
    predictions = predict(Scripted(), data, tmp_path)
    assert recorded_threshold(predictions) == 0.6
    result = evaluate.evaluate(predictions, tmp_path, threshold=0.6, resamples=10)
    fakes = [one["score"] for one in rows_of(predictions) if one["label"] == 1]
    assert result["overall"]["fake_acc"]["value"] == pytest.approx(np.mean(np.array(fakes) >= 0.6))
    assert recorded_threshold(file_of(tmp_path, [row(0, 0.1)])) == 0.5


@pytest.mark.parametrize("dies_at", [0, 1, 7, 12])
def test_a_killed_run_goes_on_and_scores_nothing_twice(data, tmp_path, dies_at):
    whole = predict(Scripted(), data, tmp_path / "whole")
    dying, going_on = Scripted(dies_at=dies_at), Scripted()
    if dies_at < len(data):
        with pytest.raises(Killed):
            predict(dying, data, tmp_path / "killed")
        assert not (tmp_path / "killed" / PREDICTIONS).exists()
        with (tmp_path / "killed" / PARTIAL).open("a") as stream:
            stream.write('{"label": 0, "pa')  # a line that a kill cut
    resumed = predict(going_on, data, tmp_path / "killed")
    assert resumed.read_bytes() == whole.read_bytes()
    assert [len(dying.seen), len(going_on.seen)] == [dies_at % len(data), len(data) - dies_at % len(data)]
    assert dying.seen + going_on.seen == [one["sha256"] for one in rows_of(whole)]
    assert predict(Scripted(dies_at=0), data, tmp_path / "killed") == resumed  # finished: nothing is scored


def test_a_killed_process_keeps_every_row_it_scored(corpus, data, tmp_path):
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[3]); from tests.evaluation.test_evaluate import *\n"
        "class Dying(Scripted):\n"
        "    def detect_many(self, sources):\n"
        "        for number, verdict in enumerate(super().detect_many(sources)):\n"
        "            os._exit(9) if number == 5 else None\n"
        "            yield verdict\n"
        "predict(Dying(), load_dataset(sys.argv[1]).with_split('test'), Path(sys.argv[2]))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, str(corpus), str(tmp_path / "out"), str(Path(__file__).parents[2])]
    assert subprocess.run(command, env=environment, check=False, timeout=120).returncode == 9
    going_on = Scripted()
    resumed = predict(going_on, data, tmp_path / "out")
    assert len(going_on.seen) == len(data) - 5
    assert resumed.read_bytes() == predict(Scripted(), data, tmp_path / "whole").read_bytes()


def test_predictions_of_another_model_or_data_are_refused(corpus, data, tmp_path):
    predict(Scripted(), data, tmp_path / "done")
    with pytest.raises(Killed):
        predict(Scripted(dies_at=3), data, tmp_path / "begun")
    begun = (tmp_path / "begun" / PARTIAL).read_bytes()
    for folder in (tmp_path / "done", tmp_path / "begun"):
        with pytest.raises(DatasetError, match="another model, other data, another journey or another version: choose another folder"):
            predict(Scripted(fingerprint="g"), data, folder)
        with pytest.raises(DatasetError, match="another model, other data, another journey or another version: choose another folder"):
            predict(Scripted(), load_dataset(corpus), folder)
    assert (tmp_path / "begun" / PARTIAL).read_bytes() == begun


@pytest.mark.parametrize("name", [PARTIAL, PREDICTIONS])
def test_a_damaged_file_is_named(data, tmp_path, name):
    (tmp_path / name).write_text("nonsense\n")
    with pytest.raises(DatasetError, match=name):
        predict(Scripted(), data, tmp_path)


def test_images_that_cannot_be_scored_are_rows(corpus, detector, tmp_path):
    root = shutil.copytree(corpus / "test", tmp_path / "data")
    (root / "real" / "1.png").write_bytes(b"not a picture")
    dataset = load_dataset(root)
    (root / "fake" / "2.png").unlink()
    predictions = predict(detector, dataset, tmp_path)
    failed = {one["path"]: one["error"] for one in rows_of(predictions) if one["error"]}
    assert failed == {
        "fake/2.png": "fake/2.png: cannot be read; restore it or leave it out",
        "real/1.png": f"real/1.png: is none of {', '.join(FORMATS)}; convert it to PNG or leave it out",
    }
    result = evaluate.evaluate(predictions, tmp_path, resamples=10)
    assert (result["overall"]["n_real"], result["overall"]["n_fake"]) == (5, 5)
    assert (result["computed_from"]["images"], result["computed_from"]["failed"]) == (12, 2)
    (root / "fake" / "3.png").unlink()
    with pytest.raises(DatasetError, match="other data"):
        predict(detector, load_dataset(root), tmp_path)


def test_a_file_name_that_is_no_utf8_reaches_the_predictions(corpus, tmp_path):
    for label in ("real", "fake"):
        (tmp_path / "data" / label).mkdir(parents=True)
        shutil.copy(corpus / "test" / label / "0.png", tmp_path / "data" / label / "odd\udcff.png")
    predictions = predict(Scripted(), load_dataset(tmp_path / "data"), tmp_path / "out")
    assert [one["path"] for one in rows_of(predictions)] == [r"fake/odd\udcff.png", r"real/odd\udcff.png"]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{"label": 1}], "lacks score"),
        ([row(None, 0.5)], "no image with both a score and a label"),
        ([row(0, None), row(1, None)], "no image with both a score and a label"),
        ([row(0, 1.5)], "expected scores in 0..1 but got 1.5"),
    ],
)
def test_predictions_that_cannot_be_judged_are_one_sentence(tmp_path, rows, reason):
    with pytest.raises(DatasetError, match=reason) as raised:
        evaluate.evaluate(file_of(tmp_path, rows), tmp_path)
    assert "given.parquet" in str(raised.value)
    assert not (tmp_path / "metrics.json").exists()


def test_a_journey_is_taken_by_every_image_and_its_rows_are_of_what_arrived(run, corpus, data, detector, tiny_model, tmp_path):
    options = ("evaluate", "--model", tiny_model, "--data", corpus, "--resamples", 10)
    code, _, err = run(*options, "--journey", "share", "--out", tmp_path / "out")
    assert code == 0, err
    rows = pq.read_table(tmp_path / "out" / PREDICTIONS).to_pylist()
    assert [row["path"] for row in rows] == [sample.path for sample in data]
    for row, sample in zip(rows, data, strict=True):
        image = decode(data.read(sample))
        arrived = perturb.journey("share").apply(image.pixels, image.sha256)
        assert isinstance(arrived, bytes)
        assert (row["sha256"], row["logit"]) == (sha256_bytes(arrived), detector.detect(arrived).logit)
        assert row["format"] in {"JPEG", "WEBP"}
    code, _, err = run(*options, "--out", tmp_path / "out")  # as they are: another identity
    assert (code, "another journey" in err) == (2, True), err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--journey", "teleport"), "unknown journey 'teleport'"),
        (("--journey", "share", "--heatmaps", "2"), "--heatmaps are of the images as they are"),
    ],
)
def test_a_journey_that_cannot_be_taken_is_one_sentence(run, corpus, tiny_model, tmp_path, options, reason):
    code, _, err = run("evaluate", "--model", tiny_model, "--data", corpus, "--out", tmp_path / "out", *options)
    assert (code, reason in err) == (2, True), err
