"""The IPTC's fields on generating systems (Photo Metadata Standard 2025.1): what they say of a picture, and when they deny it."""

from __future__ import annotations

import re

from dgsnet.provenance.source_type import Says

FIELDS = frozenset({"AISystemUsed", "AISystemVersionUsed", "AIPromptInformation", "AIPromptWriterName"})
"""By their definitions all are of "this image" as generated: the engine or model, its version, the prompt, who wrote the prompt."""

_NO = (
    r"no|none|not|nil|null|nothing|never|without|false|n/?a|0|-+|\u2014|\u2013|unused|"
    r"kein\w*|nein|nicht|nichts|ohne|aucune?|non|sans|pas|n[\u00e9e]ant|ning[u\u00fa]n\w*|sin|nada|nessun\w*|senza|nenhum\w*|sem|n[\u00e3a]o|"
    r"geen|zonder|niet|bez|\u043d\u0435\u0442|\u0431\u0435\u0437|\u043d\u0435"
)
_SYSTEM_DENIED = re.compile(
    rf"(?i)\W{{0,4}}(?:{_NO})(?!\w).{{0,60}}|[\u65e0\u7121\u672a\u6c92\u6ca1\u975e\u5426].{{0,40}}|\u306a\u3057.{{0,20}}"
)
_AI = r"a\.?i\.?|k\.?i\.?|i\.?a\.?|\u0438\u0438|prompt|gen\w*"
_PROMPT_DENIED = re.compile(
    rf"(?i)\W{{0,4}}(?:{_NO})\W{{0,4}}|\W{{0,4}}(?:{_NO})\s(?:[\w-]+\s){{0,3}}(?:{_AI})(?!\w).{{0,40}}"
    r"|[\u65e0\u7121\u6c92\u6ca1](?:\u6709)?.{0,8}|\u306a\u3057"
)


def denies(name: str, value: str) -> bool:
    """Return whether a field only says that no system was used, in the words people write into it in one of a dozen languages."""
    pattern = _PROMPT_DENIED if name == "AIPromptInformation" else _SYSTEM_DENIED
    return pattern.fullmatch(value.strip()) is not None


def says(name: str, properties: dict[str, str], *, photograph: bool) -> Says:
    """Return the claim of one of the fields.

    Args:
        name: of the field.
        properties: the first value of each of the file's `FIELDS`, by name.
        photograph: other metadata say that the picture was taken or made otherwise than by a generator: then a generator was at work on it.
    """
    if denies(name, properties[name]):
        return "unknown"
    system = properties.get("AISystemUsed", "")
    if (system and denies("AISystemUsed", system)) or (name == "AISystemVersionUsed" and not system):
        return "unknown"  # a version of nothing, a prompt that was given to no system
    return "ai-edited" if photograph else "generated"
