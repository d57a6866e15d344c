"""China's label of generated content (GB 45438-2025, annexes E and F; in force since September 2025).

A JSON object with `Label` (``1`` generated, ``2`` possibly, ``3`` suspected), `ContentProducer`, `ProduceID`, `ContentPropagator`,
`PropagateID` and two reserved fields. Producers put it into XMP (``TC260:AIGC``), PNG text ``AIGC``, the EXIF comment or description
(``{"AIGC": {...}}``), or write ``AIGC{...}`` into a segment of a JPEG.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from dgsnet.provenance.generators import LONGEST
from dgsnet.provenance.source_type import Says

NAMESPACE = "tc260.org.cn"
"""What the address of the XMP namespace contains, http://www.tc260.org.cn/ns/AIGC/1.0/."""
KEY = "AIGC"

_FIELDS = {"Label", "ContentProducer", "ProduceID", "ContentPropagator", "PropagateID", "ReservedCode1", "ReservedCode2", "ServiceProvider"}
_BARE = re.compile(r"\s{0,8}AIGC[\s:=\0]{0,8}(?=\{)")
_WORDS = {"1": "AI-generated", "2": "possibly AI-generated", "3": "suspected to be AI-generated"}
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Label:
    """What a label says. `producer` and `propagator` are names or registration codes, empty where it has none."""

    label: str
    producer: str
    propagator: str

    @property
    def says(self) -> Says:
        """Return ``generated`` for 1; 2 and 3 voice a user's statement and a platform's suspicion, and claim nothing."""
        return "generated" if self.label == "1" else "unknown"

    def __str__(self) -> str:
        meaning = _WORDS.get(self.label, "no known label")
        producer = f"; producer {self.producer}" if self.producer else ""
        propagator = f"; propagator {self.propagator}" if self.propagator else ""
        return f"China's AIGC label {self.label or '-'}: {meaning}{producer}{propagator}"


def parse(text: str, *, named: bool = False) -> Label | None:
    """Return the label in a text that is one, or is a JSON object that has one under ``AIGC``; None where there is none.

    Args:
        text: text of a field.
        named: the field is called ``AIGC``, so that one known field of the object is enough. Else the object must be under that name or
            have `Label` and another field.
    """
    text = text[:LONGEST]
    if bare := _BARE.match(text):
        text, named = text[bare.end() :], True
    found = _object(text)
    inner = found.get(KEY, found.get("aigc"))
    if isinstance(inner, str):
        inner = _object(inner)
    if isinstance(inner, dict):
        found, named = inner, True
    known = found.keys() & _FIELDS
    if not (known if named else "Label" in known and len(known) > 1):
        return None
    return Label(*(_value(found, name) for name in ("Label", "ContentProducer", "ContentPropagator")))


def of_properties(properties: dict[str, str]) -> Label | None:
    """Return the label of XMP properties that are its fields, one by one."""
    known = properties.keys() & _FIELDS
    return parse(json.dumps(properties), named=True) if "Label" in known and len(known) > 1 else None


def _object(text: str) -> dict[str, Any]:
    text = text.lstrip("\ufeff \t\r\n")
    if not text.startswith("{"):
        return {}
    try:
        found, _ = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _value(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name) or (fields.get("ServiceProvider") if name == "ContentProducer" else "")
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
