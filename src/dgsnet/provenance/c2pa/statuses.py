"""What each status code of a validation says of the bytes and of the signer (C2PA specification 2.2, 15.2, and c2pa-rs).

Only a hash or a signature that does not fit tells that something was altered. What the library dislikes of a certificate, of a time stamp
or of the form of an assertion leaves the bytes as they were signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Meaning = Literal["altered", "ingredient", "expired", "revoked", "unknown", "purpose", "stamp", "form", "uncovered", "unchecked", "other"]
"""What a failure says: the bytes were ``altered``; an ``ingredient`` was; the certificate has ``expired`` or was ``revoked``; its signer is
``unknown``; its ``purpose`` or form is none the library lists; a time ``stamp`` is worth nothing; an assertion's ``form`` is not that of
the standard; parts of the file are ``uncovered`` by the hash; it was ``unchecked``; it is ``other`` people's affair, such as an identity
beside the signature."""

MEANINGS: dict[str, Meaning] = {
    # A hash or a signature that does not fit, or a part that was taken out or put in afterwards.
    "claimSignature.mismatch": "altered",
    "claimSignature.missing": "altered",
    "assertion.hashedURI.mismatch": "altered",
    "assertion.missing": "altered",
    "assertion.undeclared": "altered",
    "assertion.dataHash.mismatch": "altered",
    "assertion.bmffHash.mismatch": "altered",
    "assertion.boxesHash.mismatch": "altered",
    "assertion.boxesHash.unknownBox": "altered",
    "assertion.collectionHash.mismatch": "altered",
    "assertion.collectionHash.incorrectFileCount": "altered",
    "hashedURI.mismatch": "altered",
    # The same of a manifest that was taken over from an ingredient; the one that took it over still fits.
    "ingredient.manifest.mismatch": "ingredient",
    "ingredient.manifest.missing": "ingredient",
    "ingredient.hashedURI.mismatch": "ingredient",
    "ingredient.claimSignature.mismatch": "ingredient",
    "ingredient.claimSignature.missing": "ingredient",
    # Who signed, and when.
    "signingCredential.untrusted": "unknown",
    "signingCredential.expired": "expired",
    "claimSignature.outsideValidity": "expired",
    "signingCredential.invalid": "purpose",
    "signingCredential.ocsp.revoked": "revoked",
    "signingCredential.ocsp.unknown": "other",
    "signingCredential.ocsp.inaccessible": "other",
    "signingCredential.ocsp.skipped": "other",
    "timeStamp.untrusted": "stamp",
    "timeStamp.mismatch": "stamp",
    "timeStamp.malformed": "stamp",
    "timeStamp.outsideValidity": "stamp",
    # Signed as it stands, but not as the standard wants it.
    "claim.required.missing": "form",
    "assertion.required.missing": "form",
    "assertion.json.invalid": "form",
    "assertion.cbor.invalid": "form",
    "assertion.outsideManifest": "form",
    "assertion.notRedacted": "form",
    "assertion.selfRedacted": "form",
    "assertion.duplicate": "form",
    "assertion.external-reference.malformed": "form",
    "assertion.action.malformed": "form",
    "assertion.action.softBindingMissing": "form",
    "assertion.action.ingredientMismatch": "form",
    "assertion.action.redacted": "form",
    "assertion.action.redactionMismatch": "form",
    "assertion.ingredient.malformed": "form",
    "assertion.metadata.disallowed": "form",
    "assertion.timestamp.malformed": "form",
    "assertion.cloud-data.malformed": "form",
    "assertion.cloud-data.hardBinding": "form",
    "assertion.cloud-data.actions": "form",
    "manifest.multipleParents": "form",
    "manifest.update.invalid": "form",
    "manifest.update.wrongParents": "form",
    "manifest.timestamp.invalid": "form",
    "manifest.timestamp.wrongParents": "form",
    "manifest.unreferenced": "form",
    "manifest.unknownProvenance": "form",
    "algorithm.deprecated": "form",
    # The signer left other parts of the file out of the hash than the manifest: these anybody may change.
    "assertion.dataHash.additionalExclusionsPresent": "uncovered",
    "assertion.bmffHash.additionalExclusionsPresent": "uncovered",
    "assertion.boxesHash.additionalExclusionsPresent": "uncovered",
    # Nothing was compared, so nothing is known.
    "claim.missing": "unchecked",
    "claim.multiple": "unchecked",
    "claim.malformed": "unchecked",
    "claim.cbor.invalid": "unchecked",
    "claim.hardBindings.missing": "unchecked",
    "assertion.multipleHardBindings": "unchecked",
    "assertion.inaccessible": "unchecked",
    "assertion.dataHash.malformed": "unchecked",
    "assertion.dataHash.redacted": "unchecked",
    "assertion.hardBinding.redacted": "unchecked",
    "assertion.bmffHash.malformed": "unchecked",
    "assertion.boxesHash.malformed": "unchecked",
    "assertion.collectionHash.malformed": "unchecked",
    "assertion.collectionHash.invalidURI": "unchecked",
    "hashedURI.missing": "unchecked",
    "manifest.inaccessible": "unchecked",
    "manifest.compressed.invalid": "unchecked",
    "algorithm.unsupported": "unchecked",
    "general.error": "unchecked",
    "com.adobe.prerelease": "unchecked",
}
"""Meanings of failures, and of remarks beside them. One that is not here, nor of `_FAMILIES`, is ``unchecked`` and said by name."""

_FAMILIES: tuple[tuple[str, Meaning], ...] = (
    ("assertion.action.", "form"),
    ("assertion.ingredient.", "form"),
    ("assertion.metadata.", "form"),
    ("assertion.cloud-data.", "form"),
    ("assertion.timestamp.", "form"),
    ("timeStamp.", "stamp"),
    ("signingCredential.", "purpose"),
    ("cawg.", "other"),
)
"""Meanings of codes that a later library may add, by what they are about."""

_GOOD = (".match", ".validated", ".trusted", ".insideValidity", ".notRevoked", ".accessible", ".unknownProvenance")
_SIGNATURE = {"c2pa.signature", "Cose_Sign1"}
_SIGNED = "claimSignature.validated"
_TRUSTED = "signingCredential.trusted"
_MOST = 100_000  # statuses looked at


@dataclass(frozen=True)
class Status:
    """One outcome of a validation."""

    code: str
    label: str
    """Of the manifest it is about; empty where it names none."""
    explanation: str = ""
    part: str = ""
    """Of the manifest: its signature or one of its assertions."""

    @property
    def meaning(self) -> Meaning:
        """What it says, taken as a failure."""
        family: Meaning = next((meaning for prefix, meaning in _FAMILIES if self.code.startswith(prefix)), "unchecked")
        found = MEANINGS.get(self.code, family)
        # A credential of somebody beside the signer, as an identity assertion has it.
        return "other" if self.code.startswith("signingCredential.") and self.part not in _SIGNATURE else found


@dataclass(frozen=True)
class Validation:
    """What is known of a manifest store whose active manifest is `active`."""

    active: str
    statuses: tuple[Status, ...]
    """Failures and remarks of all manifests, those that signers of later manifests wrote down of ingredients too."""
    signed: bool
    """The signature of the active manifest fits."""
    trusted: bool
    """Its signer is one of the anchors or certified by one."""

    def of(self, label: str, *meanings: Meaning) -> list[Status]:
        """Return the statuses of a manifest with one of these meanings."""
        return [one for one in self.statuses if one.label == label and one.meaning in meanings]


def validation(manifests: list[dict[str, Any]]) -> Validation:
    """Return the validation of a manifest store in crJSON, the active manifest first."""
    active = manifests[0]
    label = str(active["label"])
    results = active.get("validationResults")
    found = _failures(results, label)
    for delta in _dicts(active.get("ingredientDeltas")):
        found += _failures(delta.get("validationDeltas"), label_of(delta.get("ingredientAssertionURI")))
    for manifest in manifests:
        assertions = manifest.get("assertions")
        for assertion in assertions.values() if isinstance(assertions, dict) else ():
            found += _recorded(assertion)
    codes = {one.code for one in _statuses(results, "success", label) if one.label == label and one.part in _SIGNATURE}
    return Validation(label, tuple(dict.fromkeys(found[:_MOST])), _SIGNED in codes, _TRUSTED in codes)


def label_of(url: object) -> str:
    """Return the label of the manifest that a JUMBF address leads into; empty where it is relative or none."""
    _, found, rest = str(url).partition("/c2pa/")
    return rest.partition("/")[0] if found else ""


def ingredient_manifest(assertion: dict[str, Any]) -> str:
    """Return the label of the manifest of an ingredient; empty where it has none. Versions 1 and 2 call it by another name than 3."""
    for name in ("activeManifest", "c2pa_manifest"):
        place = assertion.get(name)
        if isinstance(place, dict) and (label := label_of(place.get("url"))):
            return label
    return ""


def _failures(results: object, label: str) -> list[Status]:
    remarks = (one for one in _statuses(results, "informational", label) if one.meaning in {"stamp", "revoked", "uncovered"})
    return [*_statuses(results, "failure", label), *remarks]


def _recorded(assertion: object) -> Iterator[Status]:
    """Yield what the signer of a manifest wrote down when an ingredient was taken into it."""
    if not isinstance(assertion, dict) or not (label := ingredient_manifest(assertion)):
        return
    yield from _statuses({"failure": assertion.get("validationStatus")}, "failure", label)
    results = assertion.get("validationResults")
    if isinstance(results, dict):
        yield from _failures(results.get("activeManifest"), label)
        for delta in _dicts(results.get("ingredientDeltas")):
            yield from _failures(delta.get("validationDeltas"), "")


def _statuses(results: object, kind: str, label: str) -> Iterator[Status]:
    """Yield statuses; one whose address is relative is of the manifest `label`."""
    for one in _dicts(results.get(kind) if isinstance(results, dict) else None):
        url, code = str(one.get("url", "")), str(one.get("code", ""))
        if kind == "failure" and code.endswith(_GOOD):  # versions 1 and 2 of the assertion list all in one
            continue
        yield Status(code, label_of(url) or label, str(one.get("explanation", "")), re.split("[/=]", url)[-1])


def _dicts(value: object) -> Iterable[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
