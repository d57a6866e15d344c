"""Write the tables of the README, and of the studies in `DOCUMENTS`, from the committed results.

    python -m tools.readme              recompute the tables from the predictions, then the documents from the tables (`make figures`)
    python -m tools.readme --texts      the documents alone, from the tables as they are
    python -m tools.readme --check      end with 1 where a document says something else than the tables

Tables stand between markers; the sentences around them are written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dgsnet.core.files import write_text
from dgsnet.core.format import interval
from dgsnet.reports import tables

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "studies"
DOCUMENTS = (ROOT / "README.md", *(STUDIES / name / "README.md" for name in ("method_comparison", "dgsnet_b16", "robustness")))
BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- /figures -->)", re.DOTALL)
SHIPPED = "second/dgs"
"""The row of the table of `studies/dgsnet_b16` that is the shipped model."""
DETECTORS = {
    "**`dgsnet-b16`**: surgery, head from 209 photo sources and 219 of generated images, as made and travelled": SHIPPED,
    "surgery, head refitted on the corpus": "refit/dgs",
    "LoRA, head refitted on the corpus": "refit/lora",
    "surgery, head as trained": "shipped/dgs",
    "LoRA, head as trained": "shipped/lora",
    "probe on the frozen CLIP, closed form": "ridge/linear",
    "sahu65 1.1.0, as its users run it": "sahu65 1.1.0",
}
LAST = 10
"""Steps of a training log that the loss is averaged over."""


def recompute() -> None:
    """Recompute the tables that the documents quote, from the predictions they are of."""
    from studies.dgsnet_b16 import __main__ as dgsnet_b16  # noqa: PLC0415 - with torch, which no other use of this file needs
    from studies.method_comparison import __main__ as method_comparison  # noqa: PLC0415
    from studies.robustness import __main__ as robustness  # noqa: PLC0415

    method_comparison.table()
    dgsnet_b16.table()
    robustness.table()


def blocks() -> dict[str, str]:
    """Return the content of every block, by name."""
    return {
        "shipped": _shipped(),
        "others": _others(),
        "methods": _methods(),
        "detectors": _detectors(),
        "robustness": _robustness(),
        "robustness_runs": _robustness_runs(),
    }


def _read(study: str, name: str) -> Any:
    """Read a JSON file of a study's results."""
    return json.loads((STUDIES / study / "results" / name).read_text(encoding="utf-8"))


def _shipped() -> str:
    """Return the README's table of the shipped model."""
    found, robust = _read("dgsnet_b16", "table.json"), _read("robustness", "comparison.json")
    one, large = found[SHIPPED], _read("large_pictures", "large.json")["ways"]
    overall, under = one["overall"], robust["detectors"]["dgsnet-b16"]
    worst = min(one["by_generator"].items(), key=lambda item: item[1]["auroc"]["value"])
    sent = _read("second_edition", "test.json")["test"]
    head = list(sent)[3].partition(": ")[2]
    rows = [
        ["AUROC, mean over 14 unseen generators", interval(one["mean_over_generators"]["auroc"], 3)],
        ["the same, minus LoRA trained on the corpus alone (paired)", interval(one["against_baseline"]["auroc"], 3, sign=True)],
        ["worst generator", f"{worst[0]}, AUROC {worst[1]['auroc']['value']:.2f}"],
        [
            "AUROC after a [way through the web](studies/second_edition): drawn for each picture / scaled, cropped to 320, JPEG 85",
            " / ".join(interval(sent[f"{images}: {head}"]["auroc"], 3) for images in ("travelled", "web pipeline")),
        ],
        ["photographs inconclusive: as made / travelled", _inconclusive(sent)],
        [
            "at its threshold: generated images found / photographs called generated",
            f"{overall['fake_acc']['value']:.0%} / {1 - overall['real_acc']['value']:.1%}",
        ],
        ["found at 5 % false alarms", interval(overall["tpr_at_fpr_5"])],
        ["balanced accuracy / calibration error (ECE)", f"{interval(overall['balanced_acc'])} / {interval(overall['ece'])}"],
        [
            f"the first edition under {len(robust['perturbations'])} [perturbations](studies/robustness): "
            "AUROC clean / mean, verdicts that change",
            f"{_auroc(under['clean'])} / {_auroc(under['mean'])}, {under['changes']['mean_flip_rate']['value']:.0%}",
        ],
        [
            "the first edition on [large pictures](studies/large_pictures) of sources left out: AUROC by the centre / by five views",
            f"{_auroc(large['centre'])} / {_auroc(large['centre and quadrants'])}",
        ],
    ]
    return tables.markdown(["`dgsnet-b16` on 987 test images", "(95 % interval)"], rows)


def _inconclusive(sent: Mapping[str, Any]) -> str:
    return " / ".join(f"{sent[f'{images}: verdicts']['balanced']['photographs_inconclusive']:.0%}" for images in ("as made", "travelled"))


