"""The application: routes, limits and what runs behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from dgsnet import __version__
from dgsnet.inference.detector import Detector
from dgsnet.service import api, api_error, page
from dgsnet.service.keys import Keys
from dgsnet.service.middleware import RequestMiddleware
from dgsnet.service.monitoring import Metrics
from dgsnet.service.rate_limit import RateLimiter
from dgsnet.service.request_pipeline import RequestPipeline
from dgsnet.service.settings import Settings

_DESCRIPTION = """Tells photographs from AI-generated images. **A score is a signal, not proof**: the model can be confidently wrong,
above all on generators it never saw. Pictures stay in memory, are never logged and are forgotten with the answer."""


def create_app(detector: Detector, settings: Settings | None = None, keys: Keys | None = None) -> FastAPI:
    """Make the ASGI application; without keys anybody may ask."""
    settings, metrics = settings or Settings(), Metrics()
    pipeline = RequestPipeline(detector, settings, metrics)

    @asynccontextmanager
    async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        pipeline.close()

    app = FastAPI(  # the framework's own documentation pages load scripts from another host
        title="dgsnet", version=__version__, description=_DESCRIPTION, docs_url=None, redoc_url=None, lifespan=_lifespan
    )
    app.state.pipeline, app.state.keys, app.state.limiter = pipeline, keys, RateLimiter(settings.rate)
    api_error.install_handlers(app)
    for router in (*api.routes(pipeline, metrics), page.routes()):
        app.include_router(router)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.cors_origins), allow_methods=["GET", "POST"], allow_headers=["Authorization"]
        )
    app.add_middleware(RequestMiddleware, metrics=metrics)
    return app
