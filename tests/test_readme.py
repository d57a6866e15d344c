"""The README, and the documents beside the results, say what the committed results say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_table_of_the_documents_is_that_of_the_results():
    command = [sys.executable, str(ROOT / "experiments" / "readme.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    blocks = {"README.md": 4, "results/README.md": 1, "results/robustness/README.md": 1, "results/corpus/README.md": 1}
    assert {name: (ROOT / name).read_text().count("<!-- figures: ") for name in blocks} == blocks
