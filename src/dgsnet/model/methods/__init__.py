"""Training methods by name. A method owns its model and its losses; the trainer knows nothing else of it."""

from dgsnet.model.methods.base import Batch, Losses, Method, Stage, available, create, register
from dgsnet.model.methods.dgs import Dgs
from dgsnet.model.methods.linear import Linear
from dgsnet.model.methods.lora import Lora

__all__ = ["Batch", "Dgs", "Linear", "Lora", "Losses", "Method", "Stage", "available", "create", "register"]
