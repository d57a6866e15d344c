"""A manifest as plain data: what was done, by what, to which ingredients. From crJSON, of which nothing is taken for granted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dgsnet.provenance.c2pa import statuses

_DEEPEST = 12
_MOST = 2000  # actions of a manifest, and source types or fields of an assertion
_ACTIONS = {"c2pa.actions", "c2pa.actions.v2"}
_METADATA = {"c2pa.metadata", "cawg.metadata", "stds.iptc", "stds.iptc.photo-metadata", "stds.exif", "stds.xmp"}
_FIELDS = {"CreatorTool", "Credit", "AISystemUsed", "AISystemVersionUsed", "AIPromptInformation", "Make", "Model", "Software"}
_DISCLOSURE = "aidisclosure"
_SOURCE_TYPE = "digitalsourcetype"


@dataclass(frozen=True)
class Action:
    """One thing that was done."""

    name: str
    source_types: tuple[str, ...] = ()
    """Its own, and those in its parameters."""
    agent: str = ""
    description: str = ""


@dataclass(frozen=True)
class Ingredient:
    """A picture that went into this one."""

    assertion: str
    relationship: str
    """``parentOf``, ``componentOf`` or ``inputTo``."""
    title: str
    manifest: str
    """Label of its manifest; empty where it has none."""


@dataclass(frozen=True)
class Field:
    """A field of metadata, or of an assertion on AI."""

    assertion: str
    name: str
    value: str
    denies: bool = False
    """It says that the picture is not generated."""


@dataclass(frozen=True)
class Manifest:
    """What one manifest claims."""

    label: str
    is_update: bool
    """It says something of the file, and changed no pixel of it."""
    generators: tuple[str, ...]
    """Programs that wrote the claim."""
    actions: tuple[Action, ...]
    ingredients: tuple[Ingredient, ...]
    fields: tuple[Field, ...]
    gathered: tuple[str, ...] = ()
    """Assertions with any of these that the signer passes on and does not vouch for."""

    @property
    def parents(self) -> tuple[Ingredient, ...]:
        """Ingredients that this picture was made of by going on with them; by the standard one at most."""
        return tuple(one for one in self.ingredients if one.relationship == "parentOf")


def read(found: dict[str, Any]) -> Manifest:
    """Return a manifest of crJSON as plain data; what has no sense is left out."""
    claim: dict[str, Any] = next((found[name] for name in ("claim.v2", "claim") if isinstance(found.get(name), dict)), {})
    assertions = found.get("assertions")
    actions: list[Action] = []
    ingredients: list[Ingredient] = []
    fields: list[Field] = []
    for label, data in assertions.items() if isinstance(assertions, dict) else ():
        kind = label.split("__")[0]  # the number of one of several follows
        if kind in _ACTIONS and isinstance(data, dict):
            actions += _actions(data)
        elif isinstance(data, dict) and isinstance(data.get("relationship"), str):
            title = str(data.get("dc:title") or data.get("title") or "")
            ingredients.append(Ingredient(label, data["relationship"], title, statuses.ingredient_manifest(data)))
        else:
            denies = is_on_ai(kind) and _denies(data)
            fields += (Field(kind, name, value, denies) for name, value in _fields(kind, data))
    gathered = {url.rpartition("/")[2].split("__")[0] for url in _urls(claim.get("gathered_assertions"))}
    telling = {one.assertion for one in fields} | _ACTIONS
    return Manifest(
        label=str(found["label"]),
        is_update=found.get("isUpdateManifest") is True,
        generators=tuple(_generators(claim)),
        actions=tuple(actions[:_MOST]),
        ingredients=tuple(ingredients),
        fields=tuple(fields[:_MOST]),
        gathered=tuple(sorted(gathered & telling)),
    )


def program(value: object) -> str:
    """Return name and version of a program, which is text or a map."""
    if isinstance(value, dict):
        return " ".join(str(value[key]) for key in ("name", "version") if isinstance(value.get(key), str | int | float))
    return value if isinstance(value, str) else ""


def _generators(claim: dict[str, Any]) -> Iterator[str]:
    info = claim.get("claim_generator_info")
    names = [name for one in (info if isinstance(info, list) else [info]) if (name := program(one))]
    yield from names or [name for name in [program(claim.get("claim_generator"))] if name]


def _urls(value: object) -> Iterator[str]:
    for one in value if isinstance(value, list) else ():
        if isinstance(one, dict) and isinstance(one.get("url"), str):
            yield one["url"]


def _actions(data: dict[str, Any]) -> Iterator[Action]:
    agents = data.get("softwareAgents")
    templates = [one for one in _list(data.get("templates")) if isinstance(one, dict)]
    waiting = [one for one in _list(data.get("actions")) if isinstance(one, dict)]
    for one in waiting[:_MOST]:
        name = one.get("action")
        if not isinstance(name, str):
            continue
        # A template says what all actions of its name have in common.
        whole = {key: value for template in templates if template.get("action") in (name, "*") for key, value in template.items()} | one
        index = whole.get("softwareAgentIndex")
        agent = program(whole.get("softwareAgent"))
        if not agent and isinstance(agents, list) and isinstance(index, int) and 0 <= index < len(agents):
            agent = program(agents[index])
        description = whole.get("description")
        yield Action(name, tuple(dict.fromkeys(source_types(whole))), agent, description if isinstance(description, str) else "")
        for below in _list(one.get("related")):
            if isinstance(below, dict) and isinstance(below.get("action"), str):
                yield Action(below["action"], tuple(dict.fromkeys(source_types(below))), program(below.get("softwareAgent")))


def source_types(value: object, depth: int = 0) -> Iterator[str]:
    """Yield source types anywhere in a map, under any prefix: ``digitalSourceType``, ``Iptc4xmpExt:DigitalSourceType``, ``com.adobe.…``;
    those of related actions are theirs alone."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for one in value[:_MOST]:
            yield from source_types(one, depth + 1)
    elif isinstance(value, dict):
        for key, one in value.items():
            if _local(key).lower() == _SOURCE_TYPE:
                yield from texts(one)
            elif key != "related":
                yield from source_types(one, depth + 1)


