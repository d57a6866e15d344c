"""Errors of the interface: every answer that is no result has one shape, ``{"error": {"code", "message", "request_id"}}``;
beside it stands what a refused picture says of its origin, ``provenance``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from dgsnet.provenance import Provenance

_CODES = {404: "not_found", 405: "method_not_allowed"}


class ApiError(Exception):
    """A request that gets no result."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})
        self.provenance: Provenance | None = None
        """Claims of a picture that was refused, where it was read."""


def overloaded(code: str, message: str, seconds: float) -> ApiError:
    """Return a 429, to be tried again after so many seconds."""
    return ApiError(429, code, message, {"Retry-After": str(max(1, round(seconds)))})


def to_response(error: ApiError, request_id: str) -> JSONResponse:
    """Return an error as it is sent."""
    body: dict[str, Any] = {"error": {"code": error.code, "message": error.message, "request_id": request_id}}
    if error.provenance:
        body["provenance"] = error.provenance.as_dict() | {"agrees": None}
    return JSONResponse(body, error.status, error.headers)


def install_handlers(app: FastAPI) -> None:
    """Give all errors of an application this shape, those of the framework too."""

    @app.exception_handler(ApiError)
    def _api_error(request: Request, error: ApiError) -> JSONResponse:
        return to_response(error, request.state.request_id)

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, "bad_request")
        return to_response(ApiError(error.status_code, code, str(error.detail), error.headers), request.state.request_id)

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, _: RequestValidationError) -> JSONResponse:
        return to_response(
            ApiError(422, "invalid_request", "the request does not fit the interface, see /openapi.json"), request.state.request_id
        )
