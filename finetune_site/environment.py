"""What the environment says, read once; and the secrets that the first start makes and keeps."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def flag(name: str, default: bool = False) -> bool:
    """A yes/no variable: 1, true, yes and on are yes."""
    value = os.environ.get(name, "").strip().lower()
    return default if value == "" else value in {"1", "true", "yes", "on"}


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated variable as a list."""
    return [word.strip() for word in os.environ.get(name, default).split(",") if word.strip()]


def limit(name: str, default: int | None = None) -> int | None:
    """A limit: a whole number, or ``none`` for no limit."""
    value = os.environ.get(name, "").strip().lower()
    if value == "":
        return default
    if value == "none":
        return None
    if not value.isdecimal():
        raise ImproperlyConfigured(f"{name} is a whole number or 'none'; it is {value!r}.")
    return int(value)


def kept_secret(path: Path) -> str:
    """The secret in this file, made on the first call (50 characters, readable by the owner only)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(50))
    return path.read_text().strip()


def socket_folder(data_dir: Path) -> Path:
    """Where unix sockets live: in the data folder, unless its path is too long for a socket's address (108 bytes)."""
    folder = data_dir / "run"
    if len(os.fsencode(folder)) > 80:
        digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"tunesmith-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def database(url: str, data_dir: Path) -> dict[str, Any]:
    """Django's database settings from ``DATABASE_URL``; without one, SQLite in the data folder.

    SQLite runs in WAL mode with IMMEDIATE transactions: readers never wait, and a writer waits for its turn
    at BEGIN instead of failing in the middle.
    """
    if url and not url.startswith("sqlite"):
        import environ

        config: dict[str, Any] = environ.Env.db_url_config(url)
        config.setdefault("CONN_MAX_AGE", 60)
        config["CONN_HEALTH_CHECKS"] = True
        return config
    path = urlsplit(url).path if url else str(data_dir / "tunesmith.sqlite3")
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
        },
    }


@dataclass(frozen=True)
class Email:
    """The mail server. Without a host, letters are printed to the terminal."""

    backend: str = "django.core.mail.backends.console.EmailBackend"
    host: str = ""
    port: int = 25
    user: str = ""
    password: str = field(default="", repr=False)
    uses_starttls: bool = False
    uses_tls: bool = False


MAIL_PORTS = {"smtp": 25, "smtp+tls": 587, "smtp+ssl": 465}


def email(url: str) -> Email:
    """The mail server of ``EMAIL_URL``: ``smtp+tls://user:password@host`` (STARTTLS, port 587), ``smtp+ssl://...`` (TLS from
    the start, 465) or ``smtp://...`` (neither, 25); another port may follow the host."""
    if not url:
        return Email()
    parts = urlsplit(url)
    if parts.scheme not in MAIL_PORTS or not parts.hostname:
        raise ImproperlyConfigured("EMAIL_URL should look like smtp+tls://user:password@mail.example.org:587")
    return Email(
        backend="django.core.mail.backends.smtp.EmailBackend",
        host=parts.hostname,
        port=parts.port or MAIL_PORTS[parts.scheme],
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        uses_starttls=parts.scheme == "smtp+tls",
        uses_tls=parts.scheme == "smtp+ssl",
    )


def storage(url: str, data_dir: Path) -> dict[str, Any]:
    """The default file storage from ``STORAGE_URL``: ``file:///path`` or ``s3://bucket/prefix?endpoint=...``."""
    parts = urlsplit(url or f"file://{data_dir / 'files'}")
    if parts.scheme == "file":
        return {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": unquote(parts.path), "base_url": None, "file_permissions_mode": 0o600},
        }
    if parts.scheme != "s3":
        raise ImproperlyConfigured(f"STORAGE_URL begins with {parts.scheme!r}; use file:// or s3://")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    options: dict[str, Any] = {
        "bucket_name": parts.hostname,
        "location": parts.path.strip("/"),
        "addressing_style": "path",
        "file_overwrite": False,
        "default_acl": None,
        "querystring_auth": True,
    }
    if "endpoint" in query:
        options["endpoint_url"] = query["endpoint"]
    if "region" in query:
        options["region_name"] = query["region"]
    return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
