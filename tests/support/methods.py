"""What the tests expect of each method: the one place to add a new one."""

from dataclasses import dataclass

from dgsnet.model.recipe import PRESETS


@dataclass(frozen=True)
class Expected:
    """What a method owes.

    Attributes:
        heads: linear heads that are saved.
        stages: that it trains in.
        terms: loss terms of fine-tuning.
        probe_terms: of stage 1, without a text head's.
        observed: besides the feature norm, in fine-tuning.
        wants_text: whether it makes use of captions.
        adapted: whether it is a LoRA.
        other: tensors besides the linear heads that are saved, by the first part of their name.
        presets: it is tested with.
    """

    heads: tuple[str, ...]
    stages: tuple[str, ...] = ("probe", "finetune")
    terms: frozenset[str] = frozenset({"image"})
    probe_terms: frozenset[str] = frozenset({"probe"})
    observed: frozenset[str] = frozenset()
    wants_text: bool = False
    adapted: bool = True
    other: tuple[str, ...] = ()
    presets: tuple[str, ...] = ("balanced",)


METHODS = {
    "linear": Expected(heads=("teacher",), stages=("probe",), adapted=False),
    "lora": Expected(heads=("head", "teacher")),
    "full": Expected(heads=("head", "teacher"), adapted=False, other=("student",)),
    "l2sp": Expected(heads=("head", "teacher"), terms=frozenset({"image", "away"}), adapted=False, other=("student",)),
    "lwf": Expected(heads=("head", "teacher"), terms=frozenset({"image", "old_answers"})),
    "feature-distillation": Expected(heads=("head", "teacher"), terms=frozenset({"image", "distillation"})),
    "effort": Expected(heads=("head", "teacher"), terms=frozenset({"image", "angles", "norms"})),
    "null-space": Expected(heads=("head", "teacher"), wants_text=True, other=("caption_directions",)),
    "ogd": Expected(
        heads=("head", "teacher", "text"), terms=frozenset({"image", "text"}), observed=frozenset({"removed"}), wants_text=True
    ),
    "pcgrad": Expected(heads=("head", "teacher", "text"), observed=frozenset({"alignment"})),
    "rine": Expected(
        heads=("head",),
        stages=("probe",),
        probe_terms=frozenset({"probe", "contrastive"}),
        adapted=False,
        other=("project", "importance", "mix"),
    ),
    "npr": Expected(heads=("head",), stages=("finetune",), adapted=False, other=("network",)),
    "dgs": Expected(
        heads=("head", "teacher", "text"),
        terms=frozenset({"image", "text"}),
        observed=frozenset({"removed", "alignment"}),
        wants_text=True,
        presets=tuple(PRESETS),
    ),
}
KINDS = [(method, preset) for method, expected in METHODS.items() for preset in expected.presets]
STAGES = [(method, preset, stage) for method, preset in KINDS for stage in METHODS[method].stages]
ADAPTED = [kind for kind in KINDS if METHODS[kind[0]].adapted]
