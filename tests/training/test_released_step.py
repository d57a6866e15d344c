"""A whole training step against the published algorithm written out literally, and against formulas derived anew for the other presets."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import CLIPVisionModelWithProjection

from dgsnet.model import methods
from dgsnet.model.backbone import Backbone, load_tower
from dgsnet.model.methods import Batch
from dgsnet.model.recipe import PRESETS, make_recipe
from dgsnet.training.batches import Batches, Loaded
from literal import LiteralNetwork

EPS, STRENGTH = 1e-6, 0.2
LABELS = [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]


@pytest.fixture(scope="module")
def tower(tiny_clip):
    return load_tower(CLIPVisionModelWithProjection, tiny_clip)


@pytest.fixture(scope="module")
def build(tiny_clip):
    """A method in stage 2 whose LoRA B and heads are random, so that no gradient is zero for lack of a start."""

    def make(preset, *assignments, method="dgs", dtype=torch.float64, dropout=0.0):
        recipe = make_recipe(method, preset, assignments=(f"backbone={tiny_clip}", f"lora.dropout={dropout}", *assignments))
        made = methods.create(recipe, Backbone.load(str(tiny_clip)))
        made.enter("finetune")
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for name, parameter in sorted(made.named_parameters()):
                if "lora_B" in name or not name.startswith("backbone."):
                    parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        return made.to(dtype)

    return make


def batch_of(labels=LABELS, dtype=torch.float64, width=16, blank=()):
    generator = torch.Generator().manual_seed(len(labels))
    pixels = torch.randn(len(labels), 3, 224, 224, generator=generator, dtype=dtype)
    text = torch.randn(len(labels), width, generator=generator, dtype=dtype)
    text[list(blank)] = 0
    return Batch(labels=torch.tensor(labels, dtype=dtype), pixels=pixels, text=text)


def literal_of(method, tower, dropout=0.0):
    """The literal network with the weights of a method."""
    dtype = next(method.parameters()).dtype
    network = LiteralNetwork(tower.to(dtype), dropout=dropout)
    with torch.no_grad():
        for name, layer in network.loras():
            layer.w_lora_A.copy_(ours(method, name, "lora_A"))
            layer.w_lora_B.copy_(ours(method, name, "lora_B"))
        for head, source in ((network.img_fc, method.head), (network.img_frozen_fc, method.teacher), (network.text_fc, method.text)):
            head.load_state_dict(source.state_dict())
    return network.train()


def ours(method, name, kind):
    number, projection = name.split(".")
    return method.backbone.vision.get_parameter(
        f"base_model.model.vision_model.encoder.layers.{number}.self_attn.{projection}.{kind}.default.weight"
    )


def pairs(method, network):
    """(name, ours, literal) of everything that is trained."""
    for name, layer in network.loras():
        yield f"{name}.A", ours(method, name, "lora_A"), layer.w_lora_A
        yield f"{name}.B", ours(method, name, "lora_B"), layer.w_lora_B
    for ours_head, literal_head in (("head", "img_fc"), ("text", "text_fc")):
        for part in ("weight", "bias"):
            yield f"{ours_head}.{part}", method.get_parameter(f"{ours_head}.{part}"), network.get_parameter(f"{literal_head}.{part}")


def gradients(method, batch):
    method.zero_grad()
    losses = method(batch)
    losses.total.backward()
    return {name: parameter.grad.clone() for name, parameter in method.named_parameters() if parameter.grad is not None}, losses


def assert_same_gradients(method, network, tolerance):
    assert len(list(network.loras())) == 6
    worst = 0.0
    for name, mine, theirs in pairs(method, network):
        assert theirs.grad.norm() > 1e-9, f"{name}: a zero gradient compares nothing"
        worst = max(worst, float((mine.grad - theirs.grad).norm() / theirs.grad.norm()))
        assert worst < tolerance, f"{name}: off by {worst:.1e}"
    trained = {id(mine) for _, mine, _ in pairs(method, network)}
    assert all(parameter.grad is None for parameter in method.parameters() if id(parameter) not in trained)


# `released` against the literal code


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
@pytest.mark.parametrize("dropout", [0.0, 0.8])
def test_released_gradients_are_those_of_the_published_code(build, tower, dtype, tolerance, dropout):
    method = build("released", dtype=dtype, dropout=dropout)
    network, batch = literal_of(method, tower, dropout), batch_of(dtype=dtype)
    torch.manual_seed(11)
    theirs = network.backward_pass(batch.pixels, batch.text, batch.labels)
    torch.manual_seed(11)
    losses = method(batch)
    losses.total.backward()
    assert_same_gradients(method, network, tolerance)
    torch.testing.assert_close(losses.terms["image"], theirs.image.detach(), rtol=tolerance, atol=0)
    torch.testing.assert_close(losses.terms["text"], theirs.text.detach(), rtol=tolerance, atol=0)
    torch.testing.assert_close(losses.observed["feature_norm"], theirs.features.norm(dim=1).mean(), rtol=tolerance, atol=0)


def test_dropout_is_drawn_for_student_only(build, tower):
    """With other draws the comparison above must fail: it does see dropout."""
    method = build("released", dropout=0.8)
    network, batch = literal_of(method, tower, 0.8), batch_of()
    torch.manual_seed(11)
    network.backward_pass(batch.pixels, batch.text, batch.labels)
    torch.manual_seed(12)
    method(batch).total.backward()
    with pytest.raises(AssertionError, match="off by"):
        assert_same_gradients(method, network, 1e-2)


def test_three_adam_steps_end_in_the_same_weights(build, tower):
    method = build("released", dropout=0.8)
    network, batch = literal_of(method, tower, 0.8), batch_of()
    before = {name: mine.detach().clone() for name, mine, _ in pairs(method, network)}
    settings = method.recipe.finetune
    assert (settings.lr, settings.betas, settings.weight_decay) == (1e-4, (0.9, 0.999), 0.0)
    our_adam = torch.optim.Adam(method.enter("finetune"), lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)
    their_adam = torch.optim.Adam(network.trained(), lr=1e-4)
    for step in range(3):
        torch.manual_seed(step)
        network.backward_pass(batch.pixels, batch.text, batch.labels)
        torch.manual_seed(step)
        method(batch).total.backward()
        for optimizer in (their_adam, our_adam):
            optimizer.step()
            optimizer.zero_grad()
    for name, mine, theirs in pairs(method, network):
        assert (mine - before[name]).abs().max() > 1e-5, f"{name} did not move"
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("labels", [[1.0, 1.0, 1.0], [0.0, 0.0], [1.0], [0.0]])
def test_batches_of_one_class_and_of_one_image(build, tower, labels):
    method, batch = build("released"), batch_of(labels)
    network = literal_of(method, tower)
    network.backward_pass(batch.pixels, batch.text, batch.labels)
    method(batch).total.backward()
    assert_same_gradients(method, network, 1e-10)


def test_cached_teacher_features_give_the_same_step(build):
    for preset in PRESETS:
        method, batch = build(preset), batch_of()
        computed, _ = gradients(method, batch)
        cached, _ = gradients(method, replace(batch, frozen=method.backbone.frozen(batch.pixels)))
        assert computed.keys() == cached.keys()
        assert all(torch.equal(computed[name], cached[name]) for name in computed)


# The other presets against formulas of their own


def derive(network, batch, preset):
    """Gradients of a step, feature by feature, from the method's description: no hook, no closed form, no call into the package."""
    labels, size = batch.labels, len(batch.labels)

    def read(x):
        return x if preset != "balanced" else x / x.pow(2).sum(1, keepdim=True).sqrt() * x.shape[1] ** 0.5

    def losses_of(head, features):
        return F.binary_cross_entropy_with_logits(head(features).squeeze(1), labels, reduction="none")

    shown = read(network.student(batch.pixels))
    leaf = shown.detach().requires_grad_()
    network.zero_grad()
    (losses_of(network.img_fc, leaf).sum() / size).backward()
    task = leaf.grad

    captioned = batch.text.abs().sum(1) > 0
    logits_text = torch.zeros(size, dtype=labels.dtype)
    if captioned.any():
        kept = read(batch.text[captioned])
        logits_text[captioned] = network.text_fc(kept).squeeze(1)
        text_losses = F.binary_cross_entropy_with_logits(logits_text[captioned], labels[captioned], reduction="none")
        (text_losses.sum() / size).backward()

    teacher = read(network.teacher(batch.pixels)).requires_grad_()
    (own,) = torch.autograd.grad(losses_of(network.img_frozen_fc, teacher).sum(), teacher)  # each sample's own gradient
    pull = torch.minimum(own, torch.zeros_like(own)) / size

    weight = network.text_fc.weight[0].detach()
    plus, minus = weight.clamp(min=0), (-weight).clamp(min=0)
    basis = torch.stack([plus / plus.norm(), minus / minus.norm()])
    edited = torch.empty_like(task)
    for b in range(size):
        residual = (torch.sigmoid(logits_text[b]) - labels[b]).abs().detach() / size
        shrink = torch.stack([residual * side.norm() / (residual * side.norm() + EPS) for side in (plus, minus)])  # the formula's epsilon
        shrink = shrink * captioned[b]
        if preset != "balanced":
            shrink = shrink * (torch.tensor([1.0, 0.0]) if labels[b] == 0 else torch.tensor([0.0, 1.0]))
        projector = torch.eye(len(weight), dtype=weight.dtype) - basis.T @ torch.diag(shrink**2) @ basis
        weights = {
            "released": STRENGTH / size,
            "paper": STRENGTH,
            "balanced": STRENGTH * min(1.0, float(task[b].norm() / pull[b].norm())),
        }
        aligned = weights[preset] * pull[b]
        edited[b] = projector @ (task[b] + aligned) if preset == "released" else projector @ task[b] + aligned
    shown.backward(edited)
    return task, edited


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("labels", "blank"), [(LABELS, ()), (LABELS, (1, 3, 4)), (LABELS, range(8)), ([1.0, 1.0], ()), ([0.0], ())])
def test_presets_are_their_formulas(build, tower, preset, labels, blank):
    method, batch = build(preset), batch_of(labels, blank=blank)
    network = literal_of(method, tower)
    derive(network, batch, preset)
    mine, _ = gradients(method, batch)
    if len(blank) == len(labels):  # no caption at all: the text head has nothing to learn
        assert not any(mine.pop(f"text.{part}").any() for part in ("weight", "bias"))
        for part in (network.text_fc.weight, network.text_fc.bias):
            assert part.grad is None
        without, _ = gradients(method, replace(batch, text=None))
        assert all(torch.allclose(without[name], mine[name], rtol=1e-12, atol=0) for name in without)
        compared = [pair for pair in pairs(method, network) if not pair[0].startswith("text.")]
    else:
        compared = list(pairs(method, network))
    for name, ours_, theirs in compared:
        assert float((ours_.grad - theirs.grad).norm() / theirs.grad.norm()) < 1e-10, name


