"""Shapes of requests and responses, for `/openapi.json`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from dgsnet.provenance import CAUTION
from dgsnet.provenance.c2pa import Signature, Signer
from dgsnet.provenance.source_type import Says

_ROW: JsonDict = {
    "path": "photo.jpg", "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "score": 0.07, "logit": -2.59,
    "verdict": "real", "warnings": [], "width": 4000, "height": 3000, "format": "JPEG", "model": "dgsnet-b16", "error": None,
    "provenance": {
        "summary": f"The metadata of the file say that it came from a camera; {CAUTION}.", "says": ["camera"], "signature": "none",
        "signer": "none", "findings": [{"kind": "exif.Make", "value": "Nikon", "says": "camera"}], "agrees": True,
    },
}  # fmt: skip

_MODEL: JsonDict = {
    "name": "dgsnet-b16", "fingerprint": "3f1c", "version": "0.1.0", "thresholds": {"real": 0.3, "generated": 0.7},
    "limits": {
        "formats": ["JPEG", "PNG", "WEBP", "AVIF", "HEIC", "GIF"],
        "max_bytes": 67_108_864, "max_pixels": 67_108_864, "max_side": 16_384, "max_files": 16,
    },
    "reads_c2pa": True,
}  # fmt: skip


class Finding(BaseModel):
    """One piece of metadata and what it claims."""

    kind: str
    value: str
    says: Says


class Provenance(BaseModel):
    """Claims of a file about its own origin; no part of the score."""

    summary: str
    says: list[Says]
    signature: Signature
    signer: Signer
    findings: list[Finding]
    agrees: bool | None
    """False where the verdict of the pixels and the file contradict each other; null where there is nothing to compare."""


class Row(BaseModel):
    """Result of one file, as in `dgsnet detect`; one that could not be scored has `error` and null figures."""

    path: str | None
    sha256: str | None
    score: float | None
    logit: float | None
    verdict: Literal["ai-generated", "real", "inconclusive"] | None
    warnings: list[str]
    width: int | None
    height: int | None
    format: str | None
    model: str | None
    error: str | None
    provenance: Provenance | None


class Detection(BaseModel):
    """Rows, in the order of the files."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"request_id": "5f2b", "latency_ms": 412.5, "results": [_ROW]}]})

    request_id: str
    latency_ms: float
    results: list[Row]


class Thresholds(BaseModel):
    """Scores below `real` are `real`, from `generated` on `ai-generated`, between them `inconclusive`."""

    real: float
    generated: float


class Limits(BaseModel):
    """Limits of what is accepted."""

    formats: list[str]
    max_bytes: int
    max_pixels: int
    max_side: int
    max_files: int


class CalibratedOn(BaseModel):
    """Numbers of images of each kind that score and thresholds were fitted to."""

    n_real: int
    n_fake: int


class View(BaseModel):
    """Part of a picture that the model sees: `crop`, the square of `size` pixels in its middle; `resize`, the square in its middle, scaled
    to `size`; `patches`, small squares chosen by their texture."""

    kind: Literal["crop", "resize", "patches"]
    size: int
    quadrants: bool
    """True where it sees the same of each quadrant, if both sides are at least twice `size`."""


class Words(BaseModel):
    """Verdicts, one sentence per warning, and what is said of signatures, signers and contradictions, for people."""

    verdicts: dict[str, str]
    warnings: dict[str, str]
    signatures: dict[str, str]
    signers: dict[str, str]
    contradictions: dict[str, str]


class Model(BaseModel):
    """A model that is served."""

    name: str
    fingerprint: str
    version: str
    thresholds: Thresholds
    calibrated_on: CalibratedOn | None
    view: View
    words: Words
    limits: Limits
    reads_c2pa: bool


class Models(BaseModel):
    """All models that are served."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"models": [_MODEL]}]})

    models: list[Model]


class Status(BaseModel):
    """Health."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})

    status: Literal["ok", "ready"]


class Error(BaseModel):
    """Reason why there is no result."""

    code: str
    message: str
    request_id: str


class ErrorBody(BaseModel):
    """Body of an answer that is no result."""

    error: Error
    provenance: Provenance | None = None
    """Of a picture that was refused, where it could be read."""


_ERROR_EXAMPLES = {
    400: ("no_file", "expected a file in the field 'file', but there is none"),
    401: ("unauthorised", "expected a known key: Authorization: Bearer KEY"),
    413: ("file_too_large", "a file has more than 67,108,864 bytes; store it smaller"),
    415: ("unsupported_format", "a.svg: is none of JPEG, PNG, WEBP, AVIF, HEIC, GIF; convert it to PNG or leave it out"),
    422: ("broken_image", "a.png: truncated or damaged PNG; replace it by a whole copy or leave it out"),
    429: ("queue_full", "32 images are waiting already; try again later"),
    503: ("timeout", "no answer within 10 s; try again later"),
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the errors of a route, with an example each."""
    described: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        code, message = _ERROR_EXAMPLES[status]
        example = {"error": {"code": code, "message": message, "request_id": "5f2b"}}
        described[status] = {"model": ErrorBody, "description": code, "content": {"application/json": {"example": example}}}
        if status in {429, 503}:
            described[status]["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return described


def multipart_body(many: bool) -> dict[str, Any]:
    """Return the request body of a route that takes files."""
    one = {"type": "string", "format": "binary", "description": "An encoded picture."}
    file = {"type": "array", "items": one, "minItems": 1} if many else one
    schema = {"type": "object", "required": ["file"], "properties": {"file": file}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
