"""Every benchmark's layout in miniature, its names in other spellings, and its protocol against plain arithmetic."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

from dgsnet.core.errors import DatasetError
from dgsnet.data.dataset import Dataset
from dgsnet.evaluation import metrics
from dgsnet.evaluation.benchmarks import layouts, names, protocol, published, registry
from dgsnet.evaluation.benchmarks.registry import Benchmark, Count
from dgsnet.evaluation.interval import Interval
from dgsnet.reports import benchmark_page


def picture(number: int) -> bytes:
    """An 8 x 8 picture, a different one for each number."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def tree(root: Path, *folders: str, images: int = 2) -> Path:
    """`images` pictures in each folder."""
    for folder in folders:
        for number in range(images):
            file = root / folder / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(number))
    return root


def pair(*folders: str, words: tuple[str, str] = ("0_real", "1_fake")) -> Iterator[str]:
    return (f"{folder}/{word}" for folder in folders for word in words)


def found(name: str, root: Path) -> layouts.Found:
    return layouts.read(registry.benchmark(name), root)


def kinds(dataset: Dataset) -> set[tuple[int | None, str, str]]:
    return {(sample.label, sample.generator, sample.source) for sample in dataset}


def scored(dataset: Dataset, out: Path, score: Callable[[int, int], float | None] | None = None) -> Path:
    """Predictions without a model: 0.2 for photographs and 0.8 for generated images, or by label and number."""
    rows = []
    for number, sample in enumerate(dataset):
        value = (0.2 + 0.6 * (sample.label or 0)) if score is None else score(sample.label or 0, number)
        facts = {"label": sample.label, "generator": sample.generator, "source": sample.source, "path": sample.path}
        rows.append(facts | {"score": value, "error": None if value is not None else f"{sample.path}: broken"})
    out.mkdir(parents=True, exist_ok=True)
    target = out / "predictions.parquet"
    pq.write_table(pa.Table.from_pylist(rows), target)
    return target


def judged(name: str, root: Path, out: Path, score: Callable[[int, int], float | None] | None = None) -> dict[str, Any]:
    here = found(name, root)
    return protocol.evaluate(registry.benchmark(name), scored(here.dataset, out, score), out, resamples=30, unmatched=here.unmatched)


# --- Names ---


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("ProGAN", "progan"),
        ("stable_diffusion_v_1_4", "sd14"),
        ("SD-v1.4", "sd14"),
        ("imagenet_ai_0419_sdv4", "sd14"),
        ("Stable Diffusion V1.5", "sd15"),
        ("imagenet_ai_0508_adm", "adm"),
        ("imagenet_midjourney", "midjourney"),
        ("Glide", "glide"),
        ("GLIDE_100_27", "glide_100_27"),
        ("glide_100ddpm_27ddim", "glide_100_27"),
        ("DALLE2", "dalle2"),
        ("DALL-E 3", "dalle3"),
        ("WFIR", "whichfaceisreal"),
        ("StyleGAN-XL", "stylegan_xl"),
        ("FLUX1-dev", "flux1_dev"),
        ("ImSwap", "inswap"),
        ("Some New/Model v2", "some_new_model_v2"),
        ("imagenet", "imagenet"),
        ("...", "unknown"),
    ],
)
def test_spellings_of_generators(spelling: str, name: str) -> None:
    assert names.generator(spelling) == name
    assert names.generator(name) == name


def test_no_spelling_stands_for_two_names() -> None:
    for table in (names.GENERATORS, names.CATEGORIES):
        spellings = [(names.key(one), name) for name, others in table.items() for one in (name, *others)]
        assert len({one for one, _ in spellings}) == len(set(spellings))
    assert {names.category(one) for one in ("TV-monitor", "tv", "tvmonitor")} == {"tv_monitor"}
    assert names.category("Bedroom") == "bedroom"


def test_every_subset_has_its_canonical_name_and_every_published_one_is_a_subset() -> None:
    for benchmark in registry.BENCHMARKS.values():
        own = [subset.name for subset in benchmark.subsets]
        assert len(set(own)) == len(own)
        if benchmark.name != "chameleon":
            assert [names.generator(name) for name in own] == own
        assert set(published.by_subset(benchmark)) <= set(own)
    sizes = {name: len(benchmark.subsets) for name, benchmark in registry.BENCHMARKS.items() if benchmark.subsets}
    assert sizes == {"universalfakedetect": 19, "aigcdetectbenchmark": 16, "aigibench": 25, "genimage": 8, "chameleon": 1}


