"""Caption features against transformers' own and a closed-form solution."""

import numpy as np
import pytest
import torch
from transformers import (
    BertModel,
    BertTokenizer,
    CLIPModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

from dgsnet.core.errors import WeightsError
from dgsnet.model import text_branch as captions
from dgsnet.model.backbone import Backbone, load_tower
from dgsnet.model.recipe import CaptionRecipe
from dgsnet.model.text_branch import text_branch
from tests.support.models import save_tiny_bert, with_end_of_text

TEXTS = ["a cat", "two dogs on a lawn", None, "tree", "  ", "a cat", " tree ", "a very long caption that does not fit into sixteen tokens"]
WIDTH = 16


@pytest.fixture(scope="module")
def tiny_clip(tiny_clip, tmp_path_factory):
    return with_end_of_text(tiny_clip, tmp_path_factory.mktemp("captioning-clip"))


@pytest.fixture(scope="module")
def backbone(tiny_clip):
    return Backbone.load(str(tiny_clip))


@pytest.fixture(scope="module")
def vision_only(tiny_clip, tmp_path_factory):
    """The image tower alone, as a wheel brings it."""
    folder = tmp_path_factory.mktemp("vision-only")
    load_tower(CLIPVisionModelWithProjection, tiny_clip).save_pretrained(folder)
    return Backbone.load(str(folder))


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory):
    return save_tiny_bert(tmp_path_factory.mktemp("tiny-bert"))


def branch(backbone, tmp_path, texts=TEXTS, image_features=None, **recipe):
    refuse = image_features or (lambda indices: pytest.fail("image features are not needed"))
    return text_branch(texts, refuse, backbone, CaptionRecipe(**recipe), tmp_path / "captions.sqlite")


# The CLIP text tower


@pytest.mark.parametrize("source", ["auto", "clip"])
def test_clip_features_are_those_of_transformers(backbone, tiny_clip, tmp_path, source):
    found = branch(backbone, tmp_path, source=source)
    assert found.source == {"source": "clip", "name": str(tiny_clip)}
    assert found.features.shape == (len(TEXTS), WIDTH)
    assert found.features.dtype == torch.float32
    tokenizer, tower = CLIPTokenizer.from_pretrained(tiny_clip), load_tower(CLIPTextModelWithProjection, tiny_clip)
    whole = CLIPModel.from_pretrained(tiny_clip).eval()
    for text, row in zip(TEXTS, found.features, strict=True):
        if not (text or "").strip():
            assert not row.any()
            continue
        tokens = tokenizer([text.strip()], truncation=True, max_length=16, return_tensors="pt")  # alone, hence without padding
        with torch.no_grad():
            torch.testing.assert_close(row, tower(**tokens).text_embeds[0], rtol=1e-5, atol=1e-6)
            embeds = whole(**tokens, pixel_values=torch.zeros(1, 3, 224, 224)).text_embeds[0]  # of length 1
            torch.testing.assert_close(row / row.norm(), embeds, rtol=1e-5, atol=1e-6)
    assert torch.equal(found.features[0], found.features[5])
    assert torch.equal(found.features[3], found.features[6])
    assert not torch.allclose(found.features[0], found.features[3], rtol=1e-2)


def test_each_caption_is_encoded_once_and_never_again(backbone, tmp_path, monkeypatch):
    encoded = []
    load = captions._clip_encoder

    def spying(folder):
        encode = load(folder)
        return lambda texts: encoded.extend(texts) or encode(texts)

    monkeypatch.setattr(captions, "_clip_encoder", spying)
    first = branch(backbone, tmp_path)
    assert sorted(encoded) == sorted({text.strip() for text in TEXTS if text and text.strip()})
    monkeypatch.setattr(captions, "_clip_encoder", lambda folder: pytest.fail("the encoder is not needed"))
    assert torch.equal(branch(backbone, tmp_path).features, first.features)
    monkeypatch.setattr(captions, "_clip_encoder", spying)
    encoded.clear()
    more = branch(backbone, tmp_path, ["a cat", "new"])
    assert encoded == ["new"]
    assert torch.equal(more.features[0], first.features[0])


def test_many_captions_in_several_batches(backbone, tmp_path):
    texts = [f"picture {number}" for number in range(150)]
    together = branch(backbone, tmp_path, texts)
    for number in (0, 63, 64, 149):
        alone = branch(backbone, tmp_path / str(number), [texts[number]])
        torch.testing.assert_close(together.features[number], alone.features[0], rtol=1e-5, atol=1e-6)


# No text branch


def test_switched_off_or_nothing_to_encode(backbone, tmp_path):
    off = branch(backbone, tmp_path, source="none")
    assert (off.features, off.source) == (None, {"source": "none", "why": "switched off"})
    for texts in ([None, None], ["", "  "], []):
        nothing = branch(backbone, tmp_path, texts)
        assert (nothing.features, nothing.source) == (None, {"source": "none", "why": "no image has a caption"})


