"""Settings of a service. All limits are per process."""

from __future__ import annotations

from dataclasses import dataclass, field

from dgsnet.images.decode import DecodePolicy
from dgsnet.inference.asked import Asked

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIC", "GIF")
"""What an upload may be: what phones, browsers and generators write. Readers of other formats are not even loaded."""


@dataclass(frozen=True)
class Settings:
    """Limits of a service."""

    policy: DecodePolicy = field(default_factory=lambda: DecodePolicy(formats=FORMATS))
    """What an upload may be: bytes, pixels, format."""
    max_files: int = 16
    """Files of one request."""
    max_body: int = 65 * 2**20
    """Bytes of one request, which may hold several files."""
    max_uploading: int = 1024 * 2**20
    """Bytes of all requests that are being read or worked on: beyond, requests are refused."""
    upload_seconds: float = 60.0
    """To send the whole body."""
    queue: int = 32
    """Images that may be in work or wait for it: beyond, requests are refused."""
    request_seconds: float = 30.0
    """From the last byte of a request to its answer."""
    heatmap_queue: int = 4
    """Heatmaps that may be in work or wait for it."""
    heatmap_seconds: float = 120.0
    """As `request_seconds`, for heatmaps and reports: up to fifty times the work."""
    decoders: int = 2
    """Processes that decode."""
    decode_seconds: float = 6.0
    """To decode a picture, and again to read its metadata; a process that takes longer is killed. The largest PNG takes three seconds."""
    decoder_memory: int = 1536 * 2**20
    """Bytes a decoding process may take beyond what it needs idle; what would need more is refused. The largest WebP takes two
    thirds."""
    batch: int = 8
    """Images a GPU gets at once; on the CPU it is one."""
    rate: float = 600.0
    """Requests a minute for each key and each address, a tenth of it at once; 0: no limit."""
    asked: Asked = field(default_factory=lambda: Asked(provenance=True))
    """What is asked of every picture beside its score."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may read answers."""