def test_an_unknown_benchmark_is_refused_and_case_does_not_matter() -> None:
    assert registry.benchmark("GenImage").name == registry.benchmark("gen-image").name == "genimage"
    with pytest.raises(DatasetError, match="unknown benchmark 'imagenet': expected one of universalfakedetect, "):
        registry.benchmark("imagenet")


# --- Layouts ---


def test_universalfakedetect_as_released(tmp_path: Path) -> None:
    tree(tmp_path, *pair("CNN/test/progan/car", "CNN/test/progan/tvmonitor", "CNN/test/biggan", "CNN/test/seeingdark"))
    tree(tmp_path, "diffusion/ldm_200/1_fake", "diffusion/guided/1_fake", "diffusion/laion/0_real", "diffusion/imagenet/0_real")
    assert kinds(found("universalfakedetect", tmp_path).dataset) == {
        (0, "", "progan/car"),
        (1, "progan", "progan/car"),
        (0, "", "progan/tv_monitor"),
        (1, "progan", "progan/tv_monitor"),
        (0, "", "biggan"),
        (1, "biggan", "biggan"),
        (0, "", "sitd"),
        (1, "sitd", "sitd"),
        (1, "ldm_200", "ldm_200"),
        (1, "guided", "guided"),
        (0, "", "laion"),
        (0, "", "imagenet"),
    }


def test_each_subset_is_set_against_its_own_photographs(tmp_path: Path) -> None:
    tree(tmp_path, *pair("progan/car"), "ldm_200/1_fake", "ldm_100/1_fake", "guided/1_fake", "laion/0_real", "imagenet/0_real")
    tree(tmp_path / "laion", "0_real", images=5)
    dataset = found("universalfakedetect", tmp_path).dataset
    places = [sample.source for sample in dataset]
    wrong = {"laion": 0.9, "imagenet": 0.1, "progan/car": 0.1}  # all photographs of laion are called generated
    result = judged("universalfakedetect", tmp_path, tmp_path / "out", lambda label, at: 0.8 if label else wrong[places[at]])
    subsets = result["subsets"]
    assert {name: (one["n_real"], one["n_fake"], one["real_acc"]["value"]) for name, one in subsets.items()} == {
        "progan": (2, 2, 1.0),
        "guided": (2, 2, 1.0),
        "ldm_200": (5, 2, 0.0),
        "ldm_100": (5, 2, 0.0),
    }
    assert subsets["progan"]["by_category"]["car"]["acc"]["value"] == 1.0
    assert result["mean"]["real_acc"]["value"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "folders", "expected"),
    [
        (
            "aigcdetectbenchmark",
            [*pair("progan/cat", "DALLE2", "stable_diffusion_v_1_5")],
            {"progan": "progan/cat", "dalle2": "dalle2", "sd15": "sd15"},
        ),
        (
            "aigibench",
            [*pair("test/Midjourney-V6", "test/IP-Adapter", "train/car")],
            {"midjourney": "midjourney", "ip_adapter": "ip_adapter"},
        ),
        (
            "genimage",
            [*pair("ADM/imagenet_ai_0508_adm/val", "wukong/val", "ADM/imagenet_ai_0508_adm/train", words=("nature", "ai"))],
            {"adm": "adm", "wukong": "wukong"},
        ),
        ("chameleon", [*pair("test")], {"chameleon": "chameleon"}),
        ("hires50k", [*pair("W_0900", "W_4000")], {"w_0900": "w_0900", "w_4000": "w_4000"}),
    ],
)
def test_layouts(tmp_path: Path, name: str, folders: list[str], expected: dict[str, str]) -> None:
    read = found(name, tree(tmp_path, *folders))
    assert read.unmatched == {}
    assert kinds(read.dataset) == {(0, "", place) for place in expected.values()} | {(1, one, place) for one, place in expected.items()}
    assert len(read.dataset) == 4 * len(expected)
    result = judged(name, tmp_path, tmp_path / "out")
    assert list(result["subsets"]) == [one for one in map(str, result["mean"]["over"]) if one in expected] != []
    assert all(one["acc"]["value"] == 1.0 for one in result["subsets"].values())


def test_the_folder_of_one_subset_will_do(tmp_path: Path) -> None:
    tree(tmp_path, *pair("progan/horse"))
    assert kinds(found("aigcdetectbenchmark", tmp_path / "progan").dataset) == {(0, "", "progan/horse"), (1, "progan", "progan/horse")}


