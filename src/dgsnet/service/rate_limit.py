"""Rate limits of keys and addresses: a bucket of tokens each."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

from dgsnet.service.api_error import overloaded

_MAX_BUCKETS = 65_536  # the one unused for longest goes first


class RateLimiter:
    """Token buckets by name."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Give each bucket a tenth of a minute's tokens, at least one; 0 a minute: no limit."""
        self._per_second, self._burst, self._clock = per_minute / 60, max(1.0, per_minute / 10), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def acquire(self, name: str) -> None:
        """Use up one token of a bucket; `ApiError` (429) where it has none."""
        if not self._per_second:
            return
        now = self._clock()
        left, then = self._buckets.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._per_second)
        self._buckets[name] = (max(left - 1, 0.0) if left >= 1 else left, now)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if left < 1:
            raise overloaded("rate_limited", "too many requests; slow down", (1 - left) / self._per_second)


def address_bucket(host: str | None) -> str:
    """Return the bucket of an address: of IPv6 the network of 64 bits, which one customer has all of."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return f"address {host}"
    if address.version == 4:
        return f"address {address}"
    return f"address {ipaddress.ip_network((address, 64), strict=False)}"
