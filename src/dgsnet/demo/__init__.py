"""The demo: the whole of dgsnet on photographs that installed packages carry and their reconstructions by small decoders."""

from dgsnet.demo.run import run
from dgsnet.demo.settings import QUICK, Settings

__all__ = ["QUICK", "Settings", "run"]
