"""The pages of an evaluation and of a robustness run: whole, readable without a network, and harmless whatever names come in."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dgsnet.core.errors import DgsnetError
from dgsnet.core.format import figure, interval
from dgsnet.data.dataset import load_dataset
from dgsnet.evaluation import evaluate, robustness
from dgsnet.evaluation.predictions import predict
from dgsnet.images.perturb import Perturbation
from dgsnet.inference.detector import Detector
from dgsnet.reports import evaluation_page as page
from dgsnet.reports import robustness_page
from tests.support.html import Page

NASTY = '<script src="https://evil.example/x.js"></script>'


def table(file, labels, scores, **columns):
    rows = {"label": labels, "score": scores, "verdict": ["ai-generated" if score >= 0.5 else "real" for score in scores]}
    rows |= {"source": [f"s{label}" for label in labels], "generator": ["" if label == 0 else "g" for label in labels]}
    rows |= {"path": [f"{number}.png" for number in range(len(labels))], **columns}
    pq.write_table(pa.table(rows).replace_schema_metadata({"dgsnet": json.dumps({"model": "m" * 64, "data": "d" * 64})}), file)
    return file


def written(tmp_path, predictions, **given):
    result = evaluate.evaluate(predictions, tmp_path / "out", resamples=20)
    content = page.write(tmp_path / "out", result, predictions, **given).read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:|//)", content)
    return Page(content), content


@pytest.fixture(scope="module")
def some():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    return labels.tolist(), np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0, 1).tolist()


def test_the_page_has_the_figures_of_the_result(tmp_path, some):
    found, content = written(tmp_path, table(tmp_path / "p.parquet", *some))
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    for section in ("By generator", "Curves", "Is the score a probability?", "Verdicts by source", "Mistakes", "Settings"):
        assert section in found.text
    for figures in (result["overall"]["auroc"], result["overall"]["ece"], result["by_generator"]["g"]["auroc"]):
        assert f"{figures['value']:.3f}" in found.text
    wrong = sum((score >= 0.5) != bool(label) for label, score in zip(*some, strict=True))
    assert wrong == sum(int(n) for n in re.findall(r"(?:called generated|not found): (\d+)", found.text))
    assert "m" * 64 in found.text
    assert content.count("<svg") == 4
    assert content == page.write(tmp_path / "out", result, tmp_path / "p.parquet").read_text(encoding="utf-8")


def test_names_from_outside_are_text(tmp_path, some):
    labels, scores = some
    names = {"source": [NASTY] * 80, "generator": ["" if label == 0 else NASTY for label in labels], "path": [NASTY] * 80}
    found, content = written(tmp_path, table(tmp_path / "p.parquet", labels, scores, **names))
    assert "script" not in {tag for tag, _ in found.tags}
    assert "<script" not in content
    assert "evil.example" in found.text


def test_one_class_alone_has_a_page_without_curves(tmp_path):
    found, content = written(tmp_path, table(tmp_path / "p.parquet", [0] * 5, [0.1, 0.2, 0.9, 0.3, 0.4]))
    assert "Curves" not in found.text
    assert "<svg" not in content
    assert "Photographs called generated: 1" in found.text


def test_mistakes_are_shown_with_their_heatmaps(tmp_path, corpus, tiny_model):
    data, detector = load_dataset(corpus).with_split("test"), Detector.from_pretrained(tiny_model)
    predictions = predict(detector, data, tmp_path)
    rows = pq.read_table(predictions).to_pylist()
    wrong = [row for row in rows if (row["score"] >= 0.5) != bool(row["label"])]
    bare, shown, explained = (
        written(tmp_path / name, predictions, **given)[0].pictures()
        for name, given in (("a", {}), ("b", {"dataset": data}), ("c", {"dataset": data, "detector": detector}))
    )
    assert wrong
    assert (len(bare), len(shown), len(explained)) == (0, len(wrong), 2 * len(wrong))
    assert {picture.size for picture in shown} == {(256, 256)}


def test_heatmaps_are_budgeted_and_explained(tmp_path, corpus, tiny_model):
    data, detector = load_dataset(corpus).with_split("test"), Detector.from_pretrained(tiny_model)
    predictions = predict(detector, data, tmp_path)
    missed = sum(row["score"] < 0.5 for row in pq.read_table(predictions).to_pylist() if row["label"] == 1)
    accused = sum(row["score"] >= 0.5 for row in pq.read_table(predictions).to_pylist() if row["label"] == 0)
    for heatmaps in (0, 1):
        found, _ = written(tmp_path / str(heatmaps), predictions, dataset=data, detector=detector, heatmaps=heatmaps)
        shown = min(missed, page.MISTAKES) + min(accused, page.MISTAKES)
        assert len(found.pictures()) == shown + heatmaps * ((missed > 0) + (accused > 0))
        assert ("In a heatmap, colour marks" in found.text) == (heatmaps > 0)


def test_a_model_without_gradient_or_without_a_method_has_heatmaps_by_occlusion(tmp_path, corpus, tiny_model, monkeypatch):
    data, detector = load_dataset(corpus).with_split("test"), Detector.from_pretrained(tiny_model)
    predictions = predict(detector, data, tmp_path)
    plain = detector.method.predict
    monkeypatch.setattr(detector.method, "predict", torch.no_grad()(plain), raising=False)
    occluded, _ = written(tmp_path / "a", predictions, dataset=data, detector=detector, heatmaps=1)
    assert "In a heatmap, colour marks" in occluded.text

    def none(_):
        raise DgsnetError("an exported model has no method")

    monkeypatch.setattr(type(detector.runtime), "method", property(none))
    exported, _ = written(tmp_path / "b", predictions, dataset=data, detector=detector, heatmaps=1)
    assert "In a heatmap, colour marks" in exported.text
    assert "no method" not in exported.text
    assert len(exported.pictures()) == len(occluded.pictures())


def test_a_robustness_run_has_a_page(tmp_path, corpus, tiny_model):
    data, detector = load_dataset(corpus).with_split("test"), Detector.from_pretrained(tiny_model)
    predictions = robustness.predict(detector, data, tmp_path, (Perturbation("jpeg", 50), Perturbation("flip")))
    result = robustness.evaluate(predictions, tmp_path, resamples=20)
    content = robustness_page.write(tmp_path, result).read_text(encoding="utf-8")
    found = Page(content)
    for name, one in zip(("jpeg 50", "flip"), result["perturbations"], strict=True):
        row = (name, interval(one["auroc"]), figure(one["balanced_acc"]["value"]), interval(one["flip_rate"]))
        assert " ".join(row) in found.text
    assert content.count("<svg") == 2
    assert "Over severity, by generator" in found.text
    without = robustness_page.write(tmp_path, result | {"by_generator": {}}).read_text(encoding="utf-8")
    assert without.count("<svg") == 1
