"""The hot path in front of a model server without a model."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection

import httpx
import pytest

from tests.serving_app.replica_process import until
from tests.serving_app.stub_model import StubModel, announced_stub

pytestmark = pytest.mark.django_db(transaction=True)
CHAT = {"model": "production", "messages": [{"role": "user", "content": "Hello?"}]}


@pytest.fixture
def stub(transactional_db) -> Iterator[StubModel]:
    """One model server, announced."""
    with announced_stub() as model:
        yield model


@pytest.fixture
def second(stub) -> Iterator[StubModel]:
    """Another one beside it."""
    with announced_stub(pid=2) as model:
        yield model


def _row(request_id: str):
    from serving_app.gateway.database import prediction_log
    from serving_app.models import Prediction

    assert prediction_log.flush()
    return Prediction.objects.get(request_id=request_id)


def test_an_answer_tells_its_id_its_time_and_what_is_left_of_the_limit(deployed_base, stub, ask, settings) -> None:
    settings.KEY_REQUESTS_PER_MINUTE = 100
    response = ask("/v1/chat/completions", CHAT)
    assert response.status_code == 200, response.text
    assert response.json()["tunesmith"]["request_id"] == response.headers["x-request-id"]
    assert int(response.headers["openai-processing-ms"]) < 10_000
    assert response.headers["x-ratelimit-limit-requests"] == "100"
    assert response.headers["x-ratelimit-remaining-requests"] == "99"
    assert 1 <= int(response.headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 60


def test_a_callers_own_request_id_is_kept_with_the_question(deployed_base, stub, site, api_key) -> None:
    headers = {"Authorization": f"Bearer {api_key('predict')}", "X-Client-Request-Id": "order-4711"}
    response = httpx.post(f"{site}/v1/chat/completions", json=CHAT | {"user": "clerk-3"}, headers=headers, timeout=60)
    params = _row(response.headers["x-request-id"]).params
    assert (params["client_request_id"], params["end_user"]) == ("order-4711", "clerk-3")


def test_an_id_with_a_line_break_or_a_novel_in_it_is_not_kept(deployed_base) -> None:
    from serving_app.gateway.questions import sane_id

    assert [sane_id(text) for text in ("a\nb", "ä", "x" * 129, "", "req_1-2")] == ["", "", "", "", "req_1-2"]


def test_the_task_is_logged_in_its_own_column(deployed_base, stub, ask) -> None:
    body = ask("/predict", {"text": "Is this a lease?", "task": "leases"}).json()
    row = _row(body["request_id"])
    assert (row.task, row.question_text) == ("leases", "Is this a lease?")
    assert row.served_by == stub.address


@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", CHAT), ("/predict", {"text": "Hello?"})])
def test_the_deployments_temperature_counts_where_the_caller_names_none(deployed_base, stub, ask, path, body) -> None:
    deployed_base.default_temperature = 0.0
    deployed_base.save()
    assert ask(path, body).status_code == 200
    assert stub.seen[-1]["temperature"] == 0.0
    assert ask(path, body | {"temperature": 0.9}).status_code == 200
    assert stub.seen[-1]["temperature"] == 0.9


def test_without_any_wish_predict_asks_at_its_own_temperature_and_openai_at_openais(deployed_base, stub, ask) -> None:
    ask("/predict", {"text": "Hello?"})
    ask("/v1/chat/completions", CHAT)
    assert [body.get("temperature") for body in stub.seen] == [0.7, None]


def test_embeddings_come_as_numbers_or_packed_as_the_official_package_wants_them(deployed_base, stub, ask) -> None:
    plain = ask("/v1/embeddings", {"model": "embedder", "input": ["one", "two"]}).json()
    assert [item["embedding"] for item in plain["data"]] == [[0.5, 0.25]] * 2
    packed = ask("/v1/embeddings", {"model": "embedder", "input": "one", "encoding_format": "base64"}).json()
    assert struct.unpack("<2f", base64.b64decode(packed["data"][0]["embedding"])) == (0.5, 0.25)
    assert [body["model"] for body in stub.seen] == ["embed:minilm"] * 2


def test_a_served_models_hidden_states_embed_under_its_own_name(deployed_base, stub, ask) -> None:
    response = ask("/v1/embeddings", {"model": "production", "input": "one"})
    assert response.json()["model"] == "demo-base"
    assert stub.seen[-1]["model"] == "hidden:base:demo-base"
    assert _row(response.headers["x-request-id"]).door == "embeddings"


def test_a_model_server_that_is_full_sends_the_question_to_the_other(deployed_base, stub, second, ask) -> None:
    stub.refusals = [503] * 10
    second.refusals = []
    assert [ask("/v1/chat/completions", CHAT).status_code for _ in range(4)] == [200] * 4


def test_when_all_are_full_the_caller_hears_it_with_the_time_to_wait(deployed_base, stub, ask) -> None:
    stub.refusals = [503]
    response = ask("/v1/chat/completions", CHAT)
    assert (response.status_code, response.json()["error"]["message"]) == (503, "Not now.")
    assert int(response.headers["retry-after"]) >= 1


def test_a_model_server_that_dies_costs_no_question(deployed_base, stub, second, site, api_key) -> None:
    stub.delay = second.delay = 0.5
    headers = {"Authorization": f"Bearer {api_key('predict')}"}

    async def ask_many() -> list[int]:
        async with httpx.AsyncClient(headers=headers, timeout=60) as client:
            asking = [asyncio.create_task(client.post(f"{site}/v1/chat/completions", json=CHAT)) for _ in range(20)]
            while len(stub.seen) < 5:
                await asyncio.sleep(0.01)
            stub.kill()
            return [(await one).status_code for one in asking]

    assert asyncio.run(ask_many()) == [200] * 20


def test_a_stream_that_has_begun_is_not_begun_again(deployed_base, stub, second, site, api_key) -> None:
    stub.breaks_off = second.breaks_off = True
    headers = {"Authorization": f"Bearer {api_key('predict')}"}
    text = httpx.post(f"{site}/v1/chat/completions", json=CHAT | {"stream": True}, headers=headers, timeout=60).text
    assert len(stub.seen) + len(second.seen) == 1
    assert "broke off its answer" in text
    assert text.endswith("data: [DONE]\n\n")


def test_a_connection_that_the_model_server_closed_while_idle_is_not_taken_for_its_death(
    deployed_base, stub, ask
) -> None:
    stub._server.config.timeout_keep_alive = 0
    for _ in range(3):
        assert ask("/v1/chat/completions", CHAT).status_code == 200
        time.sleep(0.05)


def test_a_key_revoked_a_second_ago_is_refused(deployed_base, stub, ask, actor, api_key, monkeypatch) -> None:
    from accounts_app.models import ApiKey
    from accounts_app.operations import revoke_api_key
    from accounts_app.permissions import hash_of_key
    from serving_app.gateway import entrance

    monkeypatch.setattr(entrance, "FRESH_SECONDS", 0.5)
    key = api_key("predict")
    assert ask("/v1/chat/completions", CHAT, key=key).status_code == 200
    revoke_api_key(actor=actor, key=ApiKey.objects.get(sha256=hash_of_key(key)))
    time.sleep(1.0)
    assert ask("/v1/chat/completions", CHAT, key=key).status_code == 401


def test_a_burst_asks_the_database_once_for_the_key() -> None:
    from finetune_engine.errors import UserError
    from serving_app.gateway.entrance import Looks

    looks: Looks[str] = Looks()
    asked: list[int] = []

    async def look() -> str:
        asked.append(1)
        await asyncio.sleep(0.01)
        return "found"

    async def refuse() -> str:
        asked.append(1)
        await asyncio.sleep(0.01)
        raise UserError("no", "No.", status=401)

    async def burst(key, what) -> list[object]:
        return await asyncio.gather(*(looks.get(key, what) for _ in range(50)), return_exceptions=True)

    assert asyncio.run(burst("a", look)) == ["found"] * 50
    refusals = asyncio.run(burst("b", refuse))
    assert [str(error) for error in refusals] == ["No."] * 50
    assert len(set(map(id, refusals))) == 50, "each caller gets an error of its own"
    assert len(asked) == 2


def test_what_was_looked_up_is_forgotten_beyond_the_last_ten_thousand(monkeypatch) -> None:
    from serving_app.gateway import entrance

    monkeypatch.setattr(entrance, "MOST_ENTRIES", 3)
    looks: entrance.Looks[int] = entrance.Looks()

    async def fill() -> None:
        for number in range(10):
            await looks.get(str(number), lambda number=number: _value(number))

    asyncio.run(fill())
    assert len(looks._seen) == 3


def test_a_novel_instead_of_a_models_name_is_not_kept_in_memory(deployed_base, stub, ask) -> None:
    from serving_app.gateway import entrance

    entrance.forget()
    assert ask("/v1/chat/completions", CHAT | {"model": "m" * 100_000}).status_code == 404
    assert ask("/v1/chat/completions", CHAT).status_code == 200
    assert [len(name) < 1_000 for name in entrance._routes._seen] == [True]


def test_embeddings_that_are_refused_are_counted(deployed_base, stub, ask, project) -> None:
    from serving_app.gateway.database import prediction_log
    from serving_app.models import TrafficBucket

    assert ask("/v1/embeddings", {"input": []}).status_code == 400
    assert ask("/v1/embeddings", {"input": "x", "model": "nobody"}).status_code == 404
    assert prediction_log.flush()
    assert sum(TrafficBucket.objects.values_list("refused", flat=True)) == 2


async def _value(number: int) -> int:
    return number


def test_a_shadow_answers_for_the_log_alone(deployed_base, stub, ask, actor) -> None:
    from dataclasses import replace

    from serving_app.choices import Door
    from serving_app.gateway.answering import Question, answer
    from serving_app.models import TrafficBucket
    from serving_app.playground import playground_question
    from web_kit.ids import new_id

    question: Question = playground_question(actor, {"text": "Hello?"})
    shadow = replace(question, shadow_of=question.request_id, request_id=new_id(), door=Door.SHADOW)
    asyncio.run(answer(shadow))
    assert _row(shadow.request_id).shadow_of == question.request_id
    assert list(TrafficBucket.objects.values_list("is_shadow", "requests")) == [(True, 1)]


def test_a_caller_who_leaves_ends_the_question_at_the_model(deployed_base, stub, site, api_key) -> None:
    stub.delay = 60
    caller = HTTPConnection(site.removeprefix("http://"), timeout=60)
    headers = {"Authorization": f"Bearer {api_key('predict')}", "Content-Type": "application/json"}
    caller.request("POST", "/v1/chat/completions", json.dumps(CHAT), headers)
    until(lambda: bool(stub.seen))
    caller.close()
    until(lambda: stub.hung_up == 1)


def test_wrong_methods_and_addresses_are_refused_in_json(deployed_base, site) -> None:
    wrong = httpx.put(f"{site}/v1/chat/completions", timeout=60)
    assert (wrong.status_code, wrong.headers["allow"], wrong.json()["error"]["code"]) == (
        405,
        "POST",
        "method_not_allowed",
    )
    assert httpx.post(f"{site}/v1/chat/complete", timeout=60).status_code in (401, 404)


def test_what_was_written_of_a_stream_that_broke_off_is_counted(deployed_base, stub, site, api_key) -> None:
    stub.breaks_off = True
    headers = {"Authorization": f"Bearer {api_key('predict')}"}
    answer = httpx.post(f"{site}/v1/chat/completions", json=CHAT | {"stream": True}, headers=headers, timeout=60)
    row = _row(answer.headers["x-request-id"])
    assert (row.status, row.prompt_tokens, row.completion_tokens) == (502, None, 2)


def test_a_stream_is_told_in_openais_events(deployed_base, stub, site, api_key) -> None:
    headers = {"Authorization": f"Bearer {api_key('predict')}"}
    text = httpx.post(f"{site}/v1/chat/completions", json=CHAT | {"stream": True}, headers=headers, timeout=60).text
    events = [line.removeprefix("data: ") for line in text.split("\n") if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Hello there"
    assert chunks[-1]["tunesmith"]["cached"] is False


def test_threads_beside_the_loop_may_put_into_the_log(deployed_base, stub, ask) -> None:
    bodies: list[dict] = []
    threads = [threading.Thread(target=lambda: bodies.append(ask("/predict", {"text": "x"}).json())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {_row(body["request_id"]).status for body in bodies} == {200}


def test_a_web_process_that_is_told_to_end_writes_down_what_it_has_answered(deployed_base, stub, api_key) -> None:
    from django.db import connection

    from serving_app.models import Prediction

    if connection.vendor != "sqlite":
        pytest.skip("the process is given the test's SQLite file")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        program = [sys.executable, "-m", "uvicorn", "finetune_site.asgi:application", f"--fd={listener.fileno()}"]
        given = {"DATABASE_URL": f"sqlite://{connection.settings_dict['NAME']}", "REDIS_URL": ""}
        environment = os.environ | given | {"DJANGO_SETTINGS_MODULE": "finetune_site.settings"}
        process = subprocess.Popen([*program, "--log-level=error"], env=environment, pass_fds=[listener.fileno()])
        try:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/chat/completions"
            headers = {"Authorization": f"Bearer {api_key('predict')}"}
            ids = [httpx.post(address, json=CHAT, headers=headers, timeout=60).headers["x-request-id"]]
            time.sleep(0.5)  # the first has been written; the last ones wait for others
            ids += [httpx.post(address, json=CHAT, headers=headers, timeout=60).headers["x-request-id"] for _ in "abc"]
        finally:
            process.terminate()
            process.wait(60)
    assert set(Prediction.objects.values_list("request_id", flat=True)) == set(ids)
