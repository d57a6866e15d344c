"""Bearer keys: a file of their sha256 digests and names. A key has 256 random bits, so a plain digest cannot be guessed backwards."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from dgsnet.core.errors import DgsnetError

_LINE = re.compile(r"([0-9a-f]{64})\s+(\S.*)")


class Keys:
    """The keys a service takes."""

    def __init__(self, digests: dict[str, bytes]) -> None:
        """Take the sha256 digests by name."""
        self._digests = digests

    @classmethod
    def load(cls, file: Path) -> Keys:
        """Read a file of keys: a digest and a name per line, ``#`` begins a remark.

        Raises:
            DgsnetError: there is no such file, it holds no key, or a line is none.
        """
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DgsnetError(f"cannot read keys from {file} ({error}); make one with `dgsnet serve --new-key {file}`") from error
        digests: dict[str, bytes] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None or match[2] in digests:
                raise DgsnetError(f"{file}, line {number}: expected a sha256 digest and a name of its own")
            digests[match[2]] = bytes.fromhex(match[1])
        if not digests:
            raise DgsnetError(f"{file} holds no key; make one with `dgsnet serve --new-key {file}`")
        return cls(digests)

    def has(self, name: str) -> bool:
        """Tell whether there is a key of this name."""
        return name in self._digests

    def name_of(self, key: str) -> str | None:
        """Return the name of a key; None if it is unknown. Takes the same time whichever it is."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        found = None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found


def add_key(file: Path, name: str) -> str:
    """Make a key, add its digest to a file, which only its owner may read, and return the key, which is kept nowhere.

    Raises:
        DgsnetError: the name is taken or no name, or the file holds something else.
    """
    if not name.strip() or not name.isprintable():
        raise DgsnetError(f"{name!r} is no name for a key")
    if file.exists() and file.stat().st_size and Keys.load(file).has(name.strip()):
        raise DgsnetError(f"{file} has a key named {name!r} already; choose another name, or delete its line")
    key = f"dgs_{secrets.token_urlsafe(32)}"
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8") as stream:
        stream.write(f"{hashlib.sha256(key.encode()).hexdigest()} {name.strip()}\n")
    return key
