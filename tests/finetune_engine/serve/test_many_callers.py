"""Crowds, long prompts, those who leave, and machines that fail: each caller gets what it would have got alone."""

import json
import threading
import time
import weakref

import pytest
import torch

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError, UserError
from finetune_engine.generate import generate_batch
from finetune_engine.serve import live_batch
from finetune_engine.serve.backends.in_process import InProcessBackend, ModelFiles
from finetune_engine.serve.backends.tickets import Ticket
from finetune_engine.serve.constrain import constraint_of
from finetune_engine.serve.exchange import AnswerSchema, CompletionRequest, Message
from finetune_engine.serve.live_batch import LiveBatch
from finetune_engine.serve.openai_format import gather
from finetune_engine.train.local.load import attach_adapter, load_base

NEVER_ENDS = {1: -100.0}


def prompt_of(number):
    return "The tenant pays the rent. " * (1 + number % 5) + "Why?"[: number % 4]


@pytest.fixture(scope="module")
def alone(tiny_model, tiny_adapter):
    """``alone(model, text, tokens)``: the greedy answer of an evaluation, one prompt at a time."""
    base = load_base(BaseModelRef(key="tiny", path=str(tiny_model)))
    models = {"base": base, "tuned": attach_adapter(base, tiny_adapter)}

    def write(model, text, tokens):
        loaded = models[model]
        ids = list(loaded.tokenizer(text)["input_ids"])
        return generate_batch(loaded, [ids], max_new_tokens=tokens)[0].text

    return write


def ask(backend, model, text, cancelled=None, **parameters):
    request = CompletionRequest(model=model, prompt=text, **({"temperature": 0.0, "max_tokens": 16} | parameters))
    return gather(request, backend.complete(request, cancelled))


