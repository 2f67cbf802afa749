"""Duplicates, contradictions and label spellings: what only shows beside the other rows."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from finetune_engine.data.relations import label_variants

LONG = (
    "The tenant shall keep the premises in good repair and shall return them at the end of the lease in the same "
    "condition as at the beginning, fair wear and tear excepted, unless the parties agree otherwise in writing"
)
NEARLY = LONG.replace("otherwise in writing", "otherwise on paper")


def jsonl(*rows: dict[str, str]) -> str:
    return "\n".join(map(json.dumps, rows))


def test_the_same_example_again_is_rejected_and_the_first_stays(prepare_text, good_rows):
    again = {"text": "  " + good_rows[0]["text"].upper(), "label": good_rows[0]["label"]}
    done = prepare_text("a.jsonl", jsonl(*good_rows, again))
    (finding,) = done.of("duplicate_exact")
    assert (finding["row"], finding["related_row"], done.status(31), done.status(1)) == (31, 1, "rejected", "accepted")


def test_almost_the_same_example_goes_to_review(prepare_text, good_rows):
    done = prepare_text(
        "a.jsonl", jsonl(*good_rows, {"text": LONG, "label": "question"}, {"text": NEARLY, "label": "question"})
    )
    (finding,) = done.of("duplicate_near")
    assert (finding["row"], finding["related_row"], done.status(32), done.status(31)) == (
        32,
        31,
        "needs_review",
        "accepted",
    )


def test_the_same_input_with_another_label_puts_both_to_review(prepare_text, good_rows):
    other = {"text": good_rows[4]["text"], "label": "question"}
    assert good_rows[4]["label"] == "complaint"
    done = prepare_text("a.jsonl", jsonl(*good_rows, other))
    assert {(f["row"], f["related_row"]) for f in done.of("contradiction")} == {(5, 31), (31, 5)}
    assert {done.status(5), done.status(31)} == {"needs_review"}


def test_almost_the_same_input_with_another_label_is_a_contradiction(prepare_text, good_rows):
    done = prepare_text(
        "a.jsonl", jsonl(*good_rows, {"text": LONG, "label": "question"}, {"text": NEARLY, "label": "complaint"})
    )
    assert [f["row"] for f in done.of("contradiction")] == [31, 32]


def test_other_figures_make_another_question(prepare_text):
    rows = [{"prompt": f"{LONG} within {days} days", "completion": f"The period is {days} days."} for days in (30, 60)]
    done = prepare_text("a.jsonl", jsonl(*rows))
    assert done.of("contradiction") == []
    assert done.of("duplicate_near") == []


def test_the_same_question_in_another_conversation_is_another_example(prepare_text):
    rows = [
        {
            "messages": [
                {"role": "system", "content": mood},
                {"role": "user", "content": "How are you today"},
                {"role": "assistant", "content": answer},
            ]
        }
        for mood, answer in (("Be glad.", "Splendid, thank you."), ("Be gloomy.", "Do not ask."))
    ]
    assert prepare_text("a.jsonl", jsonl(*rows)).findings.is_empty()


def test_rows_without_input_do_not_contradict_each_other(prepare_text):
    texts = [
        "Foxes sleep in dens through the day and hunt at dusk.",
        "Owls listen for mice under the snow all winter long.",
    ]
    assert prepare_text("a.jsonl", jsonl(*({"text": t} for t in texts))).findings.is_empty()


def test_short_texts_that_differ_by_a_word_do_not_contradict(prepare_text):
    rows = [
        {"text": f"turn the {what} {how}", "label": how}
        for what in ("lamp", "heater", "fan", "oven")
        for how in ("on", "off")
    ]
    assert prepare_text("a.jsonl", jsonl(*rows)).of("contradiction") == []


def test_a_rare_spelling_of_a_label_goes_to_review_with_the_usual_one(prepare_text, good_rows):
    done = prepare_text(
        "a.jsonl", jsonl(*good_rows, {"text": "Where is the parcel that I sent on Monday", "label": " Question"})
    )
    (finding,) = done.of("label_variants")
    assert (finding["row"], finding["found"], finding["expected"]) == (31, " Question", "question")
    assert finding["fix"] == "Write “question”."
    assert done.examples["label"][30] == " Question"
    assert done.status(31) == "needs_review"


@pytest.mark.parametrize(
    ("counts", "variants"),
    [
        ({"Payment": 10, "payment": 1, "PAYMENT ": 1}, {"payment": "Payment", "PAYMENT ": "Payment"}),
        ({"Confidentiality": 40, "Confidentialty": 1}, {"Confidentialty": "Confidentiality"}),
        ({"Confidentiality": 40, "Confidentialty": 30}, {}),
        ({"1": 10, " 1": 1}, {" 1": "1"}),
        ({"class 1": 40, "class 2": 1}, {}),
        ({"cat": 40, "car": 1}, {}),
        ({"Non-Compete": 9, "non compete": 2}, {"non compete": "Non-Compete"}),
    ],
)
def test_spellings_are_told_from_other_labels(counts, variants):
    assert {k: v[0] for k, v in label_variants(Counter(counts)).items()} == variants


def test_one_question_with_very_many_answers_is_compared_too(prepare_text):
    words = [
        "garden",
        "violin",
        "harbour",
        "window",
        "pepper",
        "mountain",
        "engine",
        "letter",
        "parcel",
        "invoice",
        "refund",
        "kitchen",
    ]
    answers = [
        f"The {words[i % 12]} of the {words[i // 12]} stands by the {words[(i * 5) % 12]} {i}" for i in range(80)
    ]
    rows = [{"prompt": "Write a sentence", "completion": text} for text in [*answers, LONG, NEARLY]]
    done = prepare_text("a.jsonl", jsonl(*rows))
    assert [(f["row"], f["related_row"]) for f in done.of("duplicate_near")] == [(82, 81)]
    assert [f["related_row"] for f in done.of("contradiction") if f["row"] in (1, 2, 81)] == [2, 1, 1]
