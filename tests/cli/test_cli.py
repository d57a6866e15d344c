"""The command line as people meet it: exit codes, what goes to which stream, and what a mistake is answered with."""

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import dgsnet.inference.detector
from dgsnet import Detector, Verdict, __version__
from dgsnet.core.files import sha256_file
from dgsnet.images.decode import FORMATS

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
STAND_IN = """
import signal, sys, time, types
from dgsnet.inference.verdict import Verdict
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background hands down "ignore"
class Detector:
    from_pretrained = classmethod(lambda cls, name, **options: cls())
    def detect_many(self, sources, batch_size, **options):
        for number, source in enumerate(sources):
            time.sleep(60 if "SLEEP" in source and number else 0)
            yield Verdict(source, score=0.5, verdict="real", model="stand-in")
sys.modules["dgsnet.inference.detector"] = types.ModuleType("dgsnet.inference.detector")
sys.modules["dgsnet.inference.detector"].Detector = Detector
from dgsnet.cli import main
main()
"""
"""`dgsnet` with a detector that needs no torch: a process of its own then takes a second, not ten."""


@pytest.fixture
def no_model(monkeypatch):
    """Loading a model is a failure."""

    def refuse(*_, **__):
        raise AssertionError("loaded a model")

    monkeypatch.setattr(Detector, "from_pretrained", refuse)


@pytest.fixture
def pictures(corpus, tmp_path):
    """A folder with two pictures and, in a folder below, a broken one."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    shutil.copy(corpus / "test" / "real" / "0.png", folder / "a.png")
    Image.open(folder / "a.png").resize((100, 90)).save(folder / "b.jpg")
    (folder / "below" / "broken.png").write_bytes(b"not a picture")
    (folder / "notes.txt").write_text("no picture either")
    return folder


def paths_of(out):
    return [json.loads(line)["path"] for line in out.splitlines()]


# --- help, version, usage ---


def test_help_and_import_need_no_heavy_package():
    script = """
import sys, time
import dgsnet, typer
from dgsnet.cli import app, main
def commands(group, *names):
    yield names
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, *names, name)
for names in commands(typer.main.get_command(app)):
    sys.argv = ["dgsnet", *names, "--help"]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, names
    print(*names, file=sys.stderr)
