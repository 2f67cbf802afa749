import threading
import time

import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError
from finetune_engine.generate import generate_batch
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


def test_a_cancelled_request_stops_writing(backend, monkeypatch):
    steps = []
    step = LiveBatch.step
    monkeypatch.setattr(LiveBatch, "step", lambda batch: (time.sleep(0.005), steps.append(1), step(batch))[-1])
    request = CompletionRequest(
        model="base", messages=(Message("user", "rent"),), temperature=0.0, max_tokens=200, logit_bias={1: -100.0}
    )
    cancelled = threading.Event()
    deltas = backend.complete(request, cancelled)
    next(deltas)
    cancelled.set()
    assert list(deltas) == []
    assert ask(backend, "base", "rent", max_tokens=1).usage.completion_tokens == 1
    assert len(steps) < 100


def test_a_request_joins_one_that_is_under_way(backend, monkeypatch, expected):
    step = LiveBatch.step
    widths = []
    monkeypatch.setattr(
        LiveBatch, "step", lambda batch: (time.sleep(0.005), widths.append(len(batch.rows)), step(batch))[-1]
    )
    request = CompletionRequest(
        model="base", messages=(Message("user", "rent"),), temperature=0.0, max_tokens=150, logit_bias={1: -100.0}
    )
    long = backend.complete(request)
    first = next(long)
    assert_same(ask(backend, "base", QUESTIONS[2]), expected["base"][2])
    assert max(widths) == 2
    told = [token.logprob for delta in (first, *long) for token in delta.tokens]
    alone = gather(request, backend.complete(request)).choices[0].tokens
    assert told == pytest.approx([token.logprob for token in alone], abs=1e-4)


def test_a_plain_text_is_continued(backend):
    request = CompletionRequest(model="base", prompt="The tenant", temperature=0.0, max_tokens=4)
    reply = gather(request, backend.complete(request))
    assert reply.usage.completion_tokens <= 4
    assert reply.choices[0].text


def test_the_least_recently_used_base_makes_room_for_a_new_one(tiny_model, tmp_path):
    from shutil import copytree

    from finetune_engine.serve.backends.in_process import InProcessBackend, ModelFiles

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
