"""The application over real sockets, spoken to by the official SDK."""

import contextlib
import itertools
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import openai
import pytest
import uvicorn

from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.app import build_app
from finetune_engine.serve.exchange import Delta, Served, Token, Usage

HELLO = [{"role": "user", "content": "hello"}]


class SlowBackend:
    """Says a word every ``pause`` seconds, until it has said ``words`` of them or is told to stop."""

    def __init__(self, words=3, pause=0.0, error=None, error_after=0):
        self.words, self.pause, self.error, self.error_after = words, pause, error, error_after
        self.cancelled = threading.Event()
        self.said = 0

    def complete(self, request, cancelled):
        for number in range(self.words):
            if self.error and number >= self.error_after:
                raise self.error
            if cancelled.wait(self.pause):
                self.cancelled.set()
                return
            self.said += 1
            last = number == self.words - 1
            yield Delta(0, f"w{number} ", (Token(f"w{number} ", -0.1),), "stop" if last else None)
        yield Delta(usage=Usage(2, self.words), served=Served("d", "t"))

    def loaded_models(self):
        return ["slow"]


@contextmanager
def served(backend, uds=None, **options):
    """A real uvicorn in a thread; gives the base URL."""
    app = build_app(backend, **options)
    listener = socket.socket(socket.AF_UNIX if uds else socket.AF_INET)
    listener.bind(str(uds) if uds else ("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until = time.monotonic() + 10
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    yield "http://site" if uds else f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listener.close()


def client_of(url, **options):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", **({"max_retries": 0} | options))


@pytest.fixture
def client(backend):
    with served(backend) as url:
        yield client_of(url)


def test_the_official_sdk_gets_a_whole_answer(client):
    answer = client.chat.completions.create(
        model="tuned", messages=HELLO, temperature=0, max_tokens=12, logprobs=True, top_logprobs=2
    )
    assert answer.choices[0].message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 2
    extension = answer.model_extra["tunesmith"]
    assert 0 < extension["min_probability"] <= extension["confidence"] <= 1
    assert extension["model_digest"] == "digest-tuned"
    assert extension["latency_seconds"] > 0


def test_a_stream_adds_up_to_the_whole_answer(client):
    asked = {"model": "tuned", "messages": HELLO, "temperature": 0, "max_tokens": 12}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage
    assert chunks[-1].model_extra["tunesmith"]["confidence"] == pytest.approx(
        whole.model_extra["tunesmith"]["confidence"], abs=1e-4
    )


def test_a_stream_of_several_choices_keeps_them_apart(client):
    asked = {"model": "base", "messages": HELLO, "temperature": 1, "seed": 3, "max_tokens": 8, "n": 3}
    whole = client.chat.completions.create(**asked)
    texts = ["", "", ""]
    for chunk in client.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]


def test_plain_completions_work_whole_and_streamed(client):
    asked = {"model": "base", "prompt": "The tenant", "temperature": 0, "max_tokens": 6, "logprobs": 1}
    whole = client.completions.create(**asked)
    streamed = "".join(chunk.choices[0].text for chunk in client.completions.create(**asked, stream=True))
    assert whole.choices[0].text == streamed
    assert len(whole.choices[0].logprobs.tokens) == whole.usage.completion_tokens


def test_mistakes_raise_the_sdks_own_exceptions(client):
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="base", messages=HELLO, response_format={"type": "json_object"})
    assert bad.value.param == "response_format"
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nobody", messages=HELLO)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=HELLO, stream=True)
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(model="base", messages=[{"role": "user", "content": "rent " * 500}])
    assert long.value.code == "context_length_exceeded"


def test_models_lists_what_is_in_memory(client):
    assert client.models.list().data == []
    client.chat.completions.create(model="tuned", messages=HELLO, max_tokens=1)
    assert [model.id for model in client.models.list()] == ["tuned"]


