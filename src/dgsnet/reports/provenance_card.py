"""The panel of a report that shows what a file says of its own origin."""

from __future__ import annotations

from string import Template

from dgsnet.provenance import Provenance
from dgsnet.reports import html_shell

STYLE = """
.provenance { border-top: 1px solid #eaeef2; margin-top: .75rem; padding-top: .5rem; }
.provenance h3 { font-size: 1rem; margin: 0 0 .25rem; } .provenance p { margin: 0; }
"""


def panel(provenance: Provenance | None) -> str:
    """Return the panel as HTML; empty for None."""
    if provenance is None:
        return ""
    entries = "".join(
        f"<dt>{html_shell.text(one.kind)}</dt><dd><b>{html_shell.text(one.says)}</b>: {html_shell.text(one.value)}</dd>"
        for one in provenance.findings
    )
    return _PANEL.substitute(summary=html_shell.text(provenance.summary), findings=f"<dl>{entries}</dl>" if entries else "")


_PANEL = Template(
    """
<div class="provenance">
<h3>What the file says of its origin</h3>
<p>$summary It changes neither score nor verdict.</p>
$findings
</div>"""
)
