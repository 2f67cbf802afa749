"""One feed per watched job, for however many readers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from work_kit import stream
from work_kit.models import Job, JobEvent
from work_kit.operations import submit_job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def short_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "TICK_SECONDS", 0.05)


@pytest.fixture
def job(actor, toy) -> Job:
    made = submit_job(actor=actor, kind=toy.name, title="Watched", params={})
    Job.objects.filter(pk=made.pk).update(state="running", phase="training", progress_total=10)
    return made


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The cursors of every look at the database."""
    seen: list[int] = []
    real = stream.look

    def counted(job_id: str, cursor: int) -> stream.Look:
        seen.append(cursor)
        return real(job_id, cursor)

    monkeypatch.setattr(stream, "look", counted)
    return seen


def say(job: Job, *steps: int) -> list[int]:
    return [
        JobEvent.objects.create(
            job=job, attempt=1, kind="metric", data={"step": step, "train_loss": 1.0}, at=timezone.now()
        ).pk
        for step in steps
    ]


def end(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(state="succeeded", phase="done")


def ids(text: bytes) -> list[int]:
    return [int(number) for number in re.findall(rb"(?m)^id: (\d+)$", text)]


async def read_all(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def events_of(job: Job) -> list[int]:
    return list(JobEvent.objects.filter(job=job).order_by("id").values_list("id", flat=True))


@pytest.fixture(autouse=True)
def no_feed_is_left() -> Iterator[None]:
    yield
    assert stream._feeds == {}


def test_a_look_is_one_query(job, django_assert_num_queries):
    say(job, 1, 2, 3)
    with django_assert_num_queries(1):
        seen = stream.look(job.pk, 0)
    assert len(seen.events) == 4  # the job's own state, and the steps
    assert seen.progress["total"] == 10


def test_a_look_at_a_job_that_is_gone_says_so(job):
    with pytest.raises(Job.DoesNotExist):
        stream.look("0" * 26, 0)


def test_a_reader_of_an_ended_job_gets_everything_and_the_end(job):
    say(job, *range(5))
    end(job)
    text = asyncio.run(read_all(stream.follow(job.pk, 0, url="/result")))
    assert ids(text) == events_of(job)
    assert text.endswith(b'event: end\ndata: {"state":"succeeded","url":"/result"}\n\n')


def test_more_events_than_one_look_takes_come_in_order(job, monkeypatch):
    monkeypatch.setattr(stream, "PAGE", 3)
    say(job, *range(10))
    end(job)
    assert ids(asyncio.run(read_all(stream.follow(job.pk, 0)))) == events_of(job)


def test_a_reader_who_comes_back_gets_only_what_came_after(job):
    first, second, third = say(job, 1, 2, 3)
    end(job)
    assert ids(asyncio.run(read_all(stream.follow(job.pk, first)))) == [second, third]


def test_fifty_readers_cost_as_many_looks_as_one(job, looks):
    async def crowd() -> list[bytes]:
        readers = [asyncio.create_task(read_all(stream.follow(job.pk, 0))) for _ in range(50)]
        for step in range(5):
            await sync_to_async(say)(job, step)
            await asyncio.sleep(0.05)
        await sync_to_async(end)(job)
        return await asyncio.gather(*readers)

    texts = asyncio.run(crowd())
    assert {tuple(ids(text)) for text in texts} == {tuple(events_of(job))}
    assert looks == sorted(looks), "one chain of looks, each where the last one ended"


def test_readers_who_come_late_miss_and_repeat_nothing(job, looks):
    async def one_after_the_other() -> list[tuple[int, bytes]]:
        readers = []
        for step in range(6):
            numbers = await sync_to_async(say)(job, step)
            for cursor in (0, numbers[0] - 1, numbers[0]):
                reader = asyncio.create_task(read_all(stream.follow(job.pk, cursor)))
                readers.append((cursor, reader))
            await asyncio.sleep(0.08)
        await sync_to_async(end)(job)
        return [(cursor, await reader) for cursor, reader in readers]

    everything = None
    for cursor, text in asyncio.run(one_after_the_other()):
        everything = everything or events_of(job)
        assert ids(text) == [number for number in everything if number > cursor]


def test_who_fetched_the_past_fetched_it_for_those_who_follow(job, monkeypatch):
    fetched: list[int] = []
    real = stream.messages_between

    def counted(job_id: str, after: int, until: int, limit: int) -> list[stream.Message]:
        fetched.append(after)
        return real(job_id, after, until, limit)

    monkeypatch.setattr(stream, "messages_between", counted)

    async def late_crowd() -> list[bytes]:
        numbers = await sync_to_async(say)(job, *range(20))
        first = asyncio.create_task(read_all(stream.follow(job.pk, numbers[-1])))
        await asyncio.sleep(0.1)
        others = [asyncio.create_task(read_all(stream.follow(job.pk, 0))) for _ in range(20)]
        await asyncio.sleep(0.1)
        await sync_to_async(end)(job)
        await first
        return list(await asyncio.gather(*others))

    texts = asyncio.run(late_crowd())
    assert {tuple(ids(text)) for text in texts} == {tuple(events_of(job))}
    assert fetched == [0]


def test_progress_is_told_only_when_it_changed(job):
    async def watch() -> bytes:
        reader = asyncio.create_task(read_all(stream.follow(job.pk, 0)))
        await asyncio.sleep(0.3)
        await sync_to_async(end)(job)
        return await reader

    assert asyncio.run(watch()).count(b"event: progress") == 2  # at the beginning, and at the end


def test_a_reader_who_does_not_read_is_sent_away(job, monkeypatch):
    monkeypatch.setattr(stream, "_FURTHEST_BEHIND", 2)

    async def dawdle() -> int:
        reader = stream.follow(job.pk, 0)
        await anext(reader)
        for step in range(6):
            await sync_to_async(say)(job, step)
            await asyncio.sleep(0.08)
        return len([chunk async for chunk in reader])

    assert asyncio.run(dawdle()) <= 1


def test_a_sample_is_told_with_its_texts_as_they_are(job):
    data = {"step": 3, "prompt": "<b>Who?</b>", "answer": "Nobody", "reference": "Somebody"}
    JobEvent.objects.create(job=job, attempt=1, kind="sample", data=data, at=timezone.now())
    end(job)
    text = asyncio.run(read_all(stream.follow(job.pk, 0))).decode()
    told = json.loads(text.partition("event: sample\ndata: ")[2].partition("\n")[0])
    assert told == data
