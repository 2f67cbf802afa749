"""Keyset pages: complete, steady while rows come and go, and closed to tampering."""

from __future__ import annotations

import base64
import json

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from finetune_engine.errors import UserError
from web_kit.pagination import paginate

pytestmark = pytest.mark.django_db


@pytest.fixture
def groups():
    Group.objects.bulk_create(Group(name=f"{i % 3}-{i:03d}") for i in range(25))
    return Group.objects.all()


def _walk(rows, **options):
    pages, cursor = [], None
    while True:
        page = paginate(rows, cursor=cursor, **options)
        pages.append(page)
        cursor = page.next_cursor
        if cursor is None:
            return pages


@pytest.mark.parametrize("order", [("pk",), ("-pk",), ("name", "pk"), ("-name", "pk")])
def test_every_row_comes_exactly_once(groups, order):
    seen = [row.pk for page in _walk(groups, order=order, limit=7) for row in page]
    assert seen == list(groups.order_by(*order).values_list("pk", flat=True))


def test_the_last_page_has_no_next_and_the_first_no_previous(groups):
    pages = _walk(groups, limit=10)
    assert [len(page) for page in pages] == [10, 10, 5]
    assert pages[0].previous_cursor is None
    assert pages[-1].next_cursor is None


def test_previous_leads_back_to_the_same_rows(groups):
    first, second, third = _walk(groups, order=("name", "pk"), limit=10)
    back = paginate(groups, order=("name", "pk"), limit=10, cursor=third.previous_cursor)
    assert [r.pk for r in back] == [r.pk for r in second]
    start = paginate(groups, order=("name", "pk"), limit=10, cursor=back.previous_cursor)
    assert [r.pk for r in start] == [r.pk for r in first]
    assert start.previous_cursor is None


def test_rows_added_at_the_front_shift_nothing(groups):
    first = paginate(groups, order=("-pk",), limit=10)
    Group.objects.create(name="new")
    second = paginate(groups, order=("-pk",), limit=10, cursor=first.next_cursor)
    assert {r.pk for r in first}.isdisjoint(r.pk for r in second)
    assert len(second) == 10


def test_a_page_is_one_query_without_count_or_offset(groups):
    cursor = paginate(groups, limit=5).next_cursor
    with CaptureQueriesContext(
        connection,
    ) as queries:
        paginate(groups, limit=5, cursor=cursor)
    assert len(queries) == 1
    assert "OFFSET" not in queries[0]["sql"]
    assert "COUNT" not in queries[0]["sql"]


def test_dictionaries_can_be_paged_too(groups):
    page = paginate(groups.values("id", "name"), order=("id",), limit=3)
    assert paginate(groups.values("id", "name"), order=("id",), limit=3, cursor=page.next_cursor).items[0]["id"] > 0


def _forged(value) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "%%%",
        "é",
        _forged([]),
        _forged({}),
        _forged(["n", "-pk", "abc"]),
        _forged(["n", "name", 1]),
        _forged(["q", "-pk", 1]),
    ],
)
def test_a_cursor_of_somebody_elses_making_is_a_plain_mistake(groups, cursor):
    with pytest.raises(UserError) as caught:
        paginate(groups, cursor=cursor)
    assert (caught.value.code, caught.value.status) == ("bad_cursor", 400)


def test_the_limit_is_held_in_bounds(groups):
    assert len(paginate(groups, limit=0)) == 1
    assert len(paginate(groups, limit=10**9)) == 25
