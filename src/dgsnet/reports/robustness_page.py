"""`report.html` of a robustness run: what compression, scaling and filters do to the figures and to the verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dgsnet import __version__
from dgsnet.core.files import write_text
from dgsnet.core.format import figure, interval
from dgsnet.reports import charts, html_shell
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
        name = one["perturbation"] + ("" if one["severity"] is None else f" {one['severity']:g}")
        changes = [interval(one["flip_rate"]), *(figure(one["by_label"][label]["flip_rate"]["value"]) for label in ("real", "fake"))]
        rows.append([name, interval(one["auroc"]), figure(one["balanced_acc"]["value"]), *changes])
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
