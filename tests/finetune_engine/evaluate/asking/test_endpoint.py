import json
import threading
from dataclasses import replace

import pytest
from werkzeug import Response

from finetune_engine.errors import EngineError, UserError
from finetune_engine.evaluate.asking.endpoint import EndpointAsker, Patience, without_oldest
from finetune_engine.evaluate.asking.store import AnswerStore
from finetune_engine.evaluate.cases import TestCase
from finetune_engine.evaluate.settings import Endpoint, PromptVariant
from finetune_engine.evaluate.spec import ModelSpec
from finetune_engine.events import ListSink
from finetune_engine.ports import Run, Stopped

QUICK = Patience(answer_seconds=2, first_pause_seconds=0.01, patience_seconds=0.4)
PATH = "/v1/chat/completions"


class Watching:
    def __init__(self, stop=None):
        self.run = Run(ListSink(), **({"stop": stop} if stop else {}))
        self.done = 0

    def advance(self, questions):
        self.done += questions

    @property
    def warnings(self):
        return [event.data["code"] for event in self.run.sink.events if event.kind == "warn"]


def completion(text, finish="stop", usage=(11, 3)):
    counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)} if usage else None
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": counts}


def refusal(status, message, **more):
    return Response(json.dumps({"error": {"message": message, **more}}), status, content_type="application/json")


class Server:
    """Answers by a function of the request's JSON; keeps what was asked."""

    def __init__(self, httpserver):
        self.says = lambda told: completion("The answer to " + told["messages"][-1]["content"])
        self.asked = []
        self.keys = []
        self._lock = threading.Lock()
        httpserver.expect_request(PATH, method="POST").respond_with_handler(self._answer)

    def _answer(self, request):
        told = json.loads(request.data)
        with self._lock:
            self.asked.append(told)
            self.keys.append(request.headers.get("authorization"))
            said = self.says(told)
        return Response(json.dumps(said), content_type="application/json") if isinstance(said, dict) else said


@pytest.fixture
def server(httpserver):
    return Server(httpserver)


@pytest.fixture
def store(tmp_path):
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        yield store


@pytest.fixture
def spec(httpserver):
    endpoint = Endpoint(httpserver.url_for("/v1"), "big-model", None, ("localhost", "127.0.0.1"))
    return ModelSpec("remote", "Remote", None, endpoint=endpoint)


@pytest.fixture
def asker(server, spec, store):
    made = EndpointAsker(spec, store=store, watch=Watching(), patience=QUICK)
    yield made
    made.close()


def ask(*texts):
    return [[{"role": "user", "content": text}] for text in texts]


def test_answers_come_in_the_order_of_the_questions_with_their_counts(asker, server):
    texts = [f"question {number}" for number in range(20)]
    answers = asker.answer(ask(*texts), max_new_tokens=9)
    assert [answer.text for answer in answers] == [f"The answer to {text}" for text in texts]
    assert (answers[0].prompt_tokens, answers[0].completion_tokens, answers[0].finish_reason) == (11, 3, "stop")
    assert server.asked[0] | {"messages": None} == {
        "model": "big-model",
        "messages": None,
        "temperature": 0.0,
        "max_tokens": 9,
    }


def test_nothing_goes_over_the_wire_twice(asker, server, spec, store):
    asker.answer(ask("a", "b", "a"), max_new_tokens=9)
    assert len(server.asked) == 2
    with_others = EndpointAsker(spec, store=store, watch=Watching(), patience=QUICK)
    with_others.answer(ask("b", "c"), max_new_tokens=9)
    assert len(server.asked) == 3
    with_others.answer(ask("b"), max_new_tokens=10)
    assert len(server.asked) == 4


def test_a_model_of_another_name_is_asked_for_itself(asker, server, spec, store):
    asker.answer(ask("a"), max_new_tokens=9)
    other = replace(spec, endpoint=replace(spec.endpoint, model="small-model"))
    EndpointAsker(other, store=store, watch=Watching()).answer(ask("a"), max_new_tokens=9)
    assert [told["model"] for told in server.asked] == ["big-model", "small-model"]


def test_a_full_house_is_waited_for(asker, server):
    replies = iter([refusal(429, "slow down"), refusal(500, "oh"), refusal(503, "busy")])
    server.says = lambda told: next(replies, None) or completion("at last")
    assert asker.answer(ask("a"), max_new_tokens=9)[0].text == "at last"
    assert len(server.asked) == 4
    assert asker._watch.warnings == ["endpoint_trouble"]


