"""Who may ask, and how often."""

from __future__ import annotations

from dgsnet.service.api_error import Refusal
from dgsnet.service.keys import Keys
from dgsnet.service.rate_limit import Rates


class Gate:
    """Checks addresses and keys."""

    def __init__(self, keys: Keys | None, per_minute: float) -> None:
        """Without keys anybody may ask."""
        self._keys, self._rates = keys, Rates(per_minute)

    def admit(self, address: str, key: str | None) -> None:
        """Let a request pass. The address pays first, so that keys cannot be tried without end.

        Args:
            address: its bucket, see `dgsnet.service.rate_limit.of_address`.
            key: the bearer key, if there is one.

        Raises:
            Refusal: too many requests (429), or no known key (401).
        """
        self._rates.take(address)
        if self._keys is None:
            return
        name = self._keys.name_of(key) if key else None
        if name is None:
            raise Refusal(401, "unauthorised", "expected a known key: Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"})
        self._rates.take(f"key {name}")
