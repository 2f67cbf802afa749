"""Exact answers that several processes share, in a real Redis."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time

import pytest
import redis

from finetune_engine.serve.exchange import Usage
from serving_app.caching import exact
from serving_app.caching.exact import RedisAnswers
from serving_app.caching.kept import Kept

ANSWER = Kept((("It ends in May.", "stop"),), Usage(3, 4), {"confidence": 0.9}, ([{"id": "call_1"}],))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("no Redis here")
    socket = tmp_path_factory.mktemp("redis") / "r.sock"
    process = subprocess.Popen(
        [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    url = f"unix://{socket}"
    for _ in range(100):
        try:
            redis.Redis.from_url(url).ping()
            break
        except redis.RedisError:
            time.sleep(0.05)
    yield url
    process.terminate()
    process.wait(10)


@pytest.fixture
def answers(server):
    redis.Redis.from_url(server).flushall()
    return RedisAnswers(server)


def test_an_answer_is_there_for_another_process_as_it_was(answers, server):
    asyncio.run(answers.put("p", "k", ANSWER))
    assert asyncio.run(RedisAnswers(server).get("p", "k")) == ANSWER


def test_another_project_does_not_see_it(answers):
    asyncio.run(answers.put("p", "k", ANSWER))
    assert asyncio.run(answers.get("q", "k")) is None


def test_the_least_recently_used_leaves_first_in_each_project(answers, monkeypatch):
    monkeypatch.setattr(exact, "ENTRIES", 2)

    async def use() -> list[bool]:
        for key in ("a", "b"):
            await answers.put("p", key, ANSWER)
        await answers.put("q", "a", ANSWER)
        await answers.get("p", "a")
        await answers.put("p", "c", ANSWER)
        return [await answers.get(*place) is not None for place in (("p", "a"), ("p", "b"), ("p", "c"), ("q", "a"))]

    assert asyncio.run(use()) == [True, False, True, True]


def test_an_answer_grows_old(answers, monkeypatch):
    monkeypatch.setattr(exact, "SECONDS", 0.05)
    asyncio.run(answers.put("p", "k", ANSWER))
    time.sleep(0.1)
    assert asyncio.run(answers.get("p", "k")) is None


def test_the_request_it_was_told_to_finds_it(answers):
    async def use() -> tuple[str, object]:
        await answers.put("p", "k", ANSWER)
        await answers.told("p", "k", "r1")
        return await answers.forget("p", request_id="r1"), await answers.get("p", "k")

    assert asyncio.run(use()) == ("k", None)


def test_clearing_one_project_leaves_the_others(answers):
    async def use() -> list[object]:
        await answers.put("p", "k", ANSWER)
        await answers.put("q", "k", ANSWER)
        await answers.clear("p")
        return [await answers.get("p", "k"), await answers.get("q", "k")]

    assert asyncio.run(use()) == [None, ANSWER]


def test_what_another_version_wrote_is_a_miss(answers, server):
    asyncio.run(answers.put("p", "k", ANSWER))
    client = redis.Redis.from_url(server)
    client.set(client.keys("answers:*")[0], '{"v": 2}')
    assert asyncio.run(answers.get("p", "k")) is None


def test_redis_away_is_a_miss_at_once_and_no_error(tmp_path):
    answers = RedisAnswers(f"unix://{tmp_path / 'nobody.sock'}")

    async def use() -> object:
        await answers.put("p", "k", ANSWER)
        await answers.told("p", "k", "r")
        await answers.clear()
        return await answers.get("p", "k")

    began = time.monotonic()
    assert asyncio.run(use()) is None
    assert time.monotonic() - began < 0.5
