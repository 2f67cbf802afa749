"""Limits of keys: exact, cheap, said plainly; and the page and the API that set them."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from datetime import UTC, datetime

import httpx
import pytest

from tests.serving_app.stub_model import announced_stub

pytestmark = pytest.mark.django_db(transaction=True)
CHAT = {"model": "production", "messages": [{"role": "user", "content": "Hello?"}]}


@pytest.fixture
def stub(transactional_db):
    with announced_stub() as model:
        yield model


@pytest.fixture
def early_in_the_minute():
    """Windows are minutes of the clock: a test of one must not straddle two."""
    import time

    left = 60 - time.time() % 60
    if left < 12:
        time.sleep(left + 0.1)


@pytest.fixture
def limited(actor, api_key):
    """``limited(requests_per_minute=5)``: a key with these limits."""
    from accounts_app.models import ApiKey
    from accounts_app.permissions import hash_of_key
    from serving_app.operations import set_key_limits

    def make(**limits) -> tuple[str, ApiKey]:
        text = api_key("predict")
        key = ApiKey.objects.get(sha256=hash_of_key(text))
        set_key_limits(actor=actor, key=key, limits=limits)
        return text, key

    return make


def test_200_at_once_over_a_quota_are_answered_up_to_it_and_nobody_else_is_disturbed(
    deployed_base, stub, site, limited, api_key, early_in_the_minute
) -> None:
    from serving_app.gateway.admission import admission

    key, _ = limited(requests_per_minute=37)
    neighbour = api_key("predict")
    stub.delay = 0.05

    async def flood() -> tuple[list[httpx.Response], list[int]]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            theirs = [_ask(client, site, key) for _ in range(200)]
            others = [_ask(client, site, neighbour) for _ in range(5)]
            found = await asyncio.gather(*theirs, *others)
        return found[:200], [one.status_code for one in found[200:]]

    most = admission.per_project
    admission.per_project = 300
    try:
        answers, others = asyncio.run(flood())
    finally:
        admission.per_project = most
    assert Counter(one.status_code for one in answers) == {200: 37, 429: 163}
    assert others == [200] * 5
    refused = next(one for one in answers if one.status_code == 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    error = refused.json()["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
    assert "37 times a minute" in error["message"]
    assert "Keys and limits" in error["message"]


async def _ask(client: httpx.AsyncClient, site: str, key: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return await client.post(f"{site}/v1/chat/completions", json=CHAT, headers=headers)


def test_many_processes_together_never_take_more_than_there_is() -> None:
    from django.db import connection

    from serving_app.operations import take_permits

    minute, granted = datetime(2030, 1, 1, tzinfo=UTC), []

    def process() -> None:
        try:
            while (got := take_permits(scope="k:x", start_at=minute, limit=503, chunk=25)[0]) > 0:
                granted.append(got)
        finally:
            connection.close()

    threads = [threading.Thread(target=process) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 503
    assert len(granted) < 120, "helpings, not single permits"


def test_a_closed_window_is_remembered_so_that_a_flood_never_reaches_the_database(
    monkeypatch, early_in_the_minute
) -> None:
    from serving_app.gateway import limits

    asked = []

    async def ask_database(*args, **kwargs):
        asked.append(1)
        return (0, 10)

    monkeypatch.setattr(limits, "ask_database", ask_database)

    async def flood() -> int:
        permits, refused = limits.Permits(), 0
        for _ in range(1000):
            try:
                await permits.take("key", 10)
            except limits.OverLimit:
                refused += 1
        return refused

    assert asyncio.run(flood()) == 1000
    assert len(asked) == 1


def test_a_limit_that_is_raised_opens_the_window_again(
    deployed_base, stub, ask, limited, actor, early_in_the_minute
) -> None:
    from serving_app.operations import set_key_limits

    text, key = limited(requests_per_minute=1)
    assert [ask("/v1/chat/completions", CHAT, key=text).status_code for _ in range(2)] == [200, 429]
    set_key_limits(actor=actor, key=key, limits={"requests_per_minute": 3})
    assert [ask("/v1/chat/completions", CHAT, key=text).status_code for _ in range(3)] == [200, 200, 429]


def test_a_limit_that_is_lowered_voids_what_a_process_had_taken(actor, limited, early_in_the_minute) -> None:
    from serving_app.gateway.limits import OverLimit, Permits

    _, key = limited()

    async def ask_and_lower() -> None:
        permits = Permits()
        await permits.take(key.pk, 10_000)
        for limit in (10, 0):
            with pytest.raises(OverLimit):
                await permits.take(key.pk, limit)

    asyncio.run(ask_and_lower())


def test_nothing_may_be_asked_with_a_limit_of_0(deployed_base, stub, ask, limited) -> None:
    text, _ = limited(requests_per_minute=0)
    assert ask("/v1/chat/completions", CHAT, key=text).status_code == 429
    assert stub.seen == []


@pytest.mark.parametrize("name", ["tokens_per_minute", "tokens_per_month"])
def test_tokens_are_settled_after_the_answer_and_the_next_one_is_refused(
    deployed_base, stub, ask, limited, early_in_the_minute, name
) -> None:
    from serving_app.gateway.database import prediction_log

    text, _ = limited(**{name: 20})
    statuses = []
    for _ in range(3):
        statuses.append(ask("/v1/chat/completions", CHAT, key=text).status_code)
        assert prediction_log.flush()
    assert statuses == [200, 200, 429], "15 tokens each: the second answer passes the limit and is still given"
    refused = ask("/v1/chat/completions", CHAT, key=text)
    assert refused.json()["error"]["code"] == f"{name}_exceeded"
    assert int(refused.headers["retry-after"]) >= 1


def test_tokens_count_before_they_are_written_down(deployed_base, stub, ask, limited, monkeypatch) -> None:
    from serving_app.gateway import database

    monkeypatch.setattr(database, "FLUSH_SECONDS", 3.0)
    text, _ = limited(tokens_per_minute=15)
    assert [ask("/v1/chat/completions", CHAT, key=text).status_code for _ in range(2)] == [200, 429]
    assert database.prediction_log.flush()


def test_a_refused_question_is_counted_and_not_written_down(deployed_base, stub, ask, limited) -> None:
    from serving_app.gateway.database import prediction_log
    from serving_app.models import Prediction, TrafficBucket

    text, key = limited(requests_per_minute=0)
    for _ in range(3):
        ask("/v1/chat/completions", CHAT, key=text)
    assert prediction_log.flush()
    assert not Prediction.objects.exists()
    bucket = TrafficBucket.objects.get()
    assert (bucket.key_ref, bucket.requests, bucket.refused) == (key.pk, 3, 3)


def test_old_windows_are_forgotten_and_the_months_stay() -> None:
    from datetime import timedelta

    from django.utils import timezone

    from serving_app.models import RateWindow
    from serving_app.operations import forget_windows

    now = timezone.now()
    for scope, age in (("a:requests_per_minute", 2), ("a:tokens_per_month", 480), ("a:tokens_per_month", 24 * 70)):
        RateWindow.objects.create(scope=scope, start_at=now - timedelta(hours=age))
    RateWindow.objects.create(scope="b:requests_per_minute", start_at=now)
    assert forget_windows() == 2
    assert set(RateWindow.objects.values_list("scope", flat=True)) == {"a:tokens_per_month", "b:requests_per_minute"}


def test_the_house_says_what_holds_where_a_key_has_no_limit_of_its_own(settings, limited) -> None:
    from serving_app.queries.limits import Limits, key_limits

    settings.KEY_REQUESTS_PER_MINUTE, settings.KEY_TOKENS_PER_MINUTE, settings.KEY_TOKENS_PER_MONTH = 600, None, 10**6
    _, key = limited(tokens_per_minute=5)
    assert key_limits(key.pk) == Limits(600, 5, 10**6)
    assert key_limits("nobody") == Limits(600, None, 10**6)


def test_an_owner_sets_limits_on_the_page_and_they_are_shown(client_for, owner, project, limited) -> None:
    from serving_app.models import KeyLimit

    _, key = limited()
    client = client_for(owner)
    address = f"/p/{project.slug}/use/limits"
    done = client.post(
        address, {"key": key.pk, "requests_per_minute": "1,200", "tokens_per_month": "5 000 000"}, follow=True
    )
    assert done.status_code == 200
    limit = KeyLimit.objects.get(pk=key.pk)
    assert (limit.requests_per_minute, limit.tokens_per_minute, limit.tokens_per_month) == (1200, None, 5_000_000)
    assert "1,200" in done.content.decode()


def test_a_mistake_on_the_page_changes_nothing_and_says_so(client_for, owner, project, limited) -> None:
    from serving_app.models import KeyLimit

    _, key = limited(requests_per_minute=7)
    wrong = client_for(owner).post(f"/p/{project.slug}/use/limits", {"key": key.pk, "requests_per_minute": "many"})
    assert wrong.status_code == 422
    assert "whole number" in wrong.content.decode()
    assert KeyLimit.objects.get(pk=key.pk).requests_per_minute == 7


@pytest.mark.parametrize("text", ["1.5", "1,2,3", "-1", "9" * 5000, "1e3", "12 34"])
def test_what_is_no_whole_number_on_the_page_is_not_made_into_one(client_for, owner, project, limited, text) -> None:
    from serving_app.models import KeyLimit

    _, key = limited(requests_per_minute=7)
    wrong = client_for(owner).post(f"/p/{project.slug}/use/limits", {"key": key.pk, "requests_per_minute": text})
    assert wrong.status_code == 422
    assert KeyLimit.objects.get(pk=key.pk).requests_per_minute == 7


def test_a_viewer_sees_the_page_and_no_form(client_for, viewer, project, limited) -> None:
    limited()
    page = client_for(viewer).get(f"/p/{project.slug}/use/limits")
    assert page.status_code == 200
    assert "Change the limits" not in page.content.decode()
    assert client_for(viewer).post(f"/p/{project.slug}/use/limits", {}).status_code == 403


def test_another_projects_key_is_like_a_missing_one(client_for, owner, project, outsider, api_key) -> None:
    from accounts_app.models import ApiKey, Project

    api_key("predict", of=Project.objects.get(memberships__user=outsider))
    theirs = ApiKey.objects.get()
    assert client_for(owner).post(f"/p/{project.slug}/use/limits", {"key": theirs.pk}).status_code == 404


def test_the_api_says_and_sets_what_a_key_may_ask(client, api_key, limited) -> None:
    _, key = limited(requests_per_minute=7)
    admin = {"headers": {"Authorization": f"Bearer {api_key('admin')}"}}
    address = f"/api/v1/keys/{key.pk}/limits"
    assert client.get(address, **admin).json()["own"]["requests_per_minute"] == 7
    body = {"tokens_per_minute": 1000}
    changed = client.put(address, body, content_type="application/json", **admin).json()
    assert changed["own"] == {"requests_per_minute": None, "tokens_per_minute": 1000, "tokens_per_month": None}
    wrong = client.put(address, {"tokens_per_minute": -1}, content_type="application/json", **admin)
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (422, "tokens_per_minute")


def test_the_api_lists_the_projects_keys_so_that_a_program_learns_their_ids(client, api_key, limited, outsider) -> None:
    from accounts_app.models import Project

    text, key = limited(requests_per_minute=7)
    api_key("predict", of=Project.objects.get(memberships__user=outsider))
    read = {"headers": {"Authorization": f"Bearer {api_key('read')}"}}
    newest = client.get("/api/v1/keys?limit=1", **read).json()
    assert [one["scopes"] for one in newest["data"]] == [["read"]]
    rest = client.get("/api/v1/keys", {"cursor": newest["next_cursor"]}, **read)
    assert text not in rest.content.decode()
    assert rest.json()["next_cursor"] is None
    (told,) = rest.json()["data"]
    assert (told["id"], told["name"], told["scopes"], told["revoked_at"]) == (key.pk, key.name, ["predict"], None)
    assert text.startswith(told["prefix"])
    assert told["created_at"]
    assert told["last_used_at"] is None
    same = client.get(f"/api/v1/keys/{told['id']}/limits", **read).json()
    assert told["own"] == same["own"] == {"requests_per_minute": 7, "tokens_per_minute": None, "tokens_per_month": None}
    assert told["in_force"] == same["in_force"]
    assert client.get("/api/v1/keys", headers={"Authorization": f"Bearer {text}"}).status_code == 403


def test_a_misspelt_limit_sets_nothing(client, api_key, limited) -> None:
    from serving_app.models import KeyLimit

    _, key = limited(requests_per_minute=7)
    admin = {"headers": {"Authorization": f"Bearer {api_key('admin')}"}}
    body = {"request_per_minute": 10}
    wrong = client.put(f"/api/v1/keys/{key.pk}/limits", body, content_type="application/json", **admin)
    assert wrong.status_code == 422
    assert KeyLimit.objects.get(pk=key.pk).requests_per_minute == 7


def test_a_key_that_is_no_owners_sets_no_limits(client, api_key, limited) -> None:
    _, key = limited()
    for scope in ("read", "predict"):
        headers = {"Authorization": f"Bearer {api_key(scope)}"}
        answer = client.put(f"/api/v1/keys/{key.pk}/limits", {}, content_type="application/json", headers=headers)
        assert answer.status_code == 403


def test_setting_limits_is_in_the_audit_trail(limited) -> None:
    from accounts_app.models import AuditEntry

    limited(requests_per_minute=7)
    entry = AuditEntry.objects.get(act="key.limits")
    assert entry.data["requests_per_minute"] == 7
