"""Rights of files hold for whoever runs the tests, root too."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOBODY = 65_534


@contextmanager
def ordinary_user(*owned: Path) -> Iterator[None]:
    """Go on as an ordinary user, who owns what lies in these folders and may pass those above; root reads everything otherwise."""
    if os.geteuid() != 0:
        yield
        return
    for root in owned:
        for path in (root, *root.rglob("*")):
            os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)
    above = [folder for root in owned for folder in root.parents if folder.stat().st_mode & 0o11 != 0o11]
    modes = {folder: folder.stat().st_mode for folder in above}
    for folder, mode in modes.items():
        folder.chmod(mode | 0o11)  # the group of root is kept
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        for folder, mode in modes.items():
            folder.chmod(mode)
