"""The model folder: what is in it, that it comes back whole, and what is said when it does not."""

import json
import shutil

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, CLIPTokenizer, CLIPVisionModelWithProjection

from dgsnet.artifacts import model_folder
from dgsnet.core.errors import ModelFolderError, WeightsError
from dgsnet.model import backbone_match, methods
from dgsnet.model.backbone import Backbone, load_tower
from dgsnet.model.recipe import Recipe, make_recipe
from tests.support.methods import KINDS, METHODS

ADAPTER_FILES = {"adapter_model.safetensors", "adapter_config.json"}


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def trained(tiny_clip, method, preset, *assignments):
    """A method with random weights, as if it had been trained."""
    recipe = make_recipe(method, preset, assignments=(f"backbone={tiny_clip}", *assignments))
    made = methods.create(recipe, Backbone.load(str(tiny_clip)))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_" in name or not name.startswith("backbone."):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return made.eval()


def save(made, folder):
    model_folder.save(
        folder,
        made,
        {
            "backbone": backbone_match.describe(made.backbone),
            "data": {"fingerprint": "0" * 64, "n_real": 5, "n_fake": 4, "layout": "manifest"},
            "captions": {"source": "clip", "caption_only_auc": None},
            "versions": {"dgsnet": "0.1.0"},
        },
    )
    return folder


@pytest.fixture(scope="module")
def saved(tiny_clip, tmp_path_factory):
    return save(trained(tiny_clip, "dgs", "balanced"), tmp_path_factory.mktemp("model"))


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


# Round trip


@pytest.mark.parametrize(("method", "preset"), KINDS)
def test_round_trip_gives_the_same_logits(tiny_clip, tmp_path, pixels, method, preset):
    made = trained(tiny_clip, method, preset, "lora.layers=[1]", "lora.rank=4")
    loaded, config = model_folder.load(save(made, tmp_path / "model"))
    with torch.no_grad():
        # To the last bit but one: where in memory a weight lies can choose the kernel that reads it.
        torch.testing.assert_close(loaded.predict(pixels), made.predict(pixels), rtol=1e-6, atol=1e-6)
    assert type(loaded) is type(made)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert Recipe.model_validate(config.recipe) == made.recipe
    assert config.preprocessing == made.recipe.preprocessing
    assert config.label_map == {"0": "real", "1": "ai-generated"}
    assert (config.calibration.temperature, config.calibration.real, config.calibration.generated) == (1, 0.5, 0.5)
    described = config.backbone | {"probe": None}  # the probe: test_backbone_identity.py
    assert described == {"name": str(tiny_clip), "fingerprint": made.backbone.fingerprint, "width": 16, "size": 224, "probe": None}
    state, again = model_folder.trained_state(made), model_folder.trained_state(loaded)
    assert state.keys() == again.keys()
    assert all(torch.equal(state[name], again[name]) for name in state)


def test_saving_again_gives_the_same_bytes(saved, tmp_path):
    method, _ = model_folder.load(saved)
    save(method, tmp_path / "again")
    for file in saved.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize(("method", "preset"), KINDS)
def test_files(tiny_clip, tmp_path, method, preset):
    folder = save(trained(tiny_clip, method, preset), tmp_path / "model")
    expected = {"config.json", "heads.safetensors", "README.md"} | (ADAPTER_FILES if METHODS[method].adapted else set())
    assert {file.name for file in folder.iterdir()} == expected
    stored = set(load_file(folder / "heads.safetensors"))
    heads = {f"{head}.{part}" for head in METHODS[method].heads for part in ("weight", "bias")}
    assert heads <= stored
    own = {"block_mean", "block_scale"} if method == "rine" else set()
    assert {name.split(".")[0] for name in stored - heads} == {*METHODS[method].other, *own}
    for file in folder.rglob("*"):
        content = file.read_bytes()
        assert file.suffix in {".json", ".safetensors", ".md"}
        assert not content.startswith((b"\x80", b"PK"))  # a pickle, a zip with one inside
        assert b"cposix" not in content
        assert b"torch._utils" not in content