def test_bounded_alignment_reaches_both_of_its_sides(build, tower):
    """In one batch some samples have a task gradient above the teacher's pull, some below: the minimum in the formula is tested."""
    method, batch = build("balanced"), batch_of()
    with torch.no_grad():
        method.head.weight.mul_(3)
    network = literal_of(method, tower)
    task, _ = derive(network, batch, "balanced")
    teacher = method.head_input(method.backbone.frozen(batch.pixels)).requires_grad_()
    loss = F.binary_cross_entropy_with_logits(method.teacher(teacher).squeeze(1), batch.labels)
    (gradient,) = torch.autograd.grad(loss, teacher)
    larger = task.norm(dim=1) > gradient.clamp(max=0).norm(dim=1)
    assert larger.any()
    assert not larger.all()
    gradients(method, batch)
    for name, mine, theirs in pairs(method, network):
        assert float((mine.grad - theirs.grad).norm() / theirs.grad.norm()) < 1e-10, name


def test_both_signs_take_the_caption_classifier_out_of_the_feature(build):
    """What suppression leaves of the task gradient does not move the feature along w_t, for either label; `harmful` leaves a part."""
    left = {}
    for suppression in ("harmful", "both-signs"):
        method, batch = build("balanced", f"surgery.suppression={suppression}", "surgery.alignment=none"), batch_of()
        seen: list[torch.Tensor] = []
        head_input = method.head_input
        method.head_input = lambda features, original=head_input, seen=seen: seen.append(original(features)) or seen[-1]
        losses = method(batch)
        shown = next(tensor for tensor in seen if tensor.requires_grad)
        (gradient,) = torch.autograd.grad(losses.total, shown)
        weight = method.text.weight[0].detach()
        left[suppression] = float((gradient @ weight).abs().max() / (gradient.norm(dim=1).max() * weight.norm()))
    assert left["both-signs"] < 1e-3
    assert left["harmful"] > 1e-2


