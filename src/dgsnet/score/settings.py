"""Settings of a scoring run, and the detector they ask for."""

from __future__ import annotations

from dataclasses import dataclass

from dgsnet.inference.detector import Detector
from dgsnet.score.cluster import Cluster
from dgsnet.score.shards import WHOLE, Shard


@dataclass(frozen=True)
class Settings:
    """Settings of a run.

    Attributes:
        model: shipped model, model folder or hub id.
        device: torch device.
        provider: what runs the model; None: what it runs on by itself.
        threads: that compute one image without torch; None: as many as there are cores, on a cluster one.
        shard: which of the inputs to score.
        batch_size: images a GPU gets at once.
        part_rows: rows per Parquet file.
        cluster: that scores; None: this process does.
    """

    model: str
    device: str = "cpu"
    provider: str | None = None
    threads: int | None = None
    shard: Shard = WHOLE
    batch_size: int = 32
    part_rows: int = 10_000
    cluster: Cluster | None = None

    def load(self) -> Detector:
        """Load the detector of a process."""
        return Detector.from_pretrained(self.model, device=self.device, provider=self.provider, threads=self.threads)
