import queue
import threading
from shutil import copytree

import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError, UserError
from finetune_engine.generate import generate_batch
from finetune_engine.serve.backends import in_process
from finetune_engine.serve.backends.base_worker import BaseWorker
from finetune_engine.serve.backends.in_process import InProcessBackend, ModelFiles
from finetune_engine.serve.embed import hidden_means
from finetune_engine.serve.exchange import CompletionRequest, Message
from finetune_engine.serve.live_batch import LiveBatch
from finetune_engine.serve.openai_format import gather
from finetune_engine.train.local.encode import encode_prompt
from finetune_engine.train.local.load import attach_adapter, load_base

QUESTIONS = ["rent", "Who may end this agreement?", "The tenant pays the rent on the first day of every month. Why?"]


def ask(backend, model, question, **parameters):
    parameters = {"temperature": 0.0, "max_tokens": 24} | parameters
    request = CompletionRequest(model=model, messages=(Message("user", question),), **parameters)
    return gather(request, backend.complete(request))


@pytest.fixture(scope="module")
def expected(tiny_model, tiny_adapter):
    """Greedy answers as an evaluation would give them: ``[model][question]``."""
    base = load_base(BaseModelRef(key="tiny", path=str(tiny_model)))
    tuned = attach_adapter(base, tiny_adapter)
    answers = {}
    for name, loaded in (("base", base), ("tuned", tuned)):
        prompts = [encode_prompt(loaded, [{"role": "user", "content": question}]) for question in QUESTIONS]
        answers[name] = generate_batch(loaded, prompts, max_new_tokens=24)
    return answers


def assert_same(reply, answer):
    """Same text, end and probabilities (texts alone may agree by luck)."""
    choice = reply.choices[0]
    assert choice.text == answer.text
    assert choice.finish_reason == answer.finish_reason
    assert [token.logprob for token in choice.tokens] == pytest.approx(answer.logprobs, abs=1e-4)


def test_served_answers_are_those_of_an_evaluation(backend, expected):
    for model in ("base", "tuned", "base"):
        for question, answer in zip(QUESTIONS, expected[model], strict=True):
            assert_same(ask(backend, model, question), answer)
    assert expected["base"][0].text != expected["tuned"][0].text


