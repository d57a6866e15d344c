"""Rivals of surgery against derivations of their own."""

import math

import pytest
import torch
from peft.tuners.lora import LoraLayer

from dgsnet.core.errors import RecipeError
from dgsnet.model import methods
from dgsnet.model.backbone import Backbone
from dgsnet.model.methods import Batch
from dgsnet.model.methods.edited import edit, orthogonal_to, without_conflict
from dgsnet.model.methods.npr import residual
from dgsnet.model.methods.rine import TEMPERATURE, contrastive
from dgsnet.model.recipe import make_recipe

WIDTH = 16


@pytest.fixture
def build(tiny_clip):
    def make(method, *assignments):
        recipe = make_recipe(method, assignments=(f"backbone={tiny_clip}", "lora.dropout=0", *assignments))
        return methods.create(recipe, Backbone.load(str(tiny_clip)))

    return make


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    pixels, text = torch.randn(4, 3, 224, 224, generator=generator), torch.randn(4, WIDTH, generator=generator)
    return Batch(labels=torch.tensor([0.0, 1.0, 0.0, 1.0]), pixels=pixels, text=text)


def test_an_edited_gradient_is_that_of_the_rule_and_the_features_stay():
    features = torch.randn(5, 7, requires_grad=True)
    weights, reference = torch.randn(5, 7), torch.randn(5, 7)
    reference[2] = 0
    for rule in (orthogonal_to, without_conflict):
        features.grad = None
        edited = edit(features, reference, rule)
        assert torch.equal(edited, features)
        (edited * weights).sum().backward()
        for row in range(5):
            g, r = weights[row].double(), reference[row].double()
            conflict = rule is orthogonal_to or float(g @ r) < 0
            expected = g - (g @ r) / (r @ r) * r if conflict and r.any() else g
            torch.testing.assert_close(features.grad[row].double(), expected, rtol=1e-5, atol=1e-6)  # type: ignore[index]


def test_without_conflict_leaves_what_agrees_alone_and_loses_nothing_else():
    gradient = torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
    reference = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert torch.equal(without_conflict(gradient, reference), torch.tensor([[1.0, 1.0], [0.0, 1.0]]))


def test_ogd_moves_features_at_right_angles_to_the_captions_task(build, batch):
    made = build("ogd", "features=raw")
    made.enter("finetune")
    seen = []  # type: ignore[var-annotated]

    def keep(module, given, features):
        features.register_hook(seen.append)

    made.tower.register_forward_hook(keep)
    made(batch).total.backward()
    assert seen[0].norm() > 0
    torch.testing.assert_close(seen[0] @ made.text.weight[0], torch.zeros(4), rtol=0, atol=1e-6)


def test_l2sp_is_half_the_squared_distance_of_all_weights(build, batch):
    made = build("l2sp", "retention.strength=0.5")
    made.enter("finetune")
    assert float(made(batch).terms["away"]) == 0
    with torch.no_grad():
        for weight in made.student.parameters():
            weight.add_(0.01)
    count = sum(weight.numel() for weight in made.student.parameters())
    assert float(made(batch).terms["away"]) == pytest.approx(0.5 / 2 * count * 0.01**2, rel=1e-3)


def test_full_trains_its_copy_and_the_backbone_stays(build, batch):
    made = build("full")
    before = {name: tensor.clone() for name, tensor in made.backbone.state_dict().items()}
    optimizer = torch.optim.Adam(made.enter("finetune"), lr=1e-3)
    made(batch).total.backward()
    optimizer.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in made.backbone.state_dict().items())
    assert not torch.allclose(made.tower(batch.pixels), made.backbone(batch.pixels))


def test_feature_distillation_and_lwf_ask_nothing_of_a_student_that_is_the_teacher(build, batch):
    made = build("feature-distillation")
    made.enter("finetune")
    assert float(made(batch).terms["distillation"]) == 0
    made = build("lwf")
    made.enter("finetune")
    made(batch).total.backward()
    features = made.tower(batch.pixels).detach().requires_grad_()
    made.terms_beside(batch, features)["old_answers"].backward()
    torch.testing.assert_close(features.grad, torch.zeros_like(features), rtol=0, atol=1e-7)  # cross entropy is least where answers agree


def layers_of(made):
    return [module for module in made.backbone.vision.modules() if isinstance(module, LoraLayer)]


def weight_of(layer):
    return layer.get_base_layer().weight + layer.get_delta_weight("default")


