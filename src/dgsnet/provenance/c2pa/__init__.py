"""Content Credentials (C2PA): what a manifest store claims of a picture, whether its bytes are as they were signed, and who signed them.

Three answers that are kept apart: the file is *intact* or was *altered*; the signer is *unknown*, *trusted* (with `TrustAnchors` alone) or
the certificate has *expired* since; the manifests *claim* this and that. Claims of an intact file count as claims, whoever signed; those of
an altered one count for nothing.

| module | does |
|---|---|
| `presence` | finds a manifest store in the pages of a TIFF, or the address of one, without the library |
| `trust` | reads trust anchors |
| `library` | has ``c2pa-python`` check the store, never over the network |
| `statuses` | says what each status code means |
| `manifest`, `chain` | say what the manifests claim, from the active one back to the beginning |
| `examined` | puts it together |
"""

from dgsnet.provenance.c2pa.examined import Examined, Signature, Signer, examine, is_available
from dgsnet.provenance.c2pa.trust import TrustAnchors

__all__ = ["Examined", "Signature", "Signer", "TrustAnchors", "examine", "is_available"]
