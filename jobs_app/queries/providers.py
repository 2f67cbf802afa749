"""Who may be asked to train: OpenAI's addresses, a project's keys, and the operator's own."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from django.db.models import QuerySet

from accounts_app.models import Project
from jobs_app.models import ProviderConnection

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_HOST = "api.openai.com"


def is_openai_address(url: str) -> bool:
    """OpenAI's own address, or that of one of its regions."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    return parts.scheme == "https" and (host == OPENAI_HOST or host.endswith(f".{OPENAI_HOST}"))


def operators_key() -> str:
    """The key that the operator gave all projects in the environment (``OPENAI_API_KEY``); "" without one."""
    return os.environ.get("OPENAI_API_KEY", "").strip()


def connections_of(project: Project) -> QuerySet[ProviderConnection]:
    """The project's connections, by name."""
    return ProviderConnection.objects.filter(project=project).order_by("name", "id")