def all_at_once(jobs):
    """Run functions in threads; what they return or raise, in order."""
    found = [None] * len(jobs)

    def work(place, job):
        try:
            found[place] = job()
        except Exception as problem:
            found[place] = problem

    threads = [threading.Thread(target=work, args=item) for item in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return found


def test_64_callers_of_two_models_get_the_answers_they_would_get_alone(backend, alone):
    asked = [("tuned" if number % 3 == 0 else "base", prompt_of(number), 4 + number % 13) for number in range(64)]
    found = all_at_once([lambda job=job: ask(backend, job[0], job[1], max_tokens=job[2]) for job in asked])
    assert [reply.choices[0].text for reply in found] == [alone(*job) for job in asked]


def test_sixteen_long_choices_read_their_prompt_once(backend, monkeypatch):
    read = []
    advance = live_batch.Reading.advance
    monkeypatch.setattr(
        live_batch.Reading,
        "advance",
        lambda reading, *rest: (read.append(len(reading.contexts)), advance(reading, *rest)),
    )
    reply = ask(backend, "base", "rent", n=16, max_tokens=120, temperature=1.0, seed=3, logit_bias=NEVER_ENDS)
    assert read == [1]
    assert reply.usage.completion_tokens == 16 * 120
    assert len({choice.text for choice in reply.choices}) == 16


def test_several_prompts_are_answered_in_their_order(backend, alone):
    texts = [prompt_of(number) for number in range(5)]
    reply = ask(backend, "base", texts[0], more_prompts=tuple(texts[1:]))
    assert [choice.text for choice in reply.choices] == [alone("base", text, 16) for text in texts]


def test_a_long_prompt_is_read_in_pieces_while_others_write(backend, alone, monkeypatch):
    monkeypatch.setattr(live_batch, "PIECE_TOKENS", 16)
    widths = []
    advance = live_batch.Reading.advance
    monkeypatch.setattr(
        live_batch.Reading,
        "advance",
        lambda reading, *rest: (widths.append(max(map(len, reading.contexts))), advance(reading, *rest)),
    )
    long = "The tenant pays the rent on the first day of every month. " * 4
    jobs = [("base", "rent", 60), ("base", long, 20), ("base", prompt_of(2), 40)]
    found = all_at_once([lambda job=job: ask(backend, job[0], job[1], max_tokens=job[2]) for job in jobs])
    assert [reply.choices[0].text for reply in found] == [alone(*job) for job in jobs]
    assert widths.count(max(widths)) > 2


def test_a_storm_of_callers_who_leave_disturbs_nobody(backend, alone):
    def leave(number):
        request = CompletionRequest(
            model="base", prompt=prompt_of(number), temperature=0.0, max_tokens=100, logit_bias=NEVER_ENDS
        )
        cancelled = threading.Event()
        deltas = backend.complete(request, cancelled)
        if number % 2:
            next(deltas)
        time.sleep(0.002 * number)
        cancelled.set()
        return list(deltas)

    leaving = [lambda number=number: leave(number) for number in range(40)]
    staying = [lambda number=number: ask(backend, "base", prompt_of(number)) for number in range(8)]
    found = all_at_once([*leaving, *staying])
    assert not [item for item in found if isinstance(item, Exception)]
    assert [reply.choices[0].text for reply in found[40:]] == [alone("base", prompt_of(n), 16) for n in range(8)]


def test_a_crowd_of_one_model_does_not_starve_another(tiny_model, tiny_adapter):
    base = BaseModelRef(key="tiny", path=str(tiny_model))
    files = {"base": ModelFiles("base", base, None, "b"), "tuned": ModelFiles("tuned", base, tiny_adapter, "t")}
    serving = InProcessBackend(files.__getitem__, max_rows=4)
    ask(serving, "tuned", "rent", max_tokens=1)
    ended = {}

    def note(name, reply):
        ended[name] = time.monotonic()
        return reply

    crowd = [
        lambda n=n: note(n, ask(serving, "base", prompt_of(n), max_tokens=60, logit_bias=NEVER_ENDS)) for n in range(24)
    ]

    def late():
        time.sleep(0.1)
        return note("tuned", ask(serving, "tuned", "rent", max_tokens=10, logit_bias=NEVER_ENDS))

    all_at_once([*crowd, late])
    assert sum(ended[n] > ended["tuned"] for n in range(24)) >= 12
    serving.close()


def failing_over(monkeypatch, rows):
    """The machine's memory holds ``rows`` rows. Returns the row counts that were tried."""
    tried = []
    forward = live_batch.next_logits

    def limited(loaded, ids, *rest):
        tried.append(ids.shape[0])
        if ids.shape[0] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return forward(loaded, ids, *rest)

    monkeypatch.setattr(live_batch, "next_logits", limited)
    return tried


def test_rows_that_do_not_fit_the_memory_are_written_fewer_at_a_time(backend, alone, monkeypatch):
    tried = failing_over(monkeypatch, 3)
    texts = [prompt_of(number) for number in range(8)]
    reply = ask(backend, "base", texts[0], more_prompts=tuple(texts[1:]))
    assert [choice.text for choice in reply.choices] == [alone("base", text, 16) for text in texts]
    assert max(tried) > 3


def test_a_caller_who_does_not_fit_the_memory_alone_is_told_and_the_next_is_served(backend, monkeypatch):
    failing_over(monkeypatch, 0)
    with pytest.raises(EngineError) as caught:
        ask(backend, "base", "rent")
    assert caught.value.reason.startswith("oom")
    monkeypatch.undo()
    assert ask(backend, "base", "rent").choices[0].text


def test_remembered_prompts_make_room_for_a_caller_who_does_not_fit_the_memory(backend, alone, monkeypatch):
    instruction, tried = "Answer in one short sentence and only from what the agreement says. " * 2, []
    forward, read = live_batch.next_logits, live_batch.Reading.known
    remembered = []

    def noted(reading):
        known = read(reading)
        remembered.append(weakref.ref(known))
        return known

    def limited(loaded, ids, *rest):
        tried.append(ids.shape)
        if len(tried) > 1 and any(known() is not None for known in remembered):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return forward(loaded, ids, *rest)

    monkeypatch.setattr(live_batch.Reading, "known", noted)
    monkeypatch.setattr(live_batch, "next_logits", limited)
    assert ask(backend, "base", instruction, max_tokens=1).choices[0].text == alone("base", instruction, 1)
    assert ask(backend, "base", "rent").choices[0].text == alone("base", "rent", 16)
    with pytest.raises(EngineError) as caught:  # what it reads itself is remembered again: it is not tried for ever
        ask(backend, "base", instruction)
    assert caught.value.reason.startswith("oom")
    assert len(tried) < 30


def test_a_base_that_does_not_fit_the_memory_is_told_and_tried_again(backend, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("finetune_engine.serve.backends.base_worker.load_base", full)
    with pytest.raises(EngineError) as caught:
        ask(backend, "base", "rent")
    assert caught.value.reason == "oom_gpu"
    monkeypatch.undo()
    assert ask(backend, "base", "rent").choices[0].text


def test_a_row_without_finite_numbers_ends_with_an_error_and_others_go_on(backend, alone, monkeypatch):
    forward = live_batch.next_logits

    def broken(loaded, ids, mask, positions, cache):
        logits = forward(loaded, ids, mask, positions, cache).clone()
        if ids.shape[1] == 1:
            logits[mask.sum(dim=1) > 60] = float("nan")
        return logits

    monkeypatch.setattr(live_batch, "next_logits", broken)
    long, short = prompt_of(4) * 2, "rent"
    found = all_at_once([lambda: ask(backend, "base", long), lambda: ask(backend, "base", short)])
    assert isinstance(found[0], EngineError)
    assert found[0].reason == "diverged"
    assert found[1].choices[0].text == alone("base", short, 16)


def test_a_model_whose_files_are_gone_is_told_and_others_go_on(backend, tiny_model, tmp_path):
    base = BaseModelRef(key="tiny", path=str(tiny_model))
    known = {
        "base": ModelFiles("base", base, None, "b"),
        "gone": ModelFiles("gone", base, tmp_path / "no-adapter", "g"),
        "no-base": ModelFiles("no-base", BaseModelRef(key="x", path=str(tmp_path / "no-base")), None, "n"),
    }
    serving = InProcessBackend(known.__getitem__)
    jobs = [lambda name=name: ask(serving, name, "rent") for name in ("gone", "base", "no-base")]
    gone, fine, no_base = all_at_once(jobs)
    for problem in (gone, no_base):
        assert isinstance(problem, EngineError)
        assert problem.reason == "model_unavailable"
    assert fine.choices[0].text
    serving.close()


def test_a_prompt_of_megabytes_is_refused_at_once(backend):
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        ask(backend, "base", "rent " * 1_600_000)
    assert caught.value.code == "context_length_exceeded"
    assert time.monotonic() - began < 20


def test_a_caller_who_leaves_while_the_model_is_loading_takes_no_step(backend, monkeypatch):
    loading, go = threading.Event(), threading.Event()

    def slow(ref):
        loading.set()
        go.wait(30)
        return load_base(ref)

    steps = []
    step = LiveBatch.step
    monkeypatch.setattr("finetune_engine.serve.backends.base_worker.load_base", slow)
    monkeypatch.setattr(LiveBatch, "step", lambda batch: (steps.append(len(batch.all_rows())), step(batch))[1])
    cancelled = threading.Event()
    request = CompletionRequest(model="base", prompt="rent", max_tokens=5)
    asking = threading.Thread(target=lambda: list(backend.complete(request, cancelled)))
    asking.start()
    assert loading.wait(30)
    cancelled.set()
    asking.join(1)
    assert not asking.is_alive()
    go.set()
    assert ask(backend, "base", "rent", max_tokens=2).usage.completion_tokens <= 2
    assert max(steps) == 1


def test_an_answer_that_has_to_be_json_is_json_even_of_a_random_model(backend):
    schema = {
        "type": "object",
        "properties": {"verdict": {"enum": ["yes", "no"]}, "count": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["verdict", "count"],
        "additionalProperties": False,
    }
    request = CompletionRequest(
        model="base",
        messages=(Message("user", "rent"),),
        temperature=1.0,
        seed=1,
        n=3,
        max_tokens=60,
        top_logprobs=0,
        answer_schema=AnswerSchema(schema),
    )
    reply = gather(request, backend.complete(request))
    for choice in reply.choices:
        assert set(json.loads(choice.text)) == {"verdict", "count"}
        assert choice.finish_reason == "stop"
        # Told are the model's own probabilities: a random model gives a forced token next to none.
        assert min(token.logprob for token in choice.tokens) < -3


@pytest.mark.parametrize("stream", [False, True])
def test_the_end_of_a_choice_is_told_once(backend, stream):
    # The choices of the long text end late: the others have ended by then.
    request = CompletionRequest(
        model="base",
        prompt="rent",
        more_prompts=("The tenant",),
        n=3,
        max_tokens=40,
        temperature=1.5,
        seed=5,
        stream=stream,
    )
    deltas = list(backend.complete(request))
    ends = [delta.index for delta in deltas if delta.finish_reason is not None]
    assert sorted(ends) == list(range(6))


def test_a_reader_that_fails_ends_its_own_answer_only(backend, alone, monkeypatch):
    def fail(*_):
        raise ValueError("nobody thought of this")

    monkeypatch.setattr("finetune_engine.serve.answer_reader.AnswerReader.read", fail)
    monkeypatch.setattr("finetune_engine.serve.backends.tickets.Ticket.read", reading_for("rent"))
    found = all_at_once([lambda text=text: ask(backend, "base", text) for text in ("rent", prompt_of(2))])
    assert isinstance(found[0], EngineError)
    assert found[1].choices[0].text == alone("base", prompt_of(2), 16)


def reading_for(text):
    """Tickets of other texts are told without a reader."""
    read = Ticket.read

    def without(ticket, loaded):
        read(ticket, loaded)
        if ticket.request.prompt != text:
            ticket.reader = None

    return without


def test_a_grammar_is_made_while_others_write(backend, monkeypatch):
    made_in = []

    def noted(*parts):
        made_in.append(threading.current_thread().name)
        return constraint_of(*parts)

    monkeypatch.setattr("finetune_engine.serve.live_row.constraint_of", noted)
    schema = AnswerSchema({"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]})
    request = CompletionRequest(
        model="base", messages=(Message("user", "rent"),), answer_schema=schema, temperature=0.0
    )
    assert json.loads(gather(request, backend.complete(request)).choices[0].text)["a"] in (1, 2)
    assert [name.startswith("reader") for name in made_in] == [True]