def test_the_adapter_is_all_that_is_large(saved):
    parameters = 2 * 3 * 6 * (32 + 32)  # blocks x projections x rank x (in + out)
    assert sum(tensor.numel() for tensor in load_file(saved / "adapter_model.safetensors").values()) == parameters
    header = 12 * 200
    assert 4 * parameters < (saved / "adapter_model.safetensors").stat().st_size < 4 * parameters + header
    assert (saved / "heads.safetensors").stat().st_size < 4 * 3 * 17 + 1000


def test_plain_peft_loads_the_adapter(saved, tiny_clip, pixels):
    method, _ = model_folder.load(saved)
    plain = PeftModel.from_pretrained(load_tower(CLIPVisionModelWithProjection, tiny_clip), saved).eval()
    with torch.no_grad():
        features = plain(pixel_values=pixels).image_embeds
        assert torch.equal(features, method.backbone(pixels))
        with plain.disable_adapter():
            assert not torch.allclose(plain(pixel_values=pixels).image_embeds, features, rtol=1e-2)
    settings = plain.peft_config["default"]
    assert (settings.r, settings.lora_alpha, settings.use_rslora) == (6, 6, True)
    assert json.loads((saved / "adapter_config.json").read_text())["inference_mode"] is True
    assert settings.base_model_name_or_path == str(tiny_clip)


def test_the_card_says_what_the_model_is(saved):
    card = (saved / "README.md").read_text()
    assert "dgs (balanced)" in card
    assert "5 photographs, 4 generated images" in card
    assert "AUC unknown" in card


# Whole or not at all


def test_a_folder_without_its_configuration_is_not_complete(tiny_clip, tmp_path, monkeypatch):
    """`config.json` is written last: whatever stops a save leaves a folder that says it is not whole."""
    made = trained(tiny_clip, "dgs", "balanced")

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    for step in ("save_file", "model_card", "write_json"):
        with monkeypatch.context() as patch:
            patch.setattr(model_folder, step, full_disk)
            with pytest.raises(OSError, match="No space"):
                save(made, tmp_path / step)
        assert not model_folder.is_complete(tmp_path / step)
        with pytest.raises(ModelFolderError, match=r"config\.json is missing"):
            model_folder.load(tmp_path / step)
        assert not list((tmp_path / step).glob(".*part"))
        save(made, tmp_path / step)
        assert model_folder.is_complete(tmp_path / step)


# Damage


