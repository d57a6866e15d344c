"""Authentication: keys, and the rate limits of keys and addresses."""

from __future__ import annotations

from dgsnet.service.api_error import ApiError
from dgsnet.service.keys import Keys
from dgsnet.service.rate_limit import RateLimiter


class Authenticator:
    """Checks rate limits and keys."""

    def __init__(self, keys: Keys | None, per_minute: float) -> None:
        """Let anybody ask where there are no keys."""
        self._keys, self._limiter = keys, RateLimiter(per_minute)

    def authenticate(self, address: str, key: str | None) -> None:
        """Let a request pass. The address pays first, so that keys cannot be tried without end.

        Args:
            address: its bucket, see `dgsnet.service.rate_limit.address_bucket`.
            key: the bearer key, if there is one.

        Raises:
            ApiError: too many requests (429), or no known key (401).
        """
        self._limiter.acquire(address)
        if self._keys is None:
            return
        name = self._keys.name_of(key) if key else None
        if name is None:
            raise ApiError(401, "unauthorised", "expected a known key: Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"})
        self._limiter.acquire(f"key {name}")
