"""The backend for servers elsewhere, against real sockets: our own replica, and one that misbehaves."""

import json
import queue
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.backends.choosing import ChoosingBackend
from finetune_engine.serve.backends.models import RemoteModel
from finetune_engine.serve.backends.openai_http import OpenAIHttpBackend, retry_after
from finetune_engine.serve.exchange import CompletionRequest, Message, Tool
from finetune_engine.serve.openai_format import gather
from tests.finetune_engine.serve.running import served

CHUNK = {"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}]}


def ask(backend, model="far", cancelled=None, **parameters):
    request = CompletionRequest(model=model, **({"messages": (Message("user", "hello"),)} | parameters))
    return gather(request, backend.complete(request, cancelled))


@contextmanager
def asking(url, *, allowed=None, key="sk-secret"):
    host = url.partition("//")[2].partition("/")[0]
    remote = RemoteModel("far", f"{url}/v1", key, "tuned", "digest-far", (host,) if allowed is None else allowed)
    backend = ChoosingBackend(lambda _: remote)
    yield backend
    backend.close()


class Server(ThreadingHTTPServer):
    """Gives the answers it is told to, and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked, self.keys, self.closed = list(answers), [], [], threading.Event()
        super().__init__(("127.0.0.1", 0), Answers)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_):
        self.closed.set()


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.server.keys.append(self.headers.get("Authorization"))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self)


def saying(status, body, **headers):
    def answer(handler):
        told = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(told)))
        handler.end_headers()
        handler.wfile.write(told)

    return answer


def streaming(*lines, then_wait=0.0):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for line in lines:
            handler.wfile.write(b"data: " + (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n\n")
            handler.wfile.flush()
        end = time.monotonic() + then_wait
        while time.monotonic() < end:  # a model that goes on until nobody reads
            handler.wfile.write(b": ping\n\n")
            handler.wfile.flush()
            time.sleep(0.02)
        handler.close_connection = True

    return answer


def error(message, **more):
    return {"error": {"message": message} | more}


WHOLE = {
    "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1},
}


@pytest.mark.parametrize("stream", [False, True])
def test_a_replica_elsewhere_answers_as_it_would_be_answered_here(backend, stream):
    asked = {"temperature": 0.0, "max_tokens": 8, "top_logprobs": 2, "stream": stream}
    request = CompletionRequest(model="tuned", messages=(Message("user", "hello"),), **asked)
    here = gather(request, backend.complete(request))
    with served(backend) as url, asking(url) as elsewhere:
        there = ask(elsewhere, **asked)
    assert there.choices[0].text == here.choices[0].text
    assert there.choices[0].finish_reason == here.choices[0].finish_reason
    assert there.usage == here.usage
    assert there.served.model_digest == "digest-far"
    assert [token.logprob for token in there.choices[0].tokens] == pytest.approx(
        [token.logprob for token in here.choices[0].tokens], abs=1e-4
    )
    assert len(there.choices[0].tokens[0].alternatives) == 2


def test_plain_prompts_travel_too(backend):
    asked = {"prompt": "The tenant", "more_prompts": ("rent",), "temperature": 0.0, "max_tokens": 6}
    request = CompletionRequest(model="tuned", **asked)
    here = gather(request, backend.complete(request))
    with served(backend) as url, asking(url) as elsewhere:
        there = ask(elsewhere, messages=None, **asked)
    assert [choice.text for choice in there.choices] == [choice.text for choice in here.choices]
    assert there.choices[0].tokens[0].logprob == pytest.approx(here.choices[0].tokens[0].logprob, abs=1e-4)


def test_tool_calls_and_thoughts_come_through():
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"a": 1}'}}
    message = {"content": None, "reasoning_content": "Hm.", "tool_calls": [call]}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    server = Server(saying(200, answer))
    with asking(server.url) as backend:
        choice = ask(backend, tools=(Tool("look_up", "", {"type": "object"}),)).choices[0]
    assert (choice.reasoning, choice.finish_reason) == ("Hm.", "tool_calls")
    assert (choice.tool_calls[0].name, choice.tool_calls[0].arguments) == ("look_up", '{"a": 1}')
    assert server.asked[0]["tools"][0]["function"]["name"] == "look_up"
    assert server.keys == ["Bearer sk-secret"]


def test_arguments_that_are_sent_as_an_object_are_the_text_of_it():
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": {"a": "ü"}}}
    answer = {"choices": [{"index": 0, "message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    with asking(Server(saying(200, answer)).url) as backend:
        choice = ask(backend, tools=(Tool("look_up", "", {"type": "object"}),)).choices[0]
    assert choice.tool_calls[0].arguments == '{"a": "ü"}'


def test_a_private_address_is_not_spoken_to_unless_it_is_allowed():
    server = Server(saying(200, WHOLE))
    for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
        with asking(url, allowed=()) as backend, pytest.raises(EngineError, match="private"):
            ask(backend)
    assert server.asked == []


def test_a_redirect_is_not_followed():
    target = Server(saying(200, WHOLE))
    server = Server(saying(307, {}, Location=f"{target.url}/v1/chat/completions"))
    with asking(server.url) as backend, pytest.raises(EngineError, match="307"):
        ask(backend)
    assert target.asked == []


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, UserError, 400),
        (422, UserError, 422),
        (401, EngineError, None),
        (404, EngineError, None),
        (500, EngineError, None),
    ],
)
def test_what_is_the_callers_fault_keeps_its_status(status, kind, code):
    server = Server(saying(status, error("No: sk-secret", param="messages")))
    with asking(server.url) as backend, pytest.raises(kind) as caught:
        ask(backend)
    assert getattr(caught.value, "status", None) == code
    assert "sk-secret" not in str(caught.value)
    assert len(server.asked) == 1


def test_a_busy_server_says_when_to_come_back():
    server = Server(saying(429, error("slow down"), Retry_After="17"))
    with asking(server.url) as backend:
        with pytest.raises(UserError) as caught:
            ask(backend)
        assert (caught.value.status, caught.value.retry_after_seconds) == (429, 17)
        with served(backend) as url:
            import httpx

            body = {"model": "far", "messages": [{"role": "user", "content": "hi"}]}
            response = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert (response.status_code, response.headers["retry-after"]) == (429, "17")


def test_a_server_that_knows_no_logprobs_is_asked_without_them():
    server = Server(saying(400, error("logprobs are not supported")), saying(200, WHOLE))
    with asking(server.url) as backend:
        assert ask(backend).choices[0].text == "Hi"
        assert ask(backend).choices[0].tokens == []
    assert ["logprobs" in body for body in server.asked] == [True, False, False]


def test_a_stream_that_breaks_off_is_an_error_and_is_not_asked_again():
    server = Server(streaming(CHUNK))
    with asking(server.url) as backend, pytest.raises(EngineError, match="broke"):
        ask(backend, stream=True)
    assert len(server.asked) == 1


def test_a_caller_who_leaves_closes_the_connection():
    server = Server(streaming(CHUNK, then_wait=120))
    with asking(server.url) as backend:
        cancelled = threading.Event()
        request = CompletionRequest(model="far", messages=(Message("user", "hello"),), stream=True)
        deltas = backend.complete(request, cancelled)
        assert next(deltas).text == "Hello"
        cancelled.set()
        assert list(deltas) == []
        assert server.closed.wait(60)


DEEP = b'{"choices": ' + b"[" * 100_000


@pytest.mark.parametrize(
    "body", [{"choices": [{"index": 9, "message": {"content": "x"}}]}, [], {"choices": [3]}, {}, DEEP]
)
def test_an_answer_that_cannot_be_read_is_an_error(body):
    with asking(Server(saying(200, body)).url) as backend, pytest.raises(EngineError):
        ask(backend)


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_writes_fewer_answers_than_were_asked_for_is_an_error(stream):
    server = Server(streaming(CHUNK, b"[DONE]") if stream else saying(200, WHOLE))
    with asking(server.url) as backend, pytest.raises(EngineError, match="1 of 2 answers"):
        ask(backend, n=2, stream=stream)


def test_an_error_that_is_a_bare_text_is_passed_on():
    server = Server(saying(400, {"error": "no such thing"}))
    with asking(server.url) as backend, pytest.raises(UserError, match="no such thing"):
        ask(backend)


def test_who_still_waits_when_it_is_closed_is_told():
    reached, go_on = threading.Event(), threading.Event()

    def holding(handler):
        reached.set()
        go_on.wait(60)

    told = queue.SimpleQueue()
    server = Server(holding)
    with asking(server.url) as backend:
        request = CompletionRequest(model="far", messages=(Message("user", "hello"),))
        backend.submit(request, threading.Event(), told.put)
        assert reached.wait(30)
    assert isinstance(told.get(timeout=30), EngineError)
    go_on.set()


def test_who_asked_a_moment_before_it_is_closed_is_told():
    remote = RemoteModel("far", "http://127.0.0.1:9/v1", "", "x", "d", ("127.0.0.1",))
    for _ in range(20):
        http, told = OpenAIHttpBackend(), queue.SimpleQueue()
        http.submit(remote, CompletionRequest(model="far", prompt="x"), threading.Event(), told.put)
        http.close()
        assert isinstance(told.get(timeout=30), EngineError)


def test_nothing_is_held_once_it_is_closed():
    http = OpenAIHttpBackend()
    remote = RemoteModel("far", "http://127.0.0.1:9/v1", "", "x", "d", ("127.0.0.1",))
    request = CompletionRequest(model="far", prompt="x")
    told = queue.SimpleQueue()
    http.submit(remote, request, threading.Event(), told.put)
    loop, thread = http._loop, http._thread
    assert isinstance(told.get(timeout=30), EngineError)
    http.close()
    assert loop.is_closed()
    assert not thread.is_alive()
    with pytest.raises(EngineError, match="about to end"):
        http.submit(remote, request, threading.Event(), told.put)


def test_a_server_that_is_not_there_is_an_error():
    with asking("http://127.0.0.1:9", allowed=("127.0.0.1",)) as backend, pytest.raises(EngineError, match="reached"):
        ask(backend)


@pytest.mark.parametrize("place", [10**9, -1])
def test_a_tool_call_at_an_impossible_place_is_an_error(place):
    call = {"index": place, "id": "c1", "function": {"name": "look_up", "arguments": "{}"}}
    answer = {"choices": [{"index": 0, "message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    with asking(Server(saying(200, answer)).url) as backend, pytest.raises(EngineError, match="cannot be read"):
        ask(backend, tools=(Tool("look_up", "", {"type": "object"}),))


def test_a_stream_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr("finetune_engine.serve.backends.openai_http.MAX_STREAM_BYTES", 1000)
    server = Server(streaming(*[CHUNK] * 100, b"[DONE]"))
    with asking(server.url) as backend, pytest.raises(EngineError, match="too large"):
        ask(backend, stream=True)


def test_an_error_within_a_stream_does_not_quote_the_key():
    server = Server(streaming(CHUNK, error("the key sk-secret has run out")))
    with asking(server.url) as backend, pytest.raises(EngineError) as caught:
        ask(backend, stream=True)
    assert "run out" in str(caught.value)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("soon", None), ("3", 3), ("9" * 400, 3600), ("Fri, 31 Dec 9999 23:59:59 GMT", 3600)],
)
def test_a_pause_is_an_hour_at_most(text, seconds):
    assert retry_after(text) == seconds
