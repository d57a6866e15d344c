"""Connected components of a graph given by its edges: union-find with path halving."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

_Node = TypeVar("_Node", bound=Hashable)


def connected_components(edges: Iterable[tuple[_Node, _Node]]) -> dict[_Node, _Node]:
    """Map each node that an edge touches to the node that stands for its component.

    An edge (a, b) puts the component of a under the one that stands for b's. In plain Python, since `dgsnet align` runs without scipy.
    """
    parent: dict[_Node, _Node] = {}

    def root(node: _Node) -> _Node:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for one, other in edges:
        parent[root(one)] = root(other)
    return {node: root(node) for node in parent}
