"""The process that decodes: ``python -m dgsnet.service.decoder_process``, driven over its standard input and output (`dgsnet.service.ipc`).

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

from dgsnet.core.errors import DecodeError, FormatError, SizeError
from dgsnet.images import optional_readers
from dgsnet.images.decode import DecodePolicy, decode
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference import prepare
from dgsnet.inference.asked import NOTHING, Asked
from dgsnet.provenance import Provenance, c2pa
from dgsnet.service import ipc

Message = tuple[dict[str, Any], bytes | memoryview]

_MAX_PAYLOAD = 2**30


def handle_job(
    job: dict[str, Any], data: bytes, preprocessing: Preprocessing, policy: DecodePolicy, model: str, asked: Asked = NOTHING
) -> Iterator[Message]:
    """Yield the messages on one picture: ``decoded`` and then its pixels, or its views and its provenance; or ``failed`` alone.

    `job` has ``wants`` (``views``, ``pixels``, or ``provenance`` and nothing else) and ``path``, the name the picture came under; with
    ``steadiness``, views of everyday copies are taken too. `model` is the model's name, for the verdict; `asked` says what is asked of
    every picture.
    """
    path = job["path"]
    if job["wants"] == "provenance":
        yield _told(asked.claims(data))
        return
    try:
        image = decode(data, policy, alpha=asked.watermarks)
    except DecodeError as error:
        kind = "format" if isinstance(error, FormatError) else "size" if isinstance(error, SizeError) else "broken"
        yield {"stage": "failed", "kind": kind, "message": f"{path or 'image'}: {str(error).removeprefix('bytes: ')}"}, b""
        return
    yield {"stage": "decoded"}, b""
    if job["wants"] == "pixels":
        facts = {"shape": image.pixels.shape, "sha256": image.sha256, "format": image.format, "jpeg_quality": image.jpeg_quality}
        yield {"stage": "pixels", **facts}, image.pixels.data.cast("B")
        return
    prepared = prepare.prepare_image(image, path, preprocessing, model, steadiness=job.get("steadiness", False))
    views = prepared.views
    shape, payload = (None, b"") if views is None else (views.shape, views.data.cast("B"))
    yield {"stage": "views", "verdict": prepared.verdict.as_dict(), "shape": shape, "copies": prepared.copies}, payload
    yield _told(asked.claims(data, image))


def _told(claims: Provenance | None) -> Message:
    return {"stage": "provenance", "claims": claims and asdict(claims)}, b""


def main() -> None:
    """Answer jobs until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which finishes what it took
    warnings.simplefilter("ignore")  # Pillow's, of damaged metadata: whoever sends a picture does not fill the log
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no message
    _write_no_file()
    config, _ = ipc.read(sys.stdin.buffer, 0)
    limits = config["policy"]
    policy = DecodePolicy(**limits | {"formats": tuple(limits["formats"])})
    preprocessing = Preprocessing.model_validate(config["preprocessing"])
    # loads what pictures and views need before memory has a limit, and before anybody waits
    optional_readers.load(policy.formats)
    preprocessing(np.zeros((preprocessing.size, preprocessing.size, 3), np.uint8))
    asked = Asked.from_dict(config["asked"])
    if asked.watermarks:
        _ = asked.reader
    _limit_memory(config["memory"])
    ipc.write(stream, {"stage": "ready", "c2pa": c2pa.is_available()})
    while True:
        try:
            job, data = ipc.read(sys.stdin.buffer, _MAX_PAYLOAD)
        except EOFError:
            return
        for message in handle_job(job, data, preprocessing, policy, config["model"], asked):
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
