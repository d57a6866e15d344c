"""The door to ``c2pa-python`` (extra ``provenance``), which checks signatures and hashes here, never over the network."""

from __future__ import annotations

import io
import json
from functools import lru_cache
from types import ModuleType
from typing import Any

from dgsnet.provenance.c2pa.trust import TrustAnchors

PURPOSES = {
    "1.3.6.1.4.1.62558.2.1": "C2PA claim signing",
    "1.3.6.1.5.5.7.3.4": "e-mail protection",
    "1.3.6.1.5.5.7.3.36": "document signing",
    "1.3.6.1.5.5.7.3.8": "time stamping",
    "1.3.6.1.5.5.7.3.9": "OCSP signing",
    "1.3.6.1.4.1.311.76.59.1.9": "Microsoft's C2PA signing",
}
"""Purposes of a key that the C2PA's and the Content Authenticity Initiative's own lists accept of a signer, by object identifier.

A certificate with another purpose signs as well as these do; it is only not *trusted*, unless its purpose is given with the anchors.
"""

_LONGEST = 16 * 2**20  # characters of a store's JSON that are parsed; those of makers have some 100,000


def module() -> ModuleType | None:
    """Return the library; None where it is not installed or does not run here."""
    try:
        import c2pa  # noqa: PLC0415 - optional
    except Exception:  # its native part can fail in its own ways on a platform it was not built for
        return None
    return c2pa if isinstance(c2pa, ModuleType) else None


def read_store(library: ModuleType, data: bytes, anchors: TrustAnchors | None) -> list[dict[str, Any]]:
    """Return the manifests of an encoded image as crJSON (C2PA 2.4, Content Credentials JSON), the active one first.

    Raises:
        Exception: of any class: hostile bytes meet a native library here.
    """
    with library.Context.from_dict(settings(anchors)) as context, library.Reader(None, io.BytesIO(data), context=context) as reader:
        text = reader.crjson()
    if len(text) > _LONGEST:
        raise ValueError(f"it is too large: {len(text):,} characters of JSON")
    found = [one for one in json.loads(text).get("manifests") or [] if isinstance(one, dict) and isinstance(one.get("label"), str)]
    if not found:
        raise ValueError("no manifest in it")
    return found


@lru_cache(maxsize=4)
def settings(anchors: TrustAnchors | None) -> dict[str, Any]:
    """Return the library's settings: nothing is fetched; `anchors` are all that is trusted, of signers and of time-stamp authorities."""
    trust = {"trust_config": "\n".join([*PURPOSES, *(anchors.purposes if anchors else ())])}
    if anchors:
        # A list may hold authorities and single signers; which of them a certificate is, the library sees.
        trust |= {"trust_anchors": anchors.pem, "allowed_list": anchors.pem}
    return {
        "core": {
            "allowed_network_hosts": [],
            "decode_identity_assertions": False,  # resolves names over the network
            "max_decompressed_manifest_size_in_mb": 16,
        },
        "verify": {"ocsp_fetch": False, "remote_manifest_fetch": False},
        "trust": trust,
    }
