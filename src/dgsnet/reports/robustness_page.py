"""`report.html` of a robustness run: the effect of compression, scaling and filters on figures and verdicts; `comparison.md` of several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dgsnet import __version__
from dgsnet.core.files import write_text
from dgsnet.core.format import figure, interval
from dgsnet.evaluation.compare import COMPARISON
from dgsnet.reports import charts, html_shell, tables
from dgsnet.reports.robustness_plots import generator_panels, severity_panels

REPORT = "report.html"


def write(out: Path, result: dict[str, Any]) -> Path:
    """Write `out/report.html` of a result of `robustness.evaluate`."""
    overall, clean, known = result["overall"], result["clean"], result["computed_from"]
    numbers = {
        "verdicts that change, mean over perturbations": interval(overall["mean_flip_rate"]),
        "images whose verdict changes under at least one": interval(overall["flips_any"]),
        "to the opposite verdict under at least one": interval(overall["opposite_any"]),
        "AUROC of the images as they are": interval(clean["auroc"]),
    }
    rows = [["none", interval(clean["auroc"]), figure(clean["balanced_acc"]["value"]), "-", "-", "-"]]
    for one in result["perturbations"]:
        changes = [interval(one["flip_rate"]), *(figure(one["by_label"][label]["flip_rate"]["value"]) for label in ("real", "fake"))]
        rows.append([state_name(one), interval(one["auroc"]), figure(one["balanced_acc"]["value"]), *changes])
    header = ["perturbation", "AUROC", "balanced accuracy", "verdicts that change", "of photographs", "of generated"]
    facts = {key: str(value) for key, value in known.items() if key != "predictions"}
    written = {"page written by": f"dgsnet {__version__}"}
    chart = charts.svg(severity_panels(result), "AUROC and verdict flips over severity")
    by_generator = charts.svg(generator_panels(result), "AUROC of each generator over severity") if result["by_generator"] else "-"
    note = '<p class="small">Each generator against all photographs, number of its images in brackets; few images make ragged curves.</p>'
    body = (
        "<h1>dgsnet robustness</h1>"
        f"<section><p>{known['images']} images, {len(result['perturbations'])} perturbations of each. In brackets 95 % bootstrap intervals."
        f"</p>{html_shell.numbers(numbers)}</section><section><h2>Over severity</h2>{chart}</section>"
        f"<section><h2>Over severity, by generator</h2>{note}{by_generator}</section>"
        f"<section><h2>By perturbation</h2>{html_shell.table(header, rows)}</section>"
        f"<section><h2>Settings</h2>{html_shell.facts(known['predictions'] | facts | written)}</section>"
    )
    write_text(out / REPORT, html_shell.document("dgsnet robustness", body))
    return out / REPORT


def state_name(one: dict[str, Any]) -> str:
    """Return the name and the severity of a result's entry for one perturbation."""
    return str(one["perturbation"]) + ("" if one["severity"] is None else f" {one['severity']:g}")


def write_comparison(out: Path, result: dict[str, Any]) -> None:
    """Write `out/comparison.md` of a result of `robustness.compare`."""
    write_text(out / f"{COMPARISON}.md", _as_markdown(result))


def _as_markdown(result: dict[str, Any]) -> str:
    base, known = result["computed_from"]["baseline"], result["computed_from"]
    differences = result["differences"]

    def beside(name: str, part: str) -> str:
        return "baseline" if name == base else interval(differences[name][part]["auroc"], 3, sign=True)

    header = [
        *("detector", "AUROC, clean", "difference", "AUROC, mean over perturbations", "difference"),
        *("balanced accuracy, clean", "mean over perturbations", "verdicts that change, mean", "under at least one"),
    ]
    rows = [
        [
            *(name, interval(one["clean"]["auroc"]), beside(name, "clean"), interval(one["mean"]["auroc"]), beside(name, "mean")),
            *(interval(one[part]["balanced_acc"]) for part in ("clean", "mean")),
            *(interval(one["changes"][figure]) for figure in ("mean_flip_rate", "flips_any")),
        ]
        for name, one in result["detectors"].items()
    ]
    kinds = list(dict.fromkeys(one["perturbation"] for one in result["perturbations"]))
    by_kind = [[kind, *(interval(one["by_kind"][kind]["auroc"], 3, sign=True) for one in differences.values())] for kind in kinds]
    each = [
        [
            state_name(one),
            *(interval(detector["perturbations"][number]["auroc"]) for detector in result["detectors"].values()),
        ]
        for number, one in enumerate(result["perturbations"])
    ]
    count = f"{known['images']} images ({known['photographs']} photographs)"
    return "\n".join(
        [
            f"# Robustness, side by side\n\n{count}, {len(each)} perturbations of each.\n",
            tables.markdown(header, rows),
            f"## Difference in AUROC to {base}, mean over severities\n",
            tables.markdown(["perturbation", *differences], by_kind),
            "## AUROC under each\n",
            tables.markdown(["perturbation", *result["detectors"]], each),
            f"In brackets 95 % bootstrap intervals over images ({known['resamples']} resamples); differences are paired. "
            "Balanced accuracy is at each detector's own threshold.\n",
        ]
    )
