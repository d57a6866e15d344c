"""Claims that an image file makes of its own origin: C2PA, XMP, EXIF, IPTC, PNG text. No score: anybody can write or remove them."""

from dgsnet.provenance.c2pa import TrustAnchors
from dgsnet.provenance.finding import Finding, excerpt
from dgsnet.provenance.generators import Marks
from dgsnet.provenance.generators import load as load_marks
from dgsnet.provenance.metadata import read as read_metadata
from dgsnet.provenance.summary import CAUTION, Provenance, read, with_pixels

__all__ = ["CAUTION", "Finding", "Marks", "Provenance", "TrustAnchors", "excerpt", "load_marks", "read", "read_metadata", "with_pixels"]
