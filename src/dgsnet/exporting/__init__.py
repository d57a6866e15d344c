"""Writes exported folders (`dgsnet.exported_folder`) from model folders, and compares the two on pictures."""

from dgsnet.exporting.folder import Format, export
from dgsnet.exporting.verification import verify

__all__ = ["Format", "export", "verify"]
