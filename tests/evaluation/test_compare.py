"""Detectors side by side: the figures are those of `dgsnet.evaluation.metrics`, drops are said, and the order is as sure as it looks."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dgsnet.core.errors import DatasetError
from dgsnet.evaluation import bootstrap, metrics
from dgsnet.evaluation.compare import RANKED, compare, short_names
from dgsnet.evaluation.interval import Interval
from dgsnet.evaluation.metrics import METRICS
from dgsnet.reports import comparison_page, tables

COUNT = 90
LABELS = np.repeat([0, 1], [40, 50])
GENERATORS = np.array([""] * 40 + ["adm"] * 20 + ["sd_xl & co"] * 30)
SOURCES = np.array(["coco"] * 25 + ["raise"] * 15 + ["adm"] * 20 + ["sd_xl & co"] * 30)
ZERO = {"value": 0.0, "low": 0.0, "high": 0.0}


def scores(seed: int, shift: float) -> np.ndarray:
    """Rounded, so with ties."""
    return np.round(1 / (1 + np.exp(-(np.random.default_rng(seed).normal(size=COUNT) + shift * (LABELS - 0.5)))), 2)


def rows(values: np.ndarray, **more: Any) -> list[dict[str, Any]]:
    facts = zip(LABELS.tolist(), GENERATORS.tolist(), SOURCES.tolist(), values.tolist(), strict=True)
    return [
        {"path": f"{at}.png", "sha256": f"{at:064x}", "label": label, "generator": generator, "source": source, "score": score} | more
        for at, (label, generator, source, score) in enumerate(facts)
    ]


def write(folder: Path, content: list[dict[str, Any]], threshold: float = 0.5) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    schema = {"dgsnet": json.dumps({"model": folder.name, "threshold": str(threshold)})}
    pq.write_table(pa.Table.from_pylist(content).replace_schema_metadata(schema), folder / "predictions.parquet")
    return folder / "predictions.parquet"


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    return [
        write(tmp_path / name, rows(scores(seed, shift))) for name, seed, shift in (("weak", 1, 0.5), ("good", 2, 3.0), ("fair_1", 3, 1.5))
    ]


def test_identical_predictions_do_not_differ_and_share_their_ranks(tmp_path: Path) -> None:
    files = [write(tmp_path / name, rows(scores(1, 1.0))) for name in "ab"]
    result = compare(files, tmp_path / "out", resamples=40)
    difference = result["differences"]["b"]
    for part in (difference["overall"], difference["mean_over_generators"], *difference["by_generator"].values()):
        assert part == dict.fromkeys(METRICS, ZERO)
    for ranked in result["ranking"].values():
        assert [one["shares"] for one in ranked] == [[0.5, 0.5], [0.5, 0.5]]
        assert [one["expected_rank"] for one in ranked] == [1.5, 1.5]


def test_figures_and_intervals_are_those_of_the_metrics(three: list[Path], tmp_path: Path) -> None:
    result = compare(three, tmp_path / "out", resamples=50)
    own = {name: scores(seed, shift) for name, seed, shift in (("weak", 1, 0.5), ("good", 2, 3.0), ("fair_1", 3, 1.5))}
    assert list(result["detectors"]) == list(own)

    def dicts(estimates: dict[str, Interval]) -> dict[str, Any]:
        return {name: vars(one) for name, one in estimates.items()}

    names = [name or "unknown" for name in GENERATORS]
    for name, values in own.items():
        assert result["detectors"][name]["overall"] == metrics.estimate(LABELS, values, resamples=50).as_dict()
        assert result["detectors"][name]["mean_over_generators"] == dicts(metrics.macro_average(LABELS, values, names, resamples=50))
        for generator, report in metrics.by_generator(LABELS, values, names, resamples=50).items():
            assert result["by_generator"][generator][name] == report.as_dict()
    for name in ("good", "fair_1"):
        found = result["differences"][name]
        assert found["overall"] == dicts(metrics.paired_difference(LABELS, own[name], own["weak"], resamples=50))
        expected = metrics.paired_macro_difference(LABELS, own[name], own["weak"], names, resamples=50)
        assert found["mean_over_generators"] == dicts(expected)
        kept = (LABELS == 0) | (GENERATORS == "adm")
        assert found["by_generator"]["adm"] == dicts(
            metrics.paired_difference(LABELS[kept], own[name][kept], own["weak"][kept], resamples=50)
        )
        assert set(found["by_source"]) == {"coco", "raise"}  # those of one generator alone are among the generators
        kept = SOURCES == "raise"
        assert found["by_source"]["raise"] == dicts(
            metrics.paired_difference(LABELS[kept], own[name][kept], own["weak"][kept], resamples=50)
        )
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == result


def test_the_better_model_is_ranked_first(three: list[Path], tmp_path: Path) -> None:
    result = compare(three, tmp_path / "out", resamples=100)
    for ranked in result["ranking"].values():
        assert [one["detector"] for one in ranked] == ["good", "fair_1", "weak"]
        assert ranked[0]["shares"][0] > 0.99
        assert all(sum(one["shares"]) == pytest.approx(1) for one in ranked)
    assert result["differences"]["good"]["overall"]["auroc"]["low"] > 0
    turned = compare(three, tmp_path / "turned", baseline="good", resamples=100)
    assert set(turned["differences"]) == {"weak", "fair_1"}
    assert turned["differences"]["weak"]["overall"]["auroc"]["value"] == -result["differences"]["good"]["overall"]["auroc"]["value"]


def test_what_only_some_scored_is_dropped_and_counted(tmp_path: Path) -> None:
    first, second = rows(scores(1, 1.0)), rows(scores(2, 2.0))
    second[0]["score"] = None
    second = [one | {"path": f"elsewhere/{one['path']}"} for one in second][:-3][::-1]  # other paths, another order, three missing
    files = [write(tmp_path / "a", first), write(tmp_path / "b", second)]
    result = compare(files, tmp_path / "out", resamples=20)
    assert result["computed_from"]["images"] == COUNT - 4
    assert result["computed_from"]["joined_by"] == "sha256"
    assert [(one["dropped"], one["unscored"]) for one in result["detectors"].values()] == [(4, 0), (0, 1)]
    text = comparison_page.as_markdown(result)
    assert "86 images that all scored, joined by sha256. Dropped: a: 4 that another lacks; b: 1 without score or label." in text
    kept = slice(1, COUNT - 3)
    assert result["detectors"]["b"]["overall"] == metrics.estimate(LABELS[kept], scores(2, 2.0)[kept], resamples=20).as_dict()


def test_paths_join_where_hashes_are_missing_and_repeated_bytes_stay_apart(tmp_path: Path) -> None:
    bare = [{key: value for key, value in one.items() if key != "sha256"} for one in rows(scores(1, 1.0))]
    files = [write(tmp_path / "a", bare), write(tmp_path / "b", rows(scores(2, 2.0)))]
    result = compare(files, tmp_path / "out", resamples=5)
    assert (result["computed_from"]["images"], result["computed_from"]["joined_by"]) == (COUNT, "path")
    twice = [*rows(scores(1, 1.0)), rows(scores(1, 1.0))[5] | {"path": "copy.png"}]
    files = [write(tmp_path / "c", twice), write(tmp_path / "d", twice)]
    assert compare(files, tmp_path / "out", resamples=5)["computed_from"]["images"] == COUNT + 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one | {"sha256": f"x{one['sha256']}"}, "have no scored image in common"),
        (lambda one: one | {"label": 1 - one["label"]}, "contradict each other on the label of 000"),
        (lambda one: one | {"perturbation": "jpeg"}, "holds predictions under perturbations"),
        (lambda one: {"label": one["label"], "score": one["score"]}, "has neither sha256 nor path"),
        (lambda one: one | {"score": 2.0}, "expected scores in 0..1 but got 2.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], said: str) -> None:
    files = [write(tmp_path / "a", rows(scores(1, 1.0))), write(tmp_path / "b", [change(one) for one in rows(scores(2, 1.0))])]
    with pytest.raises(DatasetError, match=said):
        compare(files, tmp_path / "out", resamples=5)
    assert not (tmp_path / "out").exists()


def test_one_file_or_an_unknown_baseline_is_refused(three: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="at least two"):
        compare(three[:1], tmp_path)
    with pytest.raises(DatasetError, match="no detector 'best' to compare with: there are weak, good, fair_1"):
        compare(three, tmp_path, baseline="best")


def test_different_thresholds_are_replaced_and_said(tmp_path: Path) -> None:
    files = [write(tmp_path / name, rows(scores(1, 1.0)), threshold) for name, threshold in (("a", 0.3), ("b", 0.3), ("c", 0.7))]
    assert compare(files[:2], tmp_path / "out", resamples=5)["computed_from"]["threshold"] == 0.3
    result = compare(files, tmp_path / "out", resamples=5)
    assert result["computed_from"]["threshold"] == 0.5
    assert [one["threshold"] for one in result["detectors"].values()] == [0.3, 0.3, 0.7]
    assert "0.5 was used for all" in comparison_page.as_markdown(result)


def test_photographs_alone_have_no_ranking(tmp_path: Path) -> None:
    files = [write(tmp_path / name, rows(scores(seed, 1.0))[:40]) for seed, name in enumerate("ab")]
    result = compare(files, tmp_path / "out", resamples=5)
    assert result["ranking"] == dict.fromkeys(RANKED)
    assert result["differences"]["b"]["overall"]["real_acc"]["value"] is not None
    assert latex_cells(comparison_page.as_latex(result))


def test_csv_holds_the_figures_of_the_json(three: list[Path], tmp_path: Path) -> None:
    result = compare(three, tmp_path / "out", resamples=10)
    with (tmp_path / "out" / "comparison.csv").open(newline="") as stream:
        lines = {(one["detector"], one["part"], one["name"], one["metric"]): one for one in csv.DictReader(stream)}
    assert len(lines) == (3 * (2 + 2) + 2 * 2) * len(METRICS)
    one = lines["good", "generator", "adm", "auroc"]
    assert float(one["high"]) == pytest.approx(result["by_generator"]["adm"]["good"]["auroc"]["high"], abs=1e-6)
    assert float(one["difference_low"]) == pytest.approx(result["differences"]["good"]["by_generator"]["adm"]["auroc"]["low"], abs=1e-6)
    assert lines["weak", "overall", "", "acc"]["difference"] == ""


# --- LaTeX and Markdown ---


def latex_cells(text: str) -> list[list[str]]:
    """Cells of the tables of a LaTeX text, refused where an environment, a brace or a special character is left open."""
    assert (
        re.findall(r"\\begin\{(\w+)\}", text).count("table")
        == text.count("\\toprule")
        == text.count("\\bottomrule")
        == text.count("\\midrule")
    )
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    cells = []
    for columns, body in re.findall(r"\\begin\{tabular\}\{(l r*|lr*)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL):
        lines = [line for line in body.splitlines() if not re.fullmatch(r"\\(top|mid|bottom)rule", line)]
        for line in lines:
            assert line.endswith(r" \\")
            row = re.split(r"(?<!\\) ?& ", line[:-3])
            assert len(row) == len(columns)
            cells.append(row)
    plain = re.sub(r"\\([&%$#_{}]|[A-Za-z]+)", "", re.sub(r"^%.*$", "", text, flags=re.MULTILINE))
    depth = 0
    for letter in plain:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    assert not set(re.sub(r" & |\{|\}|\\\\", "", plain)) & set("#$%^~_&")
    return cells


def test_latex_is_whole_and_escaped(tmp_path: Path) -> None:
    files = [write(tmp_path / name, rows(scores(seed, 1.0))) for seed, name in enumerate(("a_b%", "c&d{#1}", r"e\f~^$"))]
    comparison_page.write(tmp_path / "out", compare(files, tmp_path / "out", resamples=5))
    cells = latex_cells((tmp_path / "out" / "comparison.tex").read_text())
    assert {row[0] for row in cells} >= {
        r"a\_b\%",
        r"c\&d\{\#1\}",
        r"e\textbackslash{}f\textasciitilde{}\textasciicircum{}\$",
        r"sd\_xl \& co",
    }


def test_cells_of_markdown_keep_the_table_whole() -> None:
    assert tables.markdown(["a"], [["b|c\nd"]]) == "| a |\n| --- |\n| b\\|c d |\n"


# --- Names ---


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["x/lora/predictions.parquet", "x/dgs"], ["lora", "dgs"]),
        (["x/lora/test/predictions.parquet", "x/dgs/test"], ["lora/test", "dgs/test"]),
        (["x/one.parquet", "x/two.parquet"], ["one", "two"]),
        (["x/lora", "x/lora/predictions.parquet"], ["lora (1)", "lora (2)"]),
        (["x/v1.5", "x/v1.4"], ["v1.5", "v1.4"]),
    ],
)
def test_names_tell_paths_apart(given: list[str], names: list[str]) -> None:
    assert short_names([Path(one) for one in given]) == names


# --- Resampling ---


def test_weightings_keep_the_size_of_each_stratum(monkeypatch: pytest.MonkeyPatch) -> None:
    strata = np.array([2, 0, 0, 2, 2, 7])
    whole = np.concatenate(list(bootstrap.weightings(strata, 31, seed=4)))
    assert whole.shape == (31, 6)
    for code in (0, 2, 7):
        assert (whole[:, strata == code].sum(axis=1) == (strata == code).sum()).all()
    assert (whole[:, strata == 2].std(axis=0) > 0).all()
    monkeypatch.setattr(bootstrap, "_CHUNK_CELLS", 12)
    assert np.array_equal(np.concatenate(list(bootstrap.weightings(strata, 31, seed=4))), whole)
    assert not np.array_equal(np.concatenate(list(bootstrap.weightings(strata, 31, seed=5))), whole)


def test_shared_photographs_are_drawn_once_for_all_parts() -> None:
    # Both parts have the same photographs and faultless fakes: the mean accuracy on photographs must be as unsure as that of one part.
    labels, values = np.array([0] * 30 + [1] * 2), np.concatenate([np.linspace(0.2, 0.8, 30), [0.9, 0.9]])
    strata = np.array([0] * 30 + [1, 2])
    parts = [np.r_[0:30, 30], np.r_[0:30, 31]]
    ((point, drawn),) = bootstrap.draws([metrics.mean_over_parts(labels, values, parts)], strata, 300)
    ((_, alone),) = bootstrap.draws([metrics.mean_over_parts(labels, values, parts[:1])], strata, 300)
    assert point["real_acc"] == 0.5
    assert np.allclose(drawn["real_acc"], alone["real_acc"])


def test_rank_shares_count_ranks_and_split_ties() -> None:
    shares = bootstrap.rank_shares([np.array([3.0, 1.0, 2.0, 2.0]), np.array([2.0, 2.0, 2.0, 1.0]), np.array([1.0, 3.0, 2.0, 1.0])])
    third = 1 / 3
    expected = np.array([[2 + third, third, 1 + third], [third, 2.5 + third, 0.5 + third], [1 + third, 0.5 + third, 1.5 + third]]) / 4
    assert shares == pytest.approx(expected)
    assert shares.sum(axis=0) == pytest.approx(1)
    assert shares.sum(axis=1) == pytest.approx(1)


# --- Command line ---


def test_the_command_compares_and_scores_models_first(
    run: Callable[..., tuple[int, str, str]], tiny_model: Path, corpus: Path, tmp_path: Path
) -> None:
    code, _, _ = run("evaluate", "--model", tiny_model, "--data", corpus, "--out", tmp_path / "done", "--resamples", 5)
    assert code == 0
    code, out, err = run(
        "evaluate", "--compare", tmp_path / "done", tiny_model, "--data", corpus, "--out", tmp_path / "out", "--resamples", 20
    )
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()] == ["detector", "done", "tiny"]
    assert {file.suffix for file in (tmp_path / "out").glob("comparison.*")} == {".json", ".csv", ".md", ".tex"}
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert result["differences"]["tiny"]["overall"] == dict.fromkeys(METRICS, ZERO)
