"""Many rows at once: what goes in column by column comes out as it was, on every database."""

from __future__ import annotations

import pyarrow as pa
import pytest

from accounts_app.models import User
from datasets_app.bulk import insert_columns, insert_rows

pytestmark = pytest.mark.django_db
SHARED = {
    "first_name": "",
    "last_name": "",
    "password": "",
    "is_active": True,
    "is_staff": False,
    "is_superuser": False,
    "last_login": None,
    "date_joined": "2026-01-01T00:00:00+00:00",
}
FIELDS = ("id", "email", "name", *SHARED)
TEXTS = ['with "quotes"', "a,b;c\td", "two\nlines\r\nthree", "", "\\N", "\\.", "日本語 – café", "it's 100 %s"]


def test_texts_come_back_letter_by_letter():
    emails = [f"p{n}@example.com" for n in range(len(TEXTS))]
    ids = [f"u{n}" for n in range(len(TEXTS))]
    part = {"id": pa.array(ids), "email": pa.array(emails), "name": pa.array(TEXTS)}
    assert insert_columns(User, FIELDS, [part | SHARED]) == len(TEXTS)
    assert list(User.objects.order_by("id").values_list("name", flat=True)) == TEXTS
    assert set(User.objects.values_list("last_login", "is_active")) == {(None, True)}


def test_rows_of_plain_values_are_inserted_too():
    rows = [(f"u{n}", f"r{n}@example.com", text, *SHARED.values()) for n, text in enumerate(TEXTS)]
    assert insert_rows(User, FIELDS, rows) == len(TEXTS)
    assert list(User.objects.order_by("id").values_list("name", flat=True)) == TEXTS
