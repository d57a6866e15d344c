"""What every method must do, run over all that are registered."""

from typing import ClassVar

import pytest
import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from dgsnet.core.errors import RecipeError
from dgsnet.model import methods
from dgsnet.model.backbone import Backbone, load_tower
from dgsnet.model.methods import Batch
from dgsnet.model.methods.base import _REGISTRY
from dgsnet.model.methods.linear import Linear
from dgsnet.model.recipe import LoraRecipe, make_recipe
from tests.support.methods import ADAPTED, KINDS, METHODS, STAGES

WIDTH, BATCH = 16, 6


@pytest.fixture
def build(tiny_clip):
    def make(method, preset, *assignments):
        recipe = make_recipe(method, preset, assignments=(f"backbone={tiny_clip}", *assignments))
        return methods.create(recipe, Backbone.load(str(tiny_clip)))

    return make


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(BATCH, 3, 224, 224, generator=generator)
    text = torch.randn(BATCH, WIDTH, generator=generator)
    return Batch(labels=torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0, 0.0]), pixels=pixels, text=text)


def disturb(method):
    """A LoRA B that is not zero, or another weight: a student that differs from its teacher."""
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
            elif name.startswith("student.") and "q_proj.weight" in name:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))


def snapshot(method):
    return {name: tensor.clone() for name, tensor in method.state_dict().items()}


# Registry


def test_every_registered_method_is_tested_here():
    assert set(methods.available()) == METHODS.keys()


def test_an_unknown_method_is_refused_by_name(tiny_clip):
    with pytest.raises(RecipeError, match=f"unknown method 'dsg': expected one of {', '.join(sorted(METHODS))}"):
        methods.create(make_recipe("dsg"), Backbone.load(str(tiny_clip)))


def test_a_method_of_ones_own_can_be_registered(tiny_clip, monkeypatch):
    monkeypatch.setattr("dgsnet.model.methods.base._REGISTRY", dict(_REGISTRY))

    @methods.register
    class Mine(Linear):
        name: ClassVar[str] = "mine"

    made = methods.create(make_recipe("mine"), Backbone.load(str(tiny_clip)))
    assert type(made) is Mine
    assert "mine" in methods.available()


