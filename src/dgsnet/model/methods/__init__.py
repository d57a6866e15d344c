"""Training methods by name. A method owns its model and its losses; the trainer knows nothing else of it."""

from dgsnet.model.methods.base import Batch, Method, Stage, available, create, register
from dgsnet.model.methods.dgs import Dgs

__all__ = ["Batch", "Dgs", "Method", "Stage", "available", "create", "register"]
