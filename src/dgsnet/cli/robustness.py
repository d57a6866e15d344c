"""`dgsnet robustness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dgsnet.cli import options, splits, terminal
from dgsnet.core.errors import DgsnetError
from dgsnet.core.format import figure, interval


def robustness(
    out: Annotated[Path, typer.Option("--out", help="Folder for predictions, figures, plots and report.html.")],
    compared: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[A B...]", help="With --compare: folders of finished runs, or their predictions.", show_default=False),
    ] = None,
    model: options.OptionalModel = None,
    data: options.OptionalData = None,
    split: options.TestSplit = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Score at most so many images, as many of each label. Default: all.")
    ] = None,
    suite: Annotated[
        str, typer.Option("--suite", help="everyday, stability, full: from few perturbations to many; or journeys.")
    ] = "everyday",
    compare: Annotated[bool, typer.Option("--compare", help="Compare the runs A, B... on the images they share.")] = False,
    baseline: options.Baseline = None,
    resamples: options.Resamples = 1000,
    batch_size: options.BatchSize = 2,
    device: options.Device = "cpu",
    provider: options.Provider = None,
    threads: options.Threads = None,
) -> None:
    """Measure how often compressing, scaling or cropping flips the verdict. After a kill the same call goes on where it stopped."""
    from dgsnet.evaluation import robustness
    from dgsnet.evaluation.evaluate import METRICS_JSON
    from dgsnet.evaluation.predictions import failures
    from dgsnet.images import perturb
    from dgsnet.reports import robustness_page, robustness_plots

    if compare:
        if model is not None or data is not None or split is not None or limit is not None:
            raise DgsnetError("--compare takes finished runs as A B...: leave out --model, --data, --split and --limit")
        _compare(compared or [], out, baseline, resamples)
        return
    if compared or baseline:
        raise DgsnetError(f"{compared[0] if compared else '--baseline'} goes with --compare only")
    if model is None or data is None:
        raise DgsnetError("robustness needs --model and --data, or --compare and finished runs")
    chosen = perturb.suite(suite)
    dataset = splits.load(data, split, "test")
    if limit is not None:
        dataset = dataset.balanced_subset(limit, seed=0)

    detector = options.loader(device, provider, threads)(model)
    with terminal.progress() as progress:
        predictions = robustness.predict(detector, dataset, out, chosen, progress, batch_size)
    failed = dict.fromkeys(failures(predictions))  # an image that cannot be decoded has the same error in all its rows
    terminal.name_failures("not scored", failed)
    result = robustness.evaluate(predictions, out, resamples=resamples)
    robustness_plots.write(out, result)
    robustness_page.write(out, result)
    _show(result)
    typer.echo(f"all figures: {out / METRICS_JSON}; to read: {out / robustness_page.REPORT}", err=True)
    if failed or dataset.left_out.lost:
        raise typer.Exit(1)


def _compare(given: list[Path], out: Path, baseline: str | None, resamples: int) -> None:
    from dgsnet.evaluation import robustness
    from dgsnet.evaluation.compare import COMPARISON, locate, short_names
    from dgsnet.reports import robustness_page, robustness_plots

    files = []
    for one in given:
        if (file := locate(one)) is None:
            raise DgsnetError(f"{one} is no predictions file nor a folder with one: run `dgsnet robustness --out {one}` first")
        files.append(file)
    result = robustness.compare(files, out, names=short_names(given), baseline=baseline, resamples=resamples)
    robustness_page.write_comparison(out, result)
    robustness_plots.write_comparison(out, result)
    rows = []
    for name, own in result["detectors"].items():
        other = result["differences"].get(name)
        difference = "baseline" if other is None else interval(other["mean"]["auroc"], 3, sign=True)
        figures = (interval(own["clean"]["auroc"]), interval(own["mean"]["auroc"]), difference, interval(own["changes"]["mean_flip_rate"]))
        rows.append((name, *figures))
    terminal.show_table(("detector", "clean (95 %)", "perturbed (95 %)", "difference (95 %)", "flips (95 %)"), rows)
    typer.echo(f"all figures: {out / COMPARISON}.json, .md", err=True)


def _show(result: dict[str, Any]) -> None:
    from dgsnet.reports.robustness_page import state_name

    def line(name: str, one: dict[str, Any], flips: str = "flip_rate", opposite: str = "opposite_rate") -> tuple[str, ...]:
        accuracy = (interval(one["auroc"]), figure(one["balanced_acc"]["value"])) if "auroc" in one else ("", "")
        labels = (figure(one["by_label"][label][flips]["value"]) for label in ("real", "fake"))
        return (name, *accuracy, interval(one[flips]), *labels, figure(one[opposite]["value"]))

    clean, overall = result["clean"], result["overall"]
    rows = [
        ("none", interval(clean["auroc"]), figure(clean["balanced_acc"]["value"])),
        *(line(state_name(one), one) for one in result["perturbations"]),
        line("mean of these", overall, "mean_flip_rate", "mean_opposite_rate"),
        line("any of these", overall, "flips_any", "opposite_any"),
    ]
    terminal.show_table(
        ("perturbation", "auroc (95 %)", "balanced", "flips (95 %)", "photographs", "generated", "opposite"), rows, outside=()
    )
