"""Marks in the row: from Python, on the command line, in a batch and from the service, and only where they are asked for."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from dgsnet.core.errors import ScoringError
from dgsnet.inference.asked import Asked
from dgsnet.score.run import score
from dgsnet.score.settings import Settings
from dgsnet.watermarks import dwt_dct
from studies.watermarks.writing import hide, write_as_program
from tests.support.pictures import textured
from tests.support.serving import SETTINGS, post, serving

PROMPT = b"a cat\nSteps: 20, Sampler: Euler a"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three pictures: settings in the alpha channel, the mark of SDXL, and nothing."""
    root = tmp_path_factory.mktemp("pictures")
    pixels = (128 + (textured(np.random.default_rng(2), False) - 128.0) * 0.3).astype(np.uint8)
    alpha = hide(np.full((256, 256, 1), 255, np.uint8), b"stealth_pngcomp", PROMPT)
    Image.fromarray(np.concatenate([pixels, alpha], axis=2)).save(root / "a.png")
    Image.fromarray(write_as_program(pixels, dwt_dct.MESSAGES[0])).save(root / "b.png")
    Image.fromarray(pixels).save(root / "c.png")
    return root


MARKS = Asked(watermarks=True)
KINDS = [["watermark.stealth_pngcomp.parameters"], ["watermark.sdxl"], []]


def kinds(rows):
    return [[one["kind"] for one in row["provenance"]["findings"]] for row in rows]


def test_the_row_of_a_detector(detector, folder):
    files = sorted(folder.iterdir())
    plain = list(detector.detect_many(files))
    rows = list(detector.detect_many([*files, folder / "missing.png"], asked=MARKS))
    assert kinds([row.as_dict(provenance=True) for row in rows[:3]]) == KINDS
    assert rows[3].provenance is None
    assert [row.provenance.says for row in rows[:3]] == [["generated"], ["generated"], []]
    assert [row.score for row in rows[:3]] == [row.score for row in plain]
    assert [row.provenance for row in plain] == [None] * 3
    assert rows[1].provenance.summary.startswith("Its pixels carry a mark that says that it was AI-generated. The file says nothing")
    assert rows[2].provenance.summary.startswith("The file says nothing")
    picture = np.asarray(Image.open(files[0]))
    assert [one.kind for one in detector.detect(picture, asked=MARKS).provenance.findings] == KINDS[0]


def test_on_the_command_line(run, tiny_model, folder, tmp_path):
    files = sorted(folder.iterdir())
    code, out, _ = run("detect", *files, "--model", tiny_model, "--json", "--watermarks")
    assert (code, kinds(map(json.loads, out.splitlines()))) == (0, KINDS)
    out = run("detect", *files, "--model", tiny_model, "--json", "--provenance")[1]
    assert kinds(map(json.loads, out.splitlines())) == [[], [], []]
    assert "provenance" not in json.loads(run("detect", files[0], "--model", tiny_model, "--json", "--no-provenance")[1])
    page = tmp_path / "page.html"
    run("detect", *files, "--model", tiny_model, "--watermarks", "--report", page)
    assert "watermark.sdxl" in page.read_text()


@pytest.mark.parametrize("command", [("detect", "a.png"), ("score", "--data", "a", "--out", "b"), ("serve",)])
def test_decoders_that_are_not_there(run, tmp_path, command):
    code, _, err = run(*command, "--watermarks", "--trustmark", tmp_path)
    assert (code, "holds no decoder of TrustMark" in err) == (2, True)
    code, _, err = run(*command, "--trustmark", tmp_path)
    assert (code, "give --watermarks too" in err) == (2, True)


def test_in_a_batch(folder, tiny_model, tmp_path):
    silent = Console(file=io.StringIO())
    score(folder, tmp_path, Settings(str(tiny_model), asked=MARKS), silent)
    assert kinds(pq.read_table(tmp_path / "part-00000.parquet").to_pylist()) == KINDS
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["identity"]["watermarks"] == "yes"
    with pytest.raises(ScoringError, match=r"watermarks yes \(now no\)"):
        score(folder, tmp_path, Settings(str(tiny_model)), silent)


def test_from_the_service(detector, folder):
    data = [file.read_bytes() for file in sorted(folder.iterdir())]
    for watermarks in (True, False):
        settings = type(SETTINGS)(**{**vars(SETTINGS), "asked": MARKS if watermarks else Asked(provenance=True)})
        with serving(detector, settings) as (client, _):
            assert kinds(post(client, *data).json()["results"]) == (KINDS if watermarks else [[], [], []])
