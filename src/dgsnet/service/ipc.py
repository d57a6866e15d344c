"""Messages between the service and its decoding processes: JSON and bytes, each with its length. No pickle: what decodes is not trusted."""

from __future__ import annotations

import json
import struct
from typing import IO, Any

_HEAD = struct.Struct(">IQ")


def write(stream: IO[bytes], header: dict[str, Any], payload: bytes | memoryview = b"") -> None:
    """Send one message."""
    text = json.dumps(header).encode()
    stream.write(_HEAD.pack(len(text), len(payload)))
    stream.write(text)
    stream.write(payload)
    stream.flush()


def read(stream: IO[bytes], longest: int) -> tuple[dict[str, Any], bytes]:
    """Wait for one message, whose payload may have `longest` bytes; `EOFError` where the other side has gone or says something else."""
    size, length = _HEAD.unpack(_exactly(stream, _HEAD.size))
    if size > 2**20 or length > longest:
        raise EOFError
    header = json.loads(_exactly(stream, size))
    return header, _exactly(stream, length)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
