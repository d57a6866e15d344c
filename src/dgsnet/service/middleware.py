"""Middleware of every request: an id, headers, metrics, an `ApiError` for an internal error, and the rest of a body that nobody wants."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dgsnet.service import api_error
from dgsnet.service.monitoring import Metrics

_log = logging.getLogger(__name__)

_DISCARD_BYTES, _DISCARD_SECONDS = 128 * 2**20, 5.0  # of a body that a refused client may still send, so that it sees the error
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class RequestMiddleware:
    """ASGI middleware; inside of it ``request.state`` has ``request_id`` and ``start``."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        state = scope.setdefault("state", {})
        state["request_id"], state["start"] = exchange.request_id, exchange.start
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except Exception:
            if exchange.status:
                raise
            _log.exception("request %s failed", exchange.request_id)
            unavailable = api_error.ApiError(503, "unavailable", "the service could not answer; its log says why", {"Retry-After": "5"})
            await api_error.to_response(unavailable, exchange.request_id)(scope, exchange.receive, exchange.send)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(exchange.status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - exchange.start)


class _Exchange:
    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.request_id, self.start = uuid.uuid4().hex, time.perf_counter()
        self.status = 0
        self._whole = False  # the body has been read to its end

    async def receive(self) -> Message:
        message = await self._receive()
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.request_id
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self.status >= 400:
                await self._discard()
        await self._send(message)

    async def _discard(self) -> None:
        left = _DISCARD_BYTES
        try:
            async with asyncio.timeout(_DISCARD_SECONDS):
                while not self._whole and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            return
