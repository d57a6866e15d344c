"""Settings of a scoring run, its shard of the inputs and the detector they ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dgsnet.artifacts.calibration import OperatingPoint
from dgsnet.core.errors import ScoringError
from dgsnet.core.files import sha256_bytes
from dgsnet.images.decode import DecodePolicy
from dgsnet.inference.asked import NOTHING, Asked
from dgsnet.inference.detector import Detector
from dgsnet.inference.verdict import COLUMNS, PROVENANCE
from dgsnet.score.cluster import Cluster


@dataclass(frozen=True)
class Shard:
    """Part `index` (0..`count` - 1) of an input; whose it is depends on an input's key alone."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/n``. ``0/n`` and ``n/n`` are the same shard, so that an array may count from 0 or from 1.

        Raises:
            ScoringError: no such text, or i is not in 0..n.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        index, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if count < 1 or index > count:
            raise ScoringError(f"--shard {text}: expected i/n with i from 0 to n - 1 or from 1 to n, for instance 3/16")
        return cls(index % count, count)

    def has(self, key: str) -> bool:
        """Tell whether an input is this shard's."""
        return self.count == 1 or int(sha256_bytes(key.encode("utf-8", "surrogateescape"))[:16], 16) % self.count == self.index

    @property
    def suffix(self) -> str:
        """Suffix in the names of this shard's files: empty where it is the whole."""
        digits = len(str(self.count))
        return "" if self.count == 1 else f"-s{self.index:0{digits}d}of{self.count}"


_WHOLE = Shard()
_USUAL = DecodePolicy()


@dataclass(frozen=True)
class Settings:
    """Settings of a run.

    Attributes:
        model: shipped model, model folder or hub id.
        device: torch device.
        provider: what runs the model; None: what it runs on by itself.
        threads: that compute one image without torch; None: as many as there are cores, on a cluster one.
        operating_point: which thresholds verdicts go by.
        shard: which of the inputs to score.
        batch_size: images a GPU gets at once.
        part_rows: rows per Parquet file.
        cluster: that scores; None: this process does.
        policy: limits of decoding.
        asked: what rows say beside the score.
    """

    model: str
    device: str = "cpu"
    provider: str | None = None
    threads: int | None = None
    operating_point: OperatingPoint = "balanced"
    shard: Shard = _WHOLE
    batch_size: int = 32
    part_rows: int = 10_000
    cluster: Cluster | None = None
    policy: DecodePolicy = _USUAL
    asked: Asked = NOTHING

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a row, as `dgsnet detect` has them."""
        return (*COLUMNS, *[PROVENANCE] * self.asked.provenance)

    @property
    def identity(self) -> dict[str, str]:
        """What rows follow from beside model and data, by name; nothing where all is as usual."""
        limits = {"limits": f"{self.policy.max_pixels} pixels, {self.policy.max_bytes} bytes"} if self.policy != _USUAL else {}
        return limits | self.asked.identity

    def load(self) -> Detector:
        """Load the detector of a process."""
        return Detector.from_pretrained(
            self.model,
            device=self.device,
            provider=self.provider,
            threads=self.threads,
            policy=self.policy,
            operating_point=self.operating_point,
        )
