"""`Detector`: image in, `Verdict` out."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from dgsnet import backbone_identity, heatmap, image_warnings, model_folder, models
from dgsnet.decoding import DecodePolicy, Source, decode
from dgsnet.domain import Domain
from dgsnet.errors import DecodeError, DgsnetError, ModelFolderError
from dgsnet.files import sha256_bytes, sha256_file
from dgsnet.methods import Method
from dgsnet.model_folder import Calibration, Config
from dgsnet.preprocessing import SCORING_SEED
from dgsnet.verdict import Answer, Verdict

__all__ = ["Detector", "Verdict"]

_DECODERS = 2  # threads that decode ahead of the model
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[A-Za-z0-9][\w./-]*)?")


@dataclass(frozen=True)
class _Prepared:
    """A verdict that only lacks the model's word, and what the model is to see; no view where the verdict is an error already.

    The decoded picture is not kept: some dozens of these wait for the model, and one picture may take 150 MB.
    """

    verdict: Verdict
    view: NDArray[np.float32] | None = None


class Detector:
    """A trained model with its preprocessing and calibration.

    The same bytes get the same score, whatever else is scored with them: on the CPU images pass the backbone one at a time, whatever the
    batch size; on other devices in batches that are always filled up to the batch size.

    `out_of_domain` warns of pictures unlike the photographs the model was trained on (`dgsnet.domain`), where the model folder knows them.
    `warnings` concern the model and stand in the row of every image it scores: ``other_backbone_build``, see `dgsnet.backbone_identity`.
    """

    def __init__(
        self,
        method: Method,
        config: Config,
        name: str,
        fingerprint: str,
        policy: DecodePolicy | None = None,
        domain: Domain | None = None,
    ) -> None:
        self.method, self.config, self.name, self.fingerprint, self.domain = method, config, name, fingerprint, domain
        self.policy = policy or DecodePolicy()
        self.warnings = [backbone_identity.OTHER_BUILD] if method.backbone.fingerprint != config.backbone["fingerprint"] else []

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, backbone: str | None = None, device: str = "cpu", policy: DecodePolicy | None = None
    ) -> Detector:
        """Load a model folder.

        Args:
            name: a shipped model (`dgsnet-b16`; a folder of that name is `./dgsnet-b16`), a folder, or a hub id ``owner/name[@revision]``.
            backbone: name or folder of the backbone, if not the one the model names.
            device: a torch device.
            policy: limits of decoding.

        Raises:
            ModelFolderError: there is no such model, or it is damaged.
            WeightsError: the backbone cannot be had.
            DgsnetError: torch has no such device here.
        """
        folder = _find(str(name))
        _check_device(device)
        method, config = model_folder.load(folder, backbone=backbone)
        fingerprint = fingerprint_of(folder) + _build_mark(method, config)
        domain = model_folder.load_domain(folder, method.backbone.width)
        return cls(method.to(device), config, Path(os.path.abspath(name)).name, fingerprint, policy, domain)  # noqa: PTH100 - "." too

    def uncalibrated(self, folder: Path) -> Detector:
        """This detector with the plain sigmoid of the logit as its score, and a fingerprint that does not depend on the calibration.

        Args:
            folder: where it was loaded from.
        """
        config = self.config.model_copy(update={"calibration": Calibration()})
        fingerprint = fingerprint_of(folder, calibrated=False) + _build_mark(self.method, config)
        return Detector(self.method, config, self.name, fingerprint, self.policy, self.domain)

    def detect(self, source: Source) -> Verdict:
        """Score one image: a path, bytes, file object, PIL image or array (H, W, 3). An image that cannot be decoded has `error` set."""
        return next(self.detect_many([source]))

    def detect_many(self, sources: Iterable[Source], batch_size: int = 32) -> Generator[Verdict, None, None]:
        """Score images in order, decoding ahead of the model.

        Args:
            sources: as in `detect`; consumed as verdicts are taken, at most twice `batch_size` ahead.
            batch_size: images a GPU gets at once; on the CPU only how far decoding runs ahead.
        """
        if batch_size < 1:
            raise ValueError(f"expected a batch size of at least 1, but got {batch_size}")
        at_once = 1 if self.method.backbone.device.type == "cpu" else batch_size
        pool = ThreadPoolExecutor(_DECODERS)
        try:
            waiting: deque[Future[_Prepared]] = deque()
            for source in sources:
                waiting.append(pool.submit(self._prepare, source))
                if len(waiting) == 2 * batch_size:
                    yield from self._score([waiting.popleft().result() for _ in range(at_once)], at_once)
            while waiting:
                yield from self._score([waiting.popleft().result() for _ in range(min(at_once, len(waiting)))], at_once)
        finally:  # also when the consumer stops early: what it no longer wants is not decoded
            pool.shutdown(cancel_futures=True)

    def heatmap(self, source: Source) -> PIL.Image.Image:
        """Where the model's answer comes from: the picture in grey at its own size, red where it pushed towards AI-generated, blue where
        towards a photograph; what the model did not see is plain. See `dgsnet.heatmap`.

        Raises:
            DecodeError: the image cannot be decoded.
            DgsnetError: it is too small to judge.
        """
        return heatmap.explain(self, decode(source, self.policy)).image

    def _prepare(self, source: Source) -> _Prepared:
        path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
        look = self.config.preprocessing
        try:
            image = decode(source, self.policy)
        except DecodeError as error:
            return _Prepared(Verdict(path, model=self.name, error=str(error)))
        verdict = Verdict(path, image.sha256, width=image.width, height=image.height, format=image.format, model=self.name)
        if min(image.width, image.height) < look.patch:
            size = f"{image.width}x{image.height}"
            name = path or getattr(source, "name", None) or "image"
            few = f"{name}: {size} pixels are too few to judge; expected at least {look.patch}x{look.patch}"
            return _Prepared(replace(verdict, error=few))
        warnings = [*look.warnings(image.height, image.width), *image_warnings.warnings(image)]
        return _Prepared(replace(verdict, warnings=warnings), look(image.pixels, SCORING_SEED))

    def _score(self, batch: list[_Prepared], size: int) -> Iterator[Verdict]:
        seen = iter(self._see([prepared.view for prepared in batch if prepared.view is not None], size))
        for prepared in batch:
            yield prepared.verdict if prepared.view is None else self._judged(prepared.verdict, *next(seen))

    def _judged(self, verdict: Verdict, logit: float, without: bool) -> Verdict:
        score = self.config.calibration.score(logit)
        warnings = [*verdict.warnings, *["out_of_domain"] * without, *self.warnings]
        return replace(verdict, score=score, logit=logit, verdict=answer(score, self.config.calibration), warnings=warnings)

    @torch.inference_mode()
    def _see(self, views: list[NDArray[np.float32]], size: int) -> list[tuple[float, bool]]:
        """(logit, out of domain) of at most `size` views, which the backbone gets as exactly `size`."""
        if not views:
            return []
        filled = np.stack(views + [views[0]] * (size - len(views)))
        read = self.method.represent(torch.from_numpy(filled).to(self.method.backbone.device))
        logits: list[float] = self.method.classify(read).double().cpu().tolist()
        # One at a time, so that the sums are the same whatever else is in the batch.
        rows = read.double().cpu().numpy()[: len(views), None]
        return [(logit, self.domain is not None and bool(self.domain.without(row)[0])) for logit, row in zip(logits, rows, strict=False)]


def answer(score: float, calibration: Calibration) -> Answer:
    """The verdict a score stands for."""
    if score >= calibration.generated:
        return "ai-generated"
    return "real" if score < calibration.real else "inconclusive"


def fingerprint_of(folder: Path, *, calibrated: bool = True) -> str:
    """sha256 over what decides a score: configuration, heads and adapter; with `calibrated` off, over what decides a logit."""
    files = (model_folder.CONFIG, model_folder.HEADS, model_folder.ADAPTER)
    known = [f"{name} {sha256_file(folder / name)}" for name in files if (folder / name).is_file()]
    if not calibrated:
        config = model_folder.load_config(folder).model_dump(mode="json", exclude={"calibration"})
        known[0] = f"{model_folder.CONFIG} {sha256_bytes(json.dumps(config, sort_keys=True).encode())}"
    return hashlib.sha256("\n".join(known).encode()).hexdigest()


def unmarked(fingerprint: str) -> str:
    """A detector's fingerprint without what says that it runs on another build of the backbone."""
    return fingerprint.partition("+")[0]


