"""One thread that draws heatmaps, and the report pages they stand on, for all requests, so that scores need not wait for it."""

from __future__ import annotations

import io
from concurrent.futures import Future, ThreadPoolExecutor

from dgsnet.core.errors import DgsnetError
from dgsnet.images.decode import DecodedImage
from dgsnet.inference.detector import Detector
from dgsnet.inference.verdict import Verdict
from dgsnet.reports import detection_page
from dgsnet.service.api_error import ApiError


class HeatmapWorker:
    """Draws heatmaps in the order they are asked for. Close when done."""

    def __init__(self, detector: Detector) -> None:
        self._detector, self._thread = detector, ThreadPoolExecutor(1, "heatmap")

    def draw(self, image: DecodedImage) -> Future[bytes]:
        """Draw the heatmap of a picture, PNG. The future raises `ApiError` (422) where it has none."""
        return self._thread.submit(self._draw, image)

    def write_report(self, row: Verdict, image: DecodedImage, made: str) -> Future[str]:
        """Write the page of a picture with its heatmap, HTML; `made` stands at its end."""
        return self._thread.submit(self._write_report, row, image, made)

    def close(self) -> None:
        """Finish what waits, then end."""
        self._thread.shutdown()

    def _draw(self, image: DecodedImage) -> bytes:
        try:
            drawn = self._detector.explain(image).image
        except DgsnetError as error:
            raise ApiError(422, "no_heatmap", str(error)) from error
        stream = io.BytesIO()
        drawn.save(stream, "PNG", compress_level=1)
        return stream.getvalue()

    def _write_report(self, row: Verdict, image: DecodedImage, made: str) -> str:
        return detection_page.one_picture(self._detector, row, image.pixels, self._detector.explain(image), made)
