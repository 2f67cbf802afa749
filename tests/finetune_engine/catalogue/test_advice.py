"""Should you fine-tune?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from finetune_engine.catalogue.advice import Situation, advise
from finetune_engine.errors import UserError

GOOD = Situation(
    specificity="high", examples=2000, good_share=0.95, monthly_requests=50_000, privacy="high", tried_prompting=True
)


def test_a_narrow_task_with_many_good_examples_is_worth_it() -> None:
    assert advise(GOOD).verdict == "fine_tune"


@pytest.mark.parametrize("change", [{"examples": 120}, {"good_share": 0.5}])
def test_too_few_or_too_poor_examples_are_collected_first(change: dict[str, object]) -> None:
    assert advise(replace(GOOD, **change)).verdict == "collect_data"  # type: ignore[arg-type]


def test_what_changes_every_day_is_never_trained_in() -> None:
    said = advise(replace(GOOD, changes="daily"))
    assert said.verdict == "prompt"
    assert said.retrieval
    assert any("Retrieval" in sentence for sentence in said.alternatives)


def test_a_general_task_asked_rarely_is_a_matter_of_instructions() -> None:
    said = advise(Situation(specificity="low", examples=800, monthly_requests=100, privacy="low"))
    assert said.verdict == "prompt"


def test_every_verdict_says_what_would_change_it() -> None:
    others = [replace(GOOD, examples=100), replace(GOOD, changes="daily"), Situation()]
    assert all(advise(one).would_change for one in [GOOD, *others])


def test_following_the_advice_to_collect_changes_the_verdict() -> None:
    few = replace(GOOD, examples=120)
    assert "380 more good examples" in advise(few).would_change[0]
    assert advise(replace(few, examples=500)).verdict == "fine_tune"


@pytest.mark.parametrize(
    ("name", "value"),
    [("privacy", "some"), ("examples", -1), ("changes", "never"), ("colour", "red"), ("good_share", 2)],
)
def test_an_answer_that_is_none_is_refused_by_its_field(name: str, value: object) -> None:
    with pytest.raises(UserError) as caught:
        Situation.from_dict({name: value})
    assert caught.value.field == name
