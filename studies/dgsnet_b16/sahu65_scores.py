"""Scores by sahu65 1.1.0 of the images of a split, as its users run it: its own environment, its own preprocessing.

    python3 -m venv sahu && sahu/bin/pip install sahu65==1.1.0
    sahu/bin/python studies/dgsnet_b16/sahu65_scores.py CORPUS studies/dgsnet_b16/results/sahu65/test.jsonl

Needs nothing of dgsnet, so that it runs in that environment. Rows already written are kept; a second call goes on.
"""

import csv
import json
import sys
from pathlib import Path

import sahu65  # type: ignore[import-not-found]


def main(corpus: Path, out: Path, split: str = "test") -> None:
    """Write one line per image: path, label, source, generator, score (its probability of AI generation), verdict."""
    out.parent.mkdir(parents=True, exist_ok=True)
    done = {json.loads(line)["path"] for line in out.open()} if out.exists() else set()
    with (corpus / "manifest.csv").open(newline="") as stream, out.open("a") as rows:
        for row in csv.DictReader(stream):
            if row["split"] != split or row["path"] in done:
                continue
            said = sahu65.detect(str(corpus / row["path"]))
            kept = {"path": row["path"], "label": int(row["label"]), "source": row["source"]}
            kept["generator"] = row["source"] if row["label"] == "1" else ""
            rows.write(json.dumps(kept | {"score": float(said.ai_probability), "verdict": str(said.verdict)}) + "\n")
            rows.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
