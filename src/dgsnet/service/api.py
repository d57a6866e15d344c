"""The routes of the REST interface."""

from __future__ import annotations

import time
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from dgsnet import __version__
from dgsnet.images import optional_readers
from dgsnet.inference.verdict import CONTRADICTION, PLAIN
from dgsnet.reports.detection_page import SIGNATURES, SIGNERS, WORDS
from dgsnet.service import schemas, uploads
from dgsnet.service.api_error import ApiError
from dgsnet.service.keys import Keys
from dgsnet.service.monitoring import Metrics
from dgsnet.service.rate_limit import RateLimiter, address_bucket
from dgsnet.service.request_pipeline import RequestPipeline
from dgsnet.service.uploads import UploadBudget

_bearer = HTTPBearer(auto_error=False, description="Where the service has keys: one of them.")


def _authenticate(request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
    """Let a request pass. The address pays first, so that keys cannot be tried without end.

    Raises:
        ApiError: too many requests (429), or no known key (401).
    """
    limiter, keys = cast("RateLimiter", request.app.state.limiter), cast("Keys | None", request.app.state.keys)
    limiter.acquire(address_bucket(request.client.host if request.client else None))
    if keys is None:
        return
    name = keys.name_of(credentials.credentials) if credentials else None
    if name is None:
        raise ApiError(401, "unauthorised", "expected a known key: Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"})
    limiter.acquire(f"key {name}")


def routes(pipeline: RequestPipeline, metrics: Metrics) -> tuple[APIRouter, APIRouter]:
    """Return the routes that need a key where there are keys, and the public ones."""
    protected, public = APIRouter(dependencies=[Depends(_authenticate)]), APIRouter()
    budget, settings = UploadBudget(pipeline.settings.max_uploading), pipeline.settings
    all_errors = schemas.error_responses(400, 401, 413, 415, 422, 429, 503)

    @protected.post("/v1/detect", response_model=schemas.Detection, responses=all_errors, openapi_extra=schemas.multipart_body(many=True))
    async def detect(request: Request, steadiness: bool = False) -> dict[str, Any]:
        """Score pictures. A file that cannot be scored is a row with `error`; where it is the only one, the request is refused.

        With `steadiness`, a warning `unsteady` says where a compressed or smaller copy would get another verdict: two more views a picture.
        """
        with budget.reservation() as reserve:
            files = await uploads.read(request, settings, reserve)
            results = await pipeline.detect(files, steadiness=steadiness)
        if len(results) == 1 and (error := results[0].error):
            raise error
        latency = round(1000 * (time.perf_counter() - request.state.start), 1)
        return {
            "request_id": request.state.request_id,
            "latency_ms": latency,
            "results": [one.row.as_dict(provenance=True) for one in results],
        }

    png: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "The heatmap, at the picture's own size.",
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        }
    }

    @protected.post("/v1/heatmap", response_class=Response, responses=png | all_errors, openapi_extra=schemas.multipart_body(many=False))
    async def heatmap(request: Request) -> Response:
        """Draw where the answer comes from: red towards AI-generated, blue towards photograph. Up to fifty times the work of a score."""
        with budget.reservation() as reserve:
            files = await uploads.read(request, settings, reserve, max_files=1)
            return Response(await pipeline.heatmap(files[0]), media_type="image/png")

    page: dict[int | str, dict[str, Any]] = {
        200: {"description": "One HTML file, to be saved.", "content": {"text/html": {"schema": {"type": "string"}}}}
    }

    @protected.post("/v1/report", response_class=Response, responses=page | all_errors, openapi_extra=schemas.multipart_body(many=False))
    async def report(request: Request, heatmap: bool = True) -> Response:
        """Write a page on one picture, to hand on: score, warnings, provenance, sha256, model, thresholds, heatmap unless switched off."""
        with budget.reservation() as reserve:
            files = await uploads.read(request, settings, reserve, max_files=1)
            row, content = await pipeline.report(files[0], heatmap, request.state.request_id)
        name = f"dgsnet-report-{(row.sha256 or '')[:12]}.html"
        return Response(content, media_type="text/html", headers={"Content-Disposition": f'attachment; filename="{name}"'})

    @protected.get("/v1/models", response_model=schemas.Models, responses=schemas.error_responses(401, 429))
    async def models() -> dict[str, Any]:
        """Return the model that answers, its thresholds and what is accepted."""
        detector, policy = pipeline.detector, settings.policy
        calibration, preprocessing = detector.config.calibration, detector.config.preprocessing
        limits = {name: getattr(policy, name) for name in ("max_bytes", "max_pixels", "max_side")}
        limits["formats"] = [name for name in policy.formats if optional_readers.is_available(name)]
        model = {
            "name": detector.name,
            "fingerprint": detector.fingerprint,
            "version": __version__,
            "thresholds": {"real": calibration.real, "generated": calibration.generated},
            "calibrated_on": None if calibration.fitted is None else {name: calibration.fitted[name] for name in ("n_real", "n_fake")},
            "view": {"kind": preprocessing.view, "size": preprocessing.size, "quadrants": preprocessing.multi_crop},
            "words": {
                "verdicts": WORDS,
                "warnings": PLAIN,
                "signatures": SIGNATURES,
                "signers": SIGNERS,
                "contradictions": CONTRADICTION,
            },
            "limits": limits | {"max_files": settings.max_files},
            "reads_c2pa": pipeline.decoders.reads_c2pa,
        }
        return {"models": [model]}

    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"example": "dgsnet_images_waiting 0.0\n"}}}}

    @protected.get("/metrics", response_class=PlainTextResponse, responses=text | schemas.error_responses(401, 429))
    async def prometheus() -> PlainTextResponse:
        """Figures for Prometheus."""
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @public.get("/healthz", response_model=schemas.Status)
    async def healthz() -> dict[str, str]:
        """Tell whether the process answers."""
        return {"status": "ok"}

    @public.get("/readyz", response_model=schemas.Status, responses=schemas.error_responses(503))
    async def readyz() -> dict[str, str]:
        """Tell whether pictures would be scored."""
        if not pipeline.ready:
            raise ApiError(503, "not_ready", "the model does not answer")
        return {"status": "ready"}

    return protected, public
