"""What the system says of a process's memory. Linux only."""

from __future__ import annotations

from pathlib import Path


def status(field: str, process: int | str = "self") -> float:
    """MB of a field of a process's status, such as `VmRSS` or `VmHWM`."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def resident(process: int | str = "self") -> float:
    """MB that are in memory now."""
    return status("VmRSS", process)
