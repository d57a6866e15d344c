"""The page of `dgsnet detect --report` and of the service: a card per image with verdict, warnings, heatmap and provenance."""

from __future__ import annotations

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
from dgsnet.core.errors import DgsnetError
from dgsnet.core.files import replacing
from dgsnet.inference.verdict import CONTRADICTION, PLAIN, Verdict
from dgsnet.reports import html_shell

if TYPE_CHECKING:
    from dgsnet.inference.detector import Detector
    from dgsnet.inference.heatmap import Heatmap

WORDS: dict[str, str] = {
    "ai-generated": "Looks AI-generated",
    "real": "Looks like a photograph",
    "inconclusive": "Inconclusive: the model cannot tell",
    "not scored": "Not scored",
}
"""Each verdict in words."""

SIGNATURES: dict[str, str] = {
    "none": "The file carries no C2PA signature: nobody vouches for what its metadata say",
    "intact": "The file carries a C2PA signature that holds: it is as it was when it was signed",
    "altered": "The file carries a C2PA signature that does not hold: it was changed after signing, so nothing the manifest says counts",
    "unchecked": "The file carries a C2PA manifest whose signature was not checked",
}
"""What is said of the signature of a file that says something of its origin."""

SIGNERS: dict[str, str] = {
    "unknown": "who signed it is not known: anybody may have made that certificate",
    "trusted": "an authority that is trusted here has certified the signer",
    "expired": "the signer's certificate has expired since, so when it was signed is not proven",
}
"""What is said of the signer behind a signature that holds."""


class Report:
    """A taker of verdicts, one by one, with the picture and the heatmap where there are any."""

    def __init__(self, cards: IO[str]) -> None:
        self.cards = cards
        self.counts: Counter[str] = Counter()
        self.has_heatmaps = False

    def write(self, verdict: Verdict, pixels: NDArray[np.uint8] | None = None, heatmap: Heatmap | None = None) -> None:
        """Add one card; `pixels` is (H, W, 3)."""
        answer = verdict.verdict or "not scored"
        self.counts[answer] += 1
        self.has_heatmaps |= heatmap is not None
        name = html_shell.text(Path(verdict.path).name if verdict.path else "image")
        figures = [] if pixels is None else [html_shell.figure(Image.fromarray(pixels), f"{name}, reduced", "The picture")]
        if heatmap is not None:
            caption = f"Heatmap; a part in full colour moves the logit of {verdict.logit:.2f} by {heatmap.scale:.2f}"
            figures.append(html_shell.figure(heatmap.image, f"heatmap of {name}", caption))
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
                notes="".join(f'<p class="note">{html_shell.text(note)}</p>' for note in _notes(verdict)),
                figures="".join(figures),
                facts=html_shell.facts(facts),
                provenance=_provenance(verdict),
            )
        )


def check_name(target: Path) -> None:
    """Check that a report can have this name.

    Raises:
        DgsnetError: it does not end in ``.html``.
    """
    if target.suffix.lower() not in {".html", ".htm"}:
        raise DgsnetError(f"cannot write a report to {target}: expected a name ending in .html")


