"""Plants faults in a copy of the project, one at a time, and says which the tests catch.

    python -m tests.mutants.plant [--only TEXT]        into tests/mutants/result.json (about twenty minutes on two cores)

A fault is a piece of code that stands once in `src/dgsnet`, what it is replaced by, and the tests that should fail then; they pass without
it, which is looked at first. pytest does not collect this file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).with_name("result.json")


@dataclass(frozen=True)
class Mutant:
    """One fault: what part of the project it is in, the code, what it becomes, and the tests that are asked."""

    part: str
    code: str
    becomes: str
    tests: tuple[str, ...]


_SURGERY = ("tests/test_surgery.py", "tests/training/test_released_step.py")
_PATCHES = ("tests/test_patches.py",)
_METRICS = ("tests/evaluation/test_metrics.py",)
_CALIBRATION = ("tests/evaluation/test_calibrate.py",)
_REFIT = ("tests/training/test_refit_head.py", "tests/model/test_ridge.py")
_VIEWS = ("tests/images/test_preprocess.py", "tests/images/test_multi_crop.py", "tests/inference", "tests/model/test_ood.py")
_UPLOADS = ("tests/service/test_service.py", "tests/service/test_page.py")
_RESUME = (
    "tests/evaluation/test_evaluate.py",
    "tests/evaluation/test_streaming.py",
    "tests/score/test_score.py",
    "tests/training/test_training.py",
)

MUTANTS = (
    Mutant(
        "surgery",
        "residual = (torch.sigmoid(logits) - labels.to(logits.dtype)) / logits.numel()",
        "residual = torch.sigmoid(logits) - labels.to(logits.dtype)",
        _SURGERY,
    ),
    Mutant("surgery", "h = h / (h.norm(dim=1, keepdim=True) + eps)", "h = h / (h.norm() + eps)", _SURGERY),
    Mutant("surgery", "g - (g * h).sum(dim=1, keepdim=True) * h", "g + (g * h).sum(dim=1, keepdim=True) * h", _SURGERY),
    Mutant(
        "surgery",
        'if pull is not None and ctx.order == "align-then-project":',
        'if pull is not None and ctx.order == "project-then-align" and False:',
        _SURGERY,
    ),
    Mutant(
        "surgery",
        "pull = None if image_gradient is None else (alignment * negative(image_gradient)).detach()",
        "pull = None if image_gradient is None else (alignment * image_gradient).detach()",
        _SURGERY,
    ),
    Mutant(
        "surgery",
        "return strength * torch.clamp(task / pull.clamp_min(torch.finfo(pull.dtype).tiny), max=1)",
        "return strength * task / pull.clamp_min(torch.finfo(pull.dtype).tiny)",
        ("tests/model/test_methods.py", *_SURGERY),
    ),
    Mutant(
        "patches",
        "chosen = rank[np.sort(np.concatenate([places[:low], places[places.size - high :]]))]",
        "chosen = rank[np.sort(np.concatenate([places[:high], places[places.size - low :]]))]",
        _PATCHES,
    ),
    Mutant("patches", "np.rint(_entropies(sheet, patch) / TIE_BITS)", "_entropies(sheet, patch)", _PATCHES),
    Mutant(
        "patches",
        "chosen = np.random.default_rng(seed).permutation(chosen)",
        "chosen = np.random.default_rng(0).permutation(chosen)",
        _PATCHES,
    ),
    Mutant("patches", "return max(side // patch, min(k, positions))", "return min(k, positions)", _PATCHES),
    Mutant(
        "patches",
        "np.stack([left, top, left + patch, top + patch], axis=1)",
        "np.stack([top, left, left + patch, top + patch], axis=1)",
        _PATCHES,
    ),
    Mutant("metrics", '"ece": off / (fakes + reals),', '"ece": off / fakes,', _METRICS),
    Mutant("metrics", "np.where(fpr <= 0.05, tp, 0).max(axis=1)", "np.where(fpr < 0.05, tp, 0).max(axis=1)", _METRICS),
    Mutant(
        "metrics", "called = int((scores[tie_starts] >= threshold).sum())", "called = int((scores[tie_starts] > threshold).sum())", _METRICS
    ),
    Mutant(
        "metrics",
        "streams = [np.random.default_rng([seed, int(code)]) for code in present]",
        "streams = [np.random.default_rng([seed, 0]) for code in present]",
        _METRICS,
    ),
    Mutant("metrics", "(gained * precision).sum(axis=1) / fakes * both", "(gained * precision).sum(axis=1) / reals * both", _METRICS),
    Mutant(
        "calibration",
        "targets = np.where(y == 1, (n_fake + 1) / (n_fake + 2), 1 / (n_real + 2))",
        "targets = y.astype(float)",
        _CALIBRATION,
    ),
    Mutant("calibration", "max(math.nextafter(bound, math.inf), 0.5)", "max(bound, 0.5)", _CALIBRATION),
    Mutant(
        "calibration",
        "return min(math.floor(target * (len(values) + 1) + 1e-9), len(values))",
        "return min(math.floor(target * len(values) + 1e-9) + 1, len(values))",
        _CALIBRATION,
    ),
    Mutant(
        "calibration",
        'return "real" if score < self.real else "inconclusive"',
        'return "real" if score <= self.real else "inconclusive"',
        (*_CALIBRATION, "tests/inference/test_detector.py"),
    ),
    Mutant("calibration", "weights[y == label] = 0.5 / len(count) / count[unit]", "weights[y == label] = 0.5 / len(unit)", _CALIBRATION),
    Mutant(
        "calibration", "scaled = (logit - self.offset) / self.temperature", "scaled = logit / self.temperature - self.offset", _CALIBRATION
    ),
    Mutant("refit", "kept = ~held_out & ~np.isin(sources, sources[held_out])", "kept = ~held_out", _REFIT),
    Mutant("refit", "left_out = (predicted - leverage * y) / (1 - leverage)", "left_out = predicted", _REFIT),
    Mutant("refit", "weights = 0.5 / counts[labels]", "weights = np.full(len(labels), 1 / len(labels))", _REFIT),
    Mutant(
        "refit",
        "gram = centred.T @ (centred * weights[:, None]) + penalty * np.eye(features.shape[1])",
        "gram = centred.T @ (centred * weights[:, None]) + len(labels) * penalty * np.eye(features.shape[1])",
        _REFIT,
    ),
    Mutant("refit", "names[label][fold::count]", "names[label][fold : fold + 1]", _REFIT),
    Mutant("views", "1.0 if views == 1 else MULTI_CROP_GAIN / views", "1.0 / views", _VIEWS),
    Mutant("views", "if min(height, width) < 2 * size:", "if max(height, width) < 2 * size:", _VIEWS),
    Mutant("views", "is_out_of_domain(read[:1])", "is_out_of_domain(read[-1:])", _VIEWS),
    Mutant("views", "float(np.quantile(distances, 1 - share))", "float(np.quantile(distances, share))", _VIEWS),
    Mutant(
        "views",
        "across = np.maximum((standard**2).sum(axis=1) - (along**2).sum(axis=1), 0) / self.rest",
        "across = (standard**2).sum(axis=1) / self.rest",
        _VIEWS,
    ),
    Mutant("views", "others = given[names != name]", "others = given", _VIEWS),
    Mutant("uploads", "if size > self._limits.max_body:", "if size > 2 * self._limits.max_body:", _UPLOADS),
    Mutant("uploads", "self._file_bytes += end - start", "self._file_bytes = end - start", _UPLOADS),
    Mutant("uploads", "if len(files) > max_files:", "if len(files) > max_files + 1:", _UPLOADS),
    Mutant("resume", 'if not line.endswith(b"\\n"):', "if not line:", _RESUME),
    Mutant("resume", "os.truncate(self.file, whole)", "whole = whole", _RESUME),
    Mutant(
        "resume",
        "return _scored(detector, dataset, dataset.samples[done:], journey)",
        "return _scored(detector, dataset, dataset.samples[max(done - 1, 0) :], journey)",
        _RESUME,
    ),
    Mutant("resume", "if read_identity(target) != identity:", "if read_identity(target).keys() != identity.keys():", _RESUME),
)


def place_of(mutant: Mutant) -> Path:
    """Return the one file that holds a mutant's code, relative to `src`.

    Raises:
        SystemExit: none does, or several; then the list has to follow the code.
    """
    source = ROOT / "src"
    found = [file for file in sorted(source.rglob("*.py")) for _ in range(file.read_text(encoding="utf-8").count(mutant.code))]
    if len(found) != 1:
        raise SystemExit(f"{mutant.part}: expected this code once, but it stands {len(found)} times: {mutant.code}")
    return found[0].relative_to(source)


def fails(tests: tuple[str, ...], mutant: Mutant | None) -> bool:
    """Tell whether one of `tests` fails in a copy of the project with the fault in; without one, in the copy as it is.

    Raises:
        SystemExit: the tests did not run.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("src", "tests", "benchmarks", "examples", "studies", "tools"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("results", "__pycache__", "*.png"))
        for name in ("pyproject.toml", "README.md", "docs"):
            (copy / name).symlink_to(ROOT / name)
        if mutant:
            file = copy / "src" / place_of(mutant)
            file.write_text(file.read_text(encoding="utf-8").replace(mutant.code, mutant.becomes), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not browser", *tests]
        environment = os.environ | {"PYTHONPATH": f"{copy / 'src'}:{copy / 'benchmarks'}", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.returncode == 1


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="Part of a mutant's part or code.")
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    mutants = [one for one in MUTANTS if chosen.only in one.part or chosen.only in one.code]
    for mutant in mutants:
        place_of(mutant)
    groups = sorted({mutant.tests for mutant in mutants})
    rows: dict[str, dict[str, Any]] = {row["code"]: row for row in json.loads(RESULT.read_text())["mutants"]} if RESULT.exists() else {}
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for tests, failed in zip(groups, pool.map(lambda tests: fails(tests, None), groups), strict=True):
            if failed:  # then a failure with a fault in would say nothing
                raise SystemExit(f"These tests fail without a fault: {' '.join(tests)}")
        for mutant, found in zip(mutants, pool.map(lambda one: fails(one.tests, one), mutants), strict=True):
            place = str(place_of(mutant))
            rows[mutant.code] = {"part": mutant.part, "file": place, "code": mutant.code, "becomes": mutant.becomes, "caught": found}
            print("caught" if found else "MISSED", mutant.part, mutant.code, flush=True)
    listed = [rows[mutant.code] for mutant in MUTANTS if mutant.code in rows]
    result = {"caught": sum(row["caught"] for row in listed), "of": len(MUTANTS), "mutants": listed}
    print(f"{result['caught']} of {result['of']} caught")
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
