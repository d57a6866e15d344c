"""The layers hold, and a crossing is caught: in a copy of the package with one import too many `lint-imports` fails and names it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint(source, folder):
    """Run import-linter with the project's contracts on the package below `source`."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(source), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("core/files.py", "from dgsnet.images import decode", "dgsnet.core is not allowed to import dgsnet.images"),
        ("inference/verdict.py", "from dgsnet.reports import tables", "Illegal imports of protected package dgsnet.reports"),
        ("evaluation/reliability.py", "from matplotlib.figure import Figure", "dgsnet.evaluation is not allowed to import matplotlib"),
        ("score/settings.py", "from dgsnet.score import run", "No cycles are allowed in dgsnet.score"),
        ("surgery.py", "from dgsnet.model import recipe", "dgsnet.surgery is not allowed to import dgsnet.model"),
        (
            "artifacts/official.py",
            "from dgsnet.weights.from_wheel import wheel",
            "Illegal imports of protected package dgsnet.weights.from_wheel",
        ),
        (None, "", "Contracts: 6 kept, 0 broken"),
    ],
)
def test_a_crossed_layer_is_caught(tmp_path, file, line, broken):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors", "*.onnx"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    if file:
        module = tmp_path / "src" / "dgsnet" / file
        module.write_text(f"{module.read_text()}\n{line}\n")
    code, said = lint(tmp_path / "src", tmp_path)
    assert (code == 0) == (file is None), said
    assert broken in said
