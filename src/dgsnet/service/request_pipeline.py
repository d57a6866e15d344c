"""From uploads to results: a queue slot, decoding, scoring or drawing, all within a time limit."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dgsnet.core.errors import DgsnetError
from dgsnet.images.decode import DecodedImage
from dgsnet.inference.detector import Detector
from dgsnet.inference.heatmap import Heatmap
from dgsnet.inference.verdict import Verdict
from dgsnet.reports import detection_page
from dgsnet.service.api_error import ApiError
from dgsnet.service.batch_scorer import BatchScorer, seconds_per_image
from dgsnet.service.decoder_pool import DecoderPool
from dgsnet.service.monitoring import Metrics
from dgsnet.service.queue_limit import QueueSlots
from dgsnet.service.settings import Settings
from dgsnet.service.uploads import Upload

_FIRST_ESTIMATE = 3
"""Times what the model alone takes that an image is taken to need until some have been seen: decoding, and a flood of requests that are
refused, take their part of the processor."""


@dataclass(frozen=True)
class UploadResult:
    """Row of one upload, and where it could not be scored the error of the request that it was alone in."""

    row: Verdict
    error: ApiError | None = None


class RequestPipeline:
    """A detector at work for many requests. Close when done."""

    def __init__(self, detector: Detector, settings: Settings, metrics: Metrics) -> None:
        self.detector, self.settings, self._metrics = detector, settings, metrics
        self.slots = QueueSlots(settings.queue, settings.request_seconds, _FIRST_ESTIMATE * seconds_per_image(detector))
        self._heatmap_slots = QueueSlots(settings.heatmap_queue, settings.heatmap_seconds, 10)
        self.decoders = DecoderPool(detector.config.preprocessing, detector.name, settings, metrics.replaced.inc)
        self._scorer = BatchScorer(detector, settings.batch, metrics.observe_batch)
        self._heatmaps = ThreadPoolExecutor(1, "heatmap")  # one thread of their own, so that scores need not wait for them
        metrics.watch_queue(lambda: self.slots.in_use)

    @property
    def ready(self) -> bool:
        """True while requests will be answered."""
        return self._scorer.alive

    def close(self) -> None:
        """Finish what was taken."""
        self.decoders.close()
        self._scorer.close()
        self._heatmaps.shutdown()

    async def detect(self, uploads: list[Upload], *, steadiness: bool = False) -> list[UploadResult]:
        """Score some uploads, in order; `ApiError` where the queue is full (429) or time is up (503).

        With `steadiness`, everyday copies are looked at too (`Detector.detect_many`).
        """
        self.slots.acquire(len(uploads))
        async with _within(self.settings.request_seconds):
            return list(await asyncio.gather(*(self._detect_in_slot(upload, steadiness) for upload in uploads)))

    async def heatmap(self, upload: Upload) -> bytes:
        """Draw the heatmap of an upload, PNG.

        Raises:
            ApiError: it cannot be decoded (413, 415, 422), too many wait (429), or time is up (503).
        """
        async with self._heatmap_slot():
            image = await asyncio.wrap_future(self.decoders.decode(upload))
            return await asyncio.wrap_future(self._heatmaps.submit(self._draw, image))

    async def report(self, upload: Upload, with_heatmap: bool, request_id: str) -> tuple[Verdict, str]:
        """Score an upload and write a page on it, HTML, with the request's id; `ApiError` as `heatmap`."""
        async with self._heatmap_slot():
            result = await self._detect(upload, steadiness=True)
            if result.error:
                raise result.error
            image = await asyncio.wrap_future(self.decoders.decode(upload))
            made = f"Made {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC by dgsnet serve, request {request_id}"

            def write(heatmap: Heatmap | None) -> str:
                return detection_page.one_picture(self.detector, result.row, image.pixels, heatmap, made)

            if not with_heatmap:  # no need to wait behind heatmaps
                return result.row, await asyncio.to_thread(write, None)
            return result.row, await asyncio.wrap_future(self._heatmaps.submit(lambda: write(self.detector.explain(image))))

    def _draw(self, image: DecodedImage) -> bytes:
        """Return the heatmap of a picture, PNG; `ApiError` (422) where it has none."""
        try:
            drawn = self.detector.explain(image).image
        except DgsnetError as error:
            raise ApiError(422, "no_heatmap", str(error)) from error
        stream = io.BytesIO()
        drawn.save(stream, "PNG", compress_level=1)
        return stream.getvalue()

    @asynccontextmanager
    async def _heatmap_slot(self) -> AsyncIterator[None]:
        self._heatmap_slots.acquire(1)
        done = False
        try:
            async with _within(self.settings.heatmap_seconds):
                yield
                done = True
        finally:
            self._heatmap_slots.release(1, done)

    async def _detect_in_slot(self, upload: Upload, steadiness: bool) -> UploadResult:
        done = False
        try:
            result = await self._detect(upload, steadiness)
            done = True
        finally:
            self.slots.release(1, done)
        self._metrics.images.labels(result.error.code if result.error else result.row.verdict).inc()
        return result

    async def _detect(self, upload: Upload, steadiness: bool) -> UploadResult:
        try:
            prepared = await asyncio.wrap_future(self.decoders.prepare(upload, steadiness=steadiness))
        except ApiError as error:
            if error.status == 503:
                raise
            refused = Verdict(upload.name, model=self.detector.name, error=error.message, provenance=error.provenance)
            return UploadResult(refused, error)
        verdict = await asyncio.wrap_future(self._scorer.score(prepared))
        if verdict.error is None:
            return UploadResult(verdict)
        too_small = ApiError(422, "too_small", verdict.error)
        too_small.provenance = verdict.provenance
        return UploadResult(verdict, too_small)


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise ApiError(503, "timeout", f"no answer within {seconds:g} s; try again later", {"Retry-After": "5"}) from error
