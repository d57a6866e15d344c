"""dgsnet: tell photographs from AI-generated images with a CLIP fine-tuned by gradient surgery.

Importing the package imports neither torch nor transformers; `Detector` is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dgsnet.inference.detector import Detector, Verdict

__version__ = "0.1.0"
__all__ = ["Detector", "Verdict", "__version__"]


def __getattr__(name: str) -> Any:
    if name in {"Detector", "Verdict"}:
        from dgsnet.inference import detector  # noqa: PLC0415 - torch comes in only when a detector is asked for

        return getattr(detector, name)
    raise AttributeError(f"module 'dgsnet' has no attribute {name!r}")
