"""Studies: each folder asks one question, with its README, scripts, recipe and results. From the root: `python -m studies.NAME`."""