heavy = {"torch", "transformers", "peft", "accelerate", "numpy", "scipy", "sklearn", "pyarrow", "PIL", "matplotlib"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
assert time.process_time() < 5, time.process_time()
"""
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {"detect", "train", "evaluate", "demo", "weights", "weights pull"} <= set(done.stderr.splitlines())
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_version(run):
    assert run("--version") == (0, f"dgsnet {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("nonsense",), "nonsense"),
        (("detect",), "PATH..."),
        (("detect", "x.png", "--nonsense"), "--nonsense"),
        (("detect", "x.png", "--batch-size", "0"), "--batch-size"),
        (("train", "--data", "x"), "--out"),
        (("evaluate",), "--out"),
    ],
)
def test_wrong_usage_ends_with_2(run, no_model, arguments, named):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert named in err


# --- detect ---


def test_a_folder_with_a_broken_file(run, tiny_model, pictures):
    code, out, err = run("detect", pictures, "--model", tiny_model)
    assert code == 1
    lines = out.splitlines()
    assert lines[0].split() == ["image", "verdict", "score", "notes"]
    assert [line.split()[0] for line in lines[1:4]] == [str(pictures / name) for name in ("a.png", "b.jpg", "below/broken.png")]
    assert "low_resolution" in lines[2]
    assert "not scored" in lines[3]
    assert err.splitlines() == [
        f"not scored: {pictures / 'below' / 'broken.png'}: is none of {', '.join(FORMATS)}; convert it to PNG or leave it out",
        f"left out: files that are no pictures (1): {pictures / 'notes.txt'}",
    ]


def test_json_on_stdout_is_nothing_but_json(run, tiny_model, pictures):
    code, out, err = run("detect", pictures, pictures / "a.png", "--model", tiny_model, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    expected = Detector.from_pretrained(tiny_model).detect(str(pictures / "a.png"), provenance=True)
    assert rows[0] == rows[3] == expected.as_dict(provenance=True)
    assert [row["error"] is None for row in rows] == [True, True, False, True]
    assert "broken.png" in err


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_out_takes_the_same_rows(run, tiny_model, pictures, tmp_path, ending):
    target = tmp_path / "deep" / f"rows.{ending}"
    code, out, err = run("detect", pictures / "a.png", pictures / "b.jpg", "--model", tiny_model, "--out", target, "--json")
    assert (code, err) == (0, f"2 rows in {target}\n")
    rows = [json.loads(line) for line in out.splitlines()]
    if ending == "jsonl":
        assert target.read_text() == out
    elif ending == "parquet":
        assert pq.read_table(target).to_pylist() == rows
    else:
        with target.open(newline="") as stream:
            assert [float(row["score"]) for row in csv.DictReader(stream)] == [row["score"] for row in rows]


def test_heatmaps_and_a_report_come_on_top_of_the_rows(run, tiny_model, pictures, tmp_path):
    maps, page = tmp_path / "deep" / "maps", tmp_path / "page.html"
    shutil.copy(pictures / "b.jpg", pictures / "below" / "a.png")
    plain = run("detect", pictures, "--model", tiny_model)
    code, out, err = run("detect", pictures, "--model", tiny_model, "--heatmap", maps, "--report", page)
    assert (code, out) == plain[:2]
    assert err.splitlines()[2:] == [f"heatmaps in {maps}", f"report in {page}"]
    a, other, b = ((file, sha256_file(file)) for file in (pictures / "a.png", pictures / "below" / "a.png", pictures / "b.jpg"))
    sizes = {file.name: Image.open(file).size for file in maps.iterdir()}
    assert sizes == {f"a-{a[1][:8]}.png": (256, 256), f"a-{other[1][:8]}.png": (100, 90), f"b-{b[1][:8]}.png": (100, 90)}
    content = page.read_text()
    assert all(digest in content for _, digest in (a, b, other))
    assert content.count("Not scored</p>") == 1
    assert content.count("<figure>") == 2 * 3
    assert run("detect", pictures, "--model", tiny_model, "--report", page)[0] == 1
    assert page.read_text().count("<figure>") == 3


def test_paths_come_from_folders_globs_and_standard_input(run, tiny_model, pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    shutil.copy("a.png", "[1].png")
    common = ("--model", tiny_model, "--json")
    assert paths_of(run("detect", "*.png", "b.jpg", *common)[1]) == ["[1].png", "a.png", "b.jpg"]
    assert paths_of(run("detect", "**/*.png", *common)[1]) == ["[1].png", "a.png", "below/broken.png"]
    assert paths_of(run("detect", "[1].png", *common)[1]) == ["[1].png"]  # there is such a file, so it is no pattern
    code, out, _ = run("detect", "-", *common, stdin=b"a.png\r\n\nno\xff.png\nbelow\n")
    assert (code, paths_of(out)) == (1, ["a.png", "no\udcff.png", "below/broken.png"])
    code, out, err = run("detect", "a.png", "*.gif", "x" * 5000, *common)
    assert (code, paths_of(out)) == (1, ["a.png", "*.gif", "x" * 5000])
    assert "not scored: *.gif: no such file" in err


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("-",), b"\n", "no paths on standard input"),
        (("-", "a.png"), b"", "give it alone"),
        (("a.png", "--out", "rows.txt"), b"", "rows.txt: expected a name ending in .jsonl, .csv, .parquet"),
        (("a.png", "--report", "page.pdf"), b"", "page.pdf: expected a name ending in .html"),
        (("a.png", "--heatmap", "taken"), b"", "cannot write heatmaps to taken: it is a file"),
        (("empty",), b"", "empty: holds no images"),
        (("shards",), b"", "shards holds shards of images"),
    ],
)
def test_what_cannot_begin_ends_with_2_before_the_model_is_loaded(run, no_model, corpus, tmp_path, monkeypatch, arguments, stdin, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").touch()
    (tmp_path / "shards").mkdir()
    shutil.make_archive(str(tmp_path / "shards" / "one"), "tar", corpus / "test" / "real")
    code, out, err = run("detect", *arguments, stdin=stdin)
    assert (code, out) == (2, "")
    assert err.startswith("dgsnet: ")
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "rows.txt").exists()


def test_when_nothing_could_be_scored_it_ends_with_2(run, tiny_model):
    code, out, err = run("detect", "no.png", "neither.png", "--model", tiny_model, "--json")
    assert (code, paths_of(out)) == (2, ["no.png", "neither.png"])
    assert err.splitlines()[-1] == "dgsnet: none of 2 images could be scored"


def test_a_missing_model_is_one_line(run, pictures):
    code, _, err = run("detect", pictures, "--model", "nowhere/")
    assert code == 2
    assert err.startswith("dgsnet: no model 'nowhere/'")
    assert len(err.splitlines()) == 1


def test_an_error_of_the_system_is_one_line_with_the_file(run, tiny_model, pictures, tmp_path):
    (tmp_path / "rows.jsonl").mkdir()
    code, _, err = run("detect", pictures / "a.png", "--model", tiny_model, "--out", tmp_path / "rows.jsonl")
    assert code == 2
    assert str(tmp_path / "rows.jsonl") in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("kind", [["--json"], []])
def test_a_reader_that_stops_early_gets_no_traceback(kind):
    command = shlex.join([sys.executable, "-c", STAND_IN, "detect", "-", *kind])
    piped = f"yes some/quite/long/name.png | head -n 3000 | {command} | head -n 1"
    done = subprocess.run(["sh", "-c", piped], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_ctrl_c_ends_with_130_and_keeps_the_rows_so_far(tmp_path):
    target = tmp_path / "rows.jsonl"
    command = [sys.executable, "-c", STAND_IN, "detect", "a", "SLEEP", "--out", str(target)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while not (target.exists() and target.read_text()):
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert (process.returncode, err) == (130, "dgsnet: interrupted\n")
    assert paths_of(target.read_text()) == ["a"]


def test_ctrl_c_leaves_no_half_parquet(run, pictures, tmp_path, monkeypatch):
    class Interrupted:
        def detect_many(self, sources, batch_size, **options):
            yield Verdict("a")
            raise KeyboardInterrupt

    monkeypatch.setattr(dgsnet.inference.detector, "Detector", type("", (), {"from_pretrained": lambda *_, **__: Interrupted()}))
    assert run("detect", pictures, "--out", tmp_path / "out" / "rows.parquet") == (130, "", "dgsnet: interrupted\n")
    assert list((tmp_path / "out").iterdir()) == []


# --- train, evaluate, and all of it ---


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--method", "nonsense"), "unknown method 'nonsense': expected one of dgs, effort, "),
        (("--set", "method=nonsense"), "unknown method 'nonsense'"),
        (("--set", "finetune.nonsense=1"), "finetune.nonsense"),
        (("--set", "finetune.lr=-1"), "finetune.lr"),
        (("--set", "lr"), "expected a setting like finetune.lr=1e-4, but got 'lr'"),
        (("--preset", "nonsense"), "unknown preset 'nonsense'"),
        (("--config", "no.yaml"), "no.yaml"),
    ],
)
def test_a_wrong_setting_ends_with_2_before_anything_is_read_or_written(run, tmp_path, arguments, said):
    code, out, err = run("train", "--data", tmp_path / "no-data", "--out", tmp_path / "model", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert "no-data" not in err
    assert not (tmp_path / "model").exists()


def test_the_command_lines_method_beats_the_recipes(run, tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr("dgsnet.training.train", lambda data, out, recipe, **_: taken.append(recipe.method))
    (tmp_path / "recipe.yaml").write_text("method: lora\n")
    common = ("train", "--data", tmp_path, "--out", tmp_path / "model", "--no-validate")
    for more in ((), ("--config", tmp_path / "recipe.yaml"), ("--config", tmp_path / "recipe.yaml", "--method", "linear")):
        assert run(*common, *more)[0] == 0
    assert taken == ["dgs", "lora", "linear"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "m"), "evaluate needs --model and --data, or --predictions"),
        (("--model", "m", "--data", "CORPUS", "--predictions", "p"), "give the one or the others"),
        (("--model", "m", "--data", "CORPUS", "--split", "nonsense"), "no split 'nonsense': it has test, train, val"),
        (("--model", "m", "--data", "nowhere"), "nowhere: no such file or folder"),
        (("--predictions", "p", "--split", "test"), "give the one or the others"),
        (("--predictions", "no.parquet"), "no.parquet"),
    ],
)
def test_evaluate_says_what_is_missing(run, no_model, corpus, tmp_path, arguments, said):
    given = [str(corpus) if argument == "CORPUS" else argument for argument in arguments]
    code, out, err = run("evaluate", "--out", tmp_path / "out", *given)
    assert (code, out) == (2, "")
    assert said in err
    assert not (tmp_path / "out").exists()


def test_evaluate_names_what_it_could_not_score(run, tiny_model, corpus, tmp_path):
    data = shutil.copytree(corpus / "test", tmp_path / "[bold]data")
    (data / "real" / "1.png").write_bytes(b"not a picture")
    code, out, err = run("evaluate", "--model", tiny_model, "--data", data, "--out", tmp_path / "out", "--resamples", 10)
    assert code == 1
    assert "not scored: real/1.png: is none of JPEG" in err
    assert "5 + 6" in out
    shutil.rmtree(data / "fake")
    for file in (data / "real").iterdir():
        file.write_bytes(b"not a picture")
    code, out, err = run("evaluate", "--model", tiny_model, "--data", data, "--out", tmp_path / "none")
    assert (code, out) == (2, "")
    assert err.count("not scored: real/") == 6


def test_a_generators_name_is_not_read_as_markup(run, tmp_path):
    rows = [{"label": 0, "score": 0.1, "generator": ""}, {"label": 1, "score": 0.9, "generator": "[red]x[/]" + "y" * 90}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "given.parquet")
    code, out, _ = run("evaluate", "--predictions", tmp_path / "given.parquet", "--out", tmp_path, "--resamples", 10)
    assert code == 0
    assert out.splitlines()[1].split()[:4] == ["[red]x[/]" + "y" * 90, "1", "+", "1"]
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["mean", "overall"]


def test_train_evaluate_detect_from_end_to_end(corpus, tiny_clip, run, tmp_path):
    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "dgsnet", *map(str, arguments)],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    model, out = tmp_path / "model", tmp_path / "out"
    settings = [part for name in (f"backbone={tiny_clip}", "probe.epochs=2", "finetune.epochs=1") for part in ("--set", name)]
    trained = command("train", "--data", corpus, "--out", model, *settings)
    assert trained.returncode == 0, trained.stderr
    assert "Warning" not in trained.stderr
    assert {path.name for path in model.iterdir()} == {
        *("config.json", "adapter_model.safetensors", "adapter_config.json", "heads.safetensors", "README.md", "metrics.json", "training")
    }

    evaluated = command("evaluate", "--model", model, "--data", corpus, "--out", out, "--resamples", 100)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "split 'test': 12 of 44 images" in evaluated.stderr
    assert [line.split()[0] for line in evaluated.stdout.splitlines()] == ["generator", "decoder0", "decoder1", "mean", "overall"]
    figures = json.loads((out / "metrics.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == ["metrics.csv", "metrics.json", "predictions.parquet", "report.html"]

    recomputed = run("evaluate", "--predictions", out / "predictions.parquet", "--out", tmp_path / "again", "--resamples", 100)
    assert recomputed[1] == evaluated.stdout
    assert json.loads((tmp_path / "again" / "metrics.json").read_text()) == figures

    detected = command("detect", corpus / "test", "--model", model, "--json")
    assert (detected.returncode, detected.stderr) == (0, "")
    scores = {Path(row["path"]).relative_to(corpus).as_posix(): row["score"] for row in map(json.loads, detected.stdout.splitlines())}
    assert scores == {row["path"]: row["score"] for row in pq.read_table(out / "predictions.parquet").to_pylist()}
