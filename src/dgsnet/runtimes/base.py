"""The interface of everything that runs a model. Neither torch nor another runtime is imported here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dgsnet.model.methods import Method

Floats = NDArray[np.float64]


class Runtime(ABC):
    """Runs a model on views."""

    fingerprint: str
    """Fingerprint of the backbone that runs, which may be another build than the one trained on (`dgsnet.model.backbone_match`)."""
    graph_key: str = ""
    """Key of a graph whose logits differ by rounding from those torch gives for the same model folder; empty where none do."""

    @property
    @abstractmethod
    def batches(self) -> bool:
        """True where it should get several views at once. Else each goes alone, so that its logit does not depend on its neighbours."""

    @property
    @abstractmethod
    def method(self) -> Method:
        """The torch method behind it, for what needs gradients or layers.

        Raises:
            DgsnetError: there is none.
        """

    @abstractmethod
    def run(self, views: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Return what the head reads, (B, D), and the logits, (B,), of views (B, 3, S, S)."""
