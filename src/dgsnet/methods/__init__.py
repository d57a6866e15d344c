"""Training methods by name. A method owns its model and its losses; the trainer knows nothing else of it."""

from dgsnet.methods.base import Batch, Losses, Method, Stage, available, create, register
from dgsnet.methods.dgs import Dgs
from dgsnet.methods.linear import Linear
from dgsnet.methods.lora import Lora

__all__ = ["Batch", "Dgs", "Linear", "Lora", "Losses", "Method", "Stage", "available", "create", "register"]