def test_an_endpoint_that_stays_broken_ends_the_evaluation_and_keeps_what_it_said(asker, server, store, spec):
    asker.answer(ask("a", "b"), max_new_tokens=9)
    server.says = lambda told: refusal(500, "out of order")
    with pytest.raises(UserError) as caught:
        asker.answer(ask("a", "b", "c"), max_new_tokens=9)
    assert caught.value.code == "endpoint_failed"
    assert "big-model" in caught.value.sentence
    assert spec.endpoint.base_url in caught.value.sentence
    assert "out of order" in caught.value.sentence
    assert len(store) == 2


def test_finished_answers_survive_a_failure_among_their_neighbours(asker, server, store):
    def says(told):
        text = told["messages"][-1]["content"]
        return refusal(401, "no such key") if text == "q7" else completion(text)

    server.says = says
    with pytest.raises(UserError, match="no such key"):
        asker.answer(ask(*(f"q{number}" for number in range(30))), max_new_tokens=9)
    assert len(store) >= 3


@pytest.mark.parametrize("body", ["{half", "[]", "{}", '{"choices": []}', '"text"', ""])
def test_an_answer_that_is_no_answer_is_tried_again_then_named(asker, server, body):
    server.says = lambda told: Response(body, content_type="application/json")
    with pytest.raises(UserError) as caught:
        asker.answer(ask("a"), max_new_tokens=9)
    assert caught.value.code == "endpoint_failed"
    assert len(server.asked) > 1


def test_a_page_of_html_is_no_answer(asker, server):
    server.says = lambda told: Response("<h1>Welcome</h1>", content_type="text/html")
    with pytest.raises(UserError, match="not in the shape"):
        asker.answer(ask("a"), max_new_tokens=9)


def test_an_endpoint_that_says_nothing_in_time_is_named(server, spec, store):
    release = threading.Event()
    server.says = lambda told: (release.wait(5), completion("late"))[1]
    patience = Patience(answer_seconds=0.2, first_pause_seconds=0.01, patience_seconds=0.1)
    asker = EndpointAsker(spec, store=store, watch=Watching(), patience=patience)
    try:
        with pytest.raises(UserError, match="did not answer in time"):
            asker.answer(ask("a"), max_new_tokens=9)
    finally:
        release.set()


def test_nobody_at_the_address_is_an_error_in_plain_words(spec, store, httpserver):
    gone = replace(spec, endpoint=replace(spec.endpoint, base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(UserError, match="cannot be reached"):
        EndpointAsker(gone, store=store, watch=Watching(), patience=QUICK).answer(ask("a"), max_new_tokens=9)


def test_a_private_host_that_is_not_allowed_is_never_asked(server, spec, store):
    closed = replace(spec, endpoint=replace(spec.endpoint, allowed_hosts=()))
    with pytest.raises(UserError) as caught:
        EndpointAsker(closed, store=store, watch=Watching(), patience=QUICK).answer(ask("a"), max_new_tokens=9)
    assert caught.value.code == "host_not_allowed"
    assert server.asked == []


def test_a_question_that_is_refused_counts_as_an_empty_answer(asker, server, store):
    def says(told):
        return refusal(400, "content filter") if "bad" in told["messages"][-1]["content"] else completion("fine")

    server.says = says
    answers = asker.answer(ask("one", "a bad one", "two"), max_new_tokens=9)
    assert [answer.text for answer in answers] == ["fine", "", "fine"]
    assert asker._watch.warnings == ["questions_refused"]
    assert len(store) == 2


def test_an_endpoint_that_refuses_everything_is_an_error(asker, server):
    server.says = lambda told: refusal(400, "unknown parameter")
    with pytest.raises(UserError, match="unknown parameter"):
        asker.answer(ask("one", "two"), max_new_tokens=9)


def test_newer_models_get_the_limit_under_its_newer_name(asker, server):
    def says(told):
        if "max_tokens" in told:
            words = "Use 'max_completion_tokens' instead."
            return refusal(400, words, param="max_tokens", code="unsupported_parameter")
        if "temperature" in told:
            return refusal(400, "'temperature' does not support 0.", param="temperature", code="unsupported_value")
        return completion("fine")

    server.says = says
    assert [answer.text for answer in asker.answer(ask("a", "b"), max_new_tokens=9)] == ["fine", "fine"]
    assert server.asked[-1]["max_completion_tokens"] == 9


def test_a_question_too_long_loses_its_oldest_half_until_it_fits(asker, server):
    def says(told):
        text = told["messages"][-1]["content"]
        if len(text) > 30:
            return refusal(400, "maximum context length is 30", code="context_length_exceeded")
        return completion(text)

    server.says = says
    text = "".join(chr(97 + number % 26) for number in range(100))
    assert asker.answer(ask(text), max_new_tokens=9)[0].text == text[-25:]
    assert asker.shortened == 1


def test_cutting_takes_the_longest_message_only():
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "0123456789abc"}]
    assert without_oldest(turns) == [turns[0], {"role": "user", "content": "789abc"}]


