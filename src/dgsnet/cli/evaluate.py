"""`dgsnet evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dgsnet.cli import options, splits, terminal
from dgsnet.core.errors import DgsnetError
from dgsnet.core.format import figure, interval

if TYPE_CHECKING:
    from dgsnet.data.dataset import Dataset
    from dgsnet.inference.detector import Detector

_BENCHMARKS = "universalfakedetect, aigcdetectbenchmark, aigibench, genimage, chameleon, hires50k, communityforensics, corpus"
_GENERATOR, _HEATMAPS = "generator", 6


def evaluate(
    out: Annotated[Path, typer.Option("--out", help="Folder for predictions.parquet, metrics.json, metrics.csv, report.html and more.")],
    compared: Annotated[
        list[str] | None,
        typer.Argument(metavar="[A B...]", help="With --compare: predictions, folders of some, or models.", show_default=False),
    ] = None,
    model: options.OptionalModel = None,
    data: options.OptionalData = None,
    predictions: Annotated[Path | None, typer.Option("--predictions", help="Recompute metrics from this file; no image is scored.")] = None,
    split: options.TestSplit = None,
    journey: Annotated[
        str | None,
        typer.Option("--journey", help="Score every image after a journey: share, messenger, screenshot, repost, or any of them."),
    ] = None,
    benchmark: Annotated[str | None, typer.Option("--benchmark", help=f"Follow a benchmark's protocol: {_BENCHMARKS}.")] = None,
    root: Annotated[Path | None, typer.Option("--root", help="With --benchmark: the unpacked archive.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Compare A, B... on the images they share.")] = False,
    baseline: options.Baseline = None,
    group: Annotated[str | None, typer.Option("--group", help="Column generated images are grouped by. Default: generator.")] = None,
    resamples: options.Resamples = 1000,
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="Column whose images the bootstrap draws together, such as group. Default: none.")
    ] = None,
    heatmaps: Annotated[
        int | None, typer.Option("--heatmaps", min=0, max=6, help="Heatmaps of the worst mistakes of each kind; seconds each. Default: 6.")
    ] = None,
    device: options.Device = "cpu",
    provider: options.Provider = None,
    threads: options.Threads = None,
    operating_point: options.Point = "balanced",
    max_pixels: options.MaxPixels = None,
    max_bytes: options.MaxBytes = None,
) -> None:
    """Metrics per generator with 95 % bootstrap intervals. After a kill the same call goes on where it stopped."""
    load = options.loader(device, provider, threads, operating_point, options.decode_policy(max_pixels, max_bytes))
    if compare:
        if benchmark or predictions or model or cluster:
            raise DgsnetError("--compare takes what it compares as A B...: leave out --benchmark, --predictions, --model and --cluster")
        if group is not None or heatmaps is not None:
            raise DgsnetError("--compare goes by generator and draws no heatmaps: leave out --group and --heatmaps")
        _compare(compared or [], out, baseline, data, split, resamples, load, journey)
        return
    drawn = _heatmaps(heatmaps, journey)
    if compared or baseline:
        raise DgsnetError(f"{compared[0] if compared else '--baseline'} goes with --compare only")
    if benchmark is not None:
        if data is not None or split is not None or cluster is not None or group is not None:
            left_out = "leave out --data, --split, --group and --cluster"
            raise DgsnetError(f"--benchmark takes its images from --root, tests its own split and goes by its subsets: {left_out}")
        _benchmark(benchmark, root, model, predictions, out, resamples, drawn, load, journey)
        return
    if root is not None:
        raise DgsnetError("--root goes with --benchmark only; other data is --data")
    if predictions is None:
        if model is None or data is None:
            raise DgsnetError("evaluate needs --model and --data, or --predictions")
        scored = _predict(model, splits.load(data, split, "test"), out, load, journey)
    elif model is not None or data is not None or split is not None or journey is not None:
        raise DgsnetError("--predictions stands for --model, --data, --split and --journey: give the one or the others")
    else:
        scored = _Scored(predictions)
    result, failed = _report(scored, out, group or _GENERATOR, resamples, drawn, cluster)
    _show(result)
    if failed or scored.lost:
        raise typer.Exit(1)


def _heatmaps(asked: int | None, journey: str | None) -> int:
    if journey is not None and asked:
        raise DgsnetError("--heatmaps are of the images as they are: leave it out with --journey")
    return 0 if journey is not None else _HEATMAPS if asked is None else asked


@dataclass(frozen=True)
class _Scored:
    """A predictions file, and what it was made from where that is at hand: then the report shows images, not only their names."""

    predictions: Path
    dataset: Dataset | None = None
    detector: Detector | None = None

    @property
    def lost(self) -> bool:
        """Whether what was left out of the data may be pictures."""
        return self.dataset is not None and self.dataset.left_out.lost > 0


def _report(
    scored: _Scored, out: Path, group: str, resamples: int, heatmaps: int, cluster: str | None = None
) -> tuple[dict[str, Any], bool]:
    """Write all that is written about a predictions file whatever the data was; return the metrics, and whether some image has no score."""
    from dgsnet.evaluation import evaluate
    from dgsnet.evaluation.predictions import failures, recorded_threshold
    from dgsnet.reports import evaluation_page

    predictions = scored.predictions
    failed = failures(predictions)
    terminal.name_failures("not scored", failed)
    threshold = recorded_threshold(predictions)
    result = evaluate.evaluate(predictions, out, group=group, threshold=threshold, resamples=resamples, cluster=cluster)
    terminal.name_failures("warning", result["warnings"])
    with terminal.progress() as progress:
        evaluation_page.write(out, result, predictions, scored.dataset, scored.detector, progress, heatmaps)
    typer.echo(f"all figures: {out / evaluate.METRICS_JSON}; to read: {out / evaluation_page.REPORT}", err=True)
    return result, bool(failed)


def _predict(model: str, dataset: Dataset, out: Path, load: options.Load, journey: str | None) -> _Scored:
    from dgsnet.evaluation import predictions
    from dgsnet.images import perturb

    taken = None if journey is None else perturb.journey(journey)
    detector = load(model)
    with terminal.progress() as progress:
        return _Scored(predictions.predict(detector, dataset, out, progress, taken), dataset, detector)


def _benchmark(
    name: str,
    root: Path | None,
    model: str | None,
    predictions: Path | None,
    out: Path,
    resamples: int,
    heatmaps: int,
    load: options.Load,
    journey: str | None,
) -> None:
    from dgsnet.evaluation.benchmarks import layouts, protocol, registry
    from dgsnet.inference.writers import printable
    from dgsnet.reports import benchmark_page

    chosen, unmatched, console = registry.benchmark(name), {}, terminal.console()
    if predictions is None:
        if model is None or root is None:
            raise DgsnetError("evaluate --benchmark needs --model and --root, or --predictions of an earlier run")
        found = layouts.read(chosen, root)
        terminal.name_left_out(found.dataset.left_out)
        unmatched = found.unmatched
        for folder, count in unmatched.items():
            console.print(f"left out: {count} images in {printable(folder)}, which is no subset of {chosen.title}", markup=False)
        scored = _predict(model, found.dataset, out, load, journey)
    elif model is not None or root is not None or journey is not None:
        raise DgsnetError("--predictions stands for --model, --root and --journey: give the one or the others")
    else:
        scored = _Scored(predictions)
    _, failed = _report(scored, out, _GENERATOR, resamples, heatmaps)
    result = protocol.evaluate(chosen, scored.predictions, out, resamples=resamples, unmatched=unmatched)
    page = benchmark_page.write(out, result)
    _show_benchmark(result)
    for subset, report in result["subsets"].items():
        if report["counts"]["ok"] is False:
            here = f"{report['n_real']} + {report['n_fake']}, {report['failed']} not scored"
            console.print(f"{subset}: {here}, but published are {report['counts']['published']} images", markup=False)
    if result["missing"]:
        console.print(f"missing: {', '.join(result['missing'])}", markup=False)
    typer.echo(f"by the protocol of {chosen.title}: {page}", err=True)
    if failed or scored.lost:
        raise typer.Exit(1)


def _compare(
    given: list[str],
    out: Path,
    baseline: str | None,
    data: Path | None,
    split: str | None,
    resamples: int,
    load: options.Load,
    journey: str | None,
) -> None:
    from dgsnet.evaluation import compare
    from dgsnet.evaluation.predictions import failures
    from dgsnet.reports import comparison_page

    names = compare.short_names([Path(one) for one in given])
    files: list[Path] = []
    failed: dict[str, None] = {}  # an image that cannot be decoded fails for each model
    dataset = None
    for name, one in zip(names, given, strict=True):
        file = compare.locate(Path(one))
        if file is None:
            if data is None:
                raise DgsnetError(f"{one} is no predictions file nor a folder with one; to score it as a model, give --data")
            dataset = dataset or splits.load(data, split, "test")
            file = _predict(one, dataset, out / "scored" / name.replace("/", "-"), load, journey).predictions
            failed |= dict.fromkeys(failures(file))
        files.append(file)
    terminal.name_failures("not scored", failed)
    result = compare.compare(files, out, names=names, baseline=baseline, resamples=resamples)
    comparison_page.write(out, result)
    _show_comparison(result)
    typer.echo(f"all figures: {out / compare.COMPARISON}.json, .csv, .md, .tex", err=True)
    if failed or (dataset is not None and dataset.left_out.lost):
        raise typer.Exit(1)


def _show(result: dict[str, Any]) -> None:
    plain = ("real_acc", "fake_acc", "tpr_at_fpr_5")
    reports = [*result["by_generator"].items(), ("mean of these", result["mean_over_generators"]), ("overall", result["overall"])]
    rows = [
        (name, _images(report), interval(report["auroc"]), *(figure(report[metric]["value"]) for metric in plain))
        for name, report in reports
    ]
    terminal.show_table(("generator", "images", "auroc (95 %)", *plain), rows)


def _show_benchmark(result: dict[str, Any]) -> None:
    rows = []
    for name, report in [*result["subsets"].items(), ("mean of these", result["mean"])]:
        cells = (cell for metric in ("acc", "ap") for cell in (interval(report[metric]), figure(report["published"].get(metric))))
        rows.append((name, _images(report), *cells))
    terminal.show_table(("subset", "images", "acc (95 %)", "published", "ap (95 %)", "published"), rows)


def _images(report: dict[str, Any]) -> str:
    return f"{report['n_real']} + {report['n_fake']}" if "n_real" in report else ""


def _show_comparison(result: dict[str, Any]) -> None:
    first = {one["detector"]: f"{one['shares'][0]:.0%}" for one in result["ranking"]["auroc"] or []}
    rows = []
    for name, own in result["detectors"].items():
        other = result["differences"].get(name)
        difference = "baseline" if other is None else interval(other["mean_over_generators"]["auroc"], 3, sign=True)
        auroc = interval(own["mean_over_generators"]["auroc"])
        rows.append((name, auroc, difference, first.get(name, "-"), str(own["dropped"] + own["unscored"])))
    terminal.show_table(("detector", "auroc (95 %)", "difference (95 %)", "first", "dropped"), rows)
