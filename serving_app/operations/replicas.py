"""Replicas come, show that they live, and go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from finetune_engine.errors import UserError
from serving_app.choices import ReplicaState
from serving_app.models import Replica
from serving_app.queries import fresh_replicas

FORGOTTEN_AFTER = timedelta(hours=1)


@dataclass(frozen=True)
class ReplicaFacts:
    """What a replica says of itself: ``loaded`` the serving ids in its memory, ``backends`` of ``choices.BackendKind``,
    ``device`` as ``cpu`` or ``cuda:0``, ``memory_bytes`` what it holds there (None: unknown)."""

    loaded: Sequence[str] = field(default_factory=list)
    backends: Sequence[str] = field(default_factory=list)
    device: str = ""
    memory_bytes: int | None = None
    in_flight: int = 0
    state: str = ReplicaState.READY


def announce_replica(*, address: str, host: str, pid: int, facts: ReplicaFacts | None = None) -> Replica:
    """A process begins to answer at this address; whoever was there before it is gone. Raises UserError (409) for a socket
    file whose server lives on another machine: the two would take it from each other for ever."""
    now = timezone.now()
    values = _values(facts or ReplicaFacts())
    with transaction.atomic():
        if any(row.address == address and row.host != host for row in fresh_replicas()) and address.startswith("unix:"):
            raise UserError(
                "address_taken",
                f"A model server on another machine is at {address}. With several machines give each an address of its own: "
                "INFERENCE_BIND=HOST:PORT.",
                status=409,
            )
        Replica.objects.filter(address=address).delete()
        return Replica.objects.create(address=address, host=host, pid=pid, started_at=now, heartbeat_at=Now(), **values)


def beat_replica(*, replica: Replica, facts: ReplicaFacts) -> bool:
    """The process is alive, and this is what it says of itself. False when another process has taken its address."""
    values = _values(facts)
    with transaction.atomic():
        if Replica.objects.filter(pk=replica.pk).update(heartbeat_at=Now(), **values):
            return True
        if Replica.objects.filter(address=replica.address).exists():
            return False
        for name, value in {"heartbeat_at": Now(), **values}.items():
            setattr(replica, name, value)
        replica.save(force_insert=True)  # the row was lost (a restored backup): be found again
    return True


def drain_replica(*, replica: Replica) -> None:
    """The process takes no new questions and finishes those it has."""
    Replica.objects.filter(pk=replica.pk).update(state=ReplicaState.DRAINING)


def dismiss_replica(*, replica: Replica) -> None:
    """The process ends in good order."""
    Replica.objects.filter(pk=replica.pk).delete()


def forget_lost_replicas() -> None:
    """Drop the rows of processes that have been silent for an hour."""
    Replica.objects.filter(heartbeat_at__lt=Now() - FORGOTTEN_AFTER).delete()


def _values(facts: ReplicaFacts) -> dict[str, object]:
    values = asdict(facts)
    return values | {"loaded": list(facts.loaded), "backends": list(facts.backends)}