def texts(value: object, depth: int = 0) -> Iterator[str]:
    """Yield the texts of a value of JSON-LD: plain, a list or map of languages, or a reference."""
    if isinstance(value, str):
        yield value
    elif depth < _DEEPEST:
        for one in value.values() if isinstance(value, dict) else value[:_MOST] if isinstance(value, list) else ():
            yield from texts(one, depth + 1)


def _fields(kind: str, data: object) -> Iterator[tuple[str, str]]:
    """Yield names and values of what metadata and assertions on AI say of origin."""
    if kind in _METADATA or kind.endswith(".metadata"):
        yield from (("DigitalSourceType", value) for value in source_types(data))
        yield from _named(data, 0)
    elif is_on_ai(kind):
        yield kind, ", ".join(f"{name}: {_plain(value)}" for name, value in data.items()) if isinstance(data, dict) else _plain(data)
    else:  # of an unknown kind, such as a maker's
        yield from (("DigitalSourceType", value) for value in source_types(data))


def is_on_ai(kind: str) -> bool:
    """Return whether an assertion says by its kind that the picture is generated: ``c2pa.ai_generated_content``, ``c2pa.ai-disclosure``."""
    return _squeezed(kind.rpartition(".")[2]).startswith(("aigenerated", _DISCLOSURE))


def is_disclosure(kind: str) -> bool:
    """Return whether it is one that says only that a model had a part in the picture (C2PA specification 2.4, ``c2pa.ai-disclosure``)."""
    return _squeezed(kind.rpartition(".")[2]).startswith(_DISCLOSURE)


def _squeezed(name: object) -> str:
    return re.sub("[-_ ]", "", str(name)).lower()


def _denies(data: object) -> bool:
    said = {_squeezed(key): value for key, value in data.items()} if isinstance(data, dict) else {}
    return any(str(said[name]).lower() in {"false", "no", "0"} for name in ("aigenerated", "isaigenerated", "generated") if name in said)


def _named(data: object, depth: int) -> Iterator[tuple[str, str]]:
    if depth > _DEEPEST:
        return
    if isinstance(data, list):
        for one in data[:_MOST]:
            yield from _named(one, depth + 1)
    elif isinstance(data, dict):
        for key, one in data.items():
            if (name := _local(key)) in _FIELDS:
                yield from ((name, value) for value in texts(one))
            else:
                yield from _named(one, depth + 1)


def _local(key: str) -> str:
    return re.split("[:./]", key)[-1]


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(one)}" for name, one in list(value.items())[:16])
    return str(value)[:500]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