def test_it_speaks_over_a_unix_socket(backend, tmp_path):
    path = tmp_path / "model.sock"
    with served(backend, uds=path) as url, httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as http:
        body = {"model": "base", "messages": HELLO, "stream": True, "max_tokens": 3}
        lines = [line for line in http.post(f"{url}/v1/chat/completions", json=body).text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    assert "tunesmith" in json.loads(lines[-2].removeprefix("data: "))


def test_health_answers_while_a_model_is_writing():
    backend = SlowBackend(words=20, pause=0.05)
    with served(backend) as url, ThreadPoolExecutor(1) as pool:
        writing = pool.submit(client_of(url).chat.completions.create, model="slow", messages=HELLO)
        time.sleep(0.2)
        started = time.monotonic()
        health = httpx.get(f"{url}/health").json()
        assert time.monotonic() - started < 0.5
        assert not writing.done()
        assert (health["status"], health["in_flight"]) == ("healthy", 1)
        assert writing.result().usage.completion_tokens == 20
        assert httpx.get(f"{url}/health").json()["in_flight"] == 0


def test_the_first_words_come_before_the_last_are_written():
    backend = SlowBackend(words=10, pause=0.05)
    with served(backend) as url:
        stream = client_of(url).chat.completions.create(model="slow", messages=HELLO, stream=True)
        for chunk in stream:
            if chunk.choices[0].delta.content:
                assert backend.said < 5
                break
        assert sum(1 for _ in stream) >= 8


def hang_up_on(url, body, chunks):
    """Send a request, read ``chunks`` pieces of the answer or wait 0.3 s, then close the connection."""
    with (
        contextlib.suppress(httpx.ReadTimeout),
        httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=0.3) as response,
    ):
        for _ in zip(range(chunks), response.iter_bytes(), strict=False):
            pass


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_stops_the_writing(stream):
    backend = SlowBackend(words=1000, pause=0.02)
    with served(backend) as url:
        hang_up_on(url, {"model": "slow", "messages": HELLO, "stream": stream}, 3)
        assert backend.cancelled.wait(5)
        assert backend.said < 100
        until = time.monotonic() + 5
        while httpx.get(f"{url}/health").json()["in_flight"] and time.monotonic() < until:
            time.sleep(0.02)
        assert httpx.get(f"{url}/health").json()["in_flight"] == 0


def test_beyond_the_limit_callers_are_told_when_to_come_back():
    backend = SlowBackend(words=20, pause=0.05)
    with served(backend, max_in_flight=2) as url, ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(client_of(url).chat.completions.create, model="slow", messages=HELLO) for _ in range(2)]
        time.sleep(0.3)
        with pytest.raises(openai.RateLimitError) as refused:
            client_of(url).chat.completions.create(model="slow", messages=HELLO)
        assert int(refused.value.response.headers["retry-after"]) >= 1
        assert refused.value.type == "rate_limit_error"
        assert all(answer.result().choices[0].message.content for answer in busy)
        assert client_of(url).chat.completions.create(model="slow", messages=HELLO).choices


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_takes_too_long_is_given_up(stream):
    backend = SlowBackend(words=100, pause=0.5)
    with served(backend, deadline_seconds=0.2) as url:
        with pytest.raises(openai.InternalServerError) as late:
            client_of(url).chat.completions.create(model="slow", messages=HELLO, stream=stream)
        assert late.value.status_code == 504
        assert backend.cancelled.wait(5)


def test_an_error_in_the_middle_of_a_stream_reaches_the_reader():
    backend = SlowBackend(words=5, error=EngineError("oom_gpu", "no memory"), error_after=2)
    with served(backend) as url:
        stream = client_of(url).chat.completions.create(model="slow", messages=HELLO, stream=True)
        chunks = itertools.islice(stream, 3)
        texts = [chunk.choices[0].delta.content for chunk in chunks]
        with pytest.raises(openai.APIError) as caught:
            list(stream)
        assert "".join(texts) == "w0 w1 "
        assert "no memory" not in str(caught.value)


def test_an_unexpected_error_says_nothing_of_the_inside():
    with served(SlowBackend(error=RuntimeError("/etc/secret"))) as url:
        response = httpx.post(f"{url}/v1/chat/completions", json={"model": "slow", "messages": HELLO})
    assert response.status_code == 500
    assert "secret" not in response.text


def test_an_error_of_the_caller_before_the_first_word_has_its_own_status():
    with served(SlowBackend(error=UserError("x", "No.", "messages", status=400))) as url:
        body = {"model": "slow", "messages": HELLO, "stream": True}
        response = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "messages")


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b"\xff\xfe", b"[]"])
def test_a_body_that_is_not_a_json_object_is_400(body):
    with served(SlowBackend()) as url:
        response = httpx.post(f"{url}/v1/chat/completions", content=body)
        assert response.status_code == 400
        assert response.json()["error"]["message"]
        assert httpx.get(f"{url}/health").json()["in_flight"] == 0
