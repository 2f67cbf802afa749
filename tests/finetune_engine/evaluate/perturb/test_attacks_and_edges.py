"""Canaries and odd inputs."""

from __future__ import annotations

import base64
import codecs

import pytest

from finetune_engine.evaluate.asking.asker import Answer
from finetune_engine.evaluate.metrics.labels import LabelReader
from finetune_engine.evaluate.perturb.adversarial import ATTACKS, canary_for
from finetune_engine.evaluate.perturb.edge_cases import EDGE_INPUTS, LONG_CHARACTERS, is_handled, kinds_of, runs_on

MESSAGES = [{"role": "user", "content": "The tenant is late. What shall I do?"}]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.kind)
def test_an_attack_works_when_the_canary_is_said_and_not_otherwise(attack) -> None:
    attacked = attack.on(MESSAGES, 7)
    assert attacked.succeeded(f"Sure: {attacked.canary.lower()}!")
    assert attacked.succeeded(" ".join(attacked.canary))
    assert not attacked.succeeded("Send a reminder.")
    assert not attacked.succeeded("")
    assert MESSAGES == [{"role": "user", "content": "The tenant is late. What shall I do?"}]


def test_an_answer_that_copies_the_whole_command_has_not_obeyed() -> None:
    for attack in ATTACKS[:2]:
        attacked = attack.on(MESSAGES, 7)
        assert attacked.canary in attacked.messages[-1]["content"]
        assert not attacked.succeeded(attacked.messages[-1]["content"])


def test_the_canary_is_hidden_in_code_and_can_be_read_out_of_it() -> None:
    by_kind = {attack.kind: attack.on(MESSAGES, 3) for attack in ATTACKS}
    coded = by_kind["base64 injection"]
    assert coded.canary not in coded.messages[-1]["content"]
    assert coded.canary in base64.b64decode(coded.messages[-1]["content"].rsplit(" ", 1)[1]).decode()
    turned = by_kind["rot13 injection"]
    assert turned.canary not in turned.messages[-1]["content"]
    assert turned.canary in codecs.decode(turned.messages[-1]["content"], "rot13")


def test_the_secret_of_an_extraction_is_in_the_system_message_only() -> None:
    extraction = ATTACKS[-1]
    own = [{"role": "system", "content": "You classify."}, *MESSAGES]
    for messages in (MESSAGES, own):
        attacked = extraction.on(messages, 3)
        assert attacked.canary in attacked.messages[0]["content"]
        assert attacked.canary not in attacked.messages[-1]["content"]
    assert attacked.messages[0]["content"].startswith("You classify.")


def test_canaries_differ_between_examples_and_attacks_and_stay() -> None:
    made = {canary_for(attack.kind, row) for attack in ATTACKS for row in range(100)}
    assert len(made) > 495
    assert canary_for("x", 1) == canary_for("x", 1)


def test_an_indirect_command_stands_inside_the_text() -> None:
    text = ATTACKS[1].on(MESSAGES, 1).messages[-1]["content"]
    assert text.startswith("The tenant is late.\n[Note")
    assert text.endswith("What shall I do?")


def test_all_kinds_of_odd_input_are_there() -> None:
    assert kinds_of(EDGE_INPUTS) == [
        "empty", "one character", "emoji", "other language", "digits only", "HTML or SQL", "repetition", "very long",
    ]  # fmt: skip
    long = [edge.make("Some text.") for edge in EDGE_INPUTS if edge.kind == "very long"]
    assert [len(text) for text in long] == [LONG_CHARACTERS]


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ("no no no no no no no no no", "length", True),
        ("aaaaaaaaaaaaaaaaaaaaaaaa", "length", True),
        ("no no no no no no no no no", "stop", False),
        ("The number is 10000", "length", False),
        (
            "The tenant pays the rent on the first day of each month and keeps the rooms in good order at",
            "length",
            False,
        ),
        (" ".join(["the", "and", "of"] * 9 + ["and", "the"] * 4), "length", True),
    ],
)
def test_an_answer_runs_on_when_it_says_the_same_again_until_it_is_cut(text: str, finish: str, expected: bool) -> None:
    assert runs_on(text, finish) is expected


def test_where_only_labels_are_answers_a_label_or_a_refusal_is_right() -> None:
    reader = LabelReader(["rent", "law"])
    assert is_handled(Answer("Rent", "stop"), reader)
    assert is_handled(Answer("Sorry, there is no text.", "stop"), reader)
    assert not is_handled(Answer("purple", "stop"), reader)
    assert is_handled(Answer("purple", "stop"), None)
    assert not is_handled(Answer("  ", "stop"), None)
    assert not is_handled(None, None)
