"""Verdicts beside the decoded images they are of, for heatmaps and reports: each file is read and decoded once."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from dgsnet.core import prefetch
from dgsnet.images.decode import DecodedImage, Source
from dgsnet.inference.asked import NOTHING, Asked
from dgsnet.inference.prepare import prepare_with_image
from dgsnet.inference.verdict import Verdict

if TYPE_CHECKING:
    from dgsnet.inference.detector import Detector

_WORKERS, _AHEAD = 1, 2  # one image is decoded while another is at work: more would be gigabytes, as each may take 150 MB


def detect_with_images(
    detector: Detector, sources: Iterable[Source], batch_size: int = 32, asked: Asked = NOTHING
) -> Generator[tuple[Verdict, DecodedImage | None], None, None]:
    """Score images one by one, in order, and yield each verdict with the decoded image; None where it cannot be decoded.

    The verdicts are those of `Detector.detect_many`; on a GPU the batch size decides the last bits of a score here too.
    """
    at_once = detector.at_once(batch_size)
    prepare = partial(
        prepare_with_image,
        preprocessing=detector.config.preprocessing,
        policy=detector.policy,
        model=detector.name,
        asked=asked,
    )
    with closing(prefetch.in_order(prepare, sources, _WORKERS, _AHEAD)) as prepared:
        for one, image in prepared:
            for verdict in detector.score_prepared([one], at_once):
                yield verdict, image
