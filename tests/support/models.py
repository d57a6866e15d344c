"""Small models on disk: backbones, text encoders, trained model folders."""

import json
import shutil

import numpy as np
import torch
from transformers import BertConfig, BertModel, BertTokenizer, CLIPTokenizer

from dgsnet import Detector
from dgsnet.artifacts import model_folder
from dgsnet.artifacts.ood_file import save_ood
from dgsnet.core.cache_folder import cache_dir
from dgsnet.images.preprocess import Preprocessing
from dgsnet.model import backbone_match, methods, ood
from dgsnet.model.backbone import Backbone
from dgsnet.model.recipe import make_recipe

USER_CACHE = cache_dir()  # read on import, while the tests are collected, hence before `_own_cache` sets another
"""Of whoever runs the tests: only for tests of the real weights, which read them there."""

_MLP = ("refitted.kind=mlp", "refitted.mlp.directions=4", "refitted.mlp.hidden=12")
KINDS = {
    "lora": ("preprocessing.view=crop",),
    "linear": ("blocks=[1,2]", "preprocessing.view=patches"),
    "dgs": ("blocks=[1,2]", "block_tokens=class-and-patches", "preprocessing.view=crop", *_MLP),
}
"""Methods by name, each with other settings: what is read of the tower, and which head reads it."""


def trained(tiny_clip, folder, method, *assignments):
    """A model folder of random heads and adapter, as if trained, that knows a domain; by the recipe of `KINDS`, or these assignments."""
    recipe = make_recipe(method, assignments=(f"backbone={tiny_clip}", *(assignments or KINDS[method])))
    made = methods.create(recipe, Backbone.load(str(tiny_clip)))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_" in name or not name.startswith("backbone."):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        for values in made.mlp.buffers() if made.mlp else ():
            values.copy_((0.2 * torch.randn(values.shape, generator=generator)).half())
    record = {
        "backbone": backbone_match.describe(made.backbone),
        "data": {"fingerprint": "0" * 64, "n_real": 5, "n_fake": 4, "layout": "manifest"},
        "captions": {"source": "none", "caption_only_auc": None},
        "versions": {"dgsnet": "0.1.0"},
    }
    save_ood(folder, ood.fit(np.random.default_rng(0).normal(0, 0.01, (60, made.width)), ["a"] * 60))
    model_folder.save(folder, made.eval(), record)
    return folder


def with_preprocessing(detector, **settings):
    config = detector.config.model_copy(update={"preprocessing": Preprocessing(**settings)})
    return Detector(detector.method, config, "other", "")


def with_end_of_text(clip, folder):
    """The tower reads a caption off its end-of-text token, so its configuration has to name the one its tokenizer writes."""
    shutil.copytree(clip, folder, dirs_exist_ok=True)
    settings = json.loads((folder / "config.json").read_text())
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    settings["text_config"] |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def save_tiny_bert(folder):
    """A sentence encoder of width 8 with a tokenizer that spells."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    torch.manual_seed(0)
    settings = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "initializer_range": 0.5}
    BertModel(BertConfig(vocab_size=len(vocabulary), **settings)).save_pretrained(folder)
    BertTokenizer(vocab=vocabulary).save_pretrained(folder)
    return folder
