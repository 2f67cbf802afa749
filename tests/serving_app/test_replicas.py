"""Which replica gets the question."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from serving_app.gateway.forward import asked
from serving_app.replicas.pool import Channel, NoReplica, Standing, replica_pool

pytestmark = pytest.mark.django_db(transaction=True)


class _Answering(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._tell({"port": self.server.server_address[1]})

    def do_GET(self) -> None:
        self._tell({"status": "healthy", "models": []})

    def _tell(self, told: object) -> None:
        body = json.dumps(told).encode()
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
        return f"http://127.0.0.1:{(await response.whole_body())['port']}"


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

    async def ask_twice() -> tuple[list[str], Standing]:
        answers = [await _who_answers(), await _who_answers()]
        return answers, replica_pool().channels[dead].standing

    answers, standing = asyncio.run(ask_twice())
    assert answers == [servers[0]] * 2
    assert standing is Standing.EJECTED


async def _channels(*addresses: str) -> list[Channel]:
    """The pool's channels, taken without asking anybody."""
    pool = replica_pool()
    async with pool.borrow():
        return [pool.channels[address] for address in addresses]


def test_among_equals_the_one_that_has_the_model_is_asked(servers) -> None:
    _announce(*servers)

    async def chosen() -> list[str]:
        _, second = await _channels(*servers)
        second.models = frozenset({"ft:1"})
        async with replica_pool().borrow(serving_id="ft:1") as one, replica_pool().borrow(serving_id="ft:1") as other:
            return [one.address, other.address]

    assert asyncio.run(chosen()) == [servers[1], servers[0]]


def test_a_chosen_backend_is_asked_where_it_is(servers) -> None:
    _announce(*servers)

    async def chosen() -> set[str]:
        _, second = await _channels(*servers)
        second.backends = frozenset({"vllm"})
        async with (
            replica_pool().borrow(serving_id="ft:1@vllm") as one,
            replica_pool().borrow(serving_id="ft:1@vllm") as other,
        ):
            return {one.address, other.address}

    assert asyncio.run(chosen()) == {servers[1]}


def test_one_that_came_back_is_tried_with_one_question_first(servers) -> None:
    _announce(*servers)

    async def tried() -> tuple[list[str], Standing]:
        first, _ = await _channels(*servers)
        first.eject()
        first.note_health({"status": "healthy"})
        assert first.standing is Standing.ON_PROBATION
        first.asked_at = 0.0
        async with replica_pool().borrow() as one, replica_pool().borrow() as two, replica_pool().borrow() as three:
            asked = [one.address, two.address, three.address]
        return asked, first.standing

    asked, standing = asyncio.run(tried())
    assert asked == [servers[0], servers[1], servers[1]]
    assert standing is Standing.TRUSTED


def test_a_question_that_fails_on_probation_ejects_it_again(servers) -> None:
    _announce(*servers)

    async def tried() -> Standing:
        first, _ = await _channels(*servers)
        first.eject()
        first.note_health({"status": "healthy"})
        first.asked_at = 0.0
        async with replica_pool().borrow() as channel:
            replica_pool().eject(channel)
        return first.standing

    assert asyncio.run(tried()) is Standing.EJECTED


def test_one_failed_look_may_be_chance_and_two_are_not(servers) -> None:
    _announce(*servers)

    async def looked() -> list[Standing]:
        first, _ = await _channels(*servers)
        first.note_failed_check()
        after_one = first.standing
        first.note_health({"status": "healthy"})
        first.note_failed_check()
        again = first.standing
        first.note_failed_check()
        return [after_one, again, first.standing]

    assert asyncio.run(looked()) == [Standing.TRUSTED, Standing.TRUSTED, Standing.EJECTED]


def test_one_whose_answers_make_no_sense_is_asked_about_that_model_after_the_others(servers) -> None:
    _announce(*servers)

    async def asked() -> list[str]:
        pool = replica_pool()
        for _ in range(3):
            with pytest.raises(TypeError):
                async with pool.borrow(frozenset({servers[1]}), "ft:1"):
                    raise TypeError
        found = []
        for serving_id in ("ft:1", "ft:1", "ft:2"):
            async with pool.borrow(serving_id=serving_id) as channel:
                found.append(channel.address)
        return found

    assert asyncio.run(asked()) == [servers[1], servers[1], servers[0]]


def test_one_that_finishes_gets_nothing_new(servers) -> None:
    from serving_app.models import Replica
    from serving_app.operations import drain_replica

    _announce(*servers)
    drain_replica(replica=Replica.objects.get(address=servers[0]))
    assert {asyncio.run(_who_answers()) for _ in range(3)} == {servers[1]}


def test_the_pool_goes_on_with_those_it_knows_while_the_database_is_away(servers, monkeypatch) -> None:
    from django.db import OperationalError

    from serving_app.replicas import pool as replicas

    _announce(*servers)

    async def asked_without_database() -> str:
        await _channels(*servers)

        def away() -> None:
            raise OperationalError("away")

        monkeypatch.setattr(replicas, "fresh_replicas", away)
        replica_pool().looked_at = float("-inf")
        return await _who_answers()

    assert asyncio.run(asked_without_database()) in servers


def test_a_heartbeat_tells_what_the_process_has(transactional_db) -> None:
    from serving_app.models import Replica
    from serving_app.operations import ReplicaFacts, announce_replica, beat_replica

    replica = announce_replica(address="http://10.0.0.1:8100", host="here", pid=1)
    facts = ReplicaFacts(["base:demo-base"], ["transformers"], "cuda:0", 7, 3)
    assert beat_replica(replica=replica, facts=facts)
    row = Replica.objects.get()
    assert (row.loaded, row.backends, row.device, row.memory_bytes, row.in_flight) == (
        ["base:demo-base"],
        ["transformers"],
        "cuda:0",
        7,
        3,
    )


def test_a_machine_whose_clock_is_wrong_is_found_all_the_same(transactional_db, monkeypatch) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from serving_app.queries import fresh_replicas

    right = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: right() - timedelta(hours=3))
    _announce("http://10.0.0.1:8100")
    monkeypatch.undo()
    assert [replica.address for replica in fresh_replicas()] == ["http://10.0.0.1:8100"]


def test_two_machines_do_not_take_one_socket_file_from_each_other(transactional_db) -> None:
    from finetune_engine.errors import UserError
    from serving_app.operations import announce_replica

    announce_replica(address="unix:/data/run/inference.sock", host="one", pid=1)
    announce_replica(address="unix:/data/run/inference.sock", host="one", pid=2)
    with pytest.raises(UserError, match="INFERENCE_BIND"):
        announce_replica(address="unix:/data/run/inference.sock", host="two", pid=1)


def test_one_that_was_silent_for_an_hour_is_forgotten(transactional_db) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from serving_app.models import Replica
    from serving_app.operations import forget_lost_replicas

    _announce("http://10.0.0.1:8100", "http://10.0.0.2:8100")
    long_ago = timezone.now() - timedelta(hours=2)
    Replica.objects.filter(address="http://10.0.0.1:8100").update(heartbeat_at=long_ago)
    forget_lost_replicas()
    assert Replica.objects.get().address == "http://10.0.0.2:8100"


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
