"""Download of one file as a stream: resumed where it broke off, retried, checked, renamed when whole."""

from __future__ import annotations

import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from dgsnet.core.errors import UnreachableError, WeightsError
from dgsnet.core.files import sha256_file

ATTEMPTS = 5
"""Failures in a row, without one new byte, after which a download is given up."""
PAUSE = 1.0
"""Seconds before the second attempt; doubled before each further one."""
TIMEOUT = 60.0
_CHUNK = 1 << 18
_WORTH_RETRYING = {408, 425, 429, 500, 502, 503, 504}

Advance = Callable[[int, int | None], None]


class _IncompleteError(Exception):
    """The connection ended before the file did."""


def download(url: str, target: Path, *, sha256: str, certificates: Path | None = None, progress: bool = True) -> Path:
    """Fetch `url` (http, https or file) to `target`, whose sha256 must be the one given.

    Bytes go to `target` + ".part", which a later call continues. `certificates` are those to trust instead of the system's.
    """
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise WeightsError(f"{url}: cannot download from this kind of address; only http, https and file")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    context = _ssl_context(certificates)
    failures = 0
    with _progress_bar(target.name, shown=progress) as advance:
        while True:
            before = _size(part)
            try:
                _stream(url, part, context, advance)
                break
            except (OSError, HTTPException, _IncompleteError) as error:
                failures = 0 if _size(part) > before else failures + 1
                if failures >= ATTEMPTS or not _worth_retrying(error):
                    raise UnreachableError(
                        f"{url}: download failed ({_reason(error)}); what has arrived is kept for the next try"
                    ) from error
            time.sleep(PAUSE * 2 ** max(failures - 1, 0))
    found = sha256_file(part)
    if found != sha256:
        part.unlink()
        raise WeightsError(f"{url}: what came has sha256 {found}, expected {sha256}; it was discarded: try again, or another index")
    part.replace(target)
    return target


def _stream(url: str, part: Path, context: ssl.SSLContext, advance: Advance) -> None:
    """Append to `part` what is missing of `url`; a server that ignores the range sends all of it, then `part` starts anew."""
    start = _size(part)
    request = urllib.request.Request(url, headers={"User-Agent": "dgsnet", "Accept-Encoding": "identity"})  # noqa: S310 - scheme checked
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT, context=context)  # noqa: S310 - scheme checked
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing lies beyond `start`: the part is whole already, or of another file; its sha256 will tell
            error.close()
            return
        raise
    with response:
        resumed = response.status == 206
        position = start if resumed else 0
        length = response.headers.get("Content-Length")
        total = position + int(length) if length else None
        with part.open("ab" if resumed else "wb") as stream:
            advance(position, total)
            while chunk := response.read(_CHUNK):
                stream.write(chunk)
                position += len(chunk)
                advance(position, total)
            stream.flush()
            os.fsync(stream.fileno())
    if total is not None and position < total:
        raise _IncompleteError(f"connection closed after {position} of {total} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _worth_retrying(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code in _WORTH_RETRYING
    if isinstance(error, urllib.error.URLError):
        # A name that does not resolve or a certificate nobody trusts will not be better in a second; a refused connection may be.
        return isinstance(error.reason, (ConnectionError, TimeoutError))
    return isinstance(error, (ConnectionError, TimeoutError, HTTPException, _IncompleteError))


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, ssl.SSLError):
        return f"{error.reason}; name your certificates in SSL_CERT_FILE"
    return str(error) or type(error).__name__


def _ssl_context(certificates: Path | None) -> ssl.SSLContext:
    if certificates is None:
        return ssl.create_default_context()  # OpenSSL itself honours SSL_CERT_FILE and SSL_CERT_DIR
    try:
        if certificates.is_dir():
            return ssl.create_default_context(capath=str(certificates))
        return ssl.create_default_context(cafile=str(certificates))
    except OSError as error:  # ssl.SSLError is one
        raise WeightsError(
            f"{certificates}: not usable as certificates ({error}); correct PIP_CERT, REQUESTS_CA_BUNDLE or pip's setting `cert`"
        ) from error


@contextmanager
def _progress_bar(name: str, *, shown: bool) -> Iterator[Advance]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task(name, total=None)
        yield lambda position, total: bar.update(task, completed=position, total=total)
