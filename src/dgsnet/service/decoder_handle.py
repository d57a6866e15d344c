"""Handle of one decoding process: start it, exchange messages within a time limit, kill it."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, Any, cast

from dgsnet.service import ipc
from dgsnet.service.api_error import ApiError

_MAX_PAYLOAD = 2**31  # bytes of a message
_START_SECONDS = 120.0


class DecoderHandle:
    """One decoding process (`dgsnet.service.decoder_process`).

    Attributes:
        alive: False once it was killed.
        reads_c2pa: it can check C2PA signatures; known when it is ready.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        """Start it, without waiting until it is ready."""
        command = [sys.executable, "-m", "dgsnet.service.decoder_process"]
        self._popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self._in, self._out = cast("IO[bytes]", self._popen.stdin), cast("IO[bytes]", self._popen.stdout)
        self.reads_c2pa = False
        self.alive = True
        self.send(config)

    def wait_until_ready(self) -> DecoderHandle:
        """Wait until it has started; `ApiError` where it does not."""
        try:
            self.reads_c2pa = bool(self.receive(_START_SECONDS)[0]["c2pa"])
        except (TimeoutError, EOFError) as error:
            self.kill()
            raise ApiError(503, "no_decoder", "a decoding process does not start") from error
        return self

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Give it a job; `EOFError` where it has died."""
        try:
            ipc.write(self._in, header, payload)
        except OSError as error:
            raise EOFError from error

    def receive(self, seconds: float) -> tuple[dict[str, Any], bytes]:
        """Wait for its next message; kill it when that takes longer than `seconds`.

        Raises:
            TimeoutError: it took longer.
            EOFError: it has died, or was killed.
        """
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._popen.kill()

        timer = threading.Timer(seconds, stop)
        timer.start()
        try:
            return ipc.read(self._out, _MAX_PAYLOAD)
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
