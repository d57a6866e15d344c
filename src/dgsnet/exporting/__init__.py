"""Writes exported folders (`dgsnet.exported_folder`) from model folders, and compares the two on pictures."""

from dgsnet.exporting.folder import Format, export
from dgsnet.exporting.verification import verify
from dgsnet.exporting.weightless import write as write_weightless

__all__ = ["Format", "export", "verify", "write_weightless"]
