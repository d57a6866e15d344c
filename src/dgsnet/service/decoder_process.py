"""The process that decodes: ``python -m dgsnet.service.decoder_process``, driven over its standard input and output (`frames`).

Pictures from outside meet native decoders here and only here, in a process that may be killed, that can write no file, and whose memory has
a limit.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dgsnet import provenance
from dgsnet.core.errors import DecodeError, FormatError, SizeError
from dgsnet.images.decode import DecodePolicy, decode
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference import prepare
from dgsnet.provenance import c2pa
from dgsnet.service import ipc

Message = tuple[dict[str, Any], bytes | memoryview]

_LONGEST = 2**30


def answers(job: dict[str, Any], data: bytes, look: Preprocessing, policy: DecodePolicy, model: str) -> Iterator[Message]:
    """What is said of one picture: ``decoded`` and then its pixels, or its views and its provenance; or ``failed`` alone.

    Args:
        job: ``wants`` (``views`` or ``pixels``) and ``path``, the name the picture came under.
        data: its encoded bytes.
        look: the model's preprocessing.
        policy: limits of decoding.
        model: its name, for the verdict.
    """
    path = job["path"]
    try:
        image = decode(data, policy)
    except DecodeError as error:
        kind = "format" if isinstance(error, FormatError) else "size" if isinstance(error, SizeError) else "broken"
        yield {"stage": "failed", "kind": kind, "message": f"{path or 'image'}: {str(error).removeprefix('bytes: ')}"}, b""
        return
    yield {"stage": "decoded"}, b""
    if job["wants"] == "pixels":
        facts = {"shape": image.pixels.shape, "sha256": image.sha256, "format": image.format, "jpeg_quality": image.jpeg_quality}
        yield {"stage": "pixels", **facts}, image.pixels.data.cast("B")
        return
    prepared = prepare.prepare_image(image, path, look, model)
    views = prepared.views
    shape, payload = (None, b"") if views is None else (views.shape, views.data.cast("B"))
    yield {"stage": "views", "verdict": prepared.verdict.as_dict(), "shape": shape}, payload
    yield {"stage": "provenance", **asdict(provenance.read(data))}, b""


def main() -> None:
    """Answer jobs until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which finishes what it took
    warnings.simplefilter("ignore")  # Pillow's, of damaged metadata: whoever sends a picture does not fill the log
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no message
    _write_no_file()
    told, _ = ipc.read(sys.stdin.buffer, 0)
    limits = told["policy"]
    policy = DecodePolicy(**limits | {"formats": tuple(limits["formats"])})
    look = Preprocessing.model_validate(told["look"])
    look(np.zeros((look.size, look.size, 3), np.uint8))  # loads what a view needs before memory has a limit, and before anybody waits
    _limit_memory(told["memory"])
    ipc.write(stream, {"stage": "ready", "c2pa": c2pa.is_available()})
    while True:
        try:
            job, data = ipc.read(sys.stdin.buffer, _LONGEST)
        except EOFError:
            return
        for message in answers(job, data, look, policy, told["model"]):
            ipc.write(stream, *message)


def _write_no_file() -> None:
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))


def _limit_memory(more: int) -> None:
    """Let this process take so many bytes more than it has. Decoders say that there is no more memory, and the picture is refused."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return  # not Linux, where pictures' sizes alone are the limit
    import resource  # noqa: PLC0415 - not on Windows

    limit = int(statm.read_text().split()[0]) * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main()
