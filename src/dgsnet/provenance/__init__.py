"""Claims that an image file makes of its own origin: C2PA, XMP, EXIF, IPTC, PNG text. No score: anybody can write or remove them."""

from dgsnet.provenance.finding import Finding, excerpt
from dgsnet.provenance.metadata import read as read_metadata
from dgsnet.provenance.summary import CAUTION, Provenance, read, with_pixels

__all__ = ["CAUTION", "Finding", "Provenance", "excerpt", "read", "read_metadata", "with_pixels"]
