"""What a chain of manifests claims of the picture: from the active one along ``parentOf`` back to ``c2pa.created``, and what was put in.

A generated picture stays generated when it was only opened, converted, resized, marked or published. A part that was generated makes a
picture that was not ``ai-edited``. Ingredients that were put in (``componentOf``) or only looked at (``inputTo``) say nothing of the whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from dgsnet.provenance import source_type
from dgsnet.provenance.c2pa import manifest as manifests
from dgsnet.provenance.c2pa.manifest import Action, Field, Ingredient, Manifest
from dgsnet.provenance.finding import Finding, finding
from dgsnet.provenance.generators import Marks
from dgsnet.provenance.source_type import Says

CREATED, OPENED, PLACED = "c2pa.created", "c2pa.opened", "c2pa.placed"
UNEDITED = {
    OPENED, "c2pa.converted", "c2pa.transcoded", "c2pa.repackaged", "c2pa.resized", "c2pa.resized.proportional", "c2pa.published",
    "c2pa.watermarked", "c2pa.watermarked.bound", "c2pa.watermarked.unbound", "c2pa.edited.metadata", "c2pa.redacted", "c2pa.orientation",
    "c2pa.unknown", "c2pa.copied", "c2pa.formatted", "c2pa.managed", "c2pa.printed", "c2pa.produced", "c2pa.saved", "c2pa.version_updated",
}  # fmt: skip
"""Actions that leave the picture what it was (C2PA specification 2.2, 18.15.2, and the older names of 1.x)."""

_EMPTY = "http://c2pa.org/digitalsourcetype/empty"  # a canvas with nothing on it yet
_FROM_LIGHT: frozenset[Says] = frozenset({"camera", "scanner"})
_BY_MODELS: frozenset[Says] = frozenset({"generated", "ai-edited"})
_WITH_MODEL = r"(?:by|with|using) (?:an? )?(?:\w+ )?(?:generative ai|ai|artificial intelligence|generative model)"
_DESCRIBES_GENERATION = re.compile(
    rf"\b(?:ai|artificial intelligence)[- ]generated\b|\b(?:generated|created|made|produced) {_WITH_MODEL}\b",
    re.IGNORECASE,
)
_DESCRIBES_AI_EDIT = re.compile(
    rf"\bgenerative (?:fill|expand|erase|remove|edit|upscale)\b|\b(?:edited|modified|enhanced|retouched) {_WITH_MODEL}\b",
    re.IGNORECASE,
)
_DENIES = re.compile(r"\b(?:not|no|non|never|without|isn't|wasn't)\b", re.IGNORECASE)
_NOTHING = re.compile(r"\s*(?:(?:none|no|not|n/?a|false)\b.*|-?)\s*\Z", re.IGNORECASE | re.DOTALL)
_SOURCE_TYPE = "DigitalSourceType"
_WATERMARK = re.compile(r"\bwater-?marks?|\bwatermarked\b|\bsynthid\b", re.IGNORECASE)
_DEEPEST, _MOST_MANIFESTS = 12, 32


@dataclass
class Claims:
    """Findings of a manifest and what is below it, and their sum."""

    findings: list[Finding] = field(default_factory=list)
    says: set[Says] = field(default_factory=set)
    """Of the picture as a whole; never ``unknown``."""


@dataclass
class Chain:
    """The manifests of a store, and which of them are not to be believed."""

    manifests: dict[str, Manifest]
    void: Callable[[Manifest, Ingredient], str]
    """Why the claims of an ingredient count for nothing; empty where they count."""
    marks: Marks
    """Which programs generate."""
    _read: dict[str, Claims] = field(default_factory=dict)

    def claims(self, label: str, depth: int = 0) -> Claims:
        """Return the claims of the manifest of this label, with those of the manifests it goes back to."""
        manifest = self.manifests.get(label)
        if label in self._read:
            return self._read[label]
        if manifest is None or depth > _DEEPEST or len(self._read) >= _MOST_MANIFESTS:
            return Claims()
        self._read[label] = Claims()  # what a manifest that goes back to itself finds
        below = [(ingredient, self._below(manifest, ingredient, depth)) for ingredient in manifest.ingredients]
        parents = [claims for ingredient, claims in below if ingredient.relationship == "parentOf"]
        others = [(ingredient, claims) for ingredient, claims in below if ingredient.relationship != "parentOf"]
        base = frozenset(word for claims in parents for word in claims.says)
        parts = [claims.says for ingredient, claims in others if ingredient.relationship == "componentOf"]
        own = _Reading(manifest, base, bool(parts) and all(_BY_MODELS & part for part in parts), self.marks, depth)
        own.read()
        findings = [*own.findings, *(one for claims in parents for one in claims.findings)]
        for ingredient, claims in others:
            findings += own.read_other(ingredient, claims)
        self._read[label] = Claims(list(dict.fromkeys(findings)), own.says)
        return self._read[label]

    def _below(self, manifest: Manifest, ingredient: Ingredient, depth: int) -> Claims:
        """Return the claims of an ingredient, with a line that names it first; no claim where it was altered."""
        name = f"{ingredient.relationship} {ingredient.title or ingredient.manifest or 'without a name'}"
        if not ingredient.manifest:
            return Claims([finding("c2pa.ingredient", f"{name}: it has no manifest", "unknown")])
        below = self.claims(ingredient.manifest, depth + 1)
        if why := self.void(manifest, ingredient):
            line = finding("c2pa.ingredient", f"{name}: altered, so its claims count for nothing ({why})", "unknown")
            return Claims([line, *unsaid(below.findings)])
        return Claims([finding("c2pa.ingredient", name, "unknown"), *below.findings], below.says)


class _Reading:
    """The claims of one manifest, read in the light of what its parent was.

    What it says of the picture as it is counts first, wherever it stands, so that an edit is known to be one of a generated picture.
    """

    def __init__(self, manifest: Manifest, base: frozenset[Says], only_models: bool, marks: Marks, depth: int) -> None:
        """Take the claims of the parent, whether all that was put in is made by models, and how far below the active manifest it is."""
        self.manifest, self.only_models, self.marks = manifest, only_models, marks
        self.kind = "c2pa.ingredient" if depth else "c2pa"
        self.findings: list[Finding] = []
        self.says: set[Says] = set(base)
        types = [one for action in manifest.actions for one in action.source_types]
        types += [one.value for one in manifest.fields if one.name == _SOURCE_TYPE]
        self.is_explicit = any(source_type.says(one) != "unknown" for one in types)
        self.is_empty = not manifest.parents and any(one.strip() == _EMPTY for one in types)
        created = [one for one in manifest.actions if one.name == CREATED]
        self.begins = not (manifest.parents or manifest.is_update or self.is_explicit) and (
            not manifest.actions or any(not one.source_types for one in created)
        )
        told = [self._of_action(one) for one in created] + [source_type.says(value) for one in created for value in one.source_types]
        self.says |= {one for one in told if one != "unknown" and not manifest.is_update}
        for action in manifest.actions:
            if _leaves(action) and not manifest.is_update:
                self.says |= {self._of_source_type(action, source_type.says(value)) for value in action.source_types} - {"unknown"}
        self.says |= {self._of_field(one) for one in manifest.fields} - {"unknown"}

    @property
    def is_generated(self) -> bool:
        """Whether the picture was made by a model as a whole, so that nothing a model does to it makes it anything else."""
        return "generated" in self.says and not self.says & _FROM_LIGHT

    def read(self) -> None:
        """Read programs, then actions in order, then metadata."""
        for name in self.manifest.generators:
            says: Says = "generated" if (self.begins or self.is_generated) and self.marks.generator(name) else "unknown"
            self._add("claim_generator", name, says)
        for action in self.manifest.actions:
            self._read_action(action)
        for one in self.manifest.fields:
            name = one.name if one.name == one.assertion else f"{one.assertion}.{one.name}"
            self._add(name.removeprefix("c2pa."), one.value, self._of_field(one))
        if self.manifest.gathered:
            told = ", ".join(self.manifest.gathered)
            self._add("gathered", f"{told}: the signer passes on what these say, and does not vouch for it", "unknown")

    def _read_action(self, action: Action) -> None:
        """Read what was done. An update manifest changes no pixel, whatever it calls what it does."""
        line = action.name + (f" by {action.agent}" if action.agent else "") + (f": {action.description}" if action.description else "")
        if self.manifest.is_update:
            self._add("action", f"{line} (an update, which changes no pixel)", "unknown")
            return
        self._add("action", line, self._of_action(action))
        for value in action.source_types:
            says = self._of_source_type(action, source_type.says(value))
            self._add("digitalSourceType", f"{value.strip()} ({action.name})", says)

    def read_other(self, ingredient: Ingredient, below: Claims) -> list[Finding]:
        """Return the lines of an ingredient that is no parent; one made by a model and put in makes this picture something else."""
        says: Says = "unknown"
        if ingredient.relationship == "componentOf" and below.says & _BY_MODELS and not self.is_generated:
            says = "generated" if self.only_models and self.is_empty and "generated" in below.says else "ai-edited"
        if says != "unknown":
            self.says.add(says)
        first, *rest = below.findings
        return [Finding(first.kind, first.value, says), *unsaid(rest)]

    def _of_action(self, action: Action) -> Says:
        """Return what an action says by its name, description and agent; its source types are told apart."""
        told = {source_type.says(one) for one in action.source_types}
        by_agent = self.marks.generator(action.agent) is not None
        if action.name == CREATED:
            if told - {"unknown"}:
                return "unknown"
            return "generated" if _describes(_DESCRIBES_GENERATION, action) or (by_agent and not told) else "unknown"
        if _leaves(action):
            return "unknown"
        if told & _BY_MODELS:
            return "unknown"
        if by_agent or _describes(_DESCRIBES_AI_EDIT, action) or _describes(_DESCRIBES_GENERATION, action):
            return "unknown" if self.is_generated else "ai-edited"
        return "unknown" if action.name == PLACED and self.only_models else "edited"

    def _of_source_type(self, action: Action, says: Says) -> Says:
        if action.name == CREATED:
            return says
        if _leaves(action):
            return "unknown" if _is_watermark(action) and says == "edited" else self._of_state(says)
        if says == "generated":
            return "generated" if self.is_generated else "ai-edited"
        if says == "ai-edited":
            return "unknown" if self.is_generated else "ai-edited"
        return "edited" if says == "edited" else "unknown"  # of a part, such as a photograph that was placed

    def _of_field(self, one: Field) -> Says:
        says: Says = "unknown"
        if manifests.is_on_ai(one.assertion):
            only_a_part = manifests.is_disclosure(one.assertion) and (self.says & _FROM_LIGHT or self.manifest.parents)
            if only_a_part and not self.is_generated:
                says = "ai-edited"
            elif not (one.denies or only_a_part):
                says = self._of_state("generated")
            return says
        match one.name:
            case "DigitalSourceType":
                says = self._of_state(source_type.says(one.value))
            case "Make" | "Model" if not self.is_generated:
                says = "camera"
            case "AISystemUsed" | "AIPromptInformation" if not _NOTHING.match(one.value):
                says = self._of_state("generated")
            case "Credit" | "CreatorTool" | "Software" if self.marks.generator(one.value):
                says = self._of_state("generated")
        return says

    def _of_state(self, says: Says) -> Says:
        """Return what a word on the picture as it is says: one made by light in which a model had a part was edited by it."""
        return "ai-edited" if says == "generated" and self.says & _FROM_LIGHT else says

    def _add(self, name: str, value: str, says: Says) -> None:
        self.findings.append(finding(f"{self.kind}.{name}", value, says))
        if says != "unknown":
            self.says.add(says)


def unsaid(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings that are shown and claim nothing."""
    return (Finding(one.kind, one.value, "unknown") for one in findings)


def _describes(pattern: re.Pattern[str], action: Action) -> bool:
    text = action.description[:2000]
    return pattern.search(text) is not None and _DENIES.search(text) is None


def _leaves(action: Action) -> bool:
    """Return whether an action leaves the picture what it was."""
    return action.name in UNEDITED or _is_watermark(action)


def _is_watermark(action: Action) -> bool:
    return _WATERMARK.search(action.description[:2000]) is not None