# What a step must not depend on


@pytest.mark.parametrize("warm", ["true", "false"])
def test_without_surgery_dgs_is_lora(build, warm):
    settings = ("surgery.suppression=none", "surgery.alignment=none", f"warm_start={warm}")
    lora = build("balanced", *settings, method="lora", dtype=torch.float32, dropout=0.5)
    dgs = build("balanced", *settings, dtype=torch.float32, dropout=0.5)
    dgs.load_state_dict(lora.state_dict(), strict=False)
    batch = batch_of(dtype=torch.float32)
    assert not dgs.wants_text
    assert not dgs.aligns
    optimizers = [torch.optim.Adam(method.enter("finetune"), lr=1e-2) for method in (lora, dgs)]
    for step in range(2):
        results = []
        for method, optimizer in zip((lora, dgs), optimizers, strict=True):
            torch.manual_seed(step)
            found, losses = gradients(method, batch)
            optimizer.step()
            results.append((found, losses))
        assert results[0][0].keys() == results[1][0].keys()
        assert all(torch.equal(results[0][0][name], results[1][0][name]) for name in results[0][0])
        assert torch.equal(results[0][1].total, results[1][1].total)
    assert all(torch.equal(parameter, dgs.get_parameter(name)) for name, parameter in lora.named_parameters())


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "settings", [(), ("surgery.alignment=batch-mean", "surgery.order=align-then-project"), ("surgery.alignment=bounded",)]
)
def test_micro_batches_do_not_change_a_step(build, preset, settings):
    method = build(preset, "finetune.micro_batch=3", *settings)
    batch = batch_of(blank=(2,))
    whole, whole_losses = gradients(method, batch)
    batches = Batches(None, np.array(LABELS, np.int64), method.recipe, None, batch.text)
    loaded = Loaded(tuple((index, 0) for index in range(8)), batch.pixels, {})
    parts = list(batches.parts(loaded, method.recipe.finetune))
    assert [len(part.labels) for part in parts] == [3, 3, 2]
    assert sum(part.share for part in parts) == pytest.approx(1)
    method.zero_grad()
    total = 0.0
    for part in parts:
        losses = method(part)
        losses.total.backward()
        total += losses.total.item()
    assert total == pytest.approx(whole_losses.total.item(), rel=1e-12)
    for name, gradient in whole.items():
        assert float((method.get_parameter(name).grad - gradient).norm() / gradient.norm()) < 1e-6, name


@pytest.mark.parametrize("preset", PRESETS)
def test_a_sample_s_edit_depends_on_the_batch_only_through_the_mean(build, preset):
    """Twice the same images is the same mean gradient for `paper` and `balanced`; the released alignment halves with the batch."""
    method, batch = build(preset), batch_of()
    labels, pixels, text = (torch.cat([tensor, tensor]) for tensor in (batch.labels, batch.pixels, batch.text))
    twice = Batch(labels, pixels, None, text)
    once, _ = gradients(method, batch)
    doubled, _ = gradients(method, twice)
    worst = max(float((doubled[name] - once[name]).norm() / once[name].norm()) for name in once)
    assert worst > 1e-3 if preset == "released" else worst < 1e-4  # the formula's epsilon is absolute
