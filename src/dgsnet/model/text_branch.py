"""Caption features for the text branch.

The paper takes t from CLIP's text tower. A backbone without one gets a sentence encoder whose space is mapped onto the frozen image
features of the training set by ridge regression, in closed form. A caption's feature depends on its words alone, so each distinct caption
is encoded once and cached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from sklearn.linear_model import RidgeCV
from transformers import AutoModel, AutoTokenizer, CLIPTextModelWithProjection

from dgsnet import weights
from dgsnet.core.errors import WeightsError
from dgsnet.core.files import sha256_bytes
from dgsnet.model.backbone import Backbone, load_tower
from dgsnet.model.feature_cache import FeatureCache
from dgsnet.model.recipe import CaptionRecipe

_BATCH = 64
Encoder = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class TextBranch:
    """Caption features of a training set.

    Attributes:
        features: (N, D) float32; a row of zeros is an image without a caption. None: there is no text branch, suppression is off.
        source: what a run records of them: `source` is ``clip``, ``sentence`` or ``none``.
    """

    features: torch.Tensor | None
    source: dict[str, Any]


def text_branch(
    captions: Sequence[str | None],
    image_features: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    backbone: Backbone,
    recipe: CaptionRecipe,
    cache: Path,
) -> TextBranch:
    """Compute the features t of the captions of a training set, from the source the recipe names.

    Args:
        captions: N captions of the training images; None or blank: none.
        image_features: CLIP embeddings (n, D) of the training images with the given indices, NaN where one cannot be shown; asked for
            only to fit a map.
        backbone: whose text tower, or image space, it is.
        recipe: the source wanted.
        cache: SQLite file of encoded captions.

    Raises:
        WeightsError: the source asked for by name is not there.
    """
    distinct = sorted({caption.strip() for caption in captions if caption and caption.strip()})
    if recipe.source == "none" or not distinct:
        return TextBranch(None, {"source": "none", "why": "switched off" if recipe.source == "none" else "no image has a caption"})
    has_tower = _has_text_tower(backbone.folder)
    if recipe.source == "clip" and not has_tower:
        raise WeightsError(f"{backbone.folder} holds no CLIP text tower: choose captions.source=sentence, or a full CLIP from the hub")
    if has_tower and recipe.source != "sentence":
        vectors = _encode_once(distinct, lambda: _clip_encoder(backbone.folder), cache, f"clip-text {_text_fingerprint(backbone.folder)}")
        return TextBranch(_rows(captions, vectors, backbone.joint_width), {"source": "clip", "name": backbone.name})
    try:
        folder = weights.locate(recipe.sentence_encoder)
    except WeightsError as error:
        if recipe.source == "sentence":
            raise
        return TextBranch(None, {"source": "none", "why": f"no text tower and no sentence encoder: {error}"})
    space = f"sentence {recipe.sentence_encoder} {_text_fingerprint(folder)}"
    vectors = _encode_once(distinct, lambda: _sentence_encoder(folder), cache, space)
    mapped, fit = _align(captions, vectors, image_features)
    return TextBranch(_rows(captions, mapped, backbone.joint_width), {"source": "sentence", "name": recipe.sentence_encoder, **fit})


def _align(
    captions: Sequence[str | None],
    vectors: dict[str, NDArray[np.float32]],
    image_features: Callable[[NDArray[np.int64]], NDArray[np.float32]],
) -> tuple[dict[str, NDArray[np.float32]], dict[str, float]]:
    """Map sentence vectors s onto image features f: least sum ||s W + b - f||^2 + penalty ||W||^2, the penalty by leave-one-out."""
    captioned = np.array([index for index, caption in enumerate(captions) if caption and caption.strip()], np.int64)
    sentences = np.stack([vectors[(captions[index] or "").strip()] for index in captioned])
    targets = image_features(captioned)
    shown = np.isfinite(targets).all(axis=1)
    sentences, targets = sentences[shown], targets[shown]
    ridge = RidgeCV(alphas=np.logspace(-2, 3, 11)).fit(sentences, targets)
    mapped = ridge.predict(np.stack(list(vectors.values()))).astype(np.float32)
    explained = float(ridge.score(sentences, targets))
    return dict(zip(vectors, mapped, strict=True)), {"ridge_penalty": float(ridge.alpha_), "explained_variance": round(explained, 4)}


def _rows(captions: Sequence[str | None], vectors: dict[str, NDArray[np.float32]], width: int) -> torch.Tensor:
    blank = np.zeros(width, np.float32)
    return torch.from_numpy(np.stack([vectors.get((caption or "").strip(), blank) for caption in captions]))


def _encode_once(texts: Sequence[str], load: Callable[[], Encoder], cache_file: Path, space: str) -> dict[str, NDArray[np.float32]]:
    cache = FeatureCache(cache_file, space)
    keys = {text: sha256_bytes(text.encode()) for text in texts}
    vectors = cache.get(keys.values())
    missing = [text for text in texts if keys[text] not in vectors]
    if missing:
        encode = load()
        for start in range(0, len(missing), _BATCH):
            chunk = missing[start : start + _BATCH]
            fresh = {keys[text]: vector for text, vector in zip(chunk, encode(chunk), strict=True)}
            cache.put(fresh)
            vectors |= fresh
    return {text: vectors[keys[text]] for text in texts}


def _clip_encoder(folder: Path) -> Encoder:
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tower = load_tower(CLIPTextModelWithProjection, folder)
    longest = tower.config.max_position_embeddings

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        embeds: NDArray[np.float32] = tower(**tokens).text_embeds.numpy()
        return embeds

    return encode


def _sentence_encoder(folder: Path) -> Encoder:
    """Load an encoder that takes the mean over tokens, at unit length, as the sentence-transformers of this family do."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt")
        hidden, mask = model(**tokens).last_hidden_state, tokens["attention_mask"].unsqueeze(-1)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        unit: NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return unit

    return encode


def _has_text_tower(folder: Path) -> bool:
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "np") as tensors:
            if any(key.startswith("text_model.") for key in tensors.keys()):  # noqa: SIM118 - not a dict
                return True
    return False


def _text_fingerprint(folder: Path) -> str:
    """Name what encodes by file names and sizes of the weights. The cache needs to tell encoders apart, not to prove their bytes."""
    sizes = sorted((file.name, file.stat().st_size) for file in folder.glob("*.safetensors"))
    return f"{sha256_bytes(repr(sizes).encode())[:16]} {folder.name}"
