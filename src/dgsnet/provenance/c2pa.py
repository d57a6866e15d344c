"""Findings of a C2PA manifest store, checked with the optional package ``c2pa-python`` (extra ``provenance``) and never over the network.

No trust list is used: a signature that holds tells that the file is as it was when it was signed, not who may be believed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from dgsnet.provenance import generators, source_type
from dgsnet.provenance.finding import Finding, finding

_OFFLINE = {
    "core": {
        "allowed_network_hosts": [],
        "decode_identity_assertions": False,  # resolves names over the network
        "max_decompressed_manifest_size_in_mb": 16,
    },
    "verify": {"ocsp_fetch": False, "remote_manifest_fetch": False},
}
_UNTRUSTED = "signingCredential.untrusted"  # without a trust list every signer is
_MOST = 16  # findings of a manifest store
_MOST_MANIFESTS = 32
_DEEPEST = 12

_STATES = {
    "Trusted": "valid: the file is as it was when it was signed, by a trusted signer",
    "Valid": "valid: the file is as it was when it was signed; the signer is not checked against any trust list",
}


def findings(data: bytes) -> list[Finding]:
    """Return the findings of the manifest store of an encoded image; call it where `dgsnet.provenance.metadata` has found one.

    Without the package, or where it cannot read the store, they say that there is one and that the signature was not checked.
    """
    library = _library()
    if library is None:
        return [finding("c2pa.manifest", "present; signature not checked: c2pa-python is not installed", "unknown")]
    try:
        with library.Context.from_dict(_OFFLINE) as context, library.Reader(None, io.BytesIO(data), context=context) as reader:
            store = json.loads(reader.json())
        return _findings_of(store)[:_MOST]
    except Exception as error:  # hostile bytes in a native library: whatever it answers, the manifest is unreadable and no more
        return [finding("c2pa.manifest", f"present but not readable, signature not checked ({error})", "unknown")]


def is_available() -> bool:
    """Return whether manifests can be checked here. Loads the library."""
    return _library() is not None


def is_invalid(found: list[Finding]) -> bool:
    """Return whether one of these findings is a signature that does not hold."""
    return any(one.kind == "c2pa.validation" and not one.value.startswith("valid") for one in found)


def _library() -> ModuleType | None:
    try:
        import c2pa  # noqa: PLC0415 - optional
    except Exception:  # its native part can fail in its own ways on a platform it was not built for
        return None
    return c2pa if isinstance(c2pa, ModuleType) else None


def _findings_of(store: dict[str, Any]) -> list[Finding]:
    manifests: dict[str, Any] = store.get("manifests") or {}
    active = store.get("active_manifest")
    state = str(store.get("validation_state"))
    holds = state in _STATES
    found = [finding("c2pa.validation", _STATES[state] if holds else f"invalid: {_failures(store)}", "unknown")]
    manifest = manifests.get(active or "") or {}
    signature = manifest.get("signature_info") or {}
    if signer := ", ".join(str(signature[key]) for key in ("issuer", "common_name") if signature.get(key)):
        found.append(finding("c2pa.signer", signer, "unknown"))
    for name in _claim_generators(manifest):
        found.append(finding("c2pa.claim_generator", name, "generated" if holds and generators.by_text(name) else "unknown"))
    for action, value in _source_types(manifest.get("assertions"), None, 0):
        says = source_type.says(value)
        if says == "generated" and action not in {None, "c2pa.created"}:
            says = "edited"  # a generated part put into what was there before
        found.append(finding("c2pa.digitalSourceType", f"{value}{f' ({action})' if action else ''}", says if holds else "unknown"))
    for label, other in list(manifests.items())[:_MOST_MANIFESTS]:
        if label == active or not isinstance(other, dict):
            continue
        for _, value in _source_types(other.get("assertions"), None, 0):
            says = "edited" if holds and source_type.says(value) in {"generated", "edited"} else "unknown"
            found.append(finding("c2pa.ingredient.digitalSourceType", value, says))
    return list(dict.fromkeys(found))


def _failures(store: dict[str, Any]) -> str:
    codes = [str(status.get("code")) for status in store.get("validation_status") or [] if isinstance(status, dict)]
    return ", ".join(dict.fromkeys(code for code in codes if code != _UNTRUSTED)) or "no reason given"


def _claim_generators(manifest: dict[str, Any]) -> list[str]:
    infos = [info for info in manifest.get("claim_generator_info") or [] if isinstance(info, dict) and info.get("name")]
    names = [" ".join(str(info[key]) for key in ("name", "version") if info.get(key)) for info in infos]
    return names or [str(manifest["claim_generator"])] * bool(manifest.get("claim_generator"))


def _source_types(value: Any, action: str | None, depth: int) -> Iterator[tuple[str | None, str]]:
    """Yield (action, source type) of assertions: of actions, and of metadata assertions under a prefix, such as ``Iptc4xmpExt:``."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for one in value:
            yield from _source_types(one, action, depth + 1)
    elif isinstance(value, dict):
        here = value.get("action")
        action = here if isinstance(here, str) else action
        for key, one in value.items():
            if str(key).rsplit(":", 1)[-1].lower() == "digitalsourcetype" and isinstance(one, str):
                yield action, one
            else:
                yield from _source_types(one, action, depth + 1)