def test_what_belongs_to_no_subset_is_left_out_and_named(tmp_path: Path) -> None:
    tree(tmp_path, *pair("ADM", "extra/drct"))
    read = found("aigcdetectbenchmark", tmp_path)
    assert (len(read.dataset), read.unmatched) == (4, {"extra/drct": 4})
    result = judged("aigcdetectbenchmark", tmp_path, tmp_path / "out")
    assert result["left_out"] == {"extra/drct": 4}
    assert "extra/drct (4)" in benchmark_page.page(result)
    with pytest.raises(DatasetError, match=r"holds nothing of AIGIBench; expected folders named progan, .*, but found ADM/0_real/0.png"):
        found("aigibench", tmp_path)


def test_only_the_tested_split_counts(tmp_path: Path) -> None:
    tree(tmp_path, *pair("train/ADM", words=("nature", "ai")))
    with pytest.raises(DatasetError, match="no image of split val; the data has train"):
        found("genimage", tmp_path)


def shards(root: Path, rows: list[dict[str, Any]], per_file: int = 3) -> Path:
    (root / "data").mkdir(parents=True)
    for start in range(0, len(rows), per_file):
        table = pa.Table.from_pylist(rows[start : start + per_file])
        pq.write_table(table, root / "data" / f"CompEval-{start:05d}.parquet", row_group_size=2)
    return root


def community(count: int = 7) -> list[dict[str, Any]]:
    return [
        {
            "image_name": f"{at}.png",
            "image_data": picture(at),
            "label": at % 2,
            "model_name": "DALL-E 3" if at % 2 else "",
            "real_source": "" if at % 2 else "COCO",
        }
        for at in range(count)
    ]


def test_community_forensics_is_read_from_its_shards(tmp_path: Path) -> None:
    dataset = found("communityforensics", shards(tmp_path, community())).dataset
    assert kinds(dataset) == {(1, "dalle3", "dalle3"), (0, "", "coco")}
    for order in (range(7), reversed(range(7))):
        assert all(dataset.read(dataset.samples[at]) == picture(at) for at in order)
    result = judged("communityforensics", tmp_path, tmp_path / "out")
    assert {name: (one["n_real"], one["n_fake"]) for name, one in result["subsets"].items()} == {"dalle3": (4, 3)}
    card = "data set card of OwensLab/CommunityForensics-Eval: read"
    assert result["counts"] == {"n_real": 4, "n_fake": 3, "published": "51836", "ok": False, "source": card}


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    dataset = found("communityforensics", shards(tmp_path / "gone", community())).dataset
    (tmp_path / "gone" / "data" / "CompEval-00000.parquet").unlink()
    with pytest.raises(DatasetError, match=r"CompEval-00000.parquet/000000-0.png: cannot be read .* download the shard again"):
        dataset.read(dataset.samples[0])
    with pytest.raises(DatasetError, match="row 0: unknown label 2"):
        found("communityforensics", shards(tmp_path / "label", [community()[0] | {"label": 2}]))
    empty = found("communityforensics", shards(tmp_path / "empty", [community()[1], community()[0] | {"image_data": None}])).dataset
    with pytest.raises(DatasetError, match="the row holds no image"):
        empty.read(empty.samples[1])


def test_a_corpus_is_the_test_split_of_its_manifest(corpus: Path, tmp_path: Path) -> None:
    dataset = found("corpus", corpus).dataset
    assert len(dataset) == 12
    rng = np.random.default_rng(0)
    scores = rng.random(12)
    result = judged("corpus", corpus, tmp_path, lambda _, at: float(scores[at]))
    labels, generators = [sample.label for sample in dataset], [sample.generator for sample in dataset]
    expected = metrics.by_generator(labels, scores, generators, resamples=30)
    for name, report in expected.items():
        assert {key: result["subsets"][name][key] for key in report.as_dict()} == report.as_dict()
    macro = metrics.macro_average(labels, scores, generators, resamples=30)
    for metric, figure in macro.items():
        assert result["mean"][metric]["value"] == pytest.approx(figure.value)


# --- Protocol ---


def test_missing_subsets_and_wrong_counts_are_named(tmp_path: Path) -> None:
    tree(tmp_path, *pair("WFIR", "ProGAN"), "SocialRF/0_real")
    result = judged("aigibench", tmp_path, tmp_path / "out")
    assert list(result["subsets"]) == ["progan", "whichfaceisreal"]
    assert "social_rf" in result["missing"]  # photographs alone are no subset
    assert len(result["missing"]) == 23
    assert result["subsets"]["whichfaceisreal"]["counts"] == {
        "published": "1000 + 1000",
        "ok": False,
        "source": "README of HorizonTEL/AIGIBench, which corrects its paper: read",
    }
    assert result["subsets"]["progan"]["counts"] == {"published": None, "ok": None, "source": None}
    text = benchmark_page.write(tmp_path / "out", result).read_text()
    assert "Not as many images as published: whichfaceisreal (1000 + 1000)" in text
    assert "Missing subsets: r3gan, " in text
    assert "without 23 subsets" in text
    assert json.loads((tmp_path / "out" / "benchmark.json").read_text()) == result


