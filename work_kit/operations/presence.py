"""Who is there to work, and on what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta

from work_kit import queries
from work_kit.models import Device, Worker

FORGOTTEN_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class Resources:
    """What a machine has, in bytes; None where it cannot be measured."""

    memory_bytes: int | None = None
    memory_free_bytes: int | None = None
    disk_free_bytes: int | None = None


@dataclass(frozen=True)
class DeviceFacts:
    """A device as its driver describes it."""

    name: str
    label: str = ""
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None


def beat_worker(*, name: str, host: str, queue: str, device: str, pid: int, resources: Resources | None = None) -> None:
    """A worker says that it is there, and what its machine has."""
    now = queries.database_now()
    values = {"host": host, "queue": queue, "device": device, "pid": pid, "heartbeat_at": now}
    values |= asdict(resources or Resources())
    Worker.objects.update_or_create(name=name, defaults=values, create_defaults={**values, "started_at": now})
    Device.objects.update_or_create(host=host, name=device, defaults={"seen_at": now})


def note_devices(*, host: str, devices: Iterable[DeviceFacts]) -> None:
    """Record what the machine's devices have."""
    now = queries.database_now()
    for facts in devices:
        values = {name: value for name, value in asdict(facts).items() if name != "name"} | {"seen_at": now}
        Device.objects.update_or_create(host=host, name=facts.name, defaults=values)


def forget_worker(*, name: str) -> None:
    """A worker says goodbye."""
    Worker.objects.filter(name=name).delete()


def forget_lost_workers() -> None:
    """Drop the rows of workers that have been silent for a day."""
    Worker.objects.filter(heartbeat_at__lt=queries.database_now() - FORGOTTEN_AFTER).delete()
