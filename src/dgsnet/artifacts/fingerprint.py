"""Fingerprint of everything that decides a model's scores, as one value that is written beside every prediction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dgsnet.artifacts.names import ADAPTER, CONFIG, HEADS
from dgsnet.core.files import sha256_bytes, sha256_file


@dataclass(frozen=True)
class Fingerprint:
    """Identity of a model as it runs. Its one text form is ``MODEL[+BUILD][~GRAPH]``.

    Attributes:
        model: sha256 over configuration, heads and adapter, or over the configuration of an exported folder.
        backbone_build: first digits of the backbone's fingerprint where it is another build than the one trained on; else empty.
        graph: key of the graph that runs in place of torch, whose logits differ by rounding; empty where torch runs, or a graph of its own.
    """

    model: str
    backbone_build: str = ""
    graph: str = ""

    def __str__(self) -> str:
        build = f"+{self.backbone_build}" if self.backbone_build else ""
        return self.model + build + (f"~{self.graph}" if self.graph else "")

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Read the text form."""
        rest, _, graph = text.partition("~")
        model, _, build = rest.partition("+")
        return cls(model, build, graph)

    def running(self, trained_on: str, backbone: str, graph: str) -> Fingerprint:
        """Return the fingerprint of the same model, in a graph or not, on a backbone; both backbones are given by their fingerprints."""
        return replace(self, backbone_build="" if backbone == trained_on else backbone[:16], graph=graph)


def of_model_folder(folder: Path, config: bytes | None = None) -> Fingerprint:
    """Return the fingerprint of a model folder: of configuration (`config`, where it is not to be that of the file), heads and adapter."""
    hashed = sha256_file(folder / CONFIG) if config is None else sha256_bytes(config)
    parts = [f"{CONFIG} {hashed}", *(f"{name} {sha256_file(folder / name)}" for name in (HEADS, ADAPTER) if (folder / name).is_file())]
    return Fingerprint(sha256_bytes("\n".join(parts).encode()))


def of_exported_folder(folder: Path) -> Fingerprint:
    """Return the fingerprint of an exported folder; the graph counts by its own hashes, which the configuration holds."""
    return Fingerprint(sha256_bytes(f"{CONFIG} {sha256_file(folder / CONFIG)}".encode()))
