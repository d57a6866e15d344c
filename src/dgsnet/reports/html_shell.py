"""Parts of every page: the document around it, text from outside made harmless, pictures as data."""

from __future__ import annotations

import base64
import html
import io

from PIL import Image

from dgsnet.inference.writers import printable

SIDE = 640
"""Longest side of a picture on a page, pixels."""

_BASE = """
body { margin: 0; background: #f3f4f6; color: #1f2328; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
section { background: #fff; border: 1px solid #d0d7de; border-radius: .5rem; padding: 1rem; margin: 1rem 0; }
section { overflow-wrap: anywhere; }
.words { font-size: 1.25rem; font-weight: 600; margin: .25rem 0; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: .75rem 0; }
figure { margin: 0; flex: 0 1 28.5rem; min-width: 0; }
img, svg { max-width: 100%; height: auto; display: block; border-radius: .25rem; }
figcaption, dl, .small { font-size: .85rem; color: #57606a; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0 .75rem; margin: .5rem 0 0; }
dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; background: linear-gradient(90deg, #fff 30%, transparent) left / 3rem 100% no-repeat local,
  linear-gradient(270deg, #fff 30%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(90deg, #0003, transparent) left / .8rem 100% no-repeat scroll,
  linear-gradient(270deg, #0003, transparent) right / .8rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #eaeef2; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 8rem; }
.chart { flex: 1 1 30rem; max-width: 46rem; } .chart svg { width: 100%; } .half { flex: 1 1 18rem; max-width: 31rem; }
.scale { position: relative; height: .6rem; max-width: 24rem; border-radius: .3rem; }
.scale { background: linear-gradient(90deg, #2166ac, #ddd, #b2182b); }
.ends { display: flex; justify-content: space-between; max-width: 24rem; font-size: .85rem; color: #57606a; }
.numbers { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: .75rem 0; }
.numbers div { font-size: .85rem; color: #57606a; } .numbers b { display: block; font-size: 1.3rem; color: #1f2328; }
@media (max-width: 40rem) { main { padding: .5rem; } section { padding: .75rem; } figure { flex-basis: 100%; }
  table { font-size: .8rem; } th, td { padding: .2rem .4rem; }
  thead th { white-space: normal; overflow-wrap: normal; vertical-align: bottom; }
  th:first-child, td:first-child { min-width: 6.5rem; } }
"""


def document(title: str, body: str, style: str = "") -> str:
    """A whole page; see `head`."""
    return f"{head(title, style)}{body}{END}"


def head(title: str, style: str = "") -> str:
    """The page up to its first section, for a page that is written piece by piece and closed with `END`.

    Args:
        title: text from outside.
        style: CSS beyond what all pages share.
    """
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(title)}</title>
<style>{_BASE}{style}</style></head>
<body><main>
"""


END = "</main></body></html>\n"


def text(outside: str) -> str:
    """Text from outside as HTML: one line, no control or direction characters, nothing a browser obeys."""
    return html.escape(printable(outside))


def figure(picture: Image.Image, alt: str, caption: str, side: int = SIDE) -> str:
    """A picture of at most `side` pixels a side, as a JPEG inside the page; `alt` and `caption` are HTML already."""
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    small.save(encoded, "JPEG", quality=85)
    data = base64.b64encode(encoded.getvalue()).decode()
    size = f'width="{small.width}" height="{small.height}"'
    return f'<figure><img {size} alt="{alt}" src="data:image/jpeg;base64,{data}"><figcaption>{caption}</figcaption></figure>'


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table of texts from outside, which scrolls sideways where the page is too narrow."""
    first = "".join(f"<th>{_breakable(cell)}</th>" for cell in header)
    rest = "".join(f"<tr>{''.join(f'<td>{_breakable(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{first}</tr></thead><tbody>{rest}</tbody></table></div>'


def _breakable(cell: str) -> str:
    """A name may break after an underscore, rather than anywhere."""
    return text(cell).replace("_", "_<wbr>")


SCALE_OF_HEATMAPS = '<div class="scale"></div><p class="ends"><span>towards photograph</span><span>towards AI-generated</span></p>'
"""Legend of the colours of a heatmap."""


def numbers(known: dict[str, str]) -> str:
    """Large figures, each over what it is."""
    return f'<div class="numbers">{"".join(f"<div><b>{text(value)}</b>{text(name)}</div>" for name, value in known.items())}</div>'


def facts(known: dict[str, str | None]) -> str:
    """A list of names and values, those without a value left out."""
    return f"<dl>{''.join(f'<dt>{text(key)}</dt><dd>{text(value)}</dd>' for key, value in known.items() if value)}</dl>"
