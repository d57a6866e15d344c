"""Settings: presets, where they come from, what is refused, and the round trip through JSON."""

import pytest
import yaml
from pydantic import ValidationError

from dgsnet.core.errors import RecipeError
from dgsnet.images.augment import Augmentation
from dgsnet.model.recipe import PRESETS, Recipe, make_recipe

# Presets


@pytest.mark.parametrize("preset", ["released", "paper"])
def test_the_published_settings(preset):
    recipe = make_recipe(preset=preset)
    lora, pre = recipe.lora, recipe.preprocessing
    assert (lora.rank, lora.alpha, lora.dropout, lora.targets, lora.layers) == (6, 6.0, 0.8, ("q_proj", "k_proj", "v_proj"), None)
    assert (recipe.probe.epochs, recipe.finetune.epochs) == (3, 1)
    for stage in (recipe.probe, recipe.finetune):
        assert (stage.batch, stage.lr, stage.betas, stage.weight_decay) == (32, 1e-4, (0.9, 0.999), 0.0)
    assert recipe.augmentation == Augmentation(flip=True)
    assert (pre.mean, pre.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (pre.view, pre.size, pre.patch, pre.low, pre.high, pre.order) == ("patches", 224, 32, 24, 25, "released")
    assert recipe.mixed_precision == "no"
    assert recipe.features == "raw"
    assert not recipe.warm_start
    assert recipe.data.sampling == "shuffled"
    assert recipe.surgery.strength == 0.2
    assert recipe.surgery.suppression == "harmful"
    assert recipe.method == "dgs"


def test_where_paper_and_released_code_part():
    released, paper = make_recipe(preset="released"), make_recipe(preset="paper")
    assert (released.surgery.alignment, released.surgery.order) == ("batch-mean", "align-then-project")
    assert (paper.surgery.alignment, paper.surgery.order) == ("sample", "project-then-align")
    assert released.model_copy(update={"preset": "paper", "surgery": paper.surgery}) == paper


def test_balanced_is_the_default():
    recipe = make_recipe()
    assert recipe == Recipe()
    assert recipe.preset == "balanced"
    assert not recipe.preprocessing.shuffles
    assert recipe.preprocessing.mean == (0.48145466, 0.4578275, 0.40821073)
    assert recipe.preprocessing.std == (0.26862954, 0.26130258, 0.27577711)
    assert recipe.surgery.alignment == "bounded"


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_what_their_table_says(preset):
    def check(settings, found):
        for key, value in settings.items():
            if isinstance(value, dict):
                check(value, found[key])
            else:
                assert found[key] == value, key

    check(PRESETS[preset] | {"preset": preset}, make_recipe(preset=preset).model_dump())


# Where settings come from


def test_later_sources_go_over_earlier_ones(tmp_path):
    config = tmp_path / "recipe.yaml"
    config.write_text("seed: 3\nfinetune: {epochs: 5, lr: 2e-5}\nlora:\n  rank: 4\n", encoding="utf-8")
    recipe = make_recipe("lora", "released", config, ("finetune.epochs=7", "lora.alpha=12", "finetune.epochs=8"))
    assert (recipe.method, recipe.preset, recipe.seed) == ("lora", "released", 3)
    assert (recipe.finetune.epochs, recipe.finetune.lr, recipe.finetune.batch) == (8, 2e-5, 32)
    assert (recipe.lora.rank, recipe.lora.alpha, recipe.lora.dropout) == (4, 12.0, 0.8)


def test_an_empty_file_changes_nothing(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert make_recipe(config=tmp_path / "empty.yaml") == Recipe()


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("finetune.lr=1e-4", "finetune.lr", 1e-4),
        ("finetune.lr=1E-4", "finetune.lr", 1e-4),
        ("finetune.batch=8", "finetune.batch", 8),
        ("warm_start=false", "warm_start", False),
        ("data.limit=null", "data.limit", None),
        ("lora.layers=[0, 11]", "lora.layers", (0, 11)),
        ("probe.betas=[0.8, 0.99]", "probe.betas", (0.8, 0.99)),
        ("backbone=owner/name", "backbone", "owner/name"),
        ("augmentation.reencode.low=70", "augmentation.reencode.low", 70),
        ("data.caption_column=", "data.caption_column", None),
        ("captions.source=none", "captions.source", "none"),
        ("surgery.alignment=none", "surgery.alignment", "none"),
    ],
)
def test_assignments_are_read_as_meant(assignment, path, value):
    if assignment.endswith("="):
        with pytest.raises(RecipeError, match="caption_column"):
            make_recipe(assignments=(assignment,))
        return
    found = make_recipe(assignments=(assignment,))
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "assignment", ["surgery.alignment=none", "surgery.suppression=none", "mixed_precision=no", "data.caption_column=off"]
)
def test_no_and_off_are_words_not_booleans(assignment, tmp_path):
    """YAML 1.1 reads them as false; the settings that are called so must be reachable without quotes."""
    path, _, word = assignment.partition("=")
    nested = word
    for part in reversed(path.split(".")):
        nested = f"{{{part}: {nested}}}"
    (tmp_path / "recipe.yaml").write_text(nested)
    for recipe in (make_recipe(assignments=(assignment,)), make_recipe(config=tmp_path / "recipe.yaml")):
        found = recipe
        for part in path.split("."):
            found = getattr(found, part)
        assert found == word


