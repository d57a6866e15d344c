"""An HTTP/1.1 client for load: requests are bytes made beforehand, so that the client costs little of the machine it shares."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

_BOUNDARY = b"picture"


@dataclass(frozen=True)
class Reply:
    """An answer, and how long it took."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    def row(self) -> dict[str, Any]:
        """The first row of a detection."""
        row: dict[str, Any] = json.loads(self.body)["results"][0]
        return row


def detection(picture: bytes, name: str = "picture") -> bytes:
    """``POST /v1/detect`` with one file."""
    head = f'Content-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode()
    body = b"--" + _BOUNDARY + b"\r\n" + head + picture + b"\r\n--" + _BOUNDARY + b"--\r\n"
    return begun(len(body)) + body


def begun(length: int) -> bytes:
    """The head of a detection whose body has so many bytes."""
    kind = f"multipart/form-data; boundary={_BOUNDARY.decode()}"
    return f"POST /v1/detect HTTP/1.1\r\nHost: load\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n".encode()


class Connection:
    """A connection that is kept."""

    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Reply:
        """Send a request and wait for its answer; a connection that the service has closed meanwhile is made anew."""
        start = time.perf_counter()
        kept = self._streams is not None
        try:
            reader, head = await self._sent(request)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            # What a service closes because nobody asked may cross with a request: nothing of an answer came, so it is sent again.
            if not kept or (isinstance(error, asyncio.IncompleteReadError) and error.partial):
                raise
            self.close()
            reader, head = await self._sent(request)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self.close()
        return Reply(int(head[0].split()[1]), headers, body, time.perf_counter() - start)

    async def _sent(self, request: bytes) -> tuple[asyncio.StreamReader, list[str]]:
        """The lines of the answer's head, and where its body comes."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._to)
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        return reader, (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")

    def close(self) -> None:
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def dribble(host: str, port: int, begin: bytes, every: float) -> None:
    """Begin a request and go on with it byte by byte until cancelled, as a client does that wants to hold a place for ever."""
    _, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(begin)
        while True:
            await writer.drain()
            await asyncio.sleep(every)
            writer.write(b"x")
    except ConnectionError:
        return
    finally:
        writer.close()
