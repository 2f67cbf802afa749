"""What a person can choose for an import, and what the choice does."""

from __future__ import annotations

import json

import pytest

from finetune_engine.data.options import read_mapping, read_options
from finetune_engine.errors import UserError

ANSWER = "We will look into the matter and write to you again before the end of next week."


def line(prompt: str, completion: str = ANSWER, **more: object) -> str:
    return json.dumps({"prompt": prompt, "completion": completion} | more)


GOOD = [line(f"Could you tell me where parcel number {i} is now", f"{ANSWER} {i * 3}") for i in range(5)]


@pytest.mark.parametrize(
    "options",
    [
        {"surprise": 1},
        {"max_rows": -1},
        {"pii": "yes"},
        {"task_type": "poetry"},
        {"over_length": "shrink"},
        {"tokenizer": "/nowhere"},
        {"sources": {}},
        {"sources": [{"colour": "red"}]},
        {"replacements": [{"replace": "x"}]},
        {"boilerplate": "x"},
        {"cleaning": "all"},
    ],
)
def test_an_option_that_makes_no_sense_is_named(options):
    with pytest.raises(UserError) as refused:
        read_options(options)
    assert (refused.value.code, refused.value.field) == ("bad_option", next(iter(options)))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"cleaning": ["polish"]}, "cleaning"),
        ({"replacements": [{"find": "(?=x)", "is_regex": True}]}, "replacements"),
    ],
)
def test_a_cleaning_plan_that_cannot_work_is_refused_before_anything_is_read(options, field):
    with pytest.raises(UserError) as refused:
        read_options(options)
    assert refused.value.field == field


def test_a_template_names_the_columns_it_joins():
    mapping = read_mapping({"prompt_template": "{title}\n\n{body} ({title})", "completion": "answer"})
    assert mapping is not None
    assert mapping.prompt == ("title", "body")


@pytest.mark.parametrize("template", ["{", "{}", "{a!r}", "{a:>10}"])
def test_a_template_with_more_than_names_is_refused(template):
    with pytest.raises(UserError) as refused:
        read_mapping({"prompt_template": template, "completion": "answer"})
    assert (refused.value.code, refused.value.field) == ("bad_mapping", "mapping")


def test_cleaning_is_done_before_the_checks_and_counted(prepare_text):
    dirty = line(
        "Where is the caf\u00c3\u00a9 on the square, please  ",
        "It is beside the old town hall, as it always was.\n\n\n\n\n\nTruly.",
    )
    done = prepare_text("a.jsonl", "\n".join([*GOOD, dirty]))
    row = done.examples.row(5, named=True)
    assert row["prompt"] == "Where is the café on the square, please"
    assert json.loads(row["messages"])[0]["content"] == row["prompt"]
    assert row["cleaned"] == ["repair_unicode", "whitespace"]
    assert row["original"] == dirty
    assert done.report["cleaning"] == {"repair_unicode": 1, "whitespace": 1}
    assert done.examples.row(0, named=True)["cleaned"] in (None, [])


def test_cleaning_can_be_switched_off(prepare_text):
    done = prepare_text("a.jsonl", "\n".join([*GOOD, line("Where is it  ")]), cleaning=[])
    assert done.examples["prompt"][5] == "Where is it  "
    assert done.report["cleaning"] == {}


def test_cleaned_rows_are_compared_as_they_are_after_cleaning(prepare_text):
    rules = [{"find": "ACME Ltd", "replace": "the firm"}]
    twins = [line(f"What does {name} say of parcels that are late", ANSWER) for name in ("ACME Ltd", "the firm")]
    done = prepare_text("a.jsonl", "\n".join([*GOOD, *twins]), replacements=rules)
    assert [f["row"] for f in done.of("duplicate_exact")] == [7]


LONG = line("Please read this. " + "The parcel was late again and nobody knew why it was so. " * 30)


def test_a_row_over_the_context_length_is_marked(prepare_text):
    done = prepare_text("a.jsonl", "\n".join([*GOOD, LONG]), context_tokens=200)
    assert (done.examples["codes"][5].to_list(), done.status(6)) == (["too_long"], "flagged")


def test_a_row_over_the_context_length_can_be_dropped(prepare_text):
    done = prepare_text("a.jsonl", "\n".join([*GOOD, LONG]), context_tokens=200, over_length="drop")
    assert (done.examples["codes"][5].to_list(), done.status(6)) == (["too_long"], "rejected")


def test_a_row_over_the_context_length_can_be_cut_so_that_it_fits(prepare_text):
    done = prepare_text("a.jsonl", "\n".join([*GOOD, LONG]), context_tokens=200, over_length="cut")
    row = done.examples.row(5, named=True)
    assert row["codes"] == ["prompt_truncated"]
    assert 150 * 4 < len(row["messages"]) <= 201 * 4
    assert row["prompt"].startswith("Please read this. The parcel")
    assert row["answer"] == ANSWER
    assert row["original"] == LONG


def test_preference_pairs_keep_the_worse_answer(prepare_text):
    rows = [
        json.dumps(
            {"prompt": f"How late is parcel number {i}", "chosen": f"{ANSWER} {i}", "rejected": f"No idea about {i}."}
        )
        for i in range(5)
    ]
    done = prepare_text("a.jsonl", "\n".join(rows))
    row = done.examples.row(2, named=True)
    assert done.report["task_type"] == "preference"
    assert json.loads(row["messages"])[-1]["content"] == f"{ANSWER} 2"
    assert json.loads(row["rejected"])[-1]["content"] == "No idea about 2."


def test_near_duplicates_form_a_cluster_named_by_its_first_row(prepare_text):
    base = (
        "The tenant shall keep the premises in good repair and return them at the end of the lease as they were before"
    )
    twins = [line(base + end, ANSWER) for end in ("", " indeed", " truly")]
    done = prepare_text("a.jsonl", "\n".join([*GOOD, *twins]), min_prompt_words=0)
    assert done.examples["cluster"].to_list() == [None] * 5 + [6, 6, 6]
    assert done.report["clusters"] == 1


def test_personal_data_is_counted_by_kind(prepare_text):
    rows = [
        *GOOD,
        line("Write to jo@example.org and to ann@example.org about it"),
        line("Write to jo@example.org or +44 20 7946 0958 now"),
    ]
    done = prepare_text("a.jsonl", "\n".join(rows))
    assert done.report["pii"] == {"email": 2, "phone": 1}
    assert {f["kind"] for f in done.of("pii")} == {"email", "phone"}


def test_the_statistics_tell_roles_turns_and_languages(prepare_text):
    turns = [
        {"role": r, "content": f"{r} says that the parcel is late"}
        for r in ("system", "user", "assistant", "user", "assistant")
    ]
    rows = [json.dumps({"messages": turns[1:3]}), json.dumps({"messages": turns})]
    figures = prepare_text("a.jsonl", "\n".join(rows)).report["statistics"]
    assert figures["roles"] == {"user": 3, "assistant": 3, "system": 1}
    assert figures["turns"] == {"2": 1, "5": 1}
    assert prepare_text("b.jsonl", "\n".join(GOOD)).report["statistics"]["languages"] == {"en": 5}
