"""Who is there to answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models.functions import Now

from serving_app.choices import REPLICA_FRESH_SECONDS
from serving_app.models import Replica


def fresh_replicas() -> list[Replica]:
    """Processes whose heartbeat is fresh by the database's clock, oldest first."""
    since = Now() - timedelta(seconds=REPLICA_FRESH_SECONDS)
    return list(Replica.objects.filter(heartbeat_at__gte=since).order_by("started_at", "id"))


@dataclass(frozen=True)
class Health:
    """Whether somebody can answer. ``sentence`` is for people."""

    replicas: int
    is_alive: bool
    is_loaded: bool
    sentence: str


def serving_health(serving_id: str | None, *, is_elsewhere: bool = False) -> Health:
    """The state of the model servers, and whether this model is in the memory of one of them (``is_elsewhere``: its provider
    keeps it, so that there is nothing to load)."""
    replicas = fresh_replicas()
    loaded = any(serving_id in replica.loaded for replica in replicas)
    if not replicas:
        return Health(
            0,
            False,
            False,
            "No model server is running, so questions are answered with “try again”. "
            "Ask whoever looks after this installation to start one (manage.py start keeps one running).",
        )
    if is_elsewhere:
        return Health(len(replicas), True, True, "The model server is running and asks the model at its provider.")
    if loaded:
        return Health(len(replicas), True, True, "The model is loaded and answers at once.")
    sentence = "The model server is running. The model is loaded with the first question."
    return Health(len(replicas), True, False, sentence)
