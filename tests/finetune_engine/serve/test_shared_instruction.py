"""An instruction that callers have in common is read once, and everybody gets what it would have got alone."""

import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.generate import generate_batch
from finetune_engine.serve import live_batch
from finetune_engine.serve.backends.tickets import rows_of
from finetune_engine.serve.exchange import CompletionRequest
from finetune_engine.serve.live_batch import SHARED_TOKENS, LiveBatch
from finetune_engine.train.local.load import attach_adapter, load_base

INSTRUCTION = "Answer in one short sentence and only from what the agreement says. " * 2
QUESTIONS = ["Who pays?", "When is the rent due, and where is it paid?", "Why?", "May the tenant keep a dog?"]


@pytest.fixture(scope="module")
def base(tiny_model):
    return load_base(BaseModelRef(key="tiny", path=str(tiny_model)))


def alone(loaded, texts):
    return [generate_batch(loaded, [ids_of(loaded, text)], max_new_tokens=12)[0].token_ids for text in texts]


def ids_of(loaded, text):
    return list(loaded.tokenizer(text)["input_ids"])


def joined(batch, texts, limits=()):
    """Rows for ``texts``, which join the batch. Each writes up to 12 tokens, or its limit."""
    rows = []
    for text, limit in zip(texts, limits or [12] * len(texts), strict=True):
        request = CompletionRequest(model="tiny", prompt=text, temperature=0.0, max_tokens=limit)
        rows += rows_of(request, batch.loaded)
    batch.add(rows)
    return rows


def finished(batch, rows):
    while not batch.is_empty:
        batch.step()
    return [row.writing.ids for row in rows]


@pytest.fixture
def read(monkeypatch):
    """The ``(rows, columns)`` of each pass over prompts."""
    passes = []
    forward = live_batch.next_logits

    def noted(loaded, ids, *rest):
        if ids.shape[1] > 1:
            passes.append(tuple(ids.shape))
        return forward(loaded, ids, *rest)

    monkeypatch.setattr(live_batch, "next_logits", noted)
    return passes


def test_a_crowd_reads_its_instruction_once(base, read):
    texts = [INSTRUCTION + question for question in QUESTIONS]
    batch = LiveBatch(base)
    assert finished(batch, joined(batch, texts)) == alone(base, texts)
    shared = len(ids_of(base, INSTRUCTION))
    assert shared > SHARED_TOKENS
    (rows, columns), (others, rest) = read
    assert (rows, columns) == (1, len(ids_of(base, texts[0])))
    assert others == len(texts) - 1
    assert rest < columns - SHARED_TOKENS


def test_who_comes_while_others_write_reads_the_question_only(base, read):
    texts = [INSTRUCTION + question for question in QUESTIONS]
    batch = LiveBatch(base)
    rows = joined(batch, texts[:1])
    batch.step()
    rows += joined(batch, texts[1:2])
    batch.step()
    rows += joined(batch, texts[2:])
    assert finished(batch, rows) == alone(base, texts)
    assert sum(columns > SHARED_TOKENS for _, columns in read) == 1


def test_a_short_question_goes_on_when_the_longest_is_answered(base):
    texts = [INSTRUCTION + question for question in sorted(QUESTIONS, key=len, reverse=True)]
    batch = LiveBatch(base)
    limits = [3, 2, 12, 12]  # the longest leave: what is laid out for them is taken away
    found = finished(batch, joined(batch, texts, limits))
    assert found == [ids[:limit] for ids, limit in zip(alone(base, texts), limits, strict=True)]


def test_the_same_question_again_still_has_a_token_to_read(base):
    texts = [INSTRUCTION + QUESTIONS[0], INSTRUCTION]
    batch = LiveBatch(base)
    first = finished(batch, joined(batch, texts[:1]))
    again = finished(batch, joined(batch, texts))
    assert first + again == alone(base, texts[:1] + texts)


def test_prompts_that_share_nothing_are_read_together_as_before(base, read):
    texts = [*QUESTIONS, INSTRUCTION + QUESTIONS[1]]
    batch = LiveBatch(base)
    assert finished(batch, joined(batch, texts)) == alone(base, texts)
    assert [rows for rows, _ in read] == [len(texts)]


def test_two_instructions_do_not_mix(base):
    texts = [start + question for question in QUESTIONS for start in (INSTRUCTION, INSTRUCTION[9:], "")]
    batch = LiveBatch(base)
    rows = joined(batch, texts[:7])
    batch.step()
    rows += joined(batch, texts[7:])
    assert finished(batch, rows) == alone(base, texts)


def test_an_instruction_that_is_kept_in_part_and_read_in_pieces_changes_nothing(base, monkeypatch):
    monkeypatch.setattr(live_batch, "KNOWN_TOKENS", SHARED_TOKENS + 5)
    monkeypatch.setattr(live_batch, "PIECE_TOKENS", 16)
    texts = [INSTRUCTION + question for question in QUESTIONS]
    batch = LiveBatch(base)
    assert finished(batch, joined(batch, texts)) == alone(base, texts)


def test_an_instruction_not_met_for_long_is_read_again(base, read, monkeypatch):
    monkeypatch.setattr(live_batch, "KNOWN_PROMPTS", 2)
    texts = [f"{number} {INSTRUCTION}" for number in range(3)]
    batch = LiveBatch(base)
    for text in [*texts, texts[2], texts[0]]:
        finished(batch, joined(batch, [text]))
    assert sum(columns > SHARED_TOKENS for _, columns in read) == 4


def test_a_caller_who_leaves_before_its_instruction_is_read_takes_nothing_along(base):
    texts = [INSTRUCTION + question for question in QUESTIONS]
    batch = LiveBatch(base)
    rows = joined(batch, texts)
    batch.drop(rows[:1])
    assert finished(batch, rows[1:]) == alone(base, texts[1:])


def test_what_one_model_knows_is_not_another_ones(base, tiny_adapter, read):
    tuned = attach_adapter(base, tiny_adapter)
    texts = [INSTRUCTION + question for question in QUESTIONS]
    batches = [LiveBatch(base), LiveBatch(tuned)]
    rows = [joined(batch, texts[:2]) for batch in batches]
    for _ in range(4):
        for batch in batches:
            batch.step()
    for place, batch in enumerate(batches):
        rows[place] += joined(batch, texts[2:])
    found = [finished(batch, mine) for batch, mine in zip(batches, rows, strict=True)]
    assert found == [alone(base, texts), alone(tuned, texts)]
    assert sum(columns > SHARED_TOKENS for _, columns in read) == 2
