"""Labels of a Parquet file: a column of 0 and 1, of words, or of the classes that the `datasets` library names in the metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dgsnet.core.errors import DatasetError
from dgsnet.data.parquet_columns import hub_features
from dgsnet.data.sample import parse_label

_COLUMNS = ("label", "labels", "class")
_PHOTOGRAPH = frozenset(
    ("real", "nature", "natural", "photo", "photos", "photograph", "photographs", "camera", "human", "authentic", "genuine")
)
_GENERATED = frozenset(("fake", "ai", "generated", "synthetic", "artificial", "aigenerated", "aigc", "gan", "diffusion", "deepfake"))
_UNCLEAR = frozenset(("unknown", "unlabelled", "unlabeled", "none", "other", "mixed", "edited"))
_NOT = frozenset(("not", "non", "no"))


@dataclass(frozen=True)
class ClassLabels:
    """The column of labels, and the names of its classes where the file notes them."""

    column: str
    classes: tuple[str, ...] = ()

    def parse(self, value: Any, where: str) -> tuple[int, str | None]:
        """Return the label, 0 photograph or 1 generated, and the generator or source that the class is named after, if any.

        Raises:
            DatasetError: it is no label; the message names `where`.
        """
        if self.classes and isinstance(value, int) and not isinstance(value, bool):
            if not 0 <= value < len(self.classes):
                raise DatasetError(f"{where}: has no label (class {value} of {', '.join(self.classes)})")
            name = self.classes[value]
        elif isinstance(value, str) and (meaning(value) is not None or value in self.classes):
            name = value
        else:
            label = parse_label(int(value) if isinstance(value, bool) else value, where, labelled=True)
            assert label is not None  # noqa: S101 - one is asked for
            return label, None
        found = meaning(name)
        if found is None and _words(name) & _UNCLEAR:
            raise DatasetError(f"{where}: the class {name!r} says neither real nor generated; leave these rows out")
        plain = _words(name) <= _PHOTOGRAPH | _GENERATED | _NOT | {"image", "images", "0", "1"}
        return (1 if found is None else found), (None if plain else name)


def class_labels(schema: pa.Schema, where: str) -> ClassLabels:
    """Find the labels of a Parquet file.

    Numbers mean what the classes noted with them say: of ``["FAKE", "REAL"]`` 0 is generated. Where some class is that of photographs, the
    others are generators.

    Raises:
        DatasetError: there is no column of labels, or no class says which are photographs; the message names `where`.
    """
    noted = {
        name: _classes(feature)
        for name, feature in hub_features(schema).items()
        if name in schema.names and feature.get("_type") == "ClassLabel"
    }
    known = [name for name in _COLUMNS if name in schema.names] or list(noted)
    if not known:
        raise DatasetError(f"{where}: has no column of labels; expected {', '.join(_COLUMNS)}, or a ClassLabel of `datasets`")
    if len(known) > 1 and known[0] not in _COLUMNS:
        raise DatasetError(f"{where}: has several columns of classes ({', '.join(known)}); name the one of labels `label`")
    classes = noted.get(known[0], ())
    meanings = [meaning(name) for name in classes]
    if classes and set(classes) - {"0", "1"} and 0 not in meanings:
        raise DatasetError(f"{where}: no class of {', '.join(classes)} is that of photographs; name it `real`, or write a manifest")
    return ClassLabels(known[0], () if set(classes) <= {"0", "1"} else classes)


def meaning(name: str) -> int | None:
    """Return what the name of a class says: 0 photograph, 1 generated, None neither or both."""
    words = _words(name)
    found = [label for label, known in ((0, _PHOTOGRAPH), (1, _GENERATED)) if words & known]
    if len(found) != 1:
        return None
    return 1 - found[0] if words & _NOT else found[0]


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", name.lower()))


def _classes(feature: dict[str, Any]) -> tuple[str, ...]:
    names = feature.get("names")
    if isinstance(names, dict):  # as the card of a data set writes them
        names = [names[number] for number in sorted(names, key=int)]
    return tuple(map(str, names)) if isinstance(names, list) else ()
