"""Hooks of `tests.fuzz.api` in schemathesis: files that are pictures, nearly pictures or none, and a record of every answer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st

from tests.support import hostile_files
from tests.support.hostile_parts import encoded, picture

LARGEST = 64 * 1024

_RECORD = Path(os.environ["FUZZ_API_RECORD"])
_MADE = [data for file in hostile_files.FILES if len(data := file.make()) <= LARGEST]
_WHOLE = [encoded(kind, picture(40, 56)) for kind in ("JPEG", "PNG", "WEBP")]


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(_WHOLE)))
    for place, value in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=6)):
        data[place] = value
    return bytes(data)


schemathesis.openapi.format("binary", st.sampled_from(_WHOLE) | st.sampled_from(_MADE) | _damaged() | st.binary(max_size=200))


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Note what was asked and what was answered."""
    try:
        code = json.loads(response.content)["error"]["code"]
    except (ValueError, KeyError, TypeError):
        code = None
    with _RECORD.open("a") as stream:
        stream.write(json.dumps([f"{case.method} {case.operation.path}", response.status_code, code]) + "\n")
