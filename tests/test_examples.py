import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "minimal_surgery.py"


def test_minimal_surgery_runs_and_surgery_helps():
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^(\S.*?)\s+([01]\.\d+)$", done.stdout, re.MULTILINE))
    assert list(rows) == ["without surgery", "surgery", "surgery and alignment"]
    without, surgery, both = (float(value) for value in rows.values())
    assert without < 0.4
    assert 0.5 < surgery < both


def test_the_example_stays_short_and_needs_only_torch():
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) < 100
    roots = {match.split(".")[0] for match in re.findall(r"^(?:from|import) (\S+)", text, re.MULTILINE)}
    assert roots == {"__future__", "torch", "dgsnet"}
