"""Same weights, another build of them, or another network: told by fingerprint and by the frozen feature of one fixed picture."""

import base64
import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from dgsnet import Detector
from dgsnet.artifacts import fingerprint, model_folder
from dgsnet.artifacts.fingerprint import Fingerprint
from dgsnet.core.errors import ModelFolderError
from dgsnet.images.preprocess import CLIP_MEAN, CLIP_STD
from dgsnet.model import backbone_match
from dgsnet.model.backbone import Backbone


@pytest.fixture(scope="module")
def backbone(tiny_clip):
    return Backbone.load(str(tiny_clip))


@pytest.fixture
def model(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def changed(tiny_clip, target, change):
    """A copy of the tiny CLIP after `change`."""
    clip = CLIPModel.from_pretrained(tiny_clip)
    with torch.no_grad():
        change(clip)
    clip.save_pretrained(target)
    return str(target)


def noise(size):
    def change(clip):
        generator = torch.Generator().manual_seed(5)
        for parameter in clip.parameters():
            parameter.add_(size * parameter.abs().mean() * torch.randn(parameter.shape, generator=generator))

    return change


def int8(clip):
    """Round each matrix of the image tower as an int8 export does: 256 levels for each output channel."""
    for name, parameter in clip.vision_model.named_parameters():
        if parameter.ndim == 2 and "embedding" not in name:
            scale = parameter.abs().amax(dim=1, keepdim=True) / 127
            parameter.copy_((parameter / scale).round() * scale)


def reinitialised(tiny_clip, target, **settings):
    """Another network of the tiny CLIP's design, or of one with other `settings`."""
    config = CLIPConfig.from_pretrained(tiny_clip)
    for name, value in settings.items():
        setattr(config, name, value)
    torch.manual_seed(7)
    clip = CLIPModel(config)
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    clip.save_pretrained(target)
    return str(target)


def edit_backbone(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config["backbone"])
    (folder / "config.json").write_text(json.dumps(config))


# The probe


def test_the_picture_never_changes():
    """Recorded probes are of this picture: another one needs another name."""
    pixels = backbone_match.reference_picture(224)
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == PICTURE_SHA256
    assert pixels.std(axis=(0, 1)).min() > 40  # something to see in each channel
    assert len({channel.tobytes() for channel in np.moveaxis(pixels, 2, 0)}) == 3


PICTURE_SHA256 = "e6e33be3054948fd772a05a24b0642ec44fcc5db770b71836a9c867884a7bca0"


def test_the_probe_is_the_frozen_feature(backbone):
    pixels = (backbone_match.reference_picture(224) / 255 - np.array(CLIP_MEAN)) / np.array(CLIP_STD)
    with torch.no_grad():
        expected = backbone.vision(pixel_values=torch.tensor(pixels).permute(2, 0, 1)[None].float()).image_embeds[0].double().numpy()
    probe = backbone_match.describe(backbone)["probe"]
    unit = np.frombuffer(base64.b64decode(probe["feature"]), "<f2").astype(float)
    assert unit.shape == (16,)
    assert np.allclose(unit, expected / np.linalg.norm(expected), atol=1e-3)
    assert probe["norm"] == pytest.approx(np.linalg.norm(expected), abs=1e-3)
    assert json.loads(json.dumps(probe)) == probe


def test_the_adapter_has_no_part_in_the_probe(tiny_model, backbone):
    """A trained folder records the probe of the frozen tower, and loading it again describes the same."""
    method, config = model_folder.load(tiny_model)
    assert config.backbone["probe"] == backbone_match.describe(backbone)["probe"]
    assert backbone_match.describe(method.backbone) == config.backbone
    pixels = torch.zeros(1, 3, 224, 224)
    assert not torch.equal(method.backbone(pixels), method.backbone.frozen(pixels))  # the adapter does change something


# Same, other build, another


def test_the_same_weights_cost_no_pass(backbone, monkeypatch):
    recorded = backbone_match.describe(backbone)
    monkeypatch.setattr(Backbone, "frozen", None)
    assert backbone_match.match(recorded, backbone) == "same"


@pytest.mark.parametrize("change", [noise(1e-3), int8], ids=["noise", "int8"])
def test_another_build_is_accepted_and_every_row_says_so(model, corpus, tiny_clip, tmp_path, change):
    other = changed(tiny_clip, tmp_path / "other", change)
    files = sorted((corpus / "test").rglob("*.png"))[:3]
    usual, detector = Detector.from_pretrained(model), Detector.from_pretrained(model, backbone=other)
    rows = list(detector.detect_many([*files, np.zeros((50, 50, 3), np.uint8), "missing.png"]))
    assert [row.warnings for row in rows] == [["other_backbone_build"]] * 3 + [["low_resolution", "other_backbone_build"], []]
    expected = [usual.detect(file) for file in files]
    assert all(row.warnings == [] for row in expected)
    assert [row.logit for row in rows[:3]] != [row.logit for row in expected]  # it is the other build that scored
    assert [row.logit for row in rows[:3]] == pytest.approx([row.logit for row in expected], abs=0.3)


def test_scores_of_another_build_are_not_taken_for_those_of_the_first(model, tiny_clip, tmp_path):
    other = changed(tiny_clip, tmp_path / "other", noise(1e-3))
    detector = Detector.from_pretrained(model, backbone=other)
    assert (
        Detector.from_pretrained(model).fingerprint
        == fingerprint.of_model_folder(model).model
        == Fingerprint.parse(detector.fingerprint).model
    )
    assert detector.fingerprint == f"{fingerprint.of_model_folder(model).model}+{detector.method.backbone.fingerprint[:16]}"


@pytest.mark.parametrize(
    "make",
    [
        reinitialised,
        lambda clip, target: reinitialised(clip, target, projection_dim=24),
        lambda clip, target: changed(clip, target, noise(1.0)),
        lambda clip, target: changed(clip, target, lambda model: model.visual_projection.weight.mul_(1.2)),
        lambda clip, target: changed(clip, target, lambda model: model.visual_projection.weight.zero_()),
        lambda clip, target: changed(clip, target, lambda model: model.visual_projection.weight.fill_(float("nan"))),
    ],
    ids=["re-initialised", "other width", "far off", "longer features", "zero", "nan"],
)
def test_another_network_is_refused(model, tiny_clip, tmp_path, make):
    other = make(tiny_clip, tmp_path / "other")
    with pytest.raises(ModelFolderError, match="scores would mean nothing") as caught:
        model_folder.load(model, backbone=other)
    assert other in str(caught.value)
    assert str(tiny_clip) in str(caught.value)


def test_the_limit_is_a_cosine(backbone, monkeypatch):
    """Features turned away from the recorded one by a known angle: accepted up to cosine 0.98."""
    recorded = backbone_match.describe(backbone)
    feature = backbone_match._embedding(backbone)
    aside = np.roll(feature, 1)
    aside -= feature * (aside @ feature) / (feature @ feature)
    aside *= np.linalg.norm(feature) / np.linalg.norm(aside)
    monkeypatch.setattr(backbone, "fingerprint", "another")
    for cosine, length, expected in [
        (0.981, 1, "other build"),
        (0.979, 1, "another"),
        (1, 1.09, "other build"),
        (1, 1.11, "another"),
        (1, 0.89, "another"),
        (-1, 1, "another"),
    ]:
        turned = length * (cosine * feature + np.sqrt(1 - cosine**2) * aside)
        monkeypatch.setattr(backbone_match, "_embedding", lambda _, turned=turned: turned)
        assert backbone_match.match(recorded, backbone) == expected, (cosine, length)


# What the folder records


def test_a_probe_of_an_unknown_picture_tells_nothing(model, tiny_clip, tmp_path):
    edit_backbone(model, lambda backbone: backbone["probe"].update(picture="waves-2"))
    with pytest.raises(ModelFolderError, match="scores would mean nothing"):
        model_folder.load(model, backbone=changed(tiny_clip, tmp_path / "other", noise(1e-4)))


@pytest.mark.parametrize(
    "damage",
    [
        lambda backbone: backbone.update(probe=[]),
        lambda backbone: backbone["probe"].pop("feature"),
        lambda backbone: backbone["probe"].update(feature="!"),
        lambda backbone: backbone["probe"].update(feature="AAA="),
        lambda backbone: backbone["probe"].update(feature="AAAAAA=="),
        lambda backbone: backbone["probe"].update(norm="long"),
    ],
)
def test_a_damaged_probe_is_a_damaged_folder(model, tiny_clip, tmp_path, damage):
    edit_backbone(model, damage)
    model_folder.load(model)  # the right backbone needs no probe
    with pytest.raises(ModelFolderError, match=r"config\.json: the probe of the backbone"):
        model_folder.load(model, backbone=changed(tiny_clip, tmp_path / "other", noise(1e-4)))
