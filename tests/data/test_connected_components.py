"""Connected components against scipy's."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components as scipys

from dgsnet.data.connected_components import connected_components


@pytest.mark.parametrize("number", [1, 40, 400])
@pytest.mark.parametrize("edges", [0, 30, 300])
def test_components_are_those_of_scipy(number, edges):
    pairs = np.random.default_rng(number + edges).integers(number, size=(edges, 2))
    _, labels = scipys(coo_array((np.ones(edges), (pairs[:, 0], pairs[:, 1])), shape=(number, number)), directed=False)
    found = connected_components([(int(one), int(other)) for one, other in pairs])
    assert found.keys() == set(pairs.ravel().tolist())
    assert len({(labels[node], root) for node, root in found.items()}) == len(set(found.values())) == len({labels[node] for node in found})
    assert all(found[root] == root for root in found.values())


def test_the_second_of_an_edge_stands_for_both():
    assert connected_components([("a", "b"), ("c", "d"), ("b", "d"), ("e", "e")]) == {**dict.fromkeys("abcd", "d"), "e": "e"}


def test_a_long_chain_is_one_component():
    chain = [(node, node + 1) for node in range(50_000)]
    assert set(connected_components(chain).values()) == {50_000}
    assert set(connected_components(reversed(chain)).values()) == {50_000}
