"""Features that hold mean patch tokens of some blocks beside CLIP's embedding, and surgery on them."""

from __future__ import annotations

import csv
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import CLIPVisionModelWithProjection

from dgsnet.artifacts import model_folder
from dgsnet.core.errors import RecipeError
from dgsnet.inference.detector import Detector
from dgsnet.model import methods
from dgsnet.model.backbone import Backbone, load_tower
from dgsnet.model.methods import Batch
from dgsnet.model.recipe import make_recipe
from dgsnet.surgery import linear_head_gradient
from dgsnet.training import train

JOINT, BLOCK = 16, 32  # of the tiny CLIP


@pytest.fixture
def build(tiny_clip):
    def make(method, *assignments):
        recipe = make_recipe(method, assignments=(f"backbone={tiny_clip}", "blocks=[1]", *assignments))
        return methods.create(recipe, Backbone.load(str(tiny_clip)))

    return make


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(6, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def test_a_feature_is_the_embedding_and_then_the_mean_patch_tokens(build, tiny_clip, pixels):
    tower = load_tower(CLIPVisionModelWithProjection, tiny_clip)
    tokens = []
    hook = tower.vision_model.encoder.layers[0].register_forward_hook(
        lambda _, __, out: tokens.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.no_grad():
        embedding = tower(pixel_values=pixels).image_embeds
    hook.remove()
    method = build("linear")
    features = method.backbone.frozen(pixels)
    assert features.shape == (6, method.backbone.width) == (6, JOINT + BLOCK)
    torch.testing.assert_close(features[:, :JOINT], embedding)
    torch.testing.assert_close(features[:, JOINT:], tokens[0][:, 1:].mean(dim=1))


def test_class_tokens_are_read_before_the_mean_patch_token_of_each_block(build, tiny_clip, pixels):
    tower = load_tower(CLIPVisionModelWithProjection, tiny_clip)
    with torch.no_grad():
        seen = tower(pixel_values=pixels, output_hidden_states=True)
    method = build("linear", "blocks=[2, 1]", "block_tokens=class-and-patches")
    features = method.backbone.frozen(pixels)
    assert features.shape == (6, method.backbone.width) == (6, JOINT + 4 * BLOCK)
    expected = [seen.image_embeds]
    for block in (2, 1):
        tokens = seen.hidden_states[block]
        expected += [tokens[:, 0], tokens[:, 1:].mean(dim=1)]
    torch.testing.assert_close(features, torch.cat(expected, dim=1))


def test_class_tokens_come_out_of_a_cached_trunk_as_from_the_pixels(build, pixels):
    assignments = ("blocks=[1, 2]", "block_tokens=class-and-patches", "lora.layers=[1]", "data.views=1", "data.cache_trunk=true")
    method = build("lora", *assignments).eval()
    with torch.no_grad():
        for parameter in method.backbone.adapter_parameters():
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(3))
        frozen, trunk = method.backbone.frozen_with_trunk(pixels)
        torch.testing.assert_close(method.backbone.from_trunk(trunk, frozen), method.backbone(pixels))
    assert not torch.allclose(method.backbone(pixels)[:, -BLOCK:], frozen[:, -BLOCK:])


def test_the_blocks_part_is_read_standardised_and_the_embedding_on_the_sphere(build, pixels):
    method = build("linear")
    features = method.backbone.frozen(pixels)
    method.standardise_blocks(features)
    read = method.head_input(features)
    torch.testing.assert_close(read[:, :JOINT].norm(dim=1), torch.full((6,), JOINT**0.5))
    torch.testing.assert_close(read[:, JOINT:].mean(dim=0), torch.zeros(BLOCK), atol=1e-4, rtol=0)
    torch.testing.assert_close(read[:, JOINT:].std(dim=0), torch.ones(BLOCK), atol=1e-3, rtol=0)


def test_surgery_edits_the_embedding_s_gradient_only(build, pixels):
    """Against the plain gradient: what suppression removes lies in the embedding; the blocks' part arrives as the head sent it."""
    method = build("dgs", "surgery.alignment=none")
    method.standardise_blocks(method.backbone.frozen(pixels))
    method.enter("finetune")
    method.eval()
    with torch.no_grad():
        method.head.weight.normal_(generator=torch.Generator().manual_seed(1))
        method.text.weight.normal_(generator=torch.Generator().manual_seed(2))
    seen = []
    head_input = method.head_input

    def watched(features):
        out = head_input(features)
        if out.shape[1] > JOINT:
            out.retain_grad()
            seen.append(out)
        return out

    method.head_input = watched
    labels = torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    text = torch.randn(6, JOINT, generator=torch.Generator().manual_seed(3))
    method(Batch(labels=labels, pixels=pixels, text=text)).total.backward()
    arrived = seen[0].grad
    plain = linear_head_gradient(method.head(seen[0].detach()).squeeze(1), labels, method.head.weight[0]).detach()
    torch.testing.assert_close(arrived[:, JOINT:], plain[:, JOINT:])
    assert not torch.allclose(arrived[:, :JOINT], plain[:, :JOINT], rtol=1e-2)
    harmful = method.text.weight[0].detach()
    assert (plain[:, :JOINT] @ harmful).abs().max() > 1e-2
    torch.testing.assert_close(arrived[:, :JOINT] @ harmful, torch.zeros(6), atol=1e-3, rtol=0)  # suppression's eps leaves a little


def test_a_block_the_tower_does_not_have_is_refused(build):
    with pytest.raises(RecipeError, match="blocks 1 to 2"):
        build("linear", "blocks=[3]")


@pytest.mark.parametrize("method", ["linear", "dgs"])
def test_a_trained_model_keeps_how_it_reads_the_blocks(method, corpus, tiny_clip, tmp_path):
    settings = (f"backbone={tiny_clip}", "blocks=[1]", "preprocessing.view=crop", "probe.epochs=2", "finetune.lr=1e-3", "data.limit=16")
    folder = train(corpus, tmp_path / "model", make_recipe(method, assignments=settings), console=Console(file=StringIO()))
    loaded, config = model_folder.load(folder)
    assert config.backbone["width"] == JOINT
    assert loaded.block_scale.std() > 0
    with (corpus / "manifest.csv").open() as stream:
        first = corpus / next(csv.DictReader(stream))["path"]
    detector = Detector.from_pretrained(folder)
    assert detector.warnings == []
    assert np.isfinite(detector.detect(first).score)
