"""Imports runtimes so that they report nothing to their makers; each would by itself, over the network, with an identifier on disk.

A program that imported one of them before dgsnet did has decided for itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def off() -> Iterator[None]:
    """In this block ONNX Runtime, OpenVINO and NNCF can be imported.

    ONNX Runtime asks the environment once, when it starts. OpenVINO and NNCF do without where `openvino_telemetry` cannot be imported;
    OpenVINO's converter, which announces itself on import, is left out too, since `import openvino` is complete and faster without.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    hidden = [name for name in ("openvino_telemetry", "openvino.tools.ovc") if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's own way to say that a module cannot be imported
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
