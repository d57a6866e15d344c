"""A model on disk: model folders, exported folders and shipped models, all opened by `open_model`. Importing this imports no torch."""

from dgsnet.artifacts.open_model import LoadedModel, RuntimeOptions, open_model

__all__ = ["LoadedModel", "RuntimeOptions", "open_model"]
