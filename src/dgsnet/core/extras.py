"""Packages that an installation may lack, and how to get them. What needs one imports it where it is used; the error is made here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dgsnet.core.errors import MissingPackageError

EXTRAS = {
    "train": (
        "accelerate",
        "huggingface_hub",
        "matplotlib",
        "onnx",
        "onnxscript",
        "peft",
        "scipy",
        "sklearn",
        "tensorboard",
        "torch",
        "transformers",
        "yaml",
    ),
    "serve": ("fastapi", "prometheus_client", "python_multipart", "starlette", "uvicorn"),
    "cluster": ("ray",),
    "openvino": ("openvino",),
    "heif": ("pillow_heif",),
    "jxl": ("pillow_jxl",),
    "provenance": ("c2pa",),
    "demo": ("skimage",),
}
"""Packages by the extra of dgsnet that brings them, under the names they are imported by."""


def missing(error: ModuleNotFoundError) -> MissingPackageError | None:
    """Make the error for a module that was not found; None where no extra brings it, and the error is another's affair."""
    package = (error.name or "").partition(".")[0]
    extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
    if extra is None:
        return None
    return MissingPackageError(f"this needs the package {package}, which is not installed: pip install 'dgsnet[{extra}]'")


@contextmanager
def missing_packages() -> Iterator[None]:
    """Turn a package that is not installed, and belongs to an extra, into a `MissingPackageError`, in this block."""
    try:
        yield
    except ModuleNotFoundError as error:
        if explained := missing(error):
            raise explained from error
        raise
