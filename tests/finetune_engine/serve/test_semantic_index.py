"""Looking up the nearest kept question."""

import numpy as np
import pytest

from benchmarks.semantic_lookup import clustered
from finetune_engine.serve.semantic import NeighbourIndex, packed, unit, unpacked


def test_the_nearest_come_first_with_their_cosine() -> None:
    index = NeighbourIndex(2)
    index.add([7, 8, 9], [unit([1, 0]), unit([1, 1]), unit([0, 1])])
    found = index.nearest(unit([1, 0.1]), 2)
    assert [neighbour.key for neighbour in found] == [7, 8]
    assert found[0].similarity == pytest.approx(1 / 1.01**0.5, abs=1e-5)


def test_an_empty_index_finds_nothing() -> None:
    index = NeighbourIndex(4)
    assert index.nearest(unit([1, 0, 0, 0])) == []
    index.add([1], [unit([1, 0, 0, 0])])
    index.remove([1, 2])
    assert (len(index), index.nearest(unit([1, 0, 0, 0]))) == (0, [])


def test_what_was_taken_out_is_not_found_and_the_others_are() -> None:
    vectors = clustered(300)
    index = NeighbourIndex(vectors.shape[1])
    index.add(range(300), vectors)
    index.remove(range(0, 300, 2))
    assert [index.nearest(vector)[0].key for vector in vectors[1::2]] == list(range(1, 300, 2))
    assert all(index.nearest(vector)[0].key % 2 for vector in vectors[::2])


def test_a_key_taken_in_again_has_its_new_vector() -> None:
    index = NeighbourIndex(2)
    index.add([1], [unit([1, 0])])
    index.add([1], [unit([0, 1])])
    assert len(index) == 1
    assert index.nearest(unit([0, 1]))[0].similarity == pytest.approx(1)


def test_above_its_limit_the_graph_finds_what_the_exact_search_finds_and_forgets_likewise() -> None:
    vectors = clustered(1_500)
    exact, graph = NeighbourIndex(vectors.shape[1]), NeighbourIndex(vectors.shape[1], exact_up_to=100)
    for start in range(0, 1_500, 50):
        for index in (exact, graph):
            index.add(range(start, start + 50), vectors[start : start + 50])
    for index in (exact, graph):
        index.remove(range(0, 1_500, 3))
    rng = np.random.default_rng(3)
    queries = [unit(vector + 0.02 * rng.standard_normal(len(vector))) for vector in vectors[:300]]
    pairs = [(exact.nearest(query)[0], graph.nearest(query)[0]) for query in queries]
    assert sum(one.key == other.key for one, other in pairs) >= 297
    assert max(abs(one.similarity - other.similarity) for one, other in pairs if one.key == other.key) < 2e-3
    assert len(graph) == len(exact) == 1_000


def test_a_stored_vector_comes_back_at_length_one() -> None:
    vector = unpacked(packed([3.0, 4.0]))
    assert vector == pytest.approx([0.6, 0.8], abs=1e-3)
    assert float(np.linalg.norm(vector)) == pytest.approx(1)
    assert len(packed([0.1] * 384)) == 768


@pytest.mark.parametrize("wrong", [[0.0, 0.0], [float("nan"), 1.0], []])
def test_what_is_no_embedding_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="embedding"):
        unit(wrong)