def test_every_count_says_where_it_is_stated() -> None:
    counts = [one.count for one in registry.BENCHMARKS.values()]
    counts += [subset.count for one in registry.BENCHMARKS.values() for subset in one.subsets]
    known = [count for count in counts if count is not None]
    assert len(known) == 38
    assert all(count.source.endswith((": read", ": quoted from memory, not read again")) for count in known)


def test_counts_allow_for_rounding_and_nothing_else() -> None:
    assert Count(total=12_000, unit=100).matches(5_991, 5_991)
    assert not Count(total=12_000, unit=100).matches(5_991, 5_950)
    assert Count(real=2, fake=3).matches(2, 3)
    assert not Count(real=2, fake=3).matches(3, 2)


def test_images_without_score_count_as_there_but_not_as_judged(tmp_path: Path) -> None:
    tree(tmp_path, *pair("ADM", words=("nature", "ai")), images=3)
    tiny = Benchmark(
        "genimage", "GenImage", "", (registry.Subset("adm", count=Count(real=3, fake=3)), registry.Subset("glide")), split="val"
    )
    predictions = scored(layouts.read(tiny, tmp_path).dataset, tmp_path / "out", lambda label, at: None if at == 0 else 0.2 + 0.6 * label)
    report = protocol.evaluate(tiny, predictions, tmp_path / "out", resamples=10)["subsets"]["adm"]
    assert (report["n_real"] + report["n_fake"], report["failed"], report["counts"]["ok"]) == (5, 1, True)


def test_published_figures_are_beside_ours(tmp_path: Path) -> None:
    tree(tmp_path, *pair("progan", "biggan"), images=40)
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.2, 160)
    result = judged(
        "aigcdetectbenchmark", tmp_path, tmp_path / "out", lambda label, at: float(np.clip(0.3 + 0.4 * label + noise[at], 0, 1))
    )
    for name, known in (("progan", {"acc": 0.997, "ap": 1.0}), ("biggan", {"acc": 0.846, "ap": 0.999})):
        report = result["subsets"][name]
        assert report["source"] == "dgsnet-log"
        for metric, value in known.items():
            ours = report[metric]
            assert report["published"][metric] == value
            assert report["difference"][metric] == pytest.approx(ours["value"] - value)
            assert report["within"][metric] == (ours["low"] - 0.0005 <= value <= ours["high"] + 0.0005)
    assert {report["within"]["acc"] for report in result["subsets"].values()} == {True, False}
    mean = result["mean"]
    assert mean["over"] == mean["published_over"] == ["progan", "biggan"]
    assert mean["published"]["acc"] == pytest.approx((0.997 + 0.846) / 2)
    assert mean["acc"]["value"] == pytest.approx(np.mean([one["acc"]["value"] for one in result["subsets"].values()]))
    assert mean["acc"]["low"] < mean["acc"]["value"] < mean["acc"]["high"]


def test_a_subsets_figures_are_those_of_the_metrics(tmp_path: Path) -> None:
    tree(tmp_path, *pair("ADM", "Glide"), images=15)
    rng = np.random.default_rng(2)
    scores = np.round(rng.random(60), 1)  # with ties
    result = judged("aigcdetectbenchmark", tmp_path, tmp_path / "out", lambda _, at: float(scores[at]))
    dataset = found("aigcdetectbenchmark", tmp_path).dataset
    for name in ("adm", "glide"):
        kept = [at for at, sample in enumerate(dataset) if sample.source == name]
        labels = [dataset.samples[at].label for at in kept]
        own = metrics.estimate(labels, scores[kept], resamples=30).as_dict()
        assert {key: result["subsets"][name][key] for key in own} == own
        assert own["ap"]["value"] == pytest.approx(average_precision_score(labels, scores[kept]))  # type: ignore[index]


def test_published_figures_carry_their_rounding() -> None:
    figure = published.Figure.printed("99.0")
    assert (figure.value, figure.rounding) == (0.99, 0.0005)
    assert published.Figure.printed("59.41").rounding == pytest.approx(0.00005)
    assert figure.agrees(Interval(0.98, 0.97, 0.9896)) is True
    assert figure.agrees(Interval(0.98, 0.97, 0.9894)) is False
    assert figure.agrees(Interval(None, None, None)) is None


