"""A running service, and what the tests of the service send to it."""

import io
import threading
import time
from contextlib import contextmanager

import httpx2
import numpy as np
import uvicorn
from PIL import Image

from dgsnet.service.app import create_app
from dgsnet.service.settings import Settings

SETTINGS = Settings(rate=0, request_seconds=120, decode_seconds=60, decoders=1)  # this machine may be busy; limits have tests of their own


@contextmanager
def serving(detector, settings=SETTINGS, keys=None):
    """A running service: (client, uvicorn's server)."""
    app = create_app(detector, settings, keys)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:
            yield client, server
    finally:
        server.should_exit = True
        thread.join()


def encoded(kind="PNG", side=64, **options):
    stream = io.BytesIO()
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


PNG = encoded()


def post(client, *files, path="/v1/detect", **options):
    return client.post(path, files=[("file", (f"{number}.png", data)) for number, data in enumerate(files)], **options)


def refused(response):
    body = response.json()
    assert set(body) - {"provenance"} == {"error"}  # of a picture, what it says of its origin stands beside
    assert set(body["error"]) == {"code", "message", "request_id"}
    assert body["error"]["request_id"] == response.headers["x-request-id"]
    return response.status_code, body["error"]["code"]


def decoding_process_of(server):
    closed = server.config.app.state.pipeline.decoders
    process = closed._idle.get()
    closed._idle.put(process)
    return process._popen.pid