def _others() -> str:
    """Return the README's table of everything else, one line each."""
    tested, methods = _read("dgsnet_b16", "table.json"), _read("method_comparison", "table.json")
    towers, forgetting = _read("more_sources", "towers.json"), _read("forgetting", "forgetting.json")
    step, patches = (
        json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text()) for name in ("training_step", "patch_selection")
    )
    coverage = [value for size in _read("bootstrap_coverage", "bootstrap_coverage.json")["coverage"].values() for value in size.values()]
    attack, parts = _read("attack", "dgsnet-b16.json")["figures"], _read("more_sources", "parts.json")["parts"]
    audit = {name: _read("audit", f"{name}.json")["shortcut_auc"] for name in ("flawed", "aligned")}
    kept = {name: one["cka"] for name, one in forgetting["models"].items()}
    of_parts = {one["from"]: f"{one['auroc']['value']:.3f}" for one in parts}
    surgery = methods["dgs-balanced"]["against_lora"]["mean_over_generators"]["auroc"]
    rows = [
        ["surgery minus LoRA, trained alike (AUROC, paired)", interval(surgery, 3, sign=True), "method_comparison"],
        [
            "probe on the frozen CLIP / sahu65 1.1.0, on the same test (AUROC)",
            " / ".join(interval(tested[name]["mean_over_generators"]["auroc"]) for name in ("ridge/linear", "sahu65 1.1.0")),
            "dgsnet_b16",
        ],
        [
            "the first edition's head from the corpus alone / from 378 sources (AUROC)",
            f"{of_parts['the corpus']} / {of_parts['all']}",
            "more_sources",
        ],
        ["the same head on the tuned tower minus on the frozen one", interval(towers["tuned_minus_frozen"], 3, sign=True), "more_sources"],
        ["CKA with the frozen CLIP: surgery / LoRA", f"{interval(kept['dgs'])} / {interval(kept['lora'])}", "forgetting"],
        [
            "files alone, of a collection with the field's flaws / after `align` (AUC)",
            " / ".join(f"{one:.2f}" for one in audit.values()),
            "audit",
        ],
        [
            "an earlier head, attacked with its weights by one grey level per pixel: AUROC before / after",
            f"{_auroc(attack['clean'])} / {_auroc(attack['attack 1'])}",
            "attack",
        ],
        ["95 % intervals that hold the truth, simulated", f"{min(coverage):.1%} to {max(coverage):.1%}", "bootstrap_coverage"],
    ]
    links = [[title, value, f"[{study}](studies/{study})"] for title, value, study in rows]
    ratio = step["ratio"]
    speed = f"{ratio['teacher_in_every_step']:.2f} / {patches['ratio']:.1f} times"
    links.append(
        ["a training step / patch selection, against the published algorithm", f"{speed} as fast", "[benchmarks](benchmarks/results)"]
    )
    return tables.markdown(["measured", "", "in"], links)


def _methods() -> str:
    """Return every run of the comparison of methods, also pooled."""
    rows = [
        [
            name,
            interval(one["mean_over_generators"]["auroc"], 3),
            "" if name == "lora" else interval(one["against_lora"]["mean_over_generators"]["auroc"], sign=True),
            f"{one['overall']['auroc']['value']:.3f}",
            f"{_read('method_comparison', f'{name}/validation.json')['overall']['auroc']['value']:.3f}",
            "" if name == "linear" else f"{_last_loss(name):.2f}",
        ]
        for name, one in _read("method_comparison", "table.json").items()
    ]
    header = ["", "AUROC, mean over generators", "minus LoRA", "pooled AUROC", "validation AUROC", f"image loss, last {LAST} steps"]
    return tables.markdown(header, rows)


def _last_loss(run: str) -> float:
    """Return the mean image loss over the last steps of a run's training log."""
    lines = (STUDIES / "method_comparison" / "results" / run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return float(np.mean([row["loss_image"] for row in map(json.loads, lines) if "loss_image" in row][-LAST:]))


def _detectors() -> str:
    """Return the shipped model beside what it is compared with."""
    found, rows = _read("dgsnet_b16", "table.json"), []
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
    return tables.markdown(header, rows)


def _robustness() -> str:
    """Return the detectors side by side."""
    found = _read("robustness", "comparison.json")
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
    header = ["", "AUROC, clean", f"mean over {len(found['perturbations'])} perturbations", "minus lora (paired)"]
    return tables.markdown([*header, "verdicts that change, mean", "real to generated or back under at least one"], rows)


def _robustness_runs() -> str:
    """Return each run alone, on its own images."""
    rows = []
    for name in _read("robustness", "comparison.json")["detectors"]:
        one = _read("robustness", f"{name}/metrics.json")
        given, everyday = one["computed_from"], one["by_suite"]["everyday"]
        changes = (interval(each) for each in (everyday["mean_flip_rate"], everyday["opposite_any"], one["overall"]["opposite_any"]))
        rows.append([name, str(given["images"]), str(given["failed_rows"]), f"{given['threshold']:.2f}", *changes])
    header = ["run", "images", "rows without a score", "threshold", "verdicts that change, everyday six", "from one answer to the other"]
    return tables.markdown([*header, "the same, under any of all"], rows)


def _auroc(figures: Mapping[str, Any]) -> str:
    value = figures["auroc"]
    return f"{value['value'] if isinstance(value, dict) else value:.2f}"


def written(text: str, known: Mapping[str, str]) -> str:
    """Return a document with every block as `known` has it."""
    return BLOCK.sub(lambda found: f"{found[1]}{known[found[2]]}{found[3]}", text)


def main() -> None:
    """Write or check the documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--texts", action="store_true")
    given = parser.parse_args()
    if not (given.check or given.texts):
        recompute()
    known, stale = blocks(), []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        if written(text, known) == text:
            continue
        stale.append(str(document.relative_to(ROOT)))
        if not given.check:
            write_text(document, written(text, known))
    if given.check and stale:
        sys.exit(f"not what the results say: {', '.join(stale)}; run `make figures`")


if __name__ == "__main__":
    main()
