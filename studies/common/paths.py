"""Where studies keep what is not committed."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "runs"
"""Features and models that the studies make, ignored by git; a folder a study."""
MODELS = RUNS / "dgsnet_b16"
"""Models that `python -m studies.dgsnet_b16` trains: RECIPE/METHOD."""
