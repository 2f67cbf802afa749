"""Where a model fails: its wrong cases in groups that share words, so that a person sees a pattern rather than a list."""

from __future__ import annotations

from typing import Any

from finetune_engine.evaluate.conclusions.topics import topics_of
from finetune_engine.evaluate.suites.suite import Bench

FEWEST_WRONG = 10
"""Wrong cases under which there is no pattern to see: the list itself is short enough."""
CASES_PER_CLUSTER = 12
MOST_CLUSTERS = 8
RIGHT_FROM = 0.5
"""The headline value (0..1) from which a case counts as right."""


def clusters_of(bench: Bench) -> list[dict[str, Any]]:
    """The subject's wrong cases by what their questions are about, the largest group first: ``[{title, size, share, rows, terms,
    example: {row, prompt, reference, answer}}]``, ``share`` of all wrong cases; empty with fewer than FEWEST_WRONG of them."""
    values, answers = bench.values[bench.spec.subject], bench.answers[bench.spec.subject]
    wrong = [place for place, value in enumerate(values) if value < RIGHT_FROM]
    if len(wrong) < FEWEST_WRONG:
        return []
    count = max(1, min(MOST_CLUSTERS, len(wrong) // CASES_PER_CLUSTER))
    topics = topics_of([bench.cases.test[place].prompt for place in wrong], count, seed=bench.how.seed)
    clusters = []
    for topic in topics:
        places = [wrong[member] for member in topic.members]
        case = bench.cases.test[places[0]]
        clusters.append(
            {
                "title": topic.title or "no word in common",
                "size": len(places),
                "share": len(places) / len(wrong),
                "rows": sorted(bench.cases.test[place].row for place in places),
                "terms": topic.terms,
                "example": {
                    "row": case.row,
                    "prompt": case.prompt,
                    "reference": case.reference,
                    "answer": answers[places[0]].text,
                },
            }
        )
    return clusters