def test_effort_starts_as_clip_and_trains_the_weakest_directions_alone(build, batch):
    made = build("effort", "lora.rank=4", "lora.alpha=3")
    optimizer = torch.optim.Adam(made.enter("finetune"), lr=1e-3)
    for layer in layers_of(made):
        torch.testing.assert_close(weight_of(layer), layer.get_base_layer().weight, rtol=0, atol=1e-6)
    halves = [layer.lora_B["default"].weight[:, 2:].clone() for layer in layers_of(made)]
    for _ in range(3):
        optimizer.zero_grad()
        made(batch).total.backward()
        optimizer.step()
    for layer, half in zip(layers_of(made), halves, strict=True):
        assert torch.equal(layer.lora_B["default"].weight[:, 2:], half)
        weight = layer.get_base_layer().weight.double()
        u, s, vt = torch.linalg.svd(weight)
        change = weight_of(layer).double() - weight
        assert change.norm() > 1e-5
        # What is taken out is the weakest part: put it back, and only what was trained is left, of rank 2.
        trained = change + u[:, -2:] @ torch.diag(s[-2:]) @ vt[-2:]
        assert torch.linalg.svdvals(trained)[2] < 1e-6


def test_effort_s_terms_are_zero_at_the_start_and_measure_angles_and_norms(build, batch):
    made = build("effort", "lora.rank=2")
    made.enter("finetune")
    terms = made(batch).terms
    assert float(terms["angles"]) == pytest.approx(0, abs=1e-5)
    assert float(terms["norms"]) == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        for layer in layers_of(made):
            u, _, _ = torch.linalg.svd(layer.get_base_layer().weight)
            left = layer.lora_B["default"].weight
            left[:, 0] = u[:, 0] * left[:, 0].norm() * math.sqrt(2)  # along the strongest direction, twice the squared length
    terms = made(batch).terms
    assert float(terms["angles"]) == pytest.approx(1, abs=1e-4)  # one side leans fully, the other not at all
    assert float(terms["norms"]) == pytest.approx(1, abs=1e-3)


def test_effort_needs_an_even_rank(build):
    with pytest.raises(RecipeError, match="even number, but got 3"):
        build("effort", "lora.rank=3")


def test_null_space_reads_nothing_that_captions_say(build, batch):
    made = build("null-space", "captions.directions=2", "features=raw")
    text = torch.randn(3, WIDTH)
    text[2] = 0  # no caption
    made.see_captions(text)
    torch.testing.assert_close(made.head_input(text), torch.zeros(3, WIDTH), rtol=0, atol=1e-5)
    features = torch.randn(4, WIDTH)
    left = made.head_input(features)
    torch.testing.assert_close(left @ text[:2].T, torch.zeros(4, 2), rtol=0, atol=1e-5)
    q, _ = torch.linalg.qr(text[:2].T)
    torch.testing.assert_close(left, features - features @ q @ q.T, rtol=1e-4, atol=1e-5)


def test_null_space_without_captions_is_lora(build, batch):
    made, plain = build("null-space"), build("lora")
    assert torch.equal(made.predict(batch.pixels), plain.predict(batch.pixels))


def test_the_contrastive_loss_is_the_mean_over_pairs_of_one_label():
    features, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1])
    unit = [row / row.norm() for row in features]
    losses = []
    for i in range(5):
        others = [float(unit[i] @ unit[j]) / TEMPERATURE for j in range(5) if j != i]
        for j in range(5):
            if j != i and labels[i] == labels[j]:
                losses.append(math.log(sum(math.exp(other) for other in others)) - float(unit[i] @ unit[j]) / TEMPERATURE)
    assert float(contrastive(features, labels)) == pytest.approx(sum(losses) / len(losses))
    assert float(contrastive(features[:2], labels[:2])) == 0


def test_rine_reads_class_tokens_by_their_importance(build, batch):
    made = build("rine").eval()
    read = made.detecting_features(batch.pixels)
    with torch.no_grad():
        made.importance.zero_()
        made.importance[0] = 100.0  # the first block alone
    logits = made.logits(made.embed(batch.pixels))
    tokens = made.head_input(made.backbone(batch.pixels))[:, WIDTH : WIDTH + made.backbone.block_width]
    expected = made.head(made.mix(made.project(tokens))).squeeze(1)
    torch.testing.assert_close(logits, expected)
    assert read.shape[1] == WIDTH + 2 * made.backbone.block_width * made.backbone.depth


def test_rine_has_no_closed_form(build):
    with pytest.raises(RecipeError, match=r"probe\.solver=adam"):
        build("rine").solve(torch.zeros(2, 3), torch.zeros(2).long().numpy())


def test_npr_sees_what_an_upsampler_leaves_and_no_block_s_colour():
    picture = torch.randn(2, 3, 8, 8)
    doubled = torch.nn.functional.interpolate(picture, scale_factor=2, mode="nearest")
    assert not residual(doubled).any()
    shifted = residual(picture + 5)
    torch.testing.assert_close(shifted, residual(picture))
    assert float(residual(picture)[0, 1, 3, 2]) == pytest.approx(float(picture[0, 1, 3, 2] - picture[0, 1, 2, 2]))
