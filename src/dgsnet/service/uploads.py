"""Files of a multipart request, in memory: nothing of an upload is written to disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from dgsnet.service.api_error import ApiError, overloaded
from dgsnet.service.settings import Settings

FIELD = "file"

Reserve = Callable[[int], None]

_MAX_FIELDS = 16  # of a form besides files, which nobody needs
_MAX_FIELD_BYTES = 4096
_MAX_NAME = 255  # characters of a file name


@dataclass(frozen=True)
class Upload:
    """One file."""

    name: str | None
    """As the client calls it."""
    data: bytes


class UploadBudget:
    """Bytes that requests may hold in memory together."""

    def __init__(self, max_bytes: int) -> None:
        self._left, self._lock = max_bytes, threading.Lock()

    @contextmanager
    def reservation(self) -> Iterator[Reserve]:
        """Yield what reserves bytes for one request, and raises `ApiError` (429) where they are used up; release them with the block."""
        held = 0

        def reserve(count: int) -> None:
            nonlocal held
            with self._lock:
                if count > self._left:
                    raise overloaded("too_many_uploads", "too many pictures are being sent; try again later", 5)
                self._left -= count
            held += count

        try:
            yield reserve
        finally:
            with self._lock:
                self._left += held


async def read(request: Request, settings: Settings, reserve: Reserve, max_files: int | None = None) -> list[Upload]:
    """Read the files of a request, in order.

    Args:
        request: one with a multipart body.
        settings: limits.
        reserve: called with the bytes of each chunk, see `UploadBudget.reservation`.
        max_files: that it may have; `settings.max_files` where not given.

    Raises:
        ApiError: it is no multipart request (415), malformed or without a file (400), too large (413), or too much is being sent (429).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise ApiError(415, "not_multipart", f"expected multipart/form-data with a field {FIELD!r}, but got {kind or 'no content type'!r}")
    max_files = max_files or settings.max_files
    try:
        async with asyncio.timeout(settings.upload_seconds):
            form = await _Parser(request, settings, reserve).parse()
    except TimeoutError as error:
        raise ApiError(400, "upload_timeout", f"the request was not sent within {settings.upload_seconds:g} s") from error
    except ClientDisconnect as error:
        raise ApiError(400, "disconnected", "the request was cut off") from error
    except MultiPartException as error:
        raise ApiError(400, "malformed_multipart", f"the body is no multipart form: {error.message}") from error
    files = [one for name, one in form.multi_items() if name == FIELD and isinstance(one, UploadFile)]
    if not files:
        raise ApiError(400, "no_file", f"expected a file in the field {FIELD!r}, but there is none")
    if len(files) > max_files:
        raise ApiError(413, "too_many_files", f"{len(files)} files; expected at most {max_files} a request")
    return [Upload((one.filename or "")[:_MAX_NAME] or None, await one.read()) for one in files]


class _Parser(MultiPartParser):
    spool_max_size = 0  # of a spooled file: never on disk

    def __init__(self, request: Request, settings: Settings, reserve: Reserve) -> None:
        self._limits = settings
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > settings.max_body:
            raise self._too_large()
        stream = self._counted(request, reserve)
        super().__init__(request.headers, stream, max_files=1000, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES)
        self._file_bytes = 0

    async def _counted(self, request: Request, reserve: Reserve) -> AsyncGenerator[bytes, None]:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > self._limits.max_body:
                raise self._too_large()
            reserve(len(chunk))
            yield chunk

    def on_part_begin(self) -> None:
        super().on_part_begin()
        self._file_bytes = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._file_bytes += end - start
        if self._file_bytes > self._limits.policy.max_bytes:
            raise ApiError(413, "file_too_large", f"a file has more than {self._limits.policy.max_bytes:,} bytes; store it smaller")
        super().on_part_data(data, start, end)

    def _too_large(self) -> ApiError:
        return ApiError(413, "body_too_large", f"more than {self._limits.max_body:,} bytes; send fewer or smaller files a request")
