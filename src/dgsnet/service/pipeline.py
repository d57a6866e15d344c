"""From uploads to answers: a place, decoding, scoring or drawing, all within a time limit."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import numpy as np

from dgsnet.core.errors import DgsnetError
from dgsnet.images.decode import DecodedImage
from dgsnet.inference import heatmap
from dgsnet.inference.detector import Detector
from dgsnet.inference.verdict import Verdict
from dgsnet.reports import detection_page
from dgsnet.service.api_error import Refusal
from dgsnet.service.decoder_pool import Decoders
from dgsnet.service.monitoring import Metrics
from dgsnet.service.queue_limit import Places
from dgsnet.service.scoring import Scorer
from dgsnet.service.settings import Settings
from dgsnet.service.uploads import Upload

_UNSEEN = 3
"""Times what the model alone takes that an image is taken to need until some have been seen: decoding, and a flood of requests that are
refused, take their part of the processor."""


@dataclass(frozen=True)
class Answered:
    """What is said of one upload: a row, or with `refusal` the row of an image that could not be scored and why."""

    row: Verdict
    refusal: Refusal | None = None


class Pipeline:
    """A detector at work for many requests. Close when done."""

    def __init__(self, detector: Detector, settings: Settings, metrics: Metrics) -> None:
        self.detector, self.settings, self._metrics = detector, settings, metrics
        self.places = Places(settings.queue, settings.request_seconds, _UNSEEN * _seconds_an_image(detector))
        self._drawing = Places(settings.heatmap_queue, settings.heatmap_seconds, 10)
        self.decoders = Decoders(detector.config.preprocessing, detector.name, settings, metrics.replaced.inc)
        self._scorer = Scorer(detector, settings.batch, metrics.took)
        self._artist = ThreadPoolExecutor(1, "heatmap")
        metrics.watch(lambda: self.places.taken)

    @property
    def ready(self) -> bool:
        """Whether requests will be answered."""
        return self._scorer.alive

    def close(self) -> None:
        """Finish what was taken."""
        self.decoders.close()
        self._scorer.close()
        self._artist.shutdown()

    async def detect(self, uploads: list[Upload]) -> list[Answered]:
        """Score some uploads, in order.

        Raises:
            Refusal: the queue is full (429), or time is up (503).
        """
        self.places.take(len(uploads))
        async with _within(self.settings.request_seconds):
            return list(await asyncio.gather(*(self._detect_with_place(upload) for upload in uploads)))

    async def heatmap(self, upload: Upload) -> bytes:
        """The heatmap of an upload, PNG.

        Raises:
            Refusal: it cannot be decoded (413, 415, 422), too many wait (429), or time is up (503).
        """
        async with self._with_artist():
            image = await asyncio.wrap_future(self.decoders.pixels(upload))
            return await asyncio.wrap_future(self._artist.submit(self._draw, image))

    async def report(self, upload: Upload, with_heatmap: bool, request_id: str) -> tuple[Verdict, str]:
        """What is said of an upload, and a page of it, HTML.

        Args:
            upload: one picture.
            with_heatmap: draw one.
            request_id: stands on the page.

        Raises:
            Refusal: as `heatmap`.
        """
        async with self._with_artist():
            answered = await self._detect(upload)
            if answered.refusal:
                raise answered.refusal
            image = await asyncio.wrap_future(self.decoders.pixels(upload))
            made = f"Made {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC by dgsnet serve, request {request_id}"
            if not with_heatmap:  # no need to wait behind heatmaps
                return answered.row, await asyncio.to_thread(
                    detection_page.one_picture, self.detector, answered.row, image.pixels, None, made
                )
            return answered.row, await asyncio.wrap_future(self._artist.submit(self._write, answered.row, image, made))

    @asynccontextmanager
    async def _with_artist(self) -> AsyncIterator[None]:
        self._drawing.take(1)
        done = False
        try:
            async with _within(self.settings.heatmap_seconds):
                yield
                done = True
        finally:
            self._drawing.give(1, done)

    async def _detect_with_place(self, upload: Upload) -> Answered:
        done = False
        try:
            answered = await self._detect(upload)
            done = True
        finally:
            self.places.give(1, done)
        self._metrics.images.labels(answered.refusal.code if answered.refusal else answered.row.verdict).inc()
        return answered

    async def _detect(self, upload: Upload) -> Answered:
        try:
            described = await asyncio.wrap_future(self.decoders.describe(upload))
        except Refusal as refusal:
            if refusal.status == 503:
                raise
            row = Verdict(upload.name, model=self.detector.name, error=refusal.message)
            return Answered(row, refusal)
        verdict = await asyncio.wrap_future(self._scorer.score(described.prepared))
        if verdict.error:
            return Answered(verdict, Refusal(422, "too_small", verdict.error))
        return Answered(replace(verdict, provenance=described.provenance))

    def _draw(self, image: DecodedImage) -> bytes:
        try:
            drawn = heatmap.explain(self.detector, image).image
        except DgsnetError as error:
            raise Refusal(422, "no_heatmap", str(error)) from error
        stream = io.BytesIO()
        drawn.save(stream, "PNG", compress_level=1)
        return stream.getvalue()

    def _write(self, row: Verdict, image: DecodedImage, made: str) -> str:
        return detection_page.one_picture(self.detector, row, image.pixels, heatmap.explain(self.detector, image), made)


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Refusal(503, "timeout", f"no answer within {seconds:g} s; try again later", {"Retry-After": "5"}) from error


def _seconds_an_image(detector: Detector) -> float:
    """Of the model alone, on all views of a large grey picture, once it is warm."""
    look, number = detector.config.preprocessing, detector.at_once(1)
    views = np.stack([look(np.full((look.size, look.size, 3), 128, np.uint8))] * number)
    detector.runtime.run(views)
    start = time.perf_counter()
    detector.runtime.run(views)
    return (time.perf_counter() - start) / number * len(look.parts(2 * look.size, 2 * look.size))
