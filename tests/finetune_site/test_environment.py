"""Settings come from the environment, with sound defaults and no unsafe production."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from finetune_site import environment

ROOT = Path(__file__).resolve().parents[2]


def test_without_a_url_the_database_is_sqlite_with_wal_and_immediate_transactions(tmp_path) -> None:
    found = environment.database("", tmp_path)
    assert found["NAME"] == str(tmp_path / "tunesmith.sqlite3")
    assert found["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in found["OPTIONS"]["init_command"]


def test_a_postgres_url_is_postgres(tmp_path) -> None:
    found = environment.database("postgres://ada:pw@db:5433/house", tmp_path)
    assert (found["ENGINE"], found["HOST"], found["PORT"], found["NAME"]) == (
        "django.db.backends.postgresql", "db", 5433, "house",
    )  # fmt: skip


def test_a_bucket_url_is_s3_with_its_endpoint(tmp_path) -> None:
    found = environment.storage("s3://house/models?endpoint=http://storage:9000", tmp_path)
    assert found["OPTIONS"]["bucket_name"] == "house"
    assert found["OPTIONS"]["location"] == "models"
    assert found["OPTIONS"]["endpoint_url"] == "http://storage:9000"


def test_another_storage_is_refused_by_name(tmp_path) -> None:
    with pytest.raises(ImproperlyConfigured, match="ftp"):
        environment.storage("ftp://somewhere", tmp_path)


def test_a_secret_is_made_once_and_readable_by_its_owner_only(tmp_path) -> None:
    path = tmp_path / "keys" / "secret"
    first = environment.kept_secret(path)
    assert len(first) >= 50
    assert environment.kept_secret(path) == first
    assert path.stat().st_mode & 0o077 == 0


def test_a_long_path_gets_its_sockets_elsewhere(tmp_path) -> None:
    deep = tmp_path / ("d" * 100)
    assert len(str(environment.socket_folder(deep) / "inference.sock")) < 108


@pytest.mark.parametrize(
    ("unsafe", "code"),
    [({"DEBUG": "1"}, "E001"), ({"SECRET_KEY": "change-me"}, "E002"), ({"ALLOWED_HOSTS": "*"}, "E003")],
)
def test_production_refuses_unsafe_settings(tmp_path, unsafe, code) -> None:
    variables = {"PRODUCTION": "1", "ALLOWED_HOSTS": "example.org", "DATA_DIR": str(tmp_path)} | unsafe
    clean = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=clean | variables, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"tunesmith.{code}" in done.stderr


@pytest.mark.parametrize(
    ("url", "port", "starttls", "tls"),
    [
        ("smtp://mail.example.org", 25, False, False),
        ("smtp+tls://ada:p%40w@mail.example.org", 587, True, False),
        ("smtp+ssl://ada:p%40w@mail.example.org:4465", 4465, False, True),
    ],
)
def test_a_mail_server_is_named_by_one_address(url, port, starttls, tls) -> None:
    found = environment.email(url)
    assert (found.host, found.port, found.uses_starttls, found.uses_tls) == ("mail.example.org", port, starttls, tls)
    assert (found.user, found.password) == (("ada", "p@w") if "@mail" in url else ("", ""))
    assert "p@w" not in repr(found)


@pytest.mark.parametrize("url", ["mail.example.org", "http://mail.example.org", "smtp://"])
def test_what_is_no_mail_server_is_refused(url) -> None:
    with pytest.raises(ImproperlyConfigured, match="smtp"):
        environment.email(url)
