"""Training methods by name. A method owns its model and its losses; the trainer knows nothing else of it."""

from dgsnet.model.methods.base import Batch, Method, Stage, available, create, register
from dgsnet.model.methods.dgs import Dgs
from dgsnet.model.methods.effort import Effort
from dgsnet.model.methods.feature_distillation import FeatureDistillation
from dgsnet.model.methods.full import Full
from dgsnet.model.methods.l2sp import L2sp
from dgsnet.model.methods.linear import Linear
from dgsnet.model.methods.lora import Lora
from dgsnet.model.methods.lwf import Lwf
from dgsnet.model.methods.npr import Npr
from dgsnet.model.methods.null_space import NullSpace
from dgsnet.model.methods.ogd import Ogd
from dgsnet.model.methods.pcgrad import Pcgrad
from dgsnet.model.methods.rine import Rine

__all__ = [
    "Batch",
    "Dgs",
    "Effort",
    "FeatureDistillation",
    "Full",
    "L2sp",
    "Linear",
    "Lora",
    "Lwf",
    "Method",
    "Npr",
    "NullSpace",
    "Ogd",
    "Pcgrad",
    "Rine",
    "Stage",
    "available",
    "create",
    "register",
]
