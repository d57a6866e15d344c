"""Metrics for Prometheus. Counts and seconds; nothing of any picture."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Metrics of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("dgsnet_requests", "Requests answered.", ["route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "dgsnet_request_seconds", "From first byte to answer.", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.images = Counter("dgsnet_images", "Images by what became of them.", ["outcome"], registry=self.registry)
        self.model_seconds = Histogram("dgsnet_model_seconds", "One batch through the model.", buckets=_SECONDS, registry=self.registry)
        self.batch = Histogram("dgsnet_batch_images", "Images of a batch.", buckets=(1, 2, 4, 8, 16, 32), registry=self.registry)
        self.replaced = Counter("dgsnet_decoders_replaced", "Decoding processes killed or dead.", registry=self.registry)

    def watch_queue(self, waiting: Callable[[], int]) -> None:
        """Report how many images are in work or waiting."""
        Gauge("dgsnet_images_waiting", "Images in work or waiting.", registry=self.registry).set_function(waiting)

    def observe_batch(self, seconds: float, images: int) -> None:
        """Count a batch that has passed the model."""
        self.model_seconds.observe(seconds)
        self.batch.observe(images)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' format."""
        return generate_latest(self.registry)
