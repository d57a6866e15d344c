"""What a listing passes over: nothing in a folder is lost without a word."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike

_NAMED = 5
"""Of each reason so many are named, the others are counted."""


@dataclass
class _Group:
    count: int = 0
    names: list[str] = field(default_factory=list)


@dataclass
class LeftOut:
    """Files and folders that a listing passed over, counted by reason; the first few of each are named.

    `lost` counts those that may hold pictures: a folder that cannot be listed, a damaged shard. The rest are no pictures.
    """

    groups: dict[str, _Group] = field(default_factory=dict)
    lost: int = 0

    def add(self, reason: str, name: str | PathLike[str], detail: str = "", *, lost: bool = True) -> None:
        """Count one; `detail` stands behind its name."""
        group = self.groups.setdefault(reason, _Group())
        group.count += 1
        self.lost += lost
        if len(group.names) < _NAMED:
            group.names.append(f"{name} ({detail})" if detail else str(name))

    def update(self, other: LeftOut) -> None:
        """Add what another listing passed over."""
        for reason, group in other.groups.items():
            own = self.groups.setdefault(reason, _Group())
            own.count += group.count
            own.names = [*own.names, *group.names][:_NAMED]
        self.lost += other.lost

    def lines(self) -> list[str]:
        """Return a line per reason, in the order they came up: ``2 files of another kind: a.txt, b.txt``."""
        return [
            f"{reason} ({group.count}): {', '.join(group.names)}"
            + (f" and {group.count - len(group.names)} more" if group.count > len(group.names) else "")
            for reason, group in self.groups.items()
        ]