def test_the_key_comes_from_its_variable_and_its_absence_is_named(server, spec, store, monkeypatch):
    keyed = replace(spec, endpoint=replace(spec.endpoint, key_variable="E1_TEST_KEY"))
    monkeypatch.delenv("E1_TEST_KEY", raising=False)
    with pytest.raises(UserError, match="E1_TEST_KEY"):
        EndpointAsker(keyed, store=store, watch=Watching())
    monkeypatch.setenv("E1_TEST_KEY", "sk-secret")
    EndpointAsker(keyed, store=store, watch=Watching()).answer(ask("a"), max_new_tokens=9)
    assert server.keys == ["Bearer sk-secret"]


def test_an_endpoint_gives_no_likelihoods(asker):
    assert asker.can_score is False
    for call in (
        lambda: asker.cost_of(ask("a"), ["b"]),
        lambda: asker.choice_loglikelihoods(ask("a"), [["b"]]),
        lambda: asker.text_cost(["b"]),
    ):
        with pytest.raises(EngineError):
            call()


def test_a_run_that_is_cancelled_stops_asking(server, spec, store):
    class Soon:
        left = 3

        def action(self):
            Soon.left -= 1
            return "go" if Soon.left > 0 else "cancel"

    asker = EndpointAsker(spec, store=store, watch=Watching(Soon()), patience=QUICK)
    with pytest.raises(Stopped):
        asker.answer(ask(*(f"q{number}" for number in range(500))), max_new_tokens=9)
    assert len(server.asked) < 100


def test_a_prompt_of_ones_own_goes_along(server, spec, store):
    shot = TestCase(1, [{"role": "user", "content": "two and two"}], "two and two", "four", None, None)
    prompted = replace(spec, prompt=PromptVariant("Be brief.", 1))
    asker = EndpointAsker(prompted, store=store, watch=Watching(), examples=[shot])
    asker.answer(ask("one and one"), max_new_tokens=9)
    assert [(turn["role"], turn["content"]) for turn in server.asked[0]["messages"]] == [
        ("system", "Be brief."),
        ("user", "two and two"),
        ("assistant", "four"),
        ("user", "one and one"),
    ]


def test_a_call_that_is_timed_waits_for_trouble_to_pass_and_counts_the_last_try(asker, server):
    replies = iter([refusal(429, "slow down"), refusal(500, "oh")])
    server.says = lambda told: next(replies, None) or completion("at last")
    answer, seconds = asker.timed(ask("a")[0], max_new_tokens=9)
    assert (answer.text, len(server.asked)) == ("at last", 3)
    assert seconds > 0


def test_a_refused_question_cannot_be_timed(asker, server):
    server.says = lambda told: refusal(400, "content filter")
    with pytest.raises(UserError) as caught:
        asker.timed(ask("a")[0], max_new_tokens=9)
    assert caught.value.code == "question_refused"


def test_one_call_is_timed_past_the_store(asker, server):
    asker.answer(ask("a"), max_new_tokens=9)
    answer, seconds = asker.timed(ask("a")[0], max_new_tokens=9)
    assert answer.text == "The answer to a"
    assert seconds > 0
    assert len(server.asked) == 2


def test_a_call_that_is_timed_can_be_stopped_while_it_waits_for_trouble_to_pass(server, spec, store):
    class Later:
        def action(self):
            return "cancel" if server.asked else "go"

    server.says = lambda told: refusal(503, "later")
    patience = Patience(answer_seconds=2, first_pause_seconds=60, patience_seconds=600)
    asker = EndpointAsker(spec, store=store, watch=Watching(Later()), patience=patience)
    with pytest.raises(Stopped):
        asker.timed(ask("a")[0], max_new_tokens=9)
    assert len(server.asked) == 1


def test_an_endpoint_whose_answers_are_all_remembered_may_refuse_one_more_question(asker, server, spec, store):
    asker.answer(ask("a"), max_new_tokens=9)
    server.says = lambda told: refusal(400, "content filter")
    again = EndpointAsker(spec, store=store, watch=Watching(), patience=QUICK)
    assert [said.text for said in again.answer(ask("a"), max_new_tokens=9)] == ["The answer to a"]
    assert [said.text for said in again.answer(ask("bad"), max_new_tokens=9)] == [""]