def test_a_preset_named_in_the_file_or_by_assignment_is_applied(tmp_path):
    """A run must not be recorded under a preset whose settings it did not have."""
    (tmp_path / "recipe.yaml").write_text("preset: paper\nlora: {rank: 3}\n")
    for recipe in (make_recipe(config=tmp_path / "recipe.yaml"), make_recipe(assignments=("lora.rank=3", "preset=paper"))):
        assert recipe == make_recipe(preset="paper", assignments=("lora.rank=3",))
        assert recipe.surgery.suppression == "harmful"


def test_one_nested_setting_leaves_its_neighbours_alone():
    made, default = make_recipe(assignments=("augmentation.reencode={}", "probe.epochs=2")), make_recipe()
    assert made.augmentation.flip == default.augmentation.flip
    assert made.probe == default.probe.model_copy(update={"epochs": 2})


# What is refused


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("finetune.lr=-1", ["finetune.lr", "-1"]),
        ("finetune.learning_rate=1", ["finetune.learning_rate"]),
        ("finetune.batch=0", ["finetune.batch", "0"]),
        ("lora.dropout=1", ["lora.dropout"]),
        ("lora.targets=[fc3]", ["lora.targets", "fc3"]),
        ("surgery.order=backwards", ["surgery.order", "backwards"]),
        ("preset=best", ["unknown preset 'best'", "released"]),
        ("preprocessing.low=20", ["preprocessing", "7 x 7"]),
        ("finetune=3", ["finetune", "3"]),
        ("seed=a", ["seed", "'a'"]),
        ("finetune.lr", ["expected a setting like finetune.lr=1e-4", "'finetune.lr'"]),
        ("=3", ["expected a setting"]),
        ("data={cache_trunk: true, views: 1}", ["cache_trunk", "lora.layers"]),
        ("data.cache_trunk=true", ["cache_trunk", "fixed views"]),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(assignment, words):
    with pytest.raises(RecipeError) as caught:
        make_recipe(assignments=(assignment,))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_an_unknown_preset_is_refused_with_those_that_exist():
    with pytest.raises(RecipeError, match="unknown preset 'best': expected one of balanced, released, paper"):
        make_recipe(preset="best")


@pytest.mark.parametrize(
    ("content", "word"), [("- 1\n- 2\n", "holds no settings"), ("a: [1\n", "cannot read"), ("nonsense: 1\n", "nonsense"), ("3", "holds no")]
)
def test_a_wrong_file_is_refused(tmp_path, content, word):
    (tmp_path / "recipe.yaml").write_text(content)
    with pytest.raises(RecipeError, match=word):
        make_recipe(config=tmp_path / "recipe.yaml")


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(RecipeError, match=r"nowhere\.yaml"):
        make_recipe(config=tmp_path / "nowhere.yaml")


# The model itself


@pytest.mark.parametrize("preset", PRESETS)
def test_round_trip(preset, tmp_path):
    everything = (
        "data.limit=10",
        "lora.layers=[0]",
        "augmentation.crop.low=0.5",
        "augmentation.resize.filters=[bicubic]",
        "augmentation.reencode.formats=[webp]",
        "finetune.micro_batch=3",
        "finetune.lr=3.3e-05",
    )
    for assignments in ((), everything):
        recipe = make_recipe(preset=preset, assignments=assignments)
        assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
        assert make_recipe(config=tmp_path / "recipe.yaml", preset="released") == recipe


def test_a_recipe_cannot_be_changed():
    recipe = Recipe()
    with pytest.raises(ValidationError):
        recipe.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        recipe.finetune.lr = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("assignments", "views"),
    [
        ((), None),  # a flip is drawn anew each epoch
        (("augmentation.flip=false",), 1),  # nothing is left to chance: one view, fixed
        (("augmentation.flip=false", "data.views=3"), 1),
        (("augmentation.flip=false", "preprocessing.order=released"), None),
        (("data.views=3",), 3),
        (("augmentation.flip=false", "preprocessing.order=released", "data.views=2"), 2),
    ],
)
def test_number_of_fixed_views(assignments, views):
    assert make_recipe(assignments=assignments).fixed_views == views
