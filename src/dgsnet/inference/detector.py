"""`Detector`: image in, `Verdict` out.

Importing this imports no torch, nor does scoring with an exported model; what needs torch imports it where it is called.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from dgsnet.artifacts.calibration import Calibration, OperatingPoint
from dgsnet.artifacts.config import ModelConfig
from dgsnet.artifacts.fingerprint import Fingerprint
from dgsnet.artifacts.open_model import RuntimeOptions, open_model
from dgsnet.core import prefetch
from dgsnet.images.decode import DecodedImage, DecodePolicy, Source, decode
from dgsnet.inference.asked import NOTHING, Asked
from dgsnet.inference.heatmap import Heatmap, Rule, explain
from dgsnet.inference.prepare import Prepared, prepare
from dgsnet.inference.verdict import OTHER_BUILD, UNSTEADY, Verdict
from dgsnet.model.ood import OodDetector
from dgsnet.runtimes import Runtime

if TYPE_CHECKING:
    from dgsnet.model.methods import Method

__all__ = ["Detector", "Verdict"]

_SLACK = 4  # images a worker is ahead of a model that takes one at a time, so that a large one does not keep the model waiting


class Detector:
    """A trained model with its preprocessing and calibration.

    The same bytes get the same score, whatever else is scored with them: on the CPU images pass the backbone one at a time, whatever the
    batch size; on other devices in batches that are always filled up to the batch size.

    `out_of_domain` warns of pictures unlike the photographs the model was trained on (`dgsnet.model.ood`), where the model folder knows
    them. `warnings` concern the model and stand in the row of every image it scores: ``other_backbone_build``, see
    `dgsnet.model.backbone_match`.
    """

    def __init__(
        self,
        model: Method | Runtime,
        config: ModelConfig,
        name: str,
        fingerprint: str,
        policy: DecodePolicy | None = None,
        ood: OodDetector | None = None,
    ) -> None:
        self.runtime = model if isinstance(model, Runtime) else _in_torch(model)
        self.config, self.name, self.fingerprint, self.ood = config, name, fingerprint, ood
        self.policy = policy or DecodePolicy()
        self.warnings = [OTHER_BUILD] if self.runtime.fingerprint != config.backbone["fingerprint"] else []

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        backbone: str | None = None,
        device: str = "cpu",
        policy: DecodePolicy | None = None,
        provider: str | None = None,
        threads: int | None = None,
        operating_point: OperatingPoint = "balanced",
    ) -> Detector:
        """Load a model folder, or one that `dgsnet export` wrote, which needs no torch.

        Args:
            name: a shipped model (`dgsnet-b16`; a folder of that name is `./dgsnet-b16`, or any `Path`), a folder, or a hub id
                ``owner/name[@revision]``.
            policy: limits of decoding.
            backbone, device, provider, threads: what runs the model, see `dgsnet.artifacts.open_model.RuntimeOptions`.
            operating_point: which thresholds verdicts go by, see `dgsnet.artifacts.calibration.OperatingPoint`; scores stay as they are.

        Raises:
            CalibrationError: the model has no such operating point.
            ModelFolderError, WeightsError, DgsnetError, MissingPackageError: as `dgsnet.artifacts.open_model.open_model`.
        """
        model = open_model(name, RuntimeOptions(provider=provider, device=device, backbone=backbone, threads=threads))
        config = model.config.model_copy(update={"calibration": model.config.calibration.at(operating_point)})
        return cls(model.runtime, config, model.name, str(model.fingerprint), policy, model.ood)

    @property
    def method(self) -> Method:
        """Return the torch method; `DgsnetError` where the model runs without torch."""
        return self.runtime.method

    def uncalibrated(self, folder: Path) -> Detector:
        """Return this detector, loaded from `folder`, with the plain sigmoid of the logit as its score, and a fingerprint that does not
        depend on the calibration."""
        from dgsnet.artifacts.model_folder import fingerprint_of_logits  # noqa: PLC0415 - it imports torch

        config = self.config.model_copy(update={"calibration": Calibration()})
        running = Fingerprint.parse(self.fingerprint)
        logits = replace(running, model=fingerprint_of_logits(folder).model)
        return Detector(self.runtime, config, self.name, str(logits), self.policy, self.ood)

    def detect(self, source: Source, *, provenance: bool = False, steadiness: bool = False, asked: Asked = NOTHING) -> Verdict:
        """Score one image: a path, bytes, file object, PIL image or array (H, W, 3). An image that cannot be decoded has `error` set.

        The options are those of `detect_many`.
        """
        return next(self.detect_many([source], provenance=provenance, steadiness=steadiness, asked=asked))

    def detect_many(
        self,
        sources: Iterable[Source],
        batch_size: int = 32,
        workers: int | None = None,
        *,
        provenance: bool = False,
        steadiness: bool = False,
        asked: Asked = NOTHING,
    ) -> Generator[Verdict, None, None]:
        """Score images in order, decoding ahead of the model.

        Args:
            sources: as in `detect`; consumed as verdicts are taken, at most twice `batch_size` ahead.
            batch_size: images a GPU gets at once; on the CPU it changes nothing but how far decoding may run ahead.
            workers: threads that decode; None: as many as there are cores, at most 16. They change no score.
            provenance: read what the files claim of their origin too, into `Verdict.provenance`.
            steadiness: look at a copy compressed as JPEG 85 and one of 0.75 of the size too, two more views a picture, and warn
                ``unsteady`` where either would have got another verdict.
            asked: the same and more, such as whose signatures to trust.
        """
        if batch_size < 1:
            raise ValueError(f"expected a batch size of at least 1, but got {batch_size}")
        at_once, workers = self.at_once(batch_size), workers or prefetch.default_workers()
        ahead = 2 * batch_size if self.runtime.batches else min(2 * batch_size, _SLACK * workers)
        asked = asked.also(provenance=provenance, steadiness=steadiness)
        with closing(prefetch.in_order(partial(self._prepare, asked=asked), sources, workers, ahead)) as prepared:
            while batch := list(islice(prepared, at_once)):
                yield from self.score_prepared(batch, at_once)

    def heatmap(self, source: Source) -> PIL.Image.Image:
        """Draw where the model's answer comes from: the picture in grey at its own size, red where it pushed towards AI-generated, blue
        where towards a photograph; what the model did not see is plain. See `dgsnet.inference.heatmap`.

        Raises:
            DecodeError: the image cannot be decoded.
            DgsnetError: it is too small to judge.
        """
        return self.explain(decode(source, self.policy)).image

    def explain(self, image: DecodedImage, rule: Rule = "occlusion") -> Heatmap:
        """Return the heatmap of a decoded picture with its evidence; see `dgsnet.inference.heatmap.explain`."""
        return explain(self.runtime, self.config.preprocessing, image, rule)

    def at_once(self, batch_size: int) -> int:
        """Return how many images pass the model together where it may get up to `batch_size`: one on the CPU."""
        return batch_size if self.runtime.batches else 1

    def score_prepared(self, batch: list[Prepared], size: int) -> Iterator[Verdict]:
        """Score images that are prepared already, in order.

        Args:
            batch: at most `size` of them.
            size: views the model gets at once, whatever the batch holds, so that no score depends on its neighbours.
        """
        seen = iter(self._see([prepared for prepared in batch if prepared.views is not None], size))
        for prepared in batch:
            yield prepared.verdict if prepared.views is None else self._scored(prepared.verdict, next(seen))

    def _prepare(self, source: Source, asked: Asked = NOTHING) -> Prepared:
        return prepare(source, self.config.preprocessing, self.policy, self.name, asked)

    def _scored(self, verdict: Verdict, seen: _Seen) -> Verdict:
        calibration = self.config.calibration
        score, *copies = (calibration.score(logit) for logit in (seen.logit, *seen.of_copies))
        answer = calibration.verdict(score)
        unsteady = any(calibration.verdict(copy) != answer for copy in copies)
        named = {"out_of_domain": seen.out_of_domain, UNSTEADY: unsteady}
        warnings = [*verdict.warnings, *(name for name, holds in named.items() if holds), *self.warnings]
        return replace(verdict, score=score, logit=seen.logit, verdict=answer, warnings=warnings)

    def _see(self, pictures: list[Prepared], size: int) -> list[_Seen]:
        """Return the model's answers to pictures that have views; the backbone gets exactly `size` of these at a time."""
        given = [prepared.views for prepared in pictures if prepared.views is not None]
        if not given:
            return []
        views = np.concatenate(given)
        passes = [self._pass(views[start : start + size], size) for start in range(0, len(views), size)]
        read, logits = (np.concatenate(each) for each in zip(*passes, strict=True))
        ends = np.cumsum([len(one) for one in given])
        return [
            self._seen(read[end - len(one) : end], logits[end - len(one) : end], prepared.copies)
            for end, one, prepared in zip(ends.tolist(), given, pictures, strict=True)
        ]

    def _seen(self, read: NDArray[np.float64], logits: NDArray[np.float64], copies: int) -> _Seen:
        """Make one answer of those to a picture's views (K + C,), the last `copies` of them of its everyday copies.

        A picture's logit is the weighted sum of its views'. A copy is seen by its first view alone; the others are taken to shift as it
        does. The domain is asked of the first view, as domains are fitted to one a picture.
        """
        number = len(logits) - copies
        weight = self.config.preprocessing.weight(number)
        logit = float(logits[:number].sum()) * weight
        shifts = (logits[number:] - logits[0]) * weight * number
        # One at a time, so that the sums are the same whatever else is in the batch.
        out_of_domain = self.ood is not None and bool(self.ood.is_out_of_domain(read[:1])[0])
        return _Seen(logit, out_of_domain, tuple((logit + shifts).tolist()))

    def _pass(self, views: NDArray[np.float32], size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what the head reads of at most `size` views, and their logits; the runtime gets exactly `size`."""
        filled = np.concatenate([views, np.repeat(views[:1], size - len(views), axis=0)])
        read, logits = self.runtime.run(filled)
        return read[: len(views)], logits[: len(views)]


@dataclass(frozen=True)
class _Seen:
    """The model's answer to one picture, and the logits that its everyday copies would have got."""

    logit: float
    out_of_domain: bool
    of_copies: tuple[float, ...]


def _in_torch(method: Method) -> Runtime:
    from dgsnet.runtimes.pytorch import PyTorchRuntime  # noqa: PLC0415 - it imports torch

    return PyTorchRuntime(method)