def test_a_backbone_without_a_text_tower(vision_only, tmp_path):
    with pytest.raises(WeightsError, match="holds no CLIP text tower"):
        branch(vision_only, tmp_path, source="clip")
    nowhere = str(tmp_path / "nowhere")
    found = branch(vision_only, tmp_path, source="auto", sentence_encoder=nowhere)
    assert found.features is None
    assert nowhere in found.source["why"]
    with pytest.raises(WeightsError):
        branch(vision_only, tmp_path, source="sentence", sentence_encoder=nowhere)


# The sentence encoder


def sentence_vectors(folder, texts):
    tokenizer, model = BertTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    vectors = []
    for text in texts:
        with torch.no_grad():
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0).double()
        vectors.append((mean / mean.norm()).numpy())
    return np.stack(vectors)


def ridge(inputs, targets, penalty):
    """(W, b, mean squared leave-one-out residual): each image is left out for real."""

    def solve(x, y):
        centre, level = x.mean(0), y.mean(0)
        weights = np.linalg.solve((x - centre).T @ (x - centre) + penalty * np.eye(x.shape[1]), (x - centre).T @ (y - level))
        return weights, level - centre @ weights

    errors = []
    for left_out in range(len(inputs)):
        kept = np.arange(len(inputs)) != left_out
        weights, offset = solve(inputs[kept], targets[kept])
        errors.append(np.mean((inputs[left_out] @ weights + offset - targets[left_out]) ** 2))
    return *solve(inputs, targets), float(np.mean(errors))


@pytest.mark.parametrize("source", ["sentence", "auto"])
@pytest.mark.parametrize("noise", [0.1, 3.0])
def test_sentences_are_mapped_onto_image_features_by_ridge(vision_only, tiny_bert, tmp_path, source, noise):
    words = ["red", "green", "blue", "cat", "dog", "tree", "car", "house", "sea", "sky"]
    texts = [None if number % 7 == 3 else f"{words[number % 10]} {words[(3 * number + 1) % 9]}" for number in range(24)]
    captioned = [number for number, text in enumerate(texts) if text]
    inputs = sentence_vectors(tiny_bert, [texts[number] for number in captioned])
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(8, WIDTH))
    images = rng.normal(size=(24, WIDTH))
    images[captioned] = 1 + inputs @ truth + noise * rng.normal(size=(len(captioned), WIDTH))

    def image_features(indices):
        assert indices.tolist() == captioned
        return images[indices].astype(np.float32)

    found = branch(vision_only, tmp_path, texts, image_features, source=source, sentence_encoder=str(tiny_bert))
    fits = {float(penalty): ridge(inputs, images[captioned], penalty) for penalty in np.logspace(-2, 3, 11)}
    best = min(fits, key=lambda penalty: fits[penalty][2])
    weights, offset, _ = fits[best]
    expected = np.zeros((24, WIDTH))
    expected[captioned] = inputs @ weights + offset
    np.testing.assert_allclose(found.features.numpy(), expected, rtol=1e-3, atol=1e-3)
    residual = ((expected - images)[captioned] ** 2).sum(0)
    spread = ((images[captioned] - images[captioned].mean(0)) ** 2).sum(0)
    assert found.source == {
        "source": "sentence",
        "name": str(tiny_bert),
        "ridge_penalty": pytest.approx(best),
        "explained_variance": pytest.approx(np.mean(1 - residual / spread), abs=2e-4),
    }
    again = branch(vision_only, tmp_path, texts, image_features, source=source, sentence_encoder=str(tiny_bert))
    assert torch.equal(found.features, again.features)


def test_images_that_cannot_be_shown_take_no_part_in_the_map(vision_only, tiny_bert, tmp_path):
    """Their rows of image features are NaN; their captions are mapped like any other."""
    texts = [f"{a} {b}" for a in ("red", "green", "blue") for b in ("cat", "dog", "tree", "sea")]
    images = np.random.default_rng(1).normal(size=(12, WIDTH)).astype(np.float32)
    broken = images.copy()
    broken[[2, 9]] = np.nan
    settings = {"source": "sentence", "sentence_encoder": str(tiny_bert)}
    found = branch(vision_only, tmp_path, texts, lambda indices: broken[indices], **settings)
    kept = [number for number in range(12) if number not in {2, 9}]
    without = branch(vision_only, tmp_path, [texts[n] for n in kept], lambda indices: images[kept][indices], **settings)
    torch.testing.assert_close(found.features[kept], without.features, rtol=1e-5, atol=1e-6)
    assert found.features.isfinite().all()
