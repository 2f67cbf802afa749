"""The application over real sockets, spoken to by the official SDK."""

import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from finetune_engine.errors import EngineError, UserError
from tests.finetune_engine.serve.running import HELLO, Speaker, client_of, served, wait_for


def ask(url, **extra):
    return client_of(url).chat.completions.create(model="speaker", messages=HELLO, **extra)


def in_flight(url):
    return httpx.get(f"{url}/health").json()["in_flight"]


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
        client.chat.completions.create(model="base", messages=HELLO, response_format={"type": "xml"})
    assert bad.value.param.startswith("response_format")
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
    backend = Speaker(words=20, is_held=True)
    with served(backend) as url, ThreadPoolExecutor(1) as pool:
        writing = pool.submit(ask, url)
        wait_for(lambda: in_flight(url) == 1)
        assert httpx.get(f"{url}/health").json()["status"] == "healthy"
        assert not writing.done()
        backend.let_say(20)
        assert writing.result().usage.completion_tokens == 20
        assert in_flight(url) == 0


def test_the_first_words_come_before_the_last_are_written():
    backend = Speaker(words=10, is_held=True)
    with served(backend) as url:
        backend.let_say(1)
        stream = ask(url, stream=True)
        first = next(chunk for chunk in stream if chunk.choices[0].delta.content)
        assert (first.choices[0].delta.content, backend.said) == ("w0 ", 1)
        backend.let_say(9)
        rest = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert rest == "".join(f"w{number} " for number in range(1, 10))


@pytest.mark.parametrize(("stream", "words"), [(True, 0), (True, 3), (False, 0), (False, 3)])
def test_a_client_that_hangs_up_stops_the_writing_and_frees_its_place(stream, words):
    backend = Speaker(words=1000, is_held=True)
    with served(backend, max_in_flight=1) as url:
        body = json.dumps({"model": "speaker", "messages": HELLO, "stream": stream}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as caller:
            caller.sendall(head.encode() + body)
            wait_for(lambda: in_flight(url) == 1)
            backend.let_say(words)
            wait_for(lambda: backend.said == words)
        assert backend.left.wait(30)
        wait_for(lambda: in_flight(url) == 0)
    assert backend.said == words


def test_beyond_the_limit_callers_are_told_when_to_come_back():
    backend = Speaker(words=20, is_held=True)
    with served(backend, max_in_flight=2) as url, ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(ask, url) for _ in range(2)]
        wait_for(lambda: in_flight(url) == 2)
        with pytest.raises(openai.RateLimitError) as refused:
            ask(url)
        assert int(refused.value.response.headers["retry-after"]) >= 1
        assert refused.value.type == "rate_limit_error"
        backend.let_say(60)
        assert all(answer.result().choices[0].message.content for answer in busy)
        assert ask(url).choices


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_takes_too_long_is_given_up(stream):
    backend = Speaker(is_held=True)
    with served(backend, deadline_seconds=0.2) as url:
        with pytest.raises(openai.InternalServerError) as late:
            ask(url, stream=stream)
        assert late.value.status_code == 504
        assert backend.left.wait(30)


def test_an_error_in_the_middle_of_a_stream_reaches_the_reader():
    backend = Speaker(words=5, error=EngineError("oom_gpu", "no memory"), error_after=2)
    with served(backend) as url:
        stream = ask(url, stream=True)
        texts = []
        with pytest.raises(openai.APIError) as caught:
            texts.extend(chunk.choices[0].delta.content for chunk in stream)
        assert "".join(texts) == "w0 w1 "
        assert "no memory" not in str(caught.value)


def test_an_unexpected_error_says_nothing_of_the_inside():
    with served(Speaker(error=RuntimeError("/etc/secret"))) as url:
        response = httpx.post(f"{url}/v1/chat/completions", json={"model": "speaker", "messages": HELLO})
    assert response.status_code == 500
    assert "secret" not in response.text


def test_an_error_of_the_caller_before_the_first_word_has_its_own_status():
    with served(Speaker(error=UserError("x", "No.", "messages", status=400))) as url:
        body = {"model": "speaker", "messages": HELLO, "stream": True}
        response = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "messages")


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b"\xff\xfe", b"[]"])
def test_a_body_that_is_not_a_json_object_is_400(body):
    with served(Speaker()) as url:
        response = httpx.post(f"{url}/v1/chat/completions", content=body)
        assert response.status_code == 400
        assert response.json()["error"]["message"]
        assert in_flight(url) == 0


def test_told_to_end_a_server_finishes_what_is_under_way_sends_new_callers_away_and_leaves():
    backend = Speaker(words=20, is_held=True)
    with served(backend) as url, ThreadPoolExecutor(1) as pool:
        server = served.server
        writing = pool.submit(ask, url)
        wait_for(lambda: in_flight(url) == 1)
        server.handle_exit(signal.SIGTERM, None)
        refused = httpx.post(f"{url}/v1/chat/completions", json={"model": "speaker", "messages": HELLO})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        assert int(refused.headers["retry-after"]) >= 1
        assert httpx.get(f"{url}/health").json()["status"] == "draining"
        assert not server.should_exit
        backend.let_say(20)
        assert writing.result().usage.completion_tokens == 20
        wait_for(lambda: server.should_exit)


def test_told_to_end_twice_a_server_leaves_at_once():
    with served(Speaker(is_held=True)) as url, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, url)
        wait_for(lambda: in_flight(url) == 1)
        for _ in range(2):
            served.server.handle_exit(signal.SIGTERM, None)
        with pytest.raises(openai.APIError):
            asked.result()


def test_at_the_signal_to_end_the_process_ends_with_success(tmp_path):
    (tmp_path / "models.json").write_text('{"models": []}')
    where = tmp_path / "s.sock"
    command = ["serve", "--models", str(tmp_path / "models.json"), "--uds", str(where), "--out", str(tmp_path / "out")]
    program = subprocess.Popen([sys.executable, "-m", "finetune_engine", *command], stdout=subprocess.DEVNULL)
    try:
        wait_for(where.exists, 300)
        program.terminate()
        assert program.wait(120) == 0
    finally:
        program.kill()
        program.wait()


def test_a_model_is_loaded_before_anybody_asks(backend):
    with served(backend) as url:
        answer = httpx.post(f"{url}/v1/load", json={"model": "tuned"}, timeout=60).json()
        assert answer["loaded"] is True
        assert len(answer["template_sha256"]) == 64
        assert httpx.get(f"{url}/health").json()["models"] == ["tuned"]
        missing = httpx.post(f"{url}/v1/load", json={"model": "nobody"})
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


def test_health_tells_device_backends_and_memory(backend):
    with served(backend) as url:
        health = httpx.get(f"{url}/health").json()
    assert health["device"] in ("cpu", "cuda")
    assert health["backends"] == ["in_process"]
    assert health["memory_bytes"] > 0


def test_a_body_over_the_limit_is_413():
    with served(Speaker()) as url:
        response = httpx.post(f"{url}/v1/chat/completions", content=b"x" * (9 * 2**20))
    assert response.status_code == 413
