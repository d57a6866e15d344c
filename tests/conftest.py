"""What all tests share: a cache folder of their own, a tiny random CLIP on disk, a small labelled folder of images, a model of both."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from dgsnet.cli import main
from dgsnet.inference.detector import Detector
from tests.support.pictures import SIDE, WIDTH, textured


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test touches the user's cache or the network."""
    patch = pytest.MonkeyPatch()
    patch.setenv("DGSNET_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setenv("HF_HUB_OFFLINE", "1")
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable was read when transformers was imported above
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole CLIP, both towers and a tokenizer, small enough for a test: two blocks of width 32, joint space of 16."""
    folder = tmp_path_factory.mktemp("tiny-clip")
    torch.manual_seed(0)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = tower | {"image_size": SIDE, "patch_size": 32}
    text = tower | {"vocab_size": 600, "max_position_embeddings": 16, "bos_token_id": 598, "eos_token_id": 599}
    config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=WIDTH)
    model = CLIPModel(config).eval()
    with torch.no_grad():  # CLIP's own initialisation leaves features that hardly depend on the image
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    _tokenizer(folder)
    return folder


def _tokenizer(folder: Path) -> None:
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={token: number for number, token in enumerate(vocabulary)}, merges=[])
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest folder: 12 + 12 images to train on, 4 + 4 to validate, 6 + 6 to test, with captions, two generators in the test split."""
    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    rows = []
    for split, count in (("train", 12), ("val", 4), ("test", 6)):
        for label in (0, 1):
            for number in range(count):
                path = f"{split}/{'fake' if label else 'real'}/{number}.png"
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(textured(rng, bool(label))).save(root / path)
                caption = f"a picture of {('cat', 'dog', 'tree')[number % 3]} {number}"
                generator = f"decoder{number % 2}" if label else ""
                rows.append(
                    {"path": path, "label": label, "split": split, "source": generator or "camera", "caption": caption, "group": path}
                )
    with (root / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.fixture(scope="session")
def tiny_model(corpus: Path, tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: `dgs` on `corpus`, one epoch a stage."""
    from dgsnet.model.recipe import make_recipe
    from dgsnet.training import train

    folder = tmp_path_factory.mktemp("models") / "tiny"
    assignments = (f"backbone={tiny_clip}", "probe.epochs=1", "probe.batch=8", "finetune.batch=8", "finetune.lr=1e-3")
    return train(corpus, folder, make_recipe(assignments=assignments), console=Console(file=StringIO()))


@pytest.fixture(scope="module")
def detector(tiny_model: Path) -> Detector:
    """A detector of the tiny model."""
    return Detector.from_pretrained(tiny_model)


@pytest.fixture(scope="session")
def files(corpus: Path) -> list[Path]:
    """The test images of `corpus`."""
    return sorted((corpus / "test").rglob("*.png"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command of `dgsnet` in this process: (exit code, stdout, stderr)."""

    def command(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dgsnet", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(stop.value.code or 0), out, err

    return command
