"""`dgsnet serve`."""

from __future__ import annotations

import ipaddress
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from dgsnet.artifacts.shipped import DEFAULT
from dgsnet.cli import options
from dgsnet.core.errors import DgsnetError


def serve(
    model: options.Model = DEFAULT,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; others than this machine's own need --keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535)] = 8000,
    keys: Annotated[Path | None, typer.Option("--keys", help="File of keys; requests then need one of them.")] = None,
    new_key: Annotated[Path | None, typer.Option("--new-key", metavar="FILE", help="Add a key to FILE, print it once, and end.")] = None,
    key_name: Annotated[str, typer.Option("--key-name", help="With --new-key: whose it is.")] = "key",
    allow_anonymous: Annotated[bool, typer.Option("--allow-anonymous", help="Listen on any address without keys.")] = False,
    queue: Annotated[int, typer.Option("--queue", min=1, help="Images that may wait; beyond, 429.")] = 32,
    rate: Annotated[float, typer.Option("--rate", min=0, help="Requests a minute for each key and address; 0: no limit.")] = 600,
    request_seconds: Annotated[float, typer.Option("--request-seconds", min=0.1, help="Time limit of a request.")] = 30,
    decode_seconds: Annotated[float, typer.Option("--decode-seconds", min=0.1, help="Time limit of decoding a picture.")] = 6,
    decoders: Annotated[int, typer.Option("--decoders", min=1, help="Processes that decode.")] = 2,
    cors_origin: Annotated[list[str] | None, typer.Option("--cors-origin", help="Origin whose pages may ask; may be repeated.")] = None,
    device: options.Device = "cpu",
    provider: options.Provider = None,
    threads: options.Threads = None,
    operating_point: options.Point = "balanced",
    max_pixels: options.MaxPixels = None,
    max_bytes: options.MaxBytes = None,
    trust_anchors: options.TrustAnchors = None,
    marks: options.Marks = None,
    watermarks: options.Watermarks = False,
    trustmark: options.TrustMark = None,
) -> None:
    """A page to drop pictures on, and an interface: POST /v1/detect, /v1/heatmap, /v1/report; the rest is in /openapi.json."""
    import fastapi  # noqa: F401 - here, so that it is said before a model is loaded
    import uvicorn

    from dgsnet.service.keys import Keys, add_key
    from dgsnet.service.settings import FORMATS, Settings

    if new_key:
        typer.echo(add_key(new_key, key_name))
        typer.echo(f"its digest is in {new_key}; the key itself is kept nowhere", err=True)
        return
    accepted = Keys.load(keys) if keys else None
    if accepted is None and not allow_anonymous and not _is_loopback(host):
        raise DgsnetError(f"refusing to listen on {host} without keys: give --keys FILE, or --allow-anonymous if anybody may use it")
    limits = options.decode_policy(max_pixels, max_bytes)
    settings = Settings(
        policy=replace(limits, formats=FORMATS),
        max_body=max(Settings().max_body, limits.max_bytes + 2**20),
        queue=queue,
        rate=rate,
        request_seconds=request_seconds,
        decode_seconds=decode_seconds,
        decoders=decoders,
        asked=options.asked(provenance=True, trust_anchors=trust_anchors, marks=marks, watermarks=watermarks, trustmark=trustmark),
        cors_origins=tuple(cors_origin or ()),
    )

    from dgsnet.service.app import create_app

    app = create_app(options.loader(device, provider, threads, operating_point)(model), settings, accepted)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises the signal again when it has finished what it took
    uvicorn.run(app, host=host, port=port, proxy_headers=False, server_header=False)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
