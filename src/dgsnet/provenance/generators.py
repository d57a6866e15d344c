"""Marks that image generators, editors and scanners leave in metadata: the table `marks.toml`, its schema, and how a field is matched.

A mark counts in the places and in the way that the table says of it. No field counts because a program's name is found somewhere in it:
what people write (`FREE_TEXT`) is matched for settings of programs alone.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from dgsnet.core.errors import MarksError, first_line
from dgsnet.core.extras import missing_packages
from dgsnet.core.files import sha256_bytes

LONGEST = 64 * 1024
"""Characters of a field that are searched."""

FREE_TEXT = frozenset(
    {
        "comment",
        *(f"exif.{name}" for name in (
            "Artist", "Copyright", "DocumentName", "ImageDescription", "ImageTitle", "UserComment", "XPAuthor", "XPComment", "XPKeywords",
            "XPSubject", "XPTitle",
        )),
        *(f"iptc.{name}" for name in (
            "By-line", "Caption", "CopyrightNotice", "Headline", "Keywords", "ObjectName", "SpecialInstructions",
        )),
        *(f"png.{name}" for name in ("author", "comment", "copyright", "description", "disclaimer", "title", "usercomment", "warning")),
        *(f"xmp.dc:{name}" for name in ("creator", "description", "rights", "subject", "title")),
        "xmp.exif:UserComment", "xmp.photoshop:Headline", "xmp.photoshop:Instructions",
    }
)  # fmt: skip
"""Places where people write what they like."""

_EXIF = {
    "Artist", "Copyright", "DocumentName", "HostComputer", "ImageDescription", "ImageEditingSoftware", "ImageTitle", "Make", "MakerNote",
    "Model", "RAWDevelopingSoftware", "Software", "UserComment", "XPAuthor", "XPComment", "XPKeywords", "XPSubject", "XPTitle",
}  # fmt: skip
_IPTC = {
    "By-line", "Caption", "CopyrightNotice", "Credit", "Headline", "Keywords", "ObjectName", "OriginatingProgram", "Source",
    "SpecialInstructions",
}  # fmt: skip
_PLACE = re.compile(r"comment|c2pa\.agent|(?:exif|iptc|png|trailer)\.\S(?:.{0,77}\S)?|xmp\.[\w-]{1,40}:[\w.-]{1,80}")
_MATCHERS = ("key", "whole", "names", "prefix", "settings", "json_keys")


def _compilable(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"no pattern: {error}") from error
    return pattern


def normalised(place: str) -> str:
    """Return a place as marks are looked up by: keys of PNG text, which programs write in either case, in lower case."""
    return place.lower() if place.startswith("png.") else place


_Text = Annotated[str, Field(min_length=1, max_length=400)]
_Pattern = Annotated[_Text, AfterValidator(_compilable)]


class Mark(BaseModel):
    """A mark of a program: an entry ``[[mark]]`` of the table, see the head of `marks.toml` for what each field means."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    program: _Text
    """Its name, for people."""
    says: Literal["generated", "ai-edited", "edited", "camera", "scanner"]
    places: tuple[_Text, ...] = Field(min_length=1)
    source: _Text
    """Document or address from which the mark is known."""
    key: bool = False
    whole: tuple[_Text, ...] = ()
    names: tuple[_Text, ...] = ()
    prefix: tuple[_Text, ...] = ()
    settings: tuple[_Pattern, ...] = ()
    json_keys: tuple[_Text, ...] = Field((), alias="json")
    beside: dict[str, _Pattern] = {}

    @model_validator(mode="after")
    def _matches_in_one_way(self) -> Mark:
        if sum(bool(getattr(self, name)) for name in _MATCHERS) != 1:
            raise ValueError("expected one of key, whole, names, prefix, settings and json")
        return self


