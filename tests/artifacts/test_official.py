"""A checkpoint as the research code writes it, made of a tiny CLIP, scores as its own arithmetic does."""

import math

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from dgsnet.artifacts import model_folder
from dgsnet.artifacts.official import import_official
from dgsnet.core.errors import ModelFolderError
from dgsnet.inference.detector import Detector

RANK, HIDDEN = 6, 64


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=1,
        image_size=224,
        patch_size=32,
        projection_dim=16,
    )
    model = CLIPVisionModelWithProjection(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def visual(tower):
    """The tower under OpenAI's names."""
    vision, named = tower.vision_model, {}
    named["class_embedding"] = vision.embeddings.class_embedding
    named["conv1.weight"] = vision.embeddings.patch_embedding.weight
    named["positional_embedding"] = vision.embeddings.position_embedding.weight
    named["proj"] = tower.visual_projection.weight.T
    for theirs, ours in (("ln_pre", vision.pre_layrnorm), ("ln_post", vision.post_layernorm)):
        named |= {f"{theirs}.weight": ours.weight, f"{theirs}.bias": ours.bias}
    for number, layer in enumerate(vision.encoder.layers):
        block, attention = f"transformer.resblocks.{number}", layer.self_attn
        pairs = {
            "ln_1": layer.layer_norm1, "ln_2": layer.layer_norm2, "mlp.c_fc": layer.mlp.fc1, "mlp.c_proj": layer.mlp.fc2,
            "attn.out_proj": attention.out_proj,
        }  # fmt: skip
        for theirs, ours in pairs.items():
            named |= {f"{block}.{theirs}.weight": ours.weight, f"{block}.{theirs}.bias": ours.bias}
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        named[f"{block}.attn.in_proj_weight"] = torch.cat([part.weight for part in parts])
        named[f"{block}.attn.in_proj_bias"] = torch.cat([part.bias for part in parts])
    return {name: tensor.detach().clone() for name, tensor in named.items()}


def checkpoint(tower, merged):
    """Step 2, and the tower with the adapter merged into it."""
    frozen, state, random = visual(tower), {}, torch.Generator().manual_seed(1)
    student = CLIPVisionModelWithProjection(tower.config).eval()
    student.load_state_dict(tower.state_dict())
    for name, tensor in frozen.items():
        if ".attn.in_proj_" not in name:
            state[f"clip_model.visual.{name.replace('attn.out_proj', 'attn.proj')}"] = tensor
    for number, layer in enumerate(student.vision_model.encoder.layers):
        for name in ("q_proj", "k_proj", "v_proj"):
            target, module = f"clip_model.visual.transformer.resblocks.{number}.attn.{name}", getattr(layer.self_attn, name)
            low, high = (0.3 * torch.randn(shape, generator=random) for shape in ((RANK, HIDDEN), (HIDDEN, RANK)))
            state |= {f"{target}.weight": module.weight.detach().clone(), f"{target}.bias": module.bias.detach().clone()}
            state |= {f"{target}.w_lora_A": low, f"{target}.w_lora_B": high}
            with torch.no_grad():
                module.weight.add_(6 / math.sqrt(RANK) * high @ low)
            if merged:
                state[f"{target}.weight"] = module.weight.detach().clone()
    state |= {f"clip_model_frozen.clip_model_frozen.visual.{name}": tensor for name, tensor in frozen.items()}
    for head in ("text_fc", "img_fc", "clip_model_frozen.img_frozen_fc"):
        state |= {f"{head}.weight": torch.randn(1, 16, generator=random), f"{head}.bias": torch.randn(1, generator=random)}
    return state, student


@pytest.mark.parametrize("merged", [False, True])
def test_it_scores_as_the_checkpoint_does(tower, tmp_path, merged):
    state, student = checkpoint(tower, merged)
    torch.save(state, tmp_path / "model_epoch_step2.pth")
    folder = import_official(tmp_path / "model_epoch_step2.pth", tmp_path / "model")
    detector = Detector.from_pretrained(folder)
    recipe = model_folder.load_config(folder).recipe
    assert (recipe.preset, recipe.features) == ("released", "raw")
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    view = torch.from_numpy(detector.config.preprocessing(pixels, 0))[None]
    with torch.inference_mode():
        truth = student(pixel_values=view).image_embeds[0] @ state["img_fc.weight"][0] + state["img_fc.bias"][0]
    assert detector.detect(pixels).logit == pytest.approx(float(truth), abs=1e-4)
    frozen = detector.method.backbone.frozen(view)
    assert torch.allclose(frozen, tower(pixel_values=view).image_embeds, atol=1e-5)
    assert not list(folder.rglob("*.pth"))
    assert (folder / model_folder.ADAPTER).is_file()


def test_what_is_no_such_checkpoint_is_refused_by_name(tower, tmp_path, run):
    state, _ = checkpoint(tower, False)

    def refused(kept, match):
        torch.save(kept, tmp_path / "c.pth")
        with pytest.raises(ModelFolderError, match=match):
            import_official(tmp_path / "c.pth", tmp_path / "never")
        assert not (tmp_path / "never").exists()

    refused({name: tensor for name, tensor in state.items() if "frozen" in name}, "of step 1")
    refused({name: tensor for name, tensor in state.items() if "frozen" not in name}, "no frozen CLIP")
    refused({"a": 1}, "no state dict")
    name = "clip_model.visual.transformer.resblocks.1.attn.k_proj.weight"
    refused(state | {name: state[name] + 1}, "k_proj in block 1")
    refused(dict(list(state.items())[:-1]), "lacks the tensor")
    (tmp_path / "c.pth").write_bytes(b"not a pickle")
    code, _, err = run("import-official", tmp_path / "c.pth", "--out", tmp_path / "other")
    assert (code, "cannot be read as a checkpoint" in err) == (2, True)
