"""The examination of an encoded image for Content Credentials."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from dgsnet.provenance import metadata
from dgsnet.provenance.c2pa import library, presence, statuses
from dgsnet.provenance.c2pa import manifest as manifests
from dgsnet.provenance.c2pa.chain import Chain, Claims, unsaid
from dgsnet.provenance.c2pa.manifest import Ingredient, Manifest
from dgsnet.provenance.c2pa.statuses import Status, Validation
from dgsnet.provenance.c2pa.trust import TrustAnchors
from dgsnet.provenance.finding import Finding, finding
from dgsnet.provenance.generators import Marks, builtin

Signature = Literal["none", "intact", "altered", "unchecked"]
"""``none``: the file has no manifest store; ``intact``: hash and signature fit; ``altered``: one of them does not; ``unchecked``: it is
not known."""
Signer = Literal["none", "unknown", "trusted", "expired"]
"""``trusted``: certified by an anchor that was given; ``expired``: the certificate is valid no longer; ``unknown``: it may be anybody."""

_MOST = 40  # findings of a manifest store
_INTACT = "intact: hash and signature fit, so nobody has changed the file since it was signed"
_WORDS = {
    "unknown": "unknown: not checked against any list of trusted signers, so anybody may have made the certificate",
    "outside": "unknown: none of the trusted authorities that were given has certified it for signing",
    "trusted": "trusted: one of the trusted authorities that were given has certified the signer",
    "expired": "expired: the certificate was valid from {first} to {last}, so when the file was signed is not proven",
}


@dataclass(frozen=True)
class Examined:
    """What the Content Credentials of a file say."""

    findings: list[Finding] = field(default_factory=list)
    signature: Signature = "none"
    signer: Signer = "none"


def examine(
    data: bytes, anchors: TrustAnchors | None = None, file: metadata.FileMetadata | None = None, marks: Marks | None = None
) -> Examined:
    """Return what the Content Credentials of an encoded image say. Raises nothing, whatever the bytes are, fetches nothing, reads no pixel.

    Args:
        data: the file.
        anchors: whom to trust; None: nobody, and no signer is called trusted.
        file: its metadata, where they have been read already.
        marks: table of the programs that generate; None: the package's own.
    """
    file = file or metadata.read(data)
    remote = [finding("c2pa.remote", f"a manifest lies at {one}; it was not fetched", "unknown") for one in presence.addresses(file.xmp)]
    if not (file.c2pa or presence.in_pages(data)):
        return Examined(remote)
    checked = _checked(data, anchors, marks or builtin())
    return Examined([*checked.findings, *remote], checked.signature, checked.signer)


def is_available() -> bool:
    """Return whether manifests can be checked here. Loads the library."""
    return library.module() is not None


def _checked(data: bytes, anchors: TrustAnchors | None, marks: Marks) -> Examined:
    module = library.module()
    if module is None:
        return _unread("present; signature not checked: c2pa-python is not installed")
    try:
        return read_store(library.read_store(module, data, anchors), marks, has_anchors=bool(anchors))
    except Exception as error:  # hostile bytes in a native library: whatever it answers, the manifest is unreadable and no more
        return _unread(f"present but not readable, signature not checked ({error})")


def _unread(why: str) -> Examined:
    return Examined([finding("c2pa.manifest", why, "unknown")], "unchecked", "unknown")


def read_store(store: list[dict[str, Any]], marks: Marks | None = None, *, has_anchors: bool = False) -> Examined:
    """Return what a manifest store in crJSON says, the active manifest first."""
    found = {one["label"]: manifests.read(one) for one in reversed(store)}  # of two with one label the first counts
    validation = statuses.validation(store)
    signature, why = _signature(found, validation)
    signer, lines = _signer(store[0], validation, signature, has_anchors)
    chain = Chain(found, lambda manifest, ingredient: _codes(_void(validation, manifest, ingredient)), marks or builtin())
    claims = chain.claims(validation.active)
    if signature == "altered":
        claims = Claims(list(unsaid(claims.findings)))
    return Examined(_cut([finding("c2pa.validation", why, "unknown"), *lines, *_remarks(validation), *claims.findings]), signature, signer)


def _signature(found: dict[str, Manifest], validation: Validation) -> tuple[Signature, str]:
    """Say whether the bytes are as they were signed, in a word and in words."""
    if wrong := _altered(found, validation):
        return "altered", f"altered: the file or its manifest was changed after signing ({_codes(wrong)}); its claims count for nothing"
    if left := validation.of(validation.active, "unchecked"):
        return "unchecked", f"not checked: nobody knows whether the file was changed after it was signed ({_codes(left)})"
    if not validation.signed:
        return "unchecked", "not checked: the library says nothing of the signature"
    return "intact", _INTACT


def _altered(found: dict[str, Manifest], validation: Validation) -> list[Status]:
    """Return what does not fit: in the active manifest, or below an update manifest in that which holds the hash of the pixels."""
    label = validation.active
    wrong = validation.of(label, "altered")
    for _ in range(len(found)):
        manifest = found.get(label)
        if manifest is None or not manifest.is_update or not manifest.parents:
            break
        parent = manifest.parents[0]
        wrong += _void(validation, manifest, parent)
        label = parent.manifest
    return wrong


def _void(validation: Validation, manifest: Manifest, ingredient: Ingredient) -> list[Status]:
    """Return why the claims of an ingredient count for nothing."""
    named = [one for one in validation.of(manifest.label, "ingredient") if one.part == ingredient.assertion]
    return [*validation.of(ingredient.manifest, "altered", "ingredient"), *named]


def _signer(active: dict[str, Any], validation: Validation, signature: Signature, has_anchors: bool) -> tuple[Signer, list[Finding]]:
    """Say who signed, in a word and in findings."""
    block = active.get("signature")
    block = block if isinstance(block, dict) else {}
    certificate = _certificate(block)
    expired = validation.of(validation.active, "expired")
    revoked = validation.of(validation.active, "revoked")
    problems = validation.of(validation.active, "purpose")
    signer: Signer = "unknown"
    if expired:
        signer = "expired"
    elif validation.trusted and not revoked and not problems and signature == "intact":
        signer = "trusted"
    words = _WORDS["outside" if signer == "unknown" and has_anchors else signer].format(**certificate)
    lines = [("c2pa.signer", certificate["who"])] if certificate["who"] else []
    lines.append(("c2pa.signer.status", words))
    if revoked:
        lines.append(("c2pa.signer.status", "revoked: the file itself holds the authority's word that the certificate is"))
    lines += [("c2pa.signer.status", f"a certificate not of the form asked for: {one.explanation or one.code}") for one in problems]
    stamp = block.get("timeStampInfo")
    if isinstance(stamp, dict) and isinstance(stamp.get("timestamp"), str):
        doubts = validation.of(validation.active, "stamp")
        who = _certificate(stamp)["who"] or "somebody"
        doubt = f" ({_codes(doubts)})" if doubts else ""
        lines.append(("c2pa.timestamp", f"{stamp['timestamp']} by {who}, whose word counts as far as you trust it{doubt}"))
    return signer, [finding(kind, value, "unknown") for kind, value in lines]


def _certificate(block: dict[str, Any]) -> dict[str, str]:
    """Return the subject of a certificate of crJSON (`who`) and the days from which (`first`) and to which (`last`) it is valid."""
    info = block.get("certificateInfo")
    info = info if isinstance(info, dict) else {}
    subject, validity = (part if isinstance(part := info.get(name), dict) else {} for name in ("subject", "validity"))
    return {
        "who": ", ".join(str(subject[key]) for key in ("O", "CN") if subject.get(key)),
        "first": str(validity.get("notBefore", "?"))[:10],
        "last": str(validity.get("notAfter", "?"))[:10],
    }


def _remarks(validation: Validation) -> Iterable[Finding]:
    """Yield what else there is to know, which changes neither answer."""
    if forms := validation.of(validation.active, "form"):
        yield finding("c2pa.remark", f"signed as it stands, but not as the standard asks for: {_codes(forms)}", "unknown")
    if validation.of(validation.active, "uncovered"):
        yield finding("c2pa.remark", "the hash leaves out more of the file than the manifest: that may have been changed", "unknown")


def _codes(found: list[Status]) -> str:
    return ", ".join(dict.fromkeys(one.code for one in found))


def _cut(found: list[Finding]) -> list[Finding]:
    """Return the first findings, of what follows those that claim what the first do not, and how many are left out."""
    found = list(dict.fromkeys(found))
    if len(found) <= _MOST:
        return found
    kept, said = found[:_MOST], {one.says for one in found[:_MOST]}
    for one in found[_MOST:]:
        if one.says not in said:
            said.add(one.says)
            kept.append(one)
    return [*kept, finding("c2pa.manifest", f"{len(found) - len(kept)} further entries are not shown", "unknown")]
