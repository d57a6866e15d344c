"""The connection to a Ray cluster: one that is given, or one of this machine alone that ends with the run."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dgsnet.core.errors import ScoringError
from dgsnet.core.files import write_text

_TEMP_PREFIX = "dgsnet-ray-"
_OBJECT_STORE_BYTES = 200_000_000
"""Shared memory for Ray's objects. Images never pass through them, only their paths and rows do."""
_MAX_TEMP_PATH = 20
"""Characters of a folder in which Ray's sockets, whose names may have 107, have room."""

_LOCAL_ENVIRONMENT = {
    # One machine, so no other one needs to reach it: Ray listens on 127.0.0.1 only. That is what this variable brings on Linux too.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Whoever else has an account here could have Ray run any program as this user, were it not for a token.
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
"""Environment of a cluster that is started here."""


@dataclass(frozen=True)
class Cluster:
    """Address and size of a Ray cluster.

    Attributes:
        address: ``host:port`` or ``auto``; None: what RAY_ADDRESS says, and if that says nothing, a cluster of this machine is started.
        workers: processes that score; None: one per CPU of the cluster.
    """

    address: str | None = None
    workers: int | None = None

    @property
    def existing_address(self) -> str | None:
        """Address of a cluster that runs already; None where one is to be started."""
        address = self.address or os.environ.get("RAY_ADDRESS") or None
        return None if address == "local" else address

    def check(self) -> None:
        """Find out, before anything is listed or loaded, what would end the run later.

        Raises:
            ScoringError: Ray is missing, or the address is of a kind that cannot do.
        """
        if not importlib.util.find_spec("ray"):
            raise ScoringError("--engine ray needs Ray, which is missing here: pip install 'dgsnet[cluster]'")
        if (self.existing_address or "").startswith("ray://"):
            hint = "start dgsnet on a machine of the cluster, and give host:port or auto"
            raise ScoringError(f"{self.existing_address} is for Ray's client: {hint}")

    @contextmanager
    def connect(self, note: Path) -> Iterator[int]:
        """Join the cluster and yield the number of workers. Ray that is connected already is used, and stays so.

        Args:
            note: file that names the folder Ray writes to on this machine while it runs, so that the next call can delete what a killed
                one left.

        Raises:
            ScoringError: nothing answers at the address, or Ray does not start.
        """
        self.check()
        address = self.existing_address
        with _set_environment({"RAY_USAGE_STATS_ENABLED": "0"} | ({} if address else _LOCAL_ENVIRONMENT)):
            import ray  # noqa: PLC0415 - an extra
            import ray.data  # noqa: PLC0415

            logging.getLogger("ray.data").setLevel(logging.ERROR)  # the rest is a plan of execution that nobody asked for
            starts_ray = not ray.is_initialized()
            try:
                if starts_ray and address:
                    ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
                elif starts_ray:
                    ray.init(
                        "local",
                        num_cpus=self.workers or os.cpu_count(),
                        include_dashboard=False,
                        object_store_memory=_OBJECT_STORE_BYTES,
                        log_to_driver=False,
                        logging_level=logging.ERROR,
                        _temp_dir=_make_temp_folder(note),
                    )
            except Exception as error:  # of several classes, Exception itself among them
                ray.shutdown()
                remove_temp_folder(note)
                where = f"no Ray cluster at {address}" if address else "Ray does not start here"
                raise ScoringError(f"{where} ({str(error).strip().partition(chr(10))[0]})") from error
            try:
                yield self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
            finally:
                if starts_ray:
                    ray.shutdown()
                    remove_temp_folder(note)


def _make_temp_folder(note: Path) -> str:
    """Make a folder for Ray, noted before Ray writes to it."""
    base = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix=_TEMP_PREFIX, dir=base if len(base) <= _MAX_TEMP_PATH else "/tmp")  # noqa: S108 - a folder of our own in it
    write_text(note, folder)
    inside = Path(folder) / "r"  # Ray opens what it is given to everybody; the folder around it is this user's
    inside.mkdir()
    return str(inside)


def remove_temp_folder(note: Path) -> None:
    """Delete the folder that a note names, and the note."""
    if note.exists():
        folder = Path(note.read_text(encoding="utf-8"))
        if folder.name.startswith(_TEMP_PREFIX):
            shutil.rmtree(folder, ignore_errors=True)
        note.unlink()


@contextmanager
def _set_environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment for a block: Ray takes these from nowhere else, and its processes from this one."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
