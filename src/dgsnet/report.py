"""`dgsnet detect --report`: one HTML file a person can read, with nothing outside it. Pictures are inside as data URIs, there is no script,
and a content security policy keeps a browser from fetching anything even if something slipped past the escaping."""

from __future__ import annotations

import base64
import html
import io
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dgsnet import __version__
from dgsnet.errors import DgsnetError
from dgsnet.files import replacing
from dgsnet.rows import printable
from dgsnet.verdict import PLAIN, Verdict

if TYPE_CHECKING:
    from dgsnet.detector import Detector
    from dgsnet.heatmap import Heatmap

SIDE = 640
"""Longest side of a picture in the report, pixels."""

WORDS: dict[str, str] = {
    "ai-generated": "Looks AI-generated",
    "real": "Looks like a photograph",
    "inconclusive": "Inconclusive: the model cannot tell",
    "not scored": "Not scored",
}
"""Each verdict in words."""


class Report:
    """Takes verdicts one by one, with the picture and the heatmap where there are any."""

    def __init__(self, cards: IO[str]) -> None:
        self.cards = cards
        self.counts: Counter[str] = Counter()
        self.has_heatmaps = False

    def write(self, verdict: Verdict, pixels: NDArray[np.uint8] | None = None, heatmap: Heatmap | None = None) -> None:
        """Add one card; `pixels` is (H, W, 3)."""
        answer = verdict.verdict or "not scored"
        self.counts[answer] += 1
        self.has_heatmaps |= heatmap is not None
        name = _text(Path(verdict.path).name if verdict.path else "image")
        figures = [] if pixels is None else [_figure(Image.fromarray(pixels), f"{name}, reduced", "The picture")]
        if heatmap is not None:
            caption = f"Heatmap; a part in full colour moves the logit of {verdict.logit:.2f} by {heatmap.scale:.2f}"
            figures.append(_figure(heatmap.image, f"heatmap of {name}", caption))
        facts = {
            "file": verdict.path,
            "sha256": verdict.sha256,
            "format": verdict.format,
            "pixels": f"{verdict.width} x {verdict.height}" if verdict.width else None,
            "model": verdict.model,
            "logit": None if verdict.logit is None else f"{verdict.logit:.3f}",
        }
        self.cards.write(
            _CARD.substitute(
                kind=answer.replace(" ", "-"),
                name=name,
                words=WORDS[answer],
                score="" if verdict.score is None else _SCORE.substitute(score=f"{verdict.score:.3f}", place=f"{100 * verdict.score:.1f}"),
                notes="".join(f'<p class="note">{_text(note)}</p>' for note in _notes(verdict)),
                figures="".join(figures),
                facts="".join(f"<dt>{key}</dt><dd>{_text(value)}</dd>" for key, value in facts.items() if value),
            )
        )


def check_name(target: Path) -> None:
    """Whether a report can have this name.

    Raises:
        DgsnetError: it does not end in ``.html``.
    """
    if target.suffix.lower() not in {".html", ".htm"}:
        raise DgsnetError(f"cannot write a report to {target}: expected a name ending in .html")


@contextmanager
def open_report(target: Path, detector: Detector) -> Iterator[Report]:
    """A report on what `detector` says; the file appears when it is whole.

    Raises:
        DgsnetError: as `check_name`.
    """
    check_name(target)
    # The counts stand above the cards, and pictures of thousands of images are too much to hold: so cards wait in a file.
    with replacing(target) as aside, tempfile.TemporaryFile("w+", encoding="utf-8") as cards:
        report = Report(cards)
        yield report
        cards.seek(0)
        with aside.open("w", encoding="utf-8") as stream:
            stream.write(_head(report, detector))
            shutil.copyfileobj(cards, stream)
            stream.write("</main></body></html>\n")


def _head(report: Report, detector: Detector) -> str:
    calibration = detector.config.calibration
    counts = [f"{words.split(':')[0]}: <b>{report.counts[answer]}</b>" for answer, words in WORDS.items() if report.counts[answer]]
    limits = f"{calibration.generated:.3g} and above looks AI-generated, below {calibration.real:.3g} looks like a photograph"
    return _HEAD.substitute(
        count=f"{report.counts.total()} image{'' if report.counts.total() == 1 else 's'}",
        counts=" &middot; ".join(counts),
        model=_text(detector.name),
        fingerprint=_text(detector.fingerprint[:16]),
        version=_text(__version__),
        limits=limits,
        legend=_LEGEND if report.has_heatmaps else "",
    )


