"""Which replica gets the question."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from serving_app.forward import asked, whole_body
from serving_app.replicas import NoReplica, replica_pool

pytestmark = pytest.mark.django_db(transaction=True)


class _Answering(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"port": self.server.server_address[1]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Silence."""


@pytest.fixture
def servers() -> Iterator[list[str]]:
    running = [ThreadingHTTPServer(("127.0.0.1", 0), _Answering) for _ in range(2)]
    for server in running:
        Thread(target=server.serve_forever, daemon=True).start()
    yield [f"http://127.0.0.1:{server.server_address[1]}" for server in running]
    for server in running:
        server.shutdown()


def _announce(*addresses: str) -> None:
    from serving_app.operations import announce_replica

    for address in addresses:
        announce_replica(address=address, host="here", pid=1)


async def _who_answers() -> str:
    async with asked("/v1/chat/completions", {}) as response:
        return f"http://127.0.0.1:{(await whole_body(response))['port']}"


def test_the_least_busy_one_is_asked(servers) -> None:
    _announce(*servers)

    async def three() -> list[str]:
        pool = replica_pool()
        async with pool.borrow() as first, pool.borrow() as second, pool.borrow(frozenset({second.address})) as third:
            return [first.address, second.address, third.address]

    first, second, third = asyncio.run(three())
    assert {first, second} == set(servers)
    assert third == first


def test_one_that_cannot_be_reached_is_passed_over_and_left_alone(servers) -> None:
    dead = "http://127.0.0.1:9"
    _announce(dead, servers[0])

    async def ask_twice() -> tuple[list[str], float]:
        answers = [await _who_answers(), await _who_answers()]
        return answers, replica_pool().channels[dead].ejected_until

    answers, ejected_until = asyncio.run(ask_twice())
    assert answers == [servers[0]] * 2
    assert ejected_until > 0


def test_a_silent_one_is_not_asked(servers) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from serving_app.models import Replica

    _announce(*servers)
    Replica.objects.filter(address=servers[0]).update(heartbeat_at=timezone.now() - timedelta(seconds=60))
    assert {asyncio.run(_who_answers()) for _ in range(3)} == {servers[1]}


def test_with_nobody_there_the_caller_is_told_so(transactional_db) -> None:
    with pytest.raises(NoReplica) as error:
        asyncio.run(_who_answers())
    assert error.value.status == 503
