"""The page at `/`: the files of this folder, as they are. They hold nothing secret, so they need no key; what they ask for does.

All of it comes from the service: no framework, no font, nothing of another host, and the policy below has the browser see to that. Scripts
write text and attributes only (`require-trusted-types-for`): a file name is never markup.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.exceptions import HTTPException

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""What a browser lets the page do: run and fetch what the service serves, and show pictures of the reader's own."""

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HOME = "index.html"


def routes() -> APIRouter:
    """Return the routes `/` and, under `/page/`, of what it is made of."""
    router, files = APIRouter(), _files()

    @router.get("/", include_in_schema=False)
    async def home() -> Response:
        return _answer(files, _HOME)

    @router.get("/page/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "Not Found")
        return _answer(files, name)

    return router


def _files() -> dict[str, bytes]:
    here = resources.files(__package__)
    return {file.name: file.read_bytes() for file in here.iterdir() if Path(file.name).suffix in _KINDS}


def _answer(files: dict[str, bytes], name: str) -> Response:
    return Response(files[name], media_type=_KINDS[Path(name).suffix], headers={"Content-Security-Policy": POLICY})
