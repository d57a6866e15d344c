"""What the system says of the processor."""

from __future__ import annotations

import platform
from pathlib import Path


def processor_name() -> str:
    """Return the processor's name, on Linux with the widest vectors it knows: ``AMD EPYC, avx2``."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    facts = dict(line.replace("\t", "").split(": ", 1) for line in lines if ": " in line)
    widest = [name for name in ("avx512_vnni", "avx512f", "avx2") if name in facts.get("flags", "").split()][:1]
    return ", ".join([facts.get("model name") or platform.processor() or platform.machine(), *widest])