def _build_mark(method: Method, config: Config) -> str:
    """What a detector's fingerprint ends in when it runs on another build of the backbone: its logits differ a little."""
    here: str = method.backbone.fingerprint
    return "" if here == config.backbone["fingerprint"] else f"+{here[:16]}"


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's, of a device it has no support for
        raise DgsnetError(f"the device {device!r} cannot be used here ({_first_line(error)}); `cpu` always can") from error


def _find(name: str) -> Path:
    if (ours := models.shipped(name)) is not None:
        return ours
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    # Where the part before the slash is a folder here, a mistyped path is more likely than a hub id.
    if _HUB_ID.fullmatch(name) and not folder.exists() and not folder.parent.is_dir():
        return _from_hub(name)
    why = (
        "it is a file, not a folder"
        if folder.exists()
        else f"there is no such folder, and no model ships under that name (these do: {', '.join(models.available())})"
    )
    raise ModelFolderError(
        f"no model {name!r}: {why}. Train one (`dgsnet train --out FOLDER`), or give a model folder or a hub id owner/name"
    )


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only for models on the hub

    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=["*.json", "*.safetensors", "README.md"]))
    except Exception as error:  # the client's own errors, those of its HTTP library (which one differs by version), the system's
        raise ModelFolderError(
            f"no model {name!r}: there is no such folder, and the hub did not give one ({_first_line(error)})"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
