"""A few processes that decode; one that takes too long or dies is replaced, and costs one picture."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from dgsnet.images.decode import DecodedImage
from dgsnet.images.preprocess import Preprocessing
from dgsnet.inference.prepare import Prepared
from dgsnet.inference.verdict import Verdict
from dgsnet.provenance import CAUTION, Finding, Provenance
from dgsnet.service.api_error import ApiError
from dgsnet.service.decoder_handle import DecoderHandle
from dgsnet.service.settings import Settings
from dgsnet.service.uploads import Upload

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

_VIEW_SECONDS = 10.0  # that a process may take for what is neither decoding nor metadata
_FAILURES = {"format": (415, "unsupported_format"), "size": (413, "image_too_large"), "broken": (422, "broken_image")}
_UNREAD = Provenance(summary=f"The metadata of the file could not be read in time; {CAUTION}.")


class DecoderPool:
    """Decoding processes, and a thread to drive each. Close when done."""

    def __init__(self, preprocessing: Preprocessing, model: str, settings: Settings, on_replace: Callable[[], None] = lambda: None) -> None:
        """Start them and wait until they are ready; `ApiError` where they do not start.

        Args:
            preprocessing, model: the model's, and its name for verdicts.
            settings: limits.
            on_replace: called whenever a process has been killed or has died.
        """
        self._config = {
            "preprocessing": preprocessing.model_dump(mode="json"),
            "model": model,
            "policy": asdict(settings.policy),
            "memory": settings.decoder_memory,
            "asked": settings.asked.as_dict(),
        }
        self._settings, self._on_replace = settings, on_replace
        self._idle: queue.SimpleQueue[DecoderHandle] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._threads = ThreadPoolExecutor(settings.decoders, "decoder")
        for decoder in [DecoderHandle(self._config) for _ in range(settings.decoders)]:
            self._idle.put(decoder.wait_until_ready())
            self.reads_c2pa = decoder.reads_c2pa

    def prepare(self, upload: Upload, *, steadiness: bool = False) -> Future[Prepared]:
        """Decode a picture, take its views and read what its file claims of its origin. The future raises `ApiError` where that fails, with
        the claims of a picture that was refused.

        With `steadiness`, views of everyday copies are taken too.
        """
        return self._threads.submit(self._prepare_or_refuse, upload, steadiness)

    def decode(self, upload: Upload) -> Future[DecodedImage]:
        """Decode a picture. The future raises `ApiError` where that cannot be done."""
        return self._threads.submit(self._run, self._decode, upload)

    def close(self) -> None:
        """Finish what is running, then end the processes."""
        self._threads.shutdown()
        self._closed.set()
        while not self._idle.empty():
            self._idle.get().kill()

    def _prepare_or_refuse(self, upload: Upload, steadiness: bool) -> Prepared:
        try:
            return self._run(partial(self._prepare, steadiness=steadiness), upload)
        except ApiError as error:
            if error.status != 503:
                error.provenance = self._refused_provenance(error, upload)
            raise

    def _refused_provenance(self, error: ApiError, upload: Upload) -> Provenance | None:
        try:
            claims = self._run(self._provenance, upload)
        except ApiError:
            return _UNREAD
        return None if claims and error.code == _FAILURES["format"][1] and not claims.findings else claims

    def _run(self, work: Callable[[DecoderHandle, Upload], _T], upload: Upload) -> _T:
        decoder = self._idle.get()
        try:
            return work(decoder, upload)
        except EOFError as error:
            decoder.kill()
            raise ApiError(422, "broken_image", f"{upload.name or 'image'}: reading it made the decoder fail; replace the file") from error
        finally:
            if decoder.alive:
                self._idle.put(decoder)
            else:
                self._on_replace()
                threading.Thread(target=self._replace, daemon=True).start()

    def _replace(self) -> None:
        while not self._closed.is_set():
            try:
                self._idle.put(DecoderHandle(self._config).wait_until_ready())
            except ApiError:
                _log.exception("a decoding process does not start; trying again")
                self._closed.wait(1)
            else:
                return

    def _request(self, decoder: DecoderHandle, upload: Upload, job: dict[str, Any], late: str) -> tuple[dict[str, Any], bytes]:
        """Have a picture decoded, and return the first message of what is wanted of it.

        `job` is what `handle_job` takes beside the path, `late` for the message where its answer does not come in time after decoding.

        Raises:
            ApiError: the picture cannot be decoded (413, 415, 422), or the decoder is too slow (422, 503).
        """
        name, seconds = upload.name or "image", self._settings.decode_seconds
        decoder.send({**job, "path": upload.name}, upload.data)
        try:
            header, _ = decoder.receive(seconds)
        except TimeoutError as error:
            message = f"{name}: decoding took longer than {seconds:g} s; store it as a plain JPEG or PNG"
            raise ApiError(422, "decode_timeout", message) from error
        if header["stage"] == "failed":
            raise ApiError(*_FAILURES[header["kind"]], header["message"])
        try:
            return decoder.receive(_VIEW_SECONDS)
        except TimeoutError as error:
            raise ApiError(503, "timeout", f"{name}: {late} in time; try again later") from error

    def _provenance(self, decoder: DecoderHandle, upload: Upload) -> Provenance | None:
        decoder.send({"wants": "provenance", "path": upload.name}, upload.data)
        return self._receive_provenance(decoder)

    def _receive_provenance(self, decoder: DecoderHandle) -> Provenance | None:
        """Return what a picture claims, or that it could not be read: then the process is no more. None where nobody asks."""
        try:
            message, _ = decoder.receive(self._settings.decode_seconds)
        except (TimeoutError, EOFError):
            decoder.kill()
            return _UNREAD
        claims = message["claims"]
        return claims and Provenance(**claims | {"findings": [Finding(**one) for one in claims["findings"]]})

    def _prepare(self, decoder: DecoderHandle, upload: Upload, *, steadiness: bool) -> Prepared:
        header, data = self._request(decoder, upload, {"wants": "views", "steadiness": steadiness}, "not prepared")
        views = np.frombuffer(data, np.float32).reshape(header["shape"]).copy() if header["shape"] else None
        provenance = self._receive_provenance(decoder)
        return Prepared(replace(Verdict(**header["verdict"]), provenance=provenance), views, header["copies"])

    def _decode(self, decoder: DecoderHandle, upload: Upload) -> DecodedImage:
        header, data = self._request(decoder, upload, {"wants": "pixels"}, "not decoded")
        pixels = np.frombuffer(data, np.uint8).reshape(header["shape"])
        return DecodedImage(pixels, header["sha256"], header["format"], header["jpeg_quality"])
