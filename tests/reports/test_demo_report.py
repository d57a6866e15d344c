"""The demo's table names each decoder once, with its kind and figures, and each kind's mean below its decoders."""

from io import StringIO

from PIL import Image
from rich.console import Console

from dgsnet.reports import demo_report

DECODERS = {"seen": ("nearest", "transposed"), "unseen": ("shuffle",)}
PSNR = {"nearest": 31.0, "transposed": 32.5, "shuffle": 30.0}


def figures_of(value):
    """Figures of one method: a value of its own in each row."""
    rows = ("nearest", "transposed", "mean, seen", "shuffle", "mean, unseen")
    none = {"value": None, "low": None, "high": None}
    return {
        name: {"auroc": {"value": value + number / 100, "low": 0.1, "high": 0.9}, "balanced_acc": none} for number, name in enumerate(rows)
    }


def test_rows_of_the_table():
    printed = StringIO()
    result = {"figures": {"linear": figures_of(0.5), "dgs": figures_of(0.7)}, "psnr": PSNR}
    demo_report.show(Console(file=printed, width=160), result, DECODERS)
    rows = [line.split() for line in printed.getvalue().splitlines() if "0.10-0.90" in line]
    assert [row[0] for row in rows] == ["nearest", "transposed", "mean,", "shuffle", "mean,"]
    assert rows[1] == ["transposed", "seen", "32.5", "dB", "0.51", "0.10-0.90", "-", "0.71", "0.10-0.90", "-"]
    assert rows[4] == ["mean,", "unseen", "0.54", "0.10-0.90", "-", "0.74", "0.10-0.90", "-"]


def test_the_plot_is_a_png(tmp_path):
    demo_report.plot(tmp_path / "demo.png", {"figures": {"dgs": figures_of(0.7)}, "psnr": PSNR}, DECODERS)
    assert Image.open(tmp_path / "demo.png").format == "PNG"
    assert list(tmp_path.iterdir()) == [tmp_path / "demo.png"]