def test_the_published_tables_agree_with_each_other() -> None:
    aigibench = registry.benchmark("aigibench")
    entries = published.by_subset(aigibench)
    assert len(entries) == 25
    (row,) = [one for one in published.leaderboard(aigibench) if one.method == "DGS-Net"]
    for name, figure in published.mean(entries.values()).items():
        assert figure.value == pytest.approx(row.figures[name].value, abs=0.0005 + 1e-9)
    assert {name: len(published.by_subset(one)) for name, one in registry.BENCHMARKS.items() if published.by_subset(one)} == {
        "universalfakedetect": 8,
        "aigcdetectbenchmark": 16,
        "aigibench": 25,
        "chameleon": 1,
    }
    for benchmark in registry.BENCHMARKS.values():
        for entry in (*published.by_subset(benchmark).values(), *published.leaderboard(benchmark)):
            assert entry.source in {"dgsnet-log", "aigibench-readme", "rge-table1"}
            assert all(0 <= figure.value <= 1 for figure in entry.figures.values())
        for entry in published.by_subset(benchmark).values():  # a slip of the pen would show: labels are (nearly) as many
            if {"real_acc", "fake_acc"} <= set(entry.figures):
                balanced = (entry.figures["real_acc"].value + entry.figures["fake_acc"].value) / 2
                assert entry.figures["acc"].value == pytest.approx(balanced, abs=0.0021)


def test_other_predictions_are_refused(tmp_path: Path) -> None:
    benchmark = registry.benchmark("aigibench")
    tree(tmp_path, *pair("W_0900"))
    predictions = scored(found("hires50k", tmp_path).dataset, tmp_path / "out")
    with pytest.raises(DatasetError, match="holds no scored image of AIGIBench"):
        protocol.evaluate(benchmark, predictions, tmp_path / "out")
    pq.write_table(pa.table({"label": [0, 1], "score": [0.1, 0.9]}), tmp_path / "bare.parquet")
    with pytest.raises(DatasetError, match=r"bare.parquet lacks generator, source"):
        protocol.evaluate(benchmark, tmp_path / "bare.parquet", tmp_path / "out")


# --- Command line ---


def test_the_command(run: Callable[..., tuple[int, str, str]], tiny_model: Path, tmp_path: Path) -> None:
    root = tmp_path / "archive"
    for number, folder in enumerate(pair("ProGAN", "WFIR", "nonsense")):
        file = root / folder / "0.png"
        file.parent.mkdir(parents=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file)
    arguments = ("evaluate", "--benchmark", "aigibench", "--out", tmp_path / "out", "--resamples", 10)
    code, out, err = run(*arguments, "--root", root, "--model", tiny_model)
    assert code == 0
    assert {line.split()[0] for line in out.splitlines()} >= {"progan", "whichfaceisreal"}
    assert "left out: 2 images in nonsense, which is no subset of AIGIBench" in err
    assert "whichfaceisreal: 1 + 1, 0 not scored, but published are 1000 + 1000 images" in err
    assert "missing: r3gan, " in err
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "predictions.parquet", "metrics.json", "metrics.csv", "benchmark.json", "benchmark.md", "report.html",
    }  # fmt: skip
    first = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    code, _, _ = run(*arguments, "--predictions", tmp_path / "out" / "predictions.parquet")
    again = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert (code, again | {"left_out": 0}) == (0, first | {"left_out": 0})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--benchmark", "nonsense", "--root", "x", "--model", "m"), "unknown benchmark 'nonsense'"),
        (("--benchmark", "genimage", "--model", "m"), "needs --model and --root"),
        (("--benchmark", "genimage", "--data", "x", "--model", "m"), "leave out --data"),
        (("--root", "x", "--model", "m"), "--root goes with --benchmark only"),
        (("a.parquet", "--model", "m", "--data", "d"), "a.parquet goes with --compare only"),
        (("--compare", "a", "b", "--model", "m"), "leave out --benchmark, --predictions, --model and --cluster"),
        (("--compare", "a", "b", "--group", "source"), "leave out --group and --heatmaps"),
        (("--compare", "a", "b", "--heatmaps", "0"), "leave out --group and --heatmaps"),
        (("--benchmark", "genimage", "--root", "x", "--model", "m", "--group", "g"), "leave out --data, --split, --group and --cluster"),
        (("--compare", "a", "b"), "a is no predictions file nor a folder with one"),
    ],
)
def test_wrong_usage(run: Callable[..., tuple[int, str, str]], tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    code, _, err = run("evaluate", *arguments, "--out", tmp_path / "out")
    assert (code, said in err) == (2, True), err
