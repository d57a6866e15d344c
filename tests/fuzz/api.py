"""schemathesis against a real ``dgsnet serve`` with keys: every answer is one that `/openapi.json` describes, and none is a server error.

``python -m tests.fuzz.api`` writes ``tests/fuzz/results/api.json`` and ends with 1 when a check fails. The model is a tiny one with random
weights; uploads are whole pictures, the files of ``tests/support/hostile_files.py``, damaged pictures and random bytes.
"""

from __future__ import annotations

import argparse
import collections
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

OUT = ROOT / "tests/fuzz/results/api.json"
_CONFIG = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "400", "413", "415", "422"]  # what fits the schema may still be no picture
negative_data_rejection.expected-statuses = ["400", "401", "413", "415", "422"]
"""


def main() -> int:
    """Start the service, ask it, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=700, help="of each route, in the phase that makes them up")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--out", type=Path, default=OUT)
    told = parser.parse_args()

    import tiny_model
    from dgsnet.service.keys import add_key
    from served import serving

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, key = tiny_model.make(folder), add_key(folder / "keys", "fuzz")
        patience = ("--rate", "0", "--request-seconds", "300", "--decode-seconds", "60")  # no refusal may come of a busy machine
        with serving(model, "--keys", str(folder / "keys"), *patience) as service:
            result = ask(service.address, key, folder, told.examples, told.seed)
            result["alive_afterwards"] = service.process.poll() is None
            result["internal_errors_logged"] = sum("Traceback" in line for line in service.said)
    told.out.parent.mkdir(parents=True, exist_ok=True)
    told.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    whole = result["failures"] == 0 and result["server_errors"] == 0 and result["alive_afterwards"] and not result["internal_errors_logged"]
    return 0 if whole else 1


def ask(address: str, key: str, folder: Path, examples: int, seed: int) -> dict[str, Any]:
    """Run schemathesis and count its answers."""
    (folder / "schemathesis.toml").write_text(_CONFIG)
    (folder / "record").touch()
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(folder / "schemathesis.toml"), "run", f"{address}/openapi.json",
        "--phases", "examples,coverage,fuzzing", "--max-examples", str(examples), "--seed", str(seed), "--workers", "1", "--checks", "all",
        "--header", f"Authorization: Bearer {key}", "--request-timeout", "300", "--continue-on-failure", "--no-color",
    ]  # fmt: skip
    hooks = {"SCHEMATHESIS_HOOKS": "tests.fuzz.api_hooks", "FUZZ_API_RECORD": str(folder / "record")}
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        command,
        env={**os.environ, **hooks, "PYTHONPATH": path},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    report = ended.stdout.replace(key, "KEY")
    print(report[-20_000:], file=sys.stderr)
    answers = [json.loads(line) for line in (folder / "record").read_text().splitlines()]
    routes: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for route, status, code in answers:
        routes[route][f"{status} {code}" if code else str(status)] += 1
    failures = re.findall(r"(\d+) failure", report)
    return {
        "cases": len(answers), "seed": seed, "failures": int(failures[-1]) if failures else 0, "ended_with": ended.returncode,
        "server_errors": sum(status >= 500 for _, status, _ in answers),
        "answers": {route: dict(counts.most_common()) for route, counts in sorted(routes.items())},
        "versions": {"python": sys.version.split()[0]}
        | {name: importlib.metadata.version(name) for name in ("schemathesis", "hypothesis", "fastapi", "starlette", "uvicorn", "pillow")},
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
