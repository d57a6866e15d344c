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
        observed: besides the feature norm, in fine-tuning.
        wants_text: whether it makes use of captions.
        presets: it is tested with.
    """

    heads: tuple[str, ...]
    stages: tuple[str, ...] = ("probe", "finetune")
    terms: frozenset[str] = frozenset({"image"})
    observed: frozenset[str] = frozenset()
    wants_text: bool = False
    presets: tuple[str, ...] = ("balanced",)


METHODS = {
    "linear": Expected(heads=("teacher",), stages=("probe",)),
    "lora": Expected(heads=("head", "teacher")),
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
ADAPTED = [kind for kind in KINDS if "finetune" in METHODS[kind[0]].stages]
