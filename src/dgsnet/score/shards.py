"""Shards: the inputs that belong to each process of an array."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dgsnet.core.errors import ScoringError
from dgsnet.core.files import sha256_bytes


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


WHOLE = Shard()
