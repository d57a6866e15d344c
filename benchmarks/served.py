"""A real ``dgsnet serve``, in a process of its own on a free port of this machine."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Served:
    """A running service."""

    host: str
    port: int
    process: subprocess.Popen[str]
    said: list[str]
    """Lines of its log."""

    @property
    def address(self) -> str:
        """Of its routes."""
        return f"http://{self.host}:{self.port}"

    def memory(self) -> int:
        """Bytes that its process and those that decode hold in memory, proportional where they share."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        children += [child for thread in threads for child in (thread / "children").read_text().split()]
        return sum(_memory_of(int(one)) for one in {self.process.pid, *map(int, children)})

    def processor_seconds(self) -> float:
        """Of its process and those that decode."""
        threads = list(Path(f"/proc/{self.process.pid}/task").iterdir())
        children = {int(child) for thread in threads for child in (thread / "children").read_text().split()}
        return sum(_seconds_of(one) for one in {self.process.pid, *children})


@contextmanager
def serving(model: str | Path, *options: str) -> Iterator[Served]:
    """Serve a model until the block ends; then it is told to stop and waited for.

    Args:
        model: as ``--model`` takes it.
        options: more of the command's.
    """
    command = [sys.executable, "-m", "dgsnet", "serve", "--model", str(model), "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr
    said: list[str] = []
    try:
        for line in process.stderr:
            said.append(line)
            if match := re.search(r"http://([\d.]+):(\d+)", line):
                threading.Thread(target=said.extend, args=(process.stderr,), daemon=True).start()
                yield Served(match[1], int(match[2]), process, said)
                return
        raise RuntimeError(f"the service did not start: {''.join(said)}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()


def _memory_of(process: int) -> int:
    match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def _seconds_of(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
