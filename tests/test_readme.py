"""The README says what the committed results say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_table_of_the_readme_is_that_of_the_results():
    command = [sys.executable, ROOT / "experiments" / "readme.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (ROOT / "README.md").read_text().count("<!-- figures: ") == 4
