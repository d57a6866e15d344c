"""The demo from end to end on a tiny CLIP, interrupted and gone on with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from dgsnet.cli import app
from dgsnet.core.errors import DatasetError, DgsnetError
from dgsnet.data.dataset import load_dataset
from dgsnet.demo import QUICK, Settings, run
from dgsnet.demo import run as run_function
from dgsnet.demo.photographs import LISTED, crops, photographs
from dgsnet.demo.reconstruction import fitting
from dgsnet.demo.reconstruction.fitting import Fit

pytest.importorskip("skimage", reason="the demo's photographs come with the extra `demo`")

BRIEF = replace(QUICK, side=64, crops=2, fit=Fit(steps=8, batch=4), resamples=20)


class _KilledError(Exception):
    """Stands for a kill in the middle of a run."""


def _quiet() -> Console:
    return Console(quiet=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_clip: Path) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("demo") / "out"
    return out, run(out, BRIEF, backbone=str(tiny_clip), console=_quiet())


def test_has_figures_and_intervals_for_every_method_and_decoder(finished: tuple[Path, dict[str, Any]]) -> None:
    out, result = finished
    assert json.loads((out / "demo.json").read_text()) == result
    assert list(result["figures"]) == ["linear", "dgs"]
    for by_name in result["figures"].values():
        assert list(by_name) == ["nearest", "transposed", "mean, seen", "shuffle", "mean, unseen"]
        for figures in by_name.values():
            for figure in figures.values():
                assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
        seen = [by_name[name]["auroc"]["value"] for name in BRIEF.seen]
        assert by_name["mean, seen"]["auroc"]["value"] == pytest.approx(np.mean(seen))
    assert set(result["psnr"]) == {"nearest", "transposed", "shuffle"}


def test_plot_is_a_picture(finished: tuple[Path, dict[str, Any]]) -> None:
    with Image.open(finished[0] / "demo.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 20


def test_photographs_and_unseen_decoders_are_in_the_test_only(finished: tuple[Path, dict[str, Any]]) -> None:
    dataset = load_dataset(finished[0] / "pairs")
    train, test = dataset.with_split("train"), dataset.with_split("test")
    assert len(train) + len(test) == len(dataset)
    for side, split in ((train, "train"), (test, "test")):
        assert {sample.group for sample in side} == {photograph.name for photograph in LISTED if photograph.split == split}
    assert {sample.generator for sample in train} == {"", *BRIEF.seen}
    assert {sample.generator for sample in test} == {"", *BRIEF.seen, *BRIEF.unseen}
    sizes = {Image.open(dataset.root / sample.path).size for sample in dataset}
    assert sizes == {(64, 64)}


def test_second_call_keeps_what_is_done(finished: tuple[Path, dict[str, Any]], tiny_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, result = finished
    kept = {file: file.stat().st_mtime_ns for folder in ("decoders", "pairs", "models") for file in (out / folder).rglob("*.[sj]*")}
    monkeypatch.setattr("dgsnet.demo.make_pairs.fit", lambda *_: pytest.fail("fitted a decoder again"))
    again = run(out, BRIEF, backbone=str(tiny_clip), console=_quiet())
    assert again["figures"] == result["figures"]
    assert {file: file.stat().st_mtime_ns for file in kept} == kept


def test_goes_on_after_an_interruption_and_repeats(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path, tiny_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[str] = []

    def interrupted(model: Any, *rest: Any) -> float:
        if len(fitted) == 2:
            raise _KilledError
        fitted.append(model.name)
        return fitting.fit(model, *rest)

    monkeypatch.setattr("dgsnet.demo.make_pairs.fit", interrupted)
    with pytest.raises(_KilledError):
        run(tmp_path / "out", BRIEF, backbone=str(tiny_clip), console=_quiet())
    fitted[:] = ["one is left to fit"]
    result = run(tmp_path / "out", BRIEF, backbone=str(tiny_clip), console=_quiet())
    assert fitted == ["one is left to fit", "shuffle"]
    assert result["figures"] == finished[1]["figures"], "the same seed, the same figures"


def test_refuses_a_folder_of_other_settings(finished: tuple[Path, dict[str, Any]], tiny_clip: Path) -> None:
    with pytest.raises(DgsnetError, match="other settings"):
        run(finished[0], replace(BRIEF, crops=3), backbone=str(tiny_clip), console=_quiet())


def test_command_prints_the_table_and_what_it_is_not(finished: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []

    def small(out: Path, settings: Settings, **rest: Any) -> dict[str, Any]:
        called.append(settings)
        return run_function(out, BRIEF, **rest)

    monkeypatch.setattr("dgsnet.demo.run", small)
    monkeypatch.setenv("COLUMNS", "160")
    backbone = json.loads((finished[0] / "settings.json").read_text())["backbone"]
    said = CliRunner().invoke(app, ["demo", "--quick", "--out", str(finished[0]), "--backbone", backbone])
    assert said.exit_code == 0, said.output
    assert called == [QUICK]
    for word in ("nearest", "shuffle", "unseen", "mean, unseen", "AUROC", "dB", "not generated pictures", "promise for real"):
        assert word in said.stdout


def test_every_listed_photograph_is_there_with_its_licence() -> None:
    found = photographs()
    assert [photograph.name for photograph in found] == [one.name for one in LISTED]
    assert all(photograph.licence and photograph.caption for photograph in found)
    assert len({photograph.name for photograph in found}) == len(found)
    assert {photograph.split for photograph in found} == {"train", "test"}
    with pytest.raises(DatasetError, match=r"dgsnet\[demo\]"):
        photographs(tuple(replace(one, package="no_such_package") for one in LISTED))


def test_crops_do_not_overlap_and_keep_detail() -> None:
    numbers = np.arange(70 * 100, dtype=np.int64).reshape(70, 100)
    pixels = np.stack([numbers // 256, numbers % 256, np.zeros_like(numbers)], axis=2).astype(np.uint8)
    cut = crops(pixels, 32, limit=99)
    assert [crop.shape for crop in cut] == [(32, 32, 3)] * 6
    places = np.concatenate([(crop[..., 0].astype(int) * 256 + crop[..., 1]).ravel() for crop in cut])
    assert len(np.unique(places)) == len(places)
    flat = np.zeros((64, 64, 3), np.uint8)
    flat[32:, 32:] = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    assert np.array_equal(crops(flat, 32, limit=1)[0], flat[32:, 32:])
    assert crops(flat, 65, limit=1) == []