class _Words(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    before: tuple[_Text, ...] = ()
    behind: tuple[_Text, ...] = ()


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    namespaces: dict[str, _Text] = {}
    groups: dict[str, tuple[_Text, ...]] = {}
    words: _Words = _Words()
    mark: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class _Rule:
    """How one mark matches a field."""

    mark: Mark
    finders: tuple[Callable[[str], object], ...]
    beside: tuple[tuple[str, re.Pattern[str]], ...]

    def matches(self, value: str, fields: Mapping[str, str]) -> bool:
        return all(find(value) for find in self.finders) and all(pattern.fullmatch(fields.get(place, "")) for place, pattern in self.beside)


@dataclass(frozen=True)
class Marks:
    """A table that is ready to be searched: the package's, and before it the user's, where one was given.

    `given` is the user's as JSON, `fingerprint` tells tables apart, `namespaces` are those of XMP by prefix.
    """

    given: str | None
    fingerprint: str
    namespaces: dict[str, str] = field(compare=False)
    _rules: dict[str, list[_Rule]] = field(default_factory=dict, repr=False, compare=False)
    _names: dict[str, dict[str, Mark]] = field(default_factory=dict, repr=False, compare=False)
    _before: tuple[str, ...] = field(default=(), compare=False)
    _behind: frozenset[str] = field(default=frozenset(), compare=False)

    def __reduce__(self) -> tuple[Callable[[str | None], Marks], tuple[str | None]]:
        """Travel as the user's table alone: any process has the package's."""
        return from_given, (self.given,)

    def find(self, place: str, value: str, fields: Mapping[str, str] | None = None) -> Mark | None:
        """Return the mark of a field.

        Args:
            place: as the table writes it, for instance ``exif.Software``.
            value: text of the field.
            fields: the first value of every place of the file, for marks that ask for another field.
        """
        place, value = normalised(place), value[:LONGEST].strip()
        rule = next((one for one in self._rules.get(place, ()) if one.matches(value, fields or {})), None)
        return rule.mark if rule else self._named(place, value)

    def generator(self, text: str) -> str | None:
        """Return the generator that a text names which is known to name a program, such as a claim generator of C2PA."""
        found = self.find("c2pa.agent", text)
        return found.program if found and found.says == "generated" else None

    @cached_property
    def xmp_names(self) -> frozenset[str]:
        """XMP properties that marks stand in, as ``prefix:name``."""
        places = {*self._rules, *self._names, *(place for rules in self._rules.values() for rule in rules for place, _ in rule.beside)}
        return frozenset(place.removeprefix("xmp.") for place in places if place.startswith("xmp."))

    def _named(self, place: str, value: str) -> Mark | None:
        names = self._names.get(place)
        if not names or len(value) > 200:
            return None
        words = _words(value)
        for phrase in self._before:
            if words[: phrase.count(" ") + 1] == phrase.split():
                words = words[phrase.count(" ") + 1 :]
                break
        for count in range(min(len(words), 8), 0, -1):  # the longest name first
            if (found := names.get(" ".join(words[:count]))) and all(map(self._is_behind, words[count:])):
                return found
        return None

    def _is_behind(self, word: str) -> bool:
        return word in self._behind or _VERSION.fullmatch(word) is not None


_ANCHORED = re.compile(r"(?:\(\?i\))?\\A")
_SEPARATORS = re.compile(r"[\s_/(),;:@+\[\]{}|\u00ae\u00a9\u2122\u00b7\u2010-\u2015-]+")
_VERSION = re.compile(r"[vf]?\.?\d[\w.]{0,40}|[0-9a-f]{6,40}")


def _words(text: str) -> list[str]:
    """Return the words of a name, in lower case; dots are part of them."""
    return [word for word in _SEPARATORS.split(text.casefold()) if word]


def load(more: str | Path | None = None) -> Marks:
    """Load the package's table, and before its marks those of another file of its kind, ``.toml`` or ``.yaml``.

    Raises:
        MarksError: `more` cannot be read, or one of its entries is wrong.
        MissingPackageError: it is YAML and PyYAML is not installed.
    """
    return builtin() if more is None else _joined((str(more), _read(Path(more))))


def from_given(given: str | None) -> Marks:
    """Return the table that has this `Marks.given`."""
    return builtin() if given is None else _joined(("marks", _Table.model_validate_json(given)))


@cache
def builtin() -> Marks:
    """Return the package's own table."""
    return _joined()


def _joined(*given: tuple[str, _Table]) -> Marks:
    """Return the user's table, with the name its errors have, and the package's behind it."""
    own = Path(__file__).with_name("marks.toml")
    named = [*given, (str(own), _read(own))]
    tables = [table for _, table in named]
    groups = {name: places for table in reversed(tables) for name, places in table.groups.items()}
    namespaces = {prefix: uri for table in reversed(tables) for prefix, uri in table.namespaces.items()}
    rules: dict[str, list[_Rule]] = {}
    names: dict[str, dict[str, Mark]] = {}
    for file, table in named:
        for number, mark in enumerate(table.mark, 1):
            _add(mark, f"{file}: mark {number} ({mark.program})", groups, namespaces, rules, names)
    words = [table.words for table in tables]
    return Marks(
        given[0][1].model_dump_json(by_alias=True, exclude_defaults=True) if given else None,
        sha256_bytes(repr([table.model_dump() for table in tables]).encode())[:16],
        namespaces,
        rules,
        names,
        tuple(phrase for one in words for phrase in one.before),
        frozenset(word for one in words for word in one.behind),
    )


def _add(
    mark: Mark,
    where: str,
    groups: Mapping[str, Iterable[str]],
    namespaces: Mapping[str, str],
    rules: dict[str, list[_Rule]],
    names: dict[str, dict[str, Mark]],
) -> None:
    """Add a mark to the rules and names of each of its places."""
    rule = _Rule(
        mark,
        tuple(map(_finder, _patterns(mark))),
        tuple((normalised(place), re.compile(pattern)) for place, pattern in mark.beside.items()),
    )
    for place in [*_expanded(mark.places, groups, where), *mark.beside]:
        _checknormalised(place, namespaces, where)
    for place in map(normalised, _expanded(mark.places, groups, where)):
        if place in FREE_TEXT and not (mark.settings or mark.json_keys or (mark.whole and mark.says == "edited")):
            raise MarksError(f"{where}: {place} holds what people write, so a mark there must be settings or json, not a name")
        if mark.names:
            for name in mark.names:
                names.setdefault(place, {}).setdefault(" ".join(_words(name)), mark)
        else:
            rules.setdefault(place, []).append(rule)


def _expanded(places: Iterable[str], groups: Mapping[str, Iterable[str]], where: str) -> list[str]:
    expanded: list[str] = []
    for place in places:
        if not place.startswith("@"):
            expanded.append(place)
        elif place[1:] in groups:
            expanded.extend(groups[place[1:]])
        else:
            raise MarksError(f"{where}: no group {place}; expected one of {', '.join(f'@{name}' for name in groups)}")
    return expanded


def _checknormalised(place: str, namespaces: Mapping[str, str], where: str) -> None:
    kind, _, name = place.partition(".")
    if not _PLACE.fullmatch(place):
        raise MarksError(f"{where}: {place!r} is no place; expected exif.NAME, png.KEY, xmp.PREFIX:NAME, iptc.NAME, comment or @GROUP")
    for of, known in (("exif", _EXIF), ("iptc", _IPTC)):
        if kind == of and name not in known:
            raise MarksError(f"{where}: {place} is not read; expected one of {', '.join(sorted(known))}")
    if kind == "xmp" and (prefix := name.partition(":")[0]) not in namespaces:
        raise MarksError(f"{where}: {place} has a prefix without a namespace; name it under [namespaces], {prefix} = 'http://...'")


def _patterns(mark: Mark) -> Iterable[re.Pattern[str]]:
    if mark.whole:
        yield re.compile(rf"(?i)\A(?:{'|'.join(map(re.escape, mark.whole))})\Z")
    elif mark.prefix:
        yield re.compile(rf"(?i)\A(?:{'|'.join(map(re.escape, mark.prefix))})(?![^\W_])")
    elif mark.json_keys:
        yield re.compile(r"\A\{")
        yield from (re.compile(rf'"{re.escape(key)}"\s{{0,8}}:') for key in mark.json_keys)
    else:
        yield from map(re.compile, mark.settings)


def _finder(pattern: re.Pattern[str]) -> Callable[[str], object]:
    """Return what finds a pattern: `search` would try one that is tied to the beginning of the text at every place of it."""
    return pattern.match if _ANCHORED.match(pattern.pattern) else pattern.search


def _read(file: Path) -> _Table:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MarksError(
            f"{file} cannot be read as a table of marks ({first_line(error)}); expected a TOML or YAML file in UTF-8"
        ) from error
    content = _parsed(text, file)
    if not isinstance(content, dict):
        raise MarksError(f"{file}: expected entries under `mark`, but got {type(content).__name__}; docs/provenance.md shows one")
    try:
        return _Table.model_validate(content)
    except ValidationError as error:
        raise MarksError(f"{file}: {_explained(error, content)}") from error


def _parsed(text: str, file: Path) -> Any:
    match file.suffix.lower():
        case ".toml":
            try:
                return tomllib.loads(text)
            except (tomllib.TOMLDecodeError, RecursionError) as error:  # tells line and column
                raise MarksError(f"{file} is no TOML: {first_line(error)}") from error
        case ".yaml" | ".yml":
            with missing_packages():
                import yaml  # noqa: PLC0415 - of an extra
            try:
                return yaml.safe_load(text)
            except (yaml.YAMLError, RecursionError) as error:
                mark = getattr(error, "problem_mark", None)
                line = f"line {mark.line + 1}: " if mark else ""
                raise MarksError(f"{file} is no YAML: {line}{getattr(error, 'problem', None) or first_line(error)}") from error
        case _:
            raise MarksError(f"{file}: expected a table of marks that ends in .toml or .yaml")


def _explained(error: ValidationError, content: dict[str, Any]) -> str:
    """Say what is wrong with which entry: the first of all errors."""
    first = error.errors()[0]
    where = list(first["loc"])
    if where[:1] == ["mark"] and len(where) > 1 and isinstance(where[1], int):
        entries = content.get("mark")
        entry = entries[where[1]] if isinstance(entries, list) else None
        program = f" ({entry['program']})" if isinstance(entry, dict) and isinstance(entry.get("program"), str) else ""
        where[:2] = [f"mark {where[1] + 1}{program}"]
    what = first["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, where))}: {what[0].lower()}{what[1:]}"
