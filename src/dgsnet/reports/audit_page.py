"""`audit.html`: the audit as one page to read, without scripts and without anything from outside; for a desk and for a phone."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any

from dgsnet.core.files import write_text
from dgsnet.core.format import interval
from dgsnet.reports import html_shell

AUDIT_HTML = "audit.html"

_WORDS = (
    (0.75, "strong", "Files alone tell the labels apart"),
    (0.6, "some", "Files give something away"),
    (0.0, "none", "No shortcut found"),
)


def write(out: Path, result: dict[str, Any]) -> Path:
    """Write `out/audit.html` of a result of `audit`."""
    write_text(out / AUDIT_HTML, page(result))
    return out / AUDIT_HTML


def page(result: dict[str, Any]) -> str:
    """Return the page for the content of `audit.json`."""
    shortcut, counts = result["shortcut"], result["counts"]
    kind, words = _level(shortcut["value"])
    across = result["across_sources"]
    body = _PAGE.substitute(
        kind=kind,
        words=words,
        auc=interval(shortcut),
        place=f"{100 * (2 * shortcut['value'] - 1):.1f}",
        chance=f"{shortcut['chance_up_to']:.2f}",
        folds=html_shell.text(shortcut["folds"]),
        across=interval(across) if across["value"] is not None else html_shell.text(across["folds"]),
        captions=_caption_words(result["captions"]),
        images=f"{counts['real']} photographs and {counts['fake']} generated images",
        unreadable_count=counts["unreadable"],
        advice="".join(f"<li>{html_shell.text(line)}</li>" for line in result["advice"]),
        features="".join(_feature(feature) for feature in result["features"]),
        duplicates="".join(_duplicates(name, result["duplicates"][name]) for name in ("exact", "near")),
        marks=_marks(result["generator_marks"]),
        unreadable=_list("Unreadable", [row["error"] for row in result["unreadable"]]),
        sources=_list("Sources", [f"{name} ({count})" for name, count in counts["sources"].items()]),
        version=html_shell.text(result["computed_from"]["dgsnet"]),
        fingerprint=html_shell.text(result["computed_from"]["fingerprint"][:16]),
    )
    return html_shell.document("dgsnet audit", body, _STYLE)


def _level(auc: float) -> tuple[str, str]:
    return next((kind, words) for limit, kind, words in _WORDS if auc >= limit)


def _caption_words(captions: dict[str, Any]) -> str:
    if not captions["captioned"]:
        return "no captions"
    return "too few groups" if captions["auc"] is None else f"AUC {captions['auc']:.3f}"


def _feature(feature: dict[str, Any]) -> str:
    name = feature["name"].replace("_", " ") + ("" if feature["counts"] else " *")
    return _FEATURE.substitute(
        kind=_level(feature["auc"])[0],
        name=html_shell.text(name),
        auc=f"{feature['auc']:.3f}",
        place=f"{100 * (2 * feature['auc'] - 1):.1f}",
        real=html_shell.text(feature["real"]),
        fake=html_shell.text(feature["fake"]),
        advice=f'<p class="small">{html_shell.text(feature["advice"])}</p>' if feature["advice"] else "",
    )


def _duplicates(kind: str, found: dict[str, Any]) -> str:
    what = {"exact": "Same bytes", "near": "Same picture, other bytes"}[kind]
    line = (
        f"<p>{what}: <b>{found['sets']}</b> sets of {found['images']} images; "
        f"<b>{found['across_labels']}</b> across labels, <b>{found['across_splits']}</b> across splits.</p>"
    )
    sets = [" = ".join(f"{one['path']} ({_side(one)})" for one in members) for members in found["examples"]]
    return line + _list("Examples", sets)


def _side(image: dict[str, Any]) -> str:
    return ("real", "fake")[image["label"]] + (f", {image['split']}" if image["split"] else "")


def _marks(found: dict[str, Any]) -> str:
    line = f"<p>Named in metadata or in the corner: <b>{found['real']}</b> photographs, <b>{found['fake']}</b> generated images.</p>"
    return line + _list("Examples", [f"{one['path']} ({('real', 'fake')[one['label']]}): {one['mark']}" for one in found["examples"]])


def _list(title: str, lines: list[str]) -> str:
    if not lines:
        return ""
    entries = "".join(f"<li>{html_shell.text(line)}</li>" for line in lines)
    return f"<details><summary>{title} ({len(lines)})</summary><ul>{entries}</ul></details>"


_FEATURE = Template(
    """<div class="row $kind"><div class="name"><b>$name</b>$advice</div>
<div class="auc"><b>$auc</b><div class="bar"><i style="width: $place%"></i></div></div>
<div class="side"><span>real</span> $real</div><div class="side"><span>fake</span> $fake</div></div>
"""
)

_STYLE = """
section.strong { border-left: .4rem solid #b2182b; } section.some { border-left: .4rem solid #9a6700; }
section.none { border-left: .4rem solid #1a7f37; }
.side { font-size: .85rem; color: #57606a; margin: 0; }
.bar { height: .5rem; border-radius: .25rem; background: #e4e7eb; } .bar i { display: block; height: 100%; border-radius: .25rem; }
.strong .bar i { background: #b2182b; } .some .bar i { background: #d4a72c; } .none .bar i { background: #8c959f; }
.row { display: grid; grid-template-columns: minmax(0, 5fr) minmax(5rem, 2fr) minmax(0, 4fr) minmax(0, 4fr); gap: .25rem 1rem; }
.row { padding: .5rem 0; border-top: 1px solid #e4e7eb; }
.side span { font-weight: 600; color: #1f2328; }
ul { padding-left: 1.2rem; margin: .25rem 0; } summary { cursor: pointer; }
@media (max-width: 44rem) { .row { grid-template-columns: minmax(0, 1fr) 7rem; } .side { grid-column: 1 / -1; } }
"""

_PAGE = Template(
    """<h1>dgsnet audit</h1>
<section class="$kind">
<p class="words">$words: AUC $auc</p>
<div class="bar"><i style="width: $place%"></i></div>
<p class="small">0.5 is chance, 1 is certain; with so many images luck alone reaches $chance once in twenty times. The classifier saw the
columns below and no picture ($folds).</p>
<dl><dt>Images</dt><dd>$images; $unreadable_count unreadable</dd>
<dt>On sources never seen</dt><dd>$across</dd>
<dt>Captions alone</dt><dd>$captions</dd></dl>
</section>
<section><h2>What to do</h2><ul>$advice</ul></section>
<section><h2>Columns, each alone</h2>
$features<p class="small">Numbers are medians with the range of nine tenths. * measures what pictures show as well, and is not part of
the AUC above.</p></section>
<section><h2>Duplicates</h2>$duplicates</section>
<section><h2>Generator marks</h2>$marks</section>
<section><h2>Data</h2>$sources$unreadable<p class="small">Data fingerprint $fingerprint, dgsnet $version</p></section>
"""
)
