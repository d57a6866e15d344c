"""How far an exported model lies from the one it was exported from, on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dgsnet.core.errors import DgsnetError
from dgsnet.data.dataset import Dataset, Sample
from dgsnet.evaluation.predictions import content
from dgsnet.inference.detector import Detector

TOLERANCE = 1e-3
"""How far a logit of the graph may lie from torch's."""


def verify(source: Detector, exported: Detector, dataset: Dataset, samples: Sequence[Sample]) -> dict[str, Any]:
    """Score the same pictures with both.

    Returns:
        `images` compared, `unscored` (by both), `max_logit_difference` with the `image` where it is, `mean_logit_difference`,
        `verdict_flips`, `rows_that_differ` (in anything but score and logit: warnings, errors, size), `tolerance`, `passed` and the
        fingerprints of both.

    Raises:
        DgsnetError: no picture could be scored.
    """
    pairs = zip(
        samples,
        source.detect_many(content(dataset, sample) for sample in samples),
        exported.detect_many(content(dataset, sample) for sample in samples),
        strict=True,
    )
    differences: list[tuple[float, str]] = []
    flips = unlike = 0
    varying = {"score", "logit", "verdict", "model"}
    for sample, ours, theirs in pairs:
        one, other = ({name: value for name, value in row.as_dict().items() if name not in varying} for row in (ours, theirs))
        unlike += one != other
        if ours.logit is not None and theirs.logit is not None:
            differences.append((abs(ours.logit - theirs.logit), sample.path))
            flips += ours.verdict != theirs.verdict
    if not differences:
        raise DgsnetError(f"none of the {len(samples)} images to verify with could be scored")
    largest, where = max(differences)
    return {
        "images": len(differences),
        "unscored": len(samples) - len(differences),
        "max_logit_difference": largest,
        "image": where,
        "mean_logit_difference": sum(difference for difference, _ in differences) / len(differences),
        "verdict_flips": flips,
        "rows_that_differ": unlike,
        "tolerance": TOLERANCE,
        "passed": all(difference <= TOLERANCE for difference, _ in differences),
        "torch": source.fingerprint,
        "exported": exported.fingerprint,
    }