@pytest.mark.parametrize(("method", "preset"), KINDS)
def test_creation_depends_on_the_recipe_s_seed_and_leaves_global_randomness_alone(build, method, preset):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = snapshot(build(method, preset))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second, other = snapshot(build(method, preset)), snapshot(build(method, preset, "seed=1"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    head = f"{METHODS[method].heads[0]}.weight"
    assert not torch.equal(first[head], other[head])


def test_the_command_names_every_method(run):
    _, out, _ = run("train", "--help")
    shown = "".join(out.replace("│", " ").split())  # names may be broken at a hyphen
    assert all(method in shown for method in METHODS)


# Stages and what is trained in them


@pytest.mark.parametrize(("method", "preset"), KINDS)
def test_stages(build, method, preset):
    made = build(method, preset)
    assert made.stages == METHODS[method].stages
    assert made.stage == made.stages[0]
    assert made.adapted is METHODS[method].adapted
    for stage in made.stages:
        made.enter(stage)
        assert made.stage == stage


@pytest.mark.parametrize(("method", "preset", "stage"), STAGES)
def test_only_adapter_and_heads_are_trained(build, batch, method, preset, stage):
    made = build(method, preset)
    disturb(made)
    names = {id(parameter): name for name, parameter in made.named_parameters()}
    trained = made.enter(stage)
    returned = {names[id(parameter)] for parameter in trained}
    expected = METHODS[method]
    heads = {"probe": {"teacher"}, "finetune": {"head"}}[stage] if "teacher" in expected.heads else {"head"}
    if (
        "text" in expected.heads and expected.wants_text and (stage == "finetune" or preset == "balanced")
    ):  # a warm start trains the text head beforehand
        heads |= {"text"}
    adapter = {name for name in names.values() if "lora_" in name}
    last = {name for name in names.values() if name.split(".")[0] in expected.other} | adapter if stage == made.stages[-1] else set()
    assert returned == {f"{head}.{part}" for head in heads for part in ("weight", "bias")} | last
    assert len(trained) == len(returned)
    assert all(parameter.requires_grad for parameter in trained)
    assert not any(p.requires_grad for name, p in made.backbone.named_parameters() if "lora_" not in name)

    before = snapshot(made)
    optimizer = torch.optim.Adam(trained, lr=1e-2)
    made(batch).total.backward()
    optimizer.step()
    after = made.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == returned


@pytest.mark.parametrize(("method", "preset"), ADAPTED)
def test_the_teacher_head_stays_as_stage_1_left_it(build, method, preset):
    made = build(method, preset)
    made.enter("probe")
    assert all(parameter.requires_grad for parameter in made.teacher.parameters())
    made.enter("finetune")
    assert not any(parameter.requires_grad for parameter in made.teacher.parameters())


@pytest.mark.parametrize(("method", "preset"), ADAPTED)
def test_a_warm_start_begins_with_the_teacher_s_head(build, batch, method, preset):
    made = build(method, preset)
    made.enter("probe")
    nn.init.normal_(made.teacher.weight)
    made.enter("finetune")
    assert torch.equal(made.head.weight, made.teacher.weight) is (preset == "balanced")
    if preset == "balanced":
        expected = made.teacher(made.head_input(made.backbone.frozen(batch.pixels))).squeeze(1)
        torch.testing.assert_close(made.eval().predict(batch.pixels), expected)


@pytest.mark.parametrize(("method", "preset", "stage"), STAGES)
def test_losses_have_the_terms_that_add_up(build, batch, method, preset, stage):
    made = build(method, preset, "lora.dropout=0")
    disturb(made)  # else student and teacher are one, and a term that compares them is 0 whatever its formula
    made.enter(stage)
    made.eval()  # a method's own network may have dropout
    losses = made(batch)
    expected = METHODS[method].terms if stage == "finetune" else METHODS[method].probe_terms
    if (
        stage == "probe" and "text" in METHODS[method].heads and METHODS[method].wants_text and preset == "balanced"
    ):  # a warm start trains the text head beforehand
        expected |= {"text"}
    assert set(losses.terms) == expected
    assert float(losses.total.detach()) == pytest.approx(sum(float(term) for term in losses.terms.values()))
    assert not any(value.requires_grad for value in (*losses.terms.values(), *losses.observed.values()))
    assert "feature_norm" in losses.observed
    assert losses.observed.keys() - {"feature_norm"} == (METHODS[method].observed if stage == "finetune" else set())
    half = made(Batch(batch.labels, batch.pixels, None, batch.text, share=0.5))
    for name, term in losses.terms.items():
        assert float(half.terms[name]) == pytest.approx(0.5 * float(term)), name
    assert float(half.total.detach()) == pytest.approx(0.5 * float(losses.total.detach()))


@pytest.mark.parametrize(("method", "preset"), KINDS)
def test_pixels_are_needed_to_fine_tune_only(build, batch, method, preset):
    made = build(method, preset)
    assert made.needs_pixels("finetune")
    if "probe" not in made.stages:
        return
    assert not made.needs_pixels("probe")
    made.enter("probe")
    made.eval()  # a head of its own may have dropout
    frozen = made.backbone.frozen(batch.pixels)
    cached = made(Batch(batch.labels, frozen=frozen, text=batch.text))
    assert torch.equal(cached.total, made(batch).total)
    with pytest.raises(ValueError, match="neither"):
        made(Batch(batch.labels, text=batch.text))


def test_what_is_wanted_of_the_text_branch(build):
    assert {kind: build(*kind).wants_text for kind in KINDS} == {kind: METHODS[kind[0]].wants_text for kind in KINDS}
    assert not build("dgs", "balanced", "surgery.suppression=none").wants_text
    assert build("dgs", "balanced", "surgery.alignment=none").wants_text


def test_without_suppression_the_text_head_is_left_alone(build, batch):
    made = build("dgs", "balanced", "surgery.suppression=none")
    for stage in made.stages:
        assert not {id(p) for p in made.text.parameters()} & {id(p) for p in made.enter(stage)}
        losses = made(batch)
        losses.total.backward()
        assert "text" not in losses.terms
        assert made.text.weight.grad is None


def test_without_alignment_the_teacher_is_not_asked(build, batch, monkeypatch):
    made = build("dgs", "balanced", "surgery.alignment=none")
    made.enter("finetune")
    monkeypatch.setattr(made.backbone, "frozen", lambda pixels: pytest.fail("a needless pass of the teacher"))
    assert "alignment" not in made(batch).observed


# One tower, two roles


@pytest.mark.parametrize(("method", "preset"), ADAPTED)
def test_the_student_is_the_teacher_before_training(build, batch, method, preset):
    made = build(method, preset).eval()
    assert torch.equal(made.backbone(batch.pixels), made.backbone.frozen(batch.pixels))


@pytest.mark.parametrize(("method", "preset"), KINDS)
def test_the_teacher_is_the_plain_tower_whatever_the_adapter_does(build, batch, tiny_clip, method, preset):
    made = build(method, preset)
    made.enter(made.stages[-1])  # dropout is on
    disturb(made)
    plain = load_tower(CLIPVisionModelWithProjection, tiny_clip)
    with torch.no_grad():
        expected = plain(pixel_values=batch.pixels).image_embeds
    frozen = made.backbone.frozen(batch.pixels)[:, :WIDTH]
    assert torch.equal(frozen, expected)
    assert not frozen.requires_grad
    if made.adapted:
        assert not torch.allclose(made.eval().backbone(batch.pixels), expected, rtol=1e-2)
        assert all(parameter.requires_grad for parameter in made.backbone.adapter_parameters())  # the pass has switched nothing off


@pytest.mark.parametrize(("method", "preset"), ADAPTED)
def test_training_leaves_the_frozen_teacher_as_it_was(build, batch, method, preset):
    made = build(method, preset)
    frozen = made.backbone.frozen(batch.pixels)
    optimizer = torch.optim.Adam(made.enter("finetune"), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        made(batch).total.backward()
        optimizer.step()
    assert torch.equal(made.backbone.frozen(batch.pixels), frozen)
    assert not torch.allclose(made.eval().backbone(batch.pixels), frozen, rtol=1e-3)


@pytest.mark.parametrize(("method", "preset"), [kind for kind in KINDS if not METHODS[kind[0]].other])
def test_there_is_one_copy_of_the_tower(build, batch, tiny_clip, method, preset):
    made = build(method, preset)
    made.enter(made.stages[-1])
    made(batch).total.backward()
    plain = sum(p.numel() for p in load_tower(CLIPVisionModelWithProjection, tiny_clip).parameters())
    adapter = 2 * 3 * 6 * (32 + 32) if made.adapted else 0  # blocks x projections x rank x (in + out)
    heads = len(METHODS[method].heads) * (WIDTH + 1)
    assert sum(p.numel() for p in made.parameters()) == plain + adapter + heads
    held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in made.parameters()}
    assert sum(held.values()) == 4 * (plain + adapter + heads)


@pytest.mark.parametrize(("width", "layers", "expected"), [(768, 12, 331_776), (1024, 24, 884_736)])
def test_size_of_the_adapter_on_the_published_backbones(tmp_path, width, layers, expected):
    with torch.device("meta"):
        config = CLIPVisionConfig(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=width // 64)
        backbone = Backbone(CLIPVisionModelWithProjection(config), "none", tmp_path, "")
        backbone.add_adapter(LoraRecipe())
    assert sum(parameter.numel() for parameter in backbone.adapter_parameters()) == expected


def test_the_adapter_goes_where_the_recipe_says(build):
    made = build("lora", "balanced", "lora.layers=[1]", "lora.targets=[q_proj, fc1]", "lora.rank=4", "lora.alpha=2")
    names = {name.split(".lora_")[0].split("encoder.")[1] for name, _ in made.named_parameters() if "lora_" in name}
    assert names == {"layers.1.self_attn.q_proj", "layers.1.mlp.fc1"}
    layer = made.backbone.vision.get_submodule("base_model.model.vision_model.encoder.layers.1.mlp.fc1")
    assert layer.scaling["default"] == 2 / 4**0.5
    assert layer.lora_A["default"].weight.shape == (4, 32)


# Modes


@pytest.mark.parametrize(("method", "preset"), ADAPTED)
def test_in_training_only_the_adapter_s_dropout_is_on(build, batch, method, preset):
    made = build(method, preset)
    disturb(made)

    def training():
        return {name for name, module in made.backbone.named_modules() if module.training}

    def deterministic():
        return torch.equal(made.backbone(batch.pixels), made.backbone(batch.pixels))

    made.enter("probe")
    assert not training()
    for switch_on in (lambda: made.enter("finetune"), made.train):
        switch_on()
        assert training()
        assert all("lora_dropout" in name for name in training())
        assert sum(isinstance(m, nn.Dropout) and m.training for m in made.modules()) == 6
        assert {m.p for m in made.modules() if isinstance(m, nn.Dropout)} == {made.recipe.lora.dropout}
        assert not deterministic()
        made.eval()
        assert not training()
        assert deterministic()


@pytest.mark.parametrize(("method", "preset"), KINDS)
def test_logits_come_from_the_image_alone(build, batch, method, preset):
    made = build(method, preset).eval()
    disturb(made)
    logits = made.predict(batch.pixels)
    assert logits.shape == (BATCH,)
    assert torch.equal(logits, made.logits(made.embed(batch.pixels)))
    if "teacher" not in METHODS[method].heads:  # its head reads no feature of CLIP's
        return
    features = made.tower(batch.pixels)
    head = made.head if "finetune" in made.stages else made.teacher
    if preset == "balanced":
        features = features / features.norm(dim=1, keepdim=True) * WIDTH**0.5
    torch.testing.assert_close(logits, features @ head.weight[0] + head.bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("method", "preset", "stage"), STAGES)
def test_a_few_steps_lower_the_loss(build, batch, method, preset, stage):
    made = build(method, preset, "lora.dropout=0")
    optimizer = torch.optim.Adam(made.enter(stage), lr=1e-2)
    made.eval()
    name = "probe" if stage == "probe" else "image"
    seen = []
    for _ in range(12):
        losses = made(batch)
        seen.append(float(losses.terms[name]))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    assert seen[-1] < seen[0]
