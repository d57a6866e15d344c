"""Trust anchors: certificates of authorities whose signers the user takes for who they say they are. None come with dgsnet."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from dgsnet.core.errors import TrustError
from dgsnet.core.files import sha256_bytes

_BEGIN = "-----BEGIN CERTIFICATE-----"
_BLOCK = re.compile(rf"{_BEGIN}[^-]+-----END CERTIFICATE-----")
_PURPOSE = re.compile(r"^\s*([0-2](?:\.\d{1,20}){2,30})\s*$", re.MULTILINE)
_ENDINGS = {".pem", ".crt", ".cer"}
_LONGEST = 32 * 2**20  # bytes of a file; the largest lists have less than one


@dataclass(frozen=True)
class TrustAnchors:
    """Certificates in PEM: of authorities, of time-stamp authorities, or of single signers. Once read, any process may be given them."""

    pem: str
    purposes: tuple[str, ...] = ()
    """Object identifiers of purposes of a key that are accepted of a signer beside `dgsnet.provenance.c2pa.library.PURPOSES`."""

    @classmethod
    def load(cls, path: str | Path) -> TrustAnchors:
        """Read a PEM file, or the files ``*.pem``, ``*.crt`` and ``*.cer`` of a folder; text between certificates is left out.

        A folder may also have files ``*.cfg`` of purposes, one object identifier a line, as the Content Authenticity Initiative's list has.

        Raises:
            TrustError: there is nothing to read, or a file that holds no certificate or a damaged one; the message names it.
        """
        path = Path(path)
        if not path.is_dir():
            return cls(_certificates(path))
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in _ENDINGS and file.is_file())
        if not files:
            raise TrustError(f"{path}: no trust anchors: expected files {', '.join(f'*{ending}' for ending in sorted(_ENDINGS))} in PEM")
        purposes = [one for file in sorted(path.glob("*.cfg")) for one in _PURPOSE.findall(_text(file))]
        return cls("".join(map(_certificates, files)), tuple(dict.fromkeys(purposes)))

    @property
    def count(self) -> int:
        """Number of certificates."""
        return self.pem.count(_BEGIN)

    @property
    def fingerprint(self) -> str:
        """sha256 of certificates and purposes, as hexadecimal digits."""
        return sha256_bytes("\n".join([self.pem, *self.purposes]).encode())


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(_LONGEST).decode("utf-8", "replace")
    except OSError as error:
        raise TrustError(f"{file}: trust anchors cannot be read ({error.strerror or error}): give a PEM file or a folder") from error


def _certificates(file: Path) -> str:
    text = _text(file)
    blocks = _BLOCK.findall(text)
    if not blocks:
        raise TrustError(f"{file}: no certificate in it: expected PEM, which has a line {_BEGIN}")
    if len(blocks) != text.count(_BEGIN):
        raise TrustError(f"{file}: a certificate is cut off or damaged: fetch the file again")
    for number, block in enumerate(blocks, 1):
        _check(file, number, block)
    return "".join(f"{block}\n" for block in blocks)


def _check(file: Path, number: int, block: str) -> None:
    try:
        # Parses the certificate and no more: nothing is connected to.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=ssl.PEM_cert_to_DER_cert(block))
    except (ValueError, ssl.SSLError) as error:  # of base64, of the certificate
        raise TrustError(f"{file}: certificate {number} is damaged: fetch the file again") from error
