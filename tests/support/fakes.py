"""A base for what stands in for a class of the package."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Fake = Any  # so that it may be given wherever the class may
else:

    class Fake:
        pass
