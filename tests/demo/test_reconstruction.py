"""Decoders differ and are fitted repeatably; reconstructions are near their photographs and share everything but a trace."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from dgsnet.core.errors import WeightsError
from dgsnet.data.dataset import load_dataset
from dgsnet.demo.reconstruction import decoders
from dgsnet.demo.reconstruction.fitting import Fit, fit
from dgsnet.demo.reconstruction.pairs import Original, psnr, reconstruct, write_pairs


def _photograph(seed: int, height: int = 70, width: int = 91) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(coarse).astype(int) + rng.integers(-9, 10, (height, width, 1)), 0, 255).astype(np.uint8)


BRIEF = Fit(steps=40, batch=4, crop=32)


@pytest.mark.parametrize("name", decoders.available())
def test_fitting_raises_psnr(name: str) -> None:
    photographs = [_photograph(seed) for seed in range(3)]
    model = decoders.create(name)
    before = fit(decoders.create(name), photographs, Fit(steps=0))
    after = fit(model, photographs, BRIEF)
    assert after > before + 6
    other = _photograph(99)
    assert psnr(other, reconstruct(model, other)) > before + 6, "holds for a photograph it was not fitted to"


def test_fitting_repeats_under_a_seed() -> None:
    def fitted(seed: int, weights: int = 0) -> np.ndarray:
        model = decoders.create("transposed", weights)
        fit(model, [_photograph(0)], Fit(steps=5, batch=2, seed=seed))
        return reconstruct(model, _photograph(1))

    torch.manual_seed(1)
    first = fitted(0)
    torch.manual_seed(2)
    assert np.array_equal(first, fitted(0))
    assert not np.array_equal(first, fitted(1))
    assert not np.array_equal(first, fitted(0, weights=1))


def test_fitting_leaves_the_global_random_state() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    fit(decoders.create("nearest", 7), [_photograph(0)], Fit(steps=1, batch=1))
    assert torch.equal(state, torch.get_rng_state())


def test_decoders_leave_different_traces() -> None:
    """From one latent, each upsampler makes another picture of constant input: the transposed one a period of 2, the nearest one none."""
    spread = {}
    for name in ("nearest", "transposed"):
        model = decoders.create(name)
        with torch.inference_mode():
            made = model.decode(torch.ones(1, 8, 16, 16))[0, :, 8:-8, 8:-8]
        spread[name] = float(made.std(dim=(1, 2)).max())
    assert spread["nearest"] < 1e-5
    assert spread["transposed"] > 1e-3


def test_quantised_latent_has_few_values_and_a_gradient() -> None:
    model = decoders.create("vector-quantised")
    pixels = torch.rand(1, 3, 32, 32, requires_grad=True)
    latent = model.encode(pixels)
    assert model.levels is not None
    assert 2 <= len(latent.unique()) <= model.levels
    latent.sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (33, 64), (70, 91)])
def test_reconstruction_has_the_size_of_its_photograph(shape: tuple[int, int]) -> None:
    made = reconstruct(decoders.create("nearest"), _photograph(0, *shape))
    assert made.shape == (*shape, 3)
    assert made.dtype == np.uint8


def test_grey_stays_grey_and_colour_stays_colour() -> None:
    model = decoders.create("shuffle")
    grey = np.repeat(_photograph(0)[:, :, :1], 3, axis=2)
    assert (np.ptp(reconstruct(model, grey), axis=2) == 0).all()
    assert np.ptp(reconstruct(model, _photograph(0)), axis=2).any()


def test_psnr() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    assert psnr(black, black) == float("inf")
    assert psnr(black, black + 255) == 0
    assert psnr(black, black + 1) == pytest.approx(48.1308, abs=1e-4)


def test_saved_decoder_comes_back(tmp_path: Path) -> None:
    model = decoders.create("vector-quantised", seed=5)
    decoders.save(tmp_path / "d.safetensors", model)
    loaded = decoders.load(tmp_path / "d.safetensors")
    assert loaded.name == "vector-quantised"
    assert np.array_equal(reconstruct(model, _photograph(0)), reconstruct(loaded, _photograph(0)))
    (tmp_path / "d.safetensors").write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="delete it"):
        decoders.load(tmp_path / "d.safetensors")


def test_pairs_share_size_container_caption_and_group(tmp_path: Path) -> None:
    models = {name: decoders.create(name) for name in ("nearest", "transposed")}
    originals = [
        Original(
            f"{group}-{number}",
            _photograph(number, 64, 64),
            split,
            f"a {group}",
            group,
            decoders=tuple(models)[: 2 if split == "test" else 1],
        )
        for group, split in (("cat", "train"), ("dog", "test"))
        for number in range(2)
    ]
    dataset = load_dataset(write_pairs(tmp_path, originals, models).parent)
    assert len(dataset) == 2 * (1 + 1) + 2 * (1 + 2)
    assert {sample.generator for sample in dataset if sample.split == "train"} == {"", "nearest"}
    containers = set()
    for sample in dataset:
        assert sample.caption == f"a {sample.group}"
        assert sample.split == {"cat": "train", "dog": "test"}[sample.group]
        with JpegImageFile(tmp_path / sample.path) as image:
            tables = tuple(tuple(table) for table in image.quantization.values())
            containers.add((image.format, image.mode, image.size, tables, tuple(layer[1:3] for layer in image.layer), "exif" in image.info))
    assert len(containers) == 1
    with (tmp_path / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert all((float(row["psnr"]) > 0) if row["label"] == "1" else row["psnr"] == "" for row in rows)


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one of nearest"):
        decoders.create("diffusion")
    with pytest.raises(ValueError, match="multiples of 2"):
        decoders.create("nearest").encode(torch.zeros(1, 3, 5, 4))
    with pytest.raises(ValueError, match="uint8"):
        reconstruct(decoders.create("nearest"), np.zeros((8, 8, 3), np.float32))
    with pytest.raises(ValueError, match="multiple of 2"):
        Fit(crop=31)
    with pytest.raises(ValueError, match="at least 32 pixels"):
        fit(decoders.create("nearest"), [_photograph(0, 20, 40)], BRIEF)
    twice = [Original("same", _photograph(0), "train", "", "g", ())] * 2
    with pytest.raises(ValueError, match="name of its own"):
        write_pairs(tmp_path, twice, {})
    with pytest.raises(ValueError, match="no fitted decoder 'nearest'"):
        write_pairs(tmp_path, [Original("one", _photograph(0), "train", "", "g", ("nearest",))], {"shuffle": decoders.create("shuffle")})
    assert not (tmp_path / "manifest.csv").exists()