def test_callers_at_the_same_time_get_the_answers_they_would_get_alone(backend, expected):
    jobs = [(model, number) for number in range(len(QUESTIONS)) for model in ("base", "tuned")] * 4
    found = {}

    def work(place, model, number):
        found[place] = ask(backend, model, QUESTIONS[number])

    threads = [threading.Thread(target=work, args=(place, *job)) for place, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for place, (model, number) in enumerate(jobs):
        assert_same(found[place], expected[model][number])


def test_the_texts_of_the_tokens_make_up_the_answer(backend):
    choice = ask(backend, "base", QUESTIONS[1], top_logprobs=2).choices[0]
    assert "".join(token.text for token in choice.tokens) == choice.text
    for token in choice.tokens:
        assert token.alternatives[0].logprob == pytest.approx(token.logprob)
        assert token.alternatives[1].logprob <= token.alternatives[0].logprob


def test_a_stop_text_ends_the_answer_before_it(backend, expected):
    whole = expected["base"][1].text
    stop = whole[6:9]
    reply = ask(backend, "base", QUESTIONS[1], stop=(stop,), top_logprobs=0)
    assert reply.choices[0].text == whole[: whole.index(stop)]
    assert reply.choices[0].finish_reason == "stop"
    said = "".join(token.text for token in reply.choices[0].tokens)
    assert said.startswith(reply.choices[0].text)
    assert len(reply.choices[0].tokens) < reply.usage.completion_tokens


def test_a_seed_makes_sampling_repeatable_and_choices_differ(backend):
    first = ask(backend, "base", "rent", temperature=1.0, seed=7, n=3)
    again = ask(backend, "base", "rent", temperature=1.0, seed=7, n=3)
    assert [choice.text for choice in first.choices] == [choice.text for choice in again.choices]
    assert len({choice.text for choice in first.choices}) == 3
    assert first.choices[0].text != ask(backend, "base", "rent", temperature=1.0, seed=8).choices[0].text


def test_a_forbidden_token_is_not_written(backend, expected):
    first = expected["base"][0].token_ids[0]
    plain, barred = ask(backend, "base", "rent"), ask(backend, "base", "rent", logit_bias={first: -100.0})
    assert plain.choices[0].text != barred.choices[0].text


def test_a_frequency_penalty_makes_repeating_rarer(backend):
    def distinct(reply):
        texts = [token.text for token in reply.choices[0].tokens]
        return len(set(texts)) / len(texts)

    plain = ask(backend, "base", QUESTIONS[2], max_tokens=60)
    varied = ask(backend, "base", QUESTIONS[2], max_tokens=60, frequency_penalty=2.0)
    assert distinct(varied) > distinct(plain)


def test_usage_counts_prompt_and_answer(backend, tiny_model):
    loaded = load_base(BaseModelRef(key="tiny", path=str(tiny_model)))
    prompt = encode_prompt(loaded, [{"role": "user", "content": "rent"}])
    reply = ask(backend, "base", "rent", max_tokens=3)
    assert reply.usage.prompt_tokens == len(prompt)
    assert reply.usage.completion_tokens == 3
    assert reply.choices[0].finish_reason == "length"
    assert reply.served.model_digest == "digest-base"


def test_an_unknown_model_is_404(backend):
    with pytest.raises(UserError) as caught:
        ask(backend, "nobody", "hi")
    assert caught.value.status == 404


def test_a_prompt_longer_than_the_context_is_refused_and_the_next_caller_is_served(backend):
    with pytest.raises(UserError) as caught:
        ask(backend, "base", "rent " * 400)
    assert (caught.value.code, caught.value.field) == ("context_length_exceeded", "messages")
    assert ask(backend, "base", "rent").choices[0].finish_reason in ("stop", "length")


ENDLESS = {"messages": (Message("user", "rent"),), "temperature": 0.0, "logit_bias": {1: -100.0}}


def test_a_cancelled_request_stops_writing(backend, monkeypatch):
    steps, go_on = [], threading.Event()
    step = LiveBatch.step

    def held(batch):
        if any(row.has_begun for row in batch.all_rows()):
            go_on.wait(60)
        steps.append(len(batch.all_rows()))
        return step(batch)

    monkeypatch.setattr(LiveBatch, "step", held)
    cancelled = threading.Event()
    deltas = backend.complete(CompletionRequest(model="base", max_tokens=200, **ENDLESS), cancelled)
    next(deltas)
    cancelled.set()
    go_on.set()
    assert list(deltas) == []
    assert ask(backend, "base", "rent", max_tokens=1).usage.completion_tokens == 1
    assert len(steps) < 100


def test_a_request_joins_one_that_is_under_way(backend, monkeypatch, expected):
    widths, has_come = [], threading.Event()
    step = LiveBatch.step

    def held(batch):
        if any(row.has_begun for row in batch.all_rows()):
            has_come.wait(60)
        widths.append(len(batch.rows))
        return step(batch)

    monkeypatch.setattr(LiveBatch, "step", held)
    request = CompletionRequest(model="base", max_tokens=150, **ENDLESS)
    long = backend.complete(request)
    first = next(long)
    joining = CompletionRequest(model="base", messages=(Message("user", QUESTIONS[2]),), temperature=0.0, max_tokens=24)
    told = queue.SimpleQueue()
    backend.submit(joining, threading.Event(), told.put)
    has_come.set()
    assert_same(gather(joining, (delta for deltas in iter(told.get, None) for delta in deltas)), expected["base"][2])
    assert max(widths) == 2
    written = [token.logprob for delta in (first, *long) for token in delta.tokens]
    alone = gather(request, backend.complete(request)).choices[0].tokens
    assert written == pytest.approx([token.logprob for token in alone], abs=1e-4)


def test_a_plain_text_is_continued(backend):
    request = CompletionRequest(model="base", prompt="The tenant", temperature=0.0, max_tokens=4)
    reply = gather(request, backend.complete(request))
    assert reply.usage.completion_tokens <= 4
    assert reply.choices[0].text


def test_the_least_recently_used_base_makes_room_for_a_new_one(tiny_model, tmp_path):
    names = ("a", "b", "c")
    folders = {name: copytree(tiny_model, tmp_path / name) for name in names}
    serving = InProcessBackend(
        lambda name: ModelFiles(name, BaseModelRef(key=name, path=str(folders[name])), None, name), max_models=2
    )
    for name in names:
        ask(serving, name, "rent", max_tokens=2)
    assert serving.loaded_models() == ["b", "c"]
    assert ask(serving, "a", "rent", max_tokens=2).usage.completion_tokens <= 2
    serving.close()


def test_a_worker_that_fails_tells_those_who_wait_and_another_takes_its_place(backend, monkeypatch):
    assert ask(backend, "base", "rent", max_tokens=1).choices[0].finish_reason
    failed = threading.Event()

    def fail(worker):
        failed.set()
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(BaseWorker, "_turns", fail)
    with pytest.raises(EngineError, match="in the middle of its work"):
        ask(backend, "base", "rent")
    monkeypatch.undo()
    assert failed.is_set()
    assert ask(backend, "base", "rent", max_tokens=1).choices[0].finish_reason
    assert backend.load("base")


def test_many_texts_are_embedded_a_few_at_a_time(backend, monkeypatch):
    read = []

    def noted(loaded, texts):
        read.append(len(texts))
        return hidden_means(loaded, texts)

    monkeypatch.setattr(in_process, "EMBEDDED_AT_ONCE", 2)
    monkeypatch.setattr(in_process, "hidden_means", noted)
    made = backend.embed_files(backend._resolve("base"), QUESTIONS)
    assert read == [2, 1]
    alone = [backend.embed_files(backend._resolve("base"), [question]) for question in QUESTIONS]
    assert made.prompt_tokens == sum(one.prompt_tokens for one in alone)
    for vector, one in zip(made.vectors, alone, strict=True):
        assert vector == pytest.approx(one.vectors[0], abs=1e-5)