def edit_tensors(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def edit_config(folder, change):
    settings = json.loads((folder / "config.json").read_text())
    change(settings)
    (folder / "config.json").write_text(json.dumps(settings))


CONFIG, HEADS, ADAPTER = "config.json", "heads.safetensors", "adapter_model.safetensors"
DAMAGE = {
    "no configuration": (CONFIG, lambda folder: (folder / CONFIG).unlink()),
    "no heads": (HEADS, lambda folder: (folder / HEADS).unlink()),
    "no adapter": (ADAPTER, lambda folder: (folder / ADAPTER).unlink()),
    "configuration cut off": (CONFIG, lambda folder: (folder / CONFIG).write_text('{"format": 1, "meth')),
    "configuration is a list": (CONFIG, lambda folder: (folder / CONFIG).write_text("[]")),
    "configuration is binary": (CONFIG, lambda folder: (folder / CONFIG).write_bytes(b"\xff\xfe\x00")),
    "configuration lacks the recipe": (CONFIG, lambda folder: edit_config(folder, lambda config: config.pop("recipe"))),
    "configuration has more": (CONFIG, lambda folder: edit_config(folder, lambda config: config.update(extra=1))),
    "setting out of range": (CONFIG, lambda folder: edit_config(folder, lambda config: config["recipe"]["lora"].update(rank=0))),
    "backbone without fingerprint": (CONFIG, lambda folder: edit_config(folder, lambda config: config["backbone"].pop("fingerprint"))),
    "backbone without name": (CONFIG, lambda folder: edit_config(folder, lambda config: config["backbone"].pop("name"))),
    "unknown method": (CONFIG, lambda folder: edit_config(folder, lambda config: config["recipe"].update(method="magic"))),
    "layers that are not there": (CONFIG, lambda folder: edit_config(folder, lambda config: config["recipe"]["lora"].update(layers=[99]))),
    "heads cut off": (HEADS, lambda folder: truncate(folder / HEADS)),
    "adapter cut off": (ADAPTER, lambda folder: truncate(folder / ADAPTER)),
    "heads empty": (HEADS, lambda folder: (folder / HEADS).write_bytes(b"")),
    "adapter is text": (ADAPTER, lambda folder: (folder / ADAPTER).write_text("<html>404</html>" * 9)),
    "a head is missing": (HEADS, lambda folder: edit_tensors(folder / HEADS, lambda t: t.pop("head.bias"))),
    "a head too many": (HEADS, lambda folder: edit_tensors(folder / HEADS, lambda t: t.update(more=torch.zeros(1)))),
    "a head of another width": (
        HEADS,
        lambda folder: edit_tensors(folder / HEADS, lambda t: t.update({"head.weight": torch.zeros(1, 17)})),
    ),
    "adapter of another rank": (
        ADAPTER,
        lambda folder: edit_tensors(
            folder / ADAPTER, lambda t: t.update({name: tensor[:3] for name, tensor in t.items() if "lora_A" in name})
        ),
    ),
    "adapter lacks a tensor": (ADAPTER, lambda folder: edit_tensors(folder / ADAPTER, lambda t: t.pop(sorted(t)[0]))),
}


def truncate(file):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) - 40])


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_reported_with_the_file_it_is_in(copy, what):
    name, harm = DAMAGE[what]
    harm(copy)
    with pytest.raises(ModelFolderError) as caught:
        model_folder.load(copy)
    assert name in str(caught.value)
    assert str(copy) in str(caught.value)


def test_a_newer_format_is_refused(copy):
    edit_config(copy, lambda config: config.update(format=2, novelty={"a": 1}))
    with pytest.raises(ModelFolderError, match=r"config\.json is of format 2, this version reads 1"):
        model_folder.load(copy)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(ModelFolderError, match="nowhere"):
        model_folder.load(tmp_path / "nowhere")


# The backbone


def test_without_a_probe_any_other_backbone_is_refused(copy, tiny_clip, tmp_path):
    """As in folders of the first version; with a probe: test_backbone_identity.py."""
    edit_config(copy, lambda config: config["backbone"].pop("probe"))
    other = tmp_path / "other"
    clip = CLIPModel.from_pretrained(tiny_clip)
    with torch.no_grad():
        clip.vision_model.embeddings.class_embedding[0] += 1e-3
    clip.save_pretrained(other)
    with pytest.raises(ModelFolderError, match="scores would mean nothing") as caught:
        model_folder.load(copy, backbone=str(other))
    assert str(other) in str(caught.value)


def test_the_same_backbone_in_another_place_will_do(saved, tiny_clip, tmp_path, pixels):
    """The fingerprint is of the image tower's tensors, wherever they lie and whatever else is there."""
    load_tower(CLIPVisionModelWithProjection, tiny_clip).save_pretrained(tmp_path / "vision")
    CLIPTokenizer.from_pretrained(tiny_clip).save_pretrained(tmp_path / "vision")
    here, _ = model_folder.load(saved)
    there, _ = model_folder.load(saved, backbone=str(tmp_path / "vision"))
    assert torch.equal(here.predict(pixels), there.predict(pixels))


def test_a_backbone_that_has_gone_is_a_matter_of_weights(copy, tmp_path):
    edit_config(copy, lambda config: config["backbone"].update(name=str(tmp_path / "gone")))
    with pytest.raises(WeightsError, match="gone"):
        model_folder.load(copy)