def _notes(verdict: Verdict) -> list[str]:
    if verdict.error:
        return [verdict.error.removeprefix(f"{verdict.path}: ")]
    return [PLAIN.get(warning, f"Warning: {warning.replace('_', ' ')}") for warning in verdict.warnings]


def _figure(picture: Image.Image, alt: str, caption: str) -> str:
    """A picture of at most `SIDE` pixels a side; `alt` and `caption` are HTML already."""
    small = picture.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    small.save(encoded, "JPEG", quality=85)
    data = base64.b64encode(encoded.getvalue()).decode()
    size = f'width="{small.width}" height="{small.height}"'
    return f'<figure><img {size} alt="{alt}" src="data:image/jpeg;base64,{data}"><figcaption>{caption}</figcaption></figure>'


def _text(text: str) -> str:
    """Text from outside as HTML: one line, no control or direction characters, nothing a browser obeys."""
    return html.escape(printable(text))


_HEAD = Template(
    """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>dgsnet report: $count</title>
<style>
body { margin: 0; background: #f3f4f6; color: #1f2328; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin: .5rem 0; }
h2 { font-size: 1.05rem; margin: 0; overflow-wrap: anywhere; }
section { background: #fff; border: 1px solid #d0d7de; border-left: .4rem solid #8c959f; border-radius: .5rem; }
section { padding: 1rem; margin: 1rem 0; }
.ai-generated { border-left-color: #b2182b; } .real { border-left-color: #2166ac; } .inconclusive { border-left-color: #9a6700; }
.words { font-size: 1.25rem; font-weight: 600; margin: .25rem 0; }
.ai-generated .words { color: #b2182b; } .real .words { color: #2166ac; } .inconclusive .words { color: #7d5300; }
.note { background: #fff8c5; border: 1px solid #d4a72c; border-radius: .3rem; padding: .4rem .6rem; margin: .5rem 0; }
.note { overflow-wrap: anywhere; }
.scale { position: relative; height: .6rem; max-width: 24rem; border-radius: .3rem; }
.scale { background: linear-gradient(90deg, #2166ac, #ddd, #b2182b); }
.scale i { position: absolute; top: -.25rem; width: .3rem; height: 1.1rem; margin-left: -.15rem; background: #1f2328; }
.ends { display: flex; justify-content: space-between; max-width: 24rem; font-size: .85rem; color: #57606a; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: .75rem 0; }
figure { margin: 0; flex: 0 1 28.5rem; min-width: 0; }
img { max-width: 100%; height: auto; display: block; border-radius: .25rem; }
figcaption, dl, .small { font-size: .85rem; color: #57606a; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0 .75rem; margin: .5rem 0 0; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { main { padding: .5rem; } section { padding: .75rem; } figure { flex-basis: 100%; } }
</style></head>
<body><main>
<h1>dgsnet: $count</h1>
<section>
<p class="words">A score is a signal, not proof.</p>
<p>It says what one model makes of a picture, and the model can be confidently wrong, above all on generators it never saw, and on pictures
that were scaled down, filtered or re-saved. Do not accuse anybody on the strength of it.</p>
<p>$counts</p>
<p>A score runs from 0 (photograph) to 1 (AI-generated); with this model $limits.</p>
$legend<p class="small">Model $model, fingerprint $fingerprint, dgsnet $version</p>
</section>
"""
)

_LEGEND = """<p>In a heatmap, colour marks the parts of the picture that the model's answer rests on.</p>
<div class="scale"></div><p class="ends"><span>towards photograph</span><span>towards AI-generated</span></p>
<p class="small">Plain grey parts moved it little or were not shown to the model. Colours show what the model answered to; they do not prove
that this part of the picture was generated or edited.</p>
"""

_CARD = Template(
    """<section class="$kind">
<h2>$name</h2>
<p class="words">$words</p>
$score$notes
<div class="figures">$figures</div>
<dl>$facts</dl>
</section>
"""
)

_SCORE = Template(
    """<p>Score <b>$score</b></p>
<div class="scale"><i style="left: $place%"></i></div><p class="ends"><span>0 photograph</span><span>AI-generated 1</span></p>
"""
)