@contextmanager
def open_report(target: Path, detector: Detector) -> Iterator[Report]:
    """Open a report on the verdicts of `detector`; the file appears when it is whole.

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
            stream.write(html_shell.END)


def one_picture(
    detector: Detector, verdict: Verdict, pixels: NDArray[np.uint8] | None = None, heatmap: Heatmap | None = None, made: str = ""
) -> str:
    """Return a report on one picture, (H, W, 3), which never touches the disk; `made` says when and for whom, in plain text."""
    cards = io.StringIO()
    report = Report(cards)
    report.write(verdict, pixels, heatmap)
    return f"{_head(report, detector, made)}{cards.getvalue()}{html_shell.END}"


def _head(report: Report, detector: Detector, made: str = "") -> str:
    calibration = detector.config.calibration
    counts = [f"{words.split(':')[0]}: <b>{report.counts[answer]}</b>" for answer, words in WORDS.items() if report.counts[answer]]
    limits = f"{calibration.generated:.3g} and above looks AI-generated, below {calibration.real:.3g} looks like a photograph"
    count = f"{report.counts.total()} image{'' if report.counts.total() == 1 else 's'}"
    return html_shell.head(f"dgsnet report: {count}", _STYLE) + _INTRODUCTION.substitute(
        count=count,
        counts=" &middot; ".join(counts),
        model=html_shell.text(detector.name),
        fingerprint=html_shell.text(detector.fingerprint[:16]),
        version=html_shell.text(__version__),
        limits=limits,
        legend=_LEGEND if report.has_heatmaps else "",
        made=f'<p class="small">{html_shell.text(made)}</p>' if made else "",
    )


def _notes(verdict: Verdict) -> list[str]:
    if verdict.error:
        return [verdict.error.removeprefix(f"{verdict.path}: ")]
    return [PLAIN.get(warning, f"Warning: {warning.replace('_', ' ')}") for warning in verdict.warnings]


def _provenance(verdict: Verdict) -> str:
    provenance = verdict.provenance
    if provenance is None:
        return ""
    contradiction = f'<p class="note">{CONTRADICTION[str(verdict.verdict)]}</p>' if verdict.agrees is False else ""
    signature = SIGNATURES[provenance.signature] if provenance.findings else ""
    if provenance.signature == "intact" and provenance.signer in SIGNERS:
        signature += f"; {SIGNERS[provenance.signer]}"
    entries = "".join(
        f"<dt>{html_shell.text(one.kind)}</dt><dd><b>{html_shell.text(one.says)}</b>: {html_shell.text(one.value)}</dd>"
        for one in provenance.findings
    )
    return _PROVENANCE.substitute(
        summary=html_shell.text(provenance.summary),
        signature=f"<p>{html_shell.text(signature)}.</p>" if signature else "",
        contradiction=contradiction,
        findings=f"<dl>{entries}</dl>" if entries else "",
    )


_STYLE = """
section { border-left: .4rem solid #8c959f; }
.ai-generated { border-left-color: #b2182b; } .real { border-left-color: #2166ac; } .inconclusive { border-left-color: #9a6700; }
.ai-generated .words { color: #b2182b; } .real .words { color: #2166ac; } .inconclusive .words { color: #7d5300; }
.note { background: #fff8c5; border: 1px solid #d4a72c; border-radius: .3rem; padding: .4rem .6rem; margin: .5rem 0; }
.note { overflow-wrap: anywhere; }
.scale i { position: absolute; top: -.25rem; width: .3rem; height: 1.1rem; margin-left: -.15rem; background: #1f2328; }

.provenance { border-top: 1px solid #eaeef2; margin-top: .75rem; padding-top: .5rem; }
.provenance h3 { font-size: 1rem; margin: 0 0 .25rem; } .provenance p { margin: 0; }
"""

_INTRODUCTION = Template(
    """<h1>dgsnet: $count</h1>
<section>
<p class="words">A score is a signal, not proof.</p>
<p>It says what one model makes of a picture, and the model can be confidently wrong, above all on generators it never saw, and on pictures
that were scaled down, filtered or re-saved. Do not accuse anybody on the strength of it.</p>
<p>$counts</p>
<p>A score runs from 0 (photograph) to 1 (AI-generated); with this model $limits.</p>
$legend<p class="small">Model $model, fingerprint $fingerprint, dgsnet $version</p>$made
</section>
"""
)

_LEGEND = f"""<p>In a heatmap, colour marks the parts of the picture that the model's answer rests on.</p>
{html_shell.SCALE_OF_HEATMAPS}
<p class="small">Plain grey parts moved it little or were not shown to the model. Colours show what the model answered to; they do not prove
that this part of the picture was generated or edited.</p>
"""

_CARD = Template(
    """<section class="$kind">
<h2>$name</h2>
<p class="words">$words</p>
$score$notes
<div class="figures">$figures</div>
$facts$provenance
</section>
"""
)

_SCORE = Template(
    """<p>Score <b>$score</b></p>
<div class="scale"><i style="left: $place%"></i></div><p class="ends"><span>0 photograph</span><span>AI-generated 1</span></p>
"""
)

_PROVENANCE = Template(
    """
<div class="provenance">
<h3>What the file says of its origin</h3>
<p>$summary It changes neither score nor verdict.</p>
$contradiction$signature$findings
</div>"""
)
