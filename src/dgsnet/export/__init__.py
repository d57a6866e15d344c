"""Write exported folders (`dgsnet.artifacts.exported`) from model folders, and compare the two on pictures."""

from dgsnet.export.folder import Format, export
from dgsnet.export.verify import verify
from dgsnet.export.weightless import write as write_weightless

__all__ = ["Format", "export", "verify", "write_weightless"]
