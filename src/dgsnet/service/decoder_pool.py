"""A few processes that decode; one that takes too long or dies is replaced, and costs one picture."""

from __future__ import annotations

import logging
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import IO, Any, TypeVar, cast

import numpy as np

from dgsnet.images.decode import DecodedImage
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.prepare import Prepared
from dgsnet.inference.verdict import Verdict
from dgsnet.provenance import CAUTION, Finding, Provenance
from dgsnet.service import ipc
from dgsnet.service.api_error import Refusal
from dgsnet.service.settings import Settings
from dgsnet.service.uploads import Upload

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

_LONGEST = 2**31  # bytes of a message
_START = 120.0  # seconds a process may take to start
_VIEW = 10.0  # seconds it may take for what is neither decoding nor metadata
_REFUSALS = {"format": (415, "unsupported_format"), "size": (413, "image_too_large"), "broken": (422, "broken_image")}
_UNREAD = Provenance(summary=f"The metadata of the file could not be read in time; {CAUTION}.")


@dataclass(frozen=True)
class Described:
    """A picture that the model may look at, and what its file says of its origin."""

    prepared: Prepared
    provenance: Provenance


class Decoders:
    """Decoding processes, and a thread to drive each. Close when done."""

    def __init__(self, look: Preprocessing, model: str, settings: Settings, replaced: Callable[[], None] = lambda: None) -> None:
        """Start them and wait until they are ready.

        Args:
            look: the model's preprocessing.
            model: its name, for verdicts.
            settings: limits.
            replaced: called whenever a process has been killed or has died.

        Raises:
            Refusal: they do not start.
        """
        self._told = {
            "look": look.model_dump(mode="json"),
            "model": model,
            "policy": asdict(settings.policy),
            "memory": settings.decoder_memory,
        }
        self._settings, self._replaced = settings, replaced
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._threads = ThreadPoolExecutor(settings.decoders, "decoder")
        for process in [_Process(self._told) for _ in range(settings.decoders)]:
            self._idle.put(process.ready())
        self.reads_c2pa = self._told_of_c2pa()

    def describe(self, upload: Upload) -> Future[Described]:
        """Decode a picture, take the views of it and read its metadata. The future raises `Refusal` where that cannot be done."""
        return self._threads.submit(self._run, self._describe, upload)

    def pixels(self, upload: Upload) -> Future[DecodedImage]:
        """Decode a picture. The future raises `Refusal` where that cannot be done."""
        return self._threads.submit(self._run, self._pixels, upload)

    def close(self) -> None:
        """Finish what is running, then end the processes."""
        self._threads.shutdown()
        self._closed.set()
        while not self._idle.empty():
            self._idle.get().kill()

    def _told_of_c2pa(self) -> bool:
        process = self._idle.get()
        self._idle.put(process)
        return process.reads_c2pa

    def _run(self, work: Callable[[_Process, Upload], _T], upload: Upload) -> _T:
        process = self._idle.get()
        try:
            return work(process, upload)
        except EOFError as error:
            process.kill()
            raise Refusal(422, "broken_image", f"{upload.name or 'image'}: reading it made the decoder fail; replace the file") from error
        finally:
            if process.alive:
                self._idle.put(process)
            else:
                self._replaced()
                threading.Thread(target=self._replace, daemon=True).start()

    def _replace(self) -> None:
        while not self._closed.is_set():
            try:
                self._idle.put(_Process(self._told).ready())
            except Refusal:
                _log.exception("a decoding process does not start; trying again")
                self._closed.wait(1)
            else:
                return

    def _begin(self, process: _Process, upload: Upload, wants: str) -> None:
        process.send({"wants": wants, "path": upload.name}, upload.data)
        try:
            with process.within(self._settings.decode_seconds):
                header, _ = process.receive()
        except TimeoutError as error:
            what = (
                f"{upload.name or 'image'}: decoding took longer than {self._settings.decode_seconds:g} s; store it as a plain JPEG or PNG"
            )
            raise Refusal(422, "decode_timeout", what) from error
        if header["stage"] == "failed":
            raise Refusal(*_REFUSALS[header["kind"]], header["message"])

    def _describe(self, process: _Process, upload: Upload) -> Described:
        self._begin(process, upload, "views")
        try:
            with process.within(_VIEW):
                header, data = process.receive()
        except TimeoutError as error:
            raise Refusal(503, "timeout", f"{upload.name or 'image'}: not prepared in time; try again later") from error
        views = np.frombuffer(data, np.float32).reshape(header["shape"]).copy() if header["shape"] else None
        prepared = Prepared(Verdict(**header["verdict"]), views)
        try:
            with process.within(self._settings.decode_seconds):
                said, _ = process.receive()
        except (TimeoutError, EOFError):
            process.kill()
            return Described(prepared, _UNREAD)
        return Described(prepared, Provenance([Finding(**one) for one in said["findings"]], said["summary"]))

    def _pixels(self, process: _Process, upload: Upload) -> DecodedImage:
        self._begin(process, upload, "pixels")
        try:
            with process.within(_VIEW):
                header, data = process.receive()
        except TimeoutError as error:
            raise Refusal(503, "timeout", f"{upload.name or 'image'}: not decoded in time; try again later") from error
        pixels = np.frombuffer(data, np.uint8).reshape(header["shape"])
        return DecodedImage(pixels, header["sha256"], header["format"], header["jpeg_quality"])


class _Process:
    """One decoding process."""

    def __init__(self, told: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "dgsnet.service.decoder_process"]
        self._popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self._in, self._out = cast("IO[bytes]", self._popen.stdin), cast("IO[bytes]", self._popen.stdout)
        self.reads_c2pa = False
        self.alive = True
        self.send(told)

    def ready(self) -> _Process:
        """Wait until it has started.

        Raises:
            Refusal: it does not.
        """
        try:
            with self.within(_START):
                self.reads_c2pa = bool(self.receive()[0]["c2pa"])
        except (TimeoutError, EOFError) as error:
            self.kill()
            raise Refusal(503, "no_decoder", "a decoding process does not start") from error
        return self

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Give it a job.

        Raises:
            EOFError: it has died.
        """
        try:
            ipc.write(self._in, header, payload)
        except OSError as error:
            raise EOFError from error

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """Wait for its next message.

        Raises:
            EOFError: it has died, or was killed.
        """
        return ipc.read(self._out, _LONGEST)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Kill it when the block takes longer.

        Raises:
            TimeoutError: it did.
        """
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._popen.kill()

        timer = threading.Timer(seconds, stop)
        timer.start()
        try:
            yield
        except EOFError as error:
            if late.is_set():
                self.kill()
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()

    def kill(self) -> None:
        """End it, whatever it does."""
        self.alive = False
        self._popen.kill()
        self._popen.wait()
        self._out.close()
        with suppress(OSError):  # what it had not read yet
            self._in.close()
