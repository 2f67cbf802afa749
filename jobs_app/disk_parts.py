"""What apps above this one keep on disk. They say so by registering a part; nothing here knows the apps above."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from accounts_app.models import Project
from jobs_app.queries.housekeeping import DiskPart
from work_kit.stored_sizes import Size


@dataclass(frozen=True)
class DiskSource:
    """``look(project)`` says what there is, ``clean(project)`` removes what can go now and says how much that was."""

    kind: str
    look: Callable[[Project], DiskPart]
    clean: Callable[[Project], Size]


_SOURCES: dict[str, DiskSource] = {}


def register(source: DiskSource) -> None:
    """Once per process, from ``AppConfig.ready``."""
    _SOURCES[source.kind] = source


def parts_of(project: Project) -> list[DiskPart]:
    """What the apps above keep for this project."""
    return [source.look(project) for source in _SOURCES.values()]


def source_of(kind: str) -> DiskSource | None:
    """The source of one kind of thing; None when no app keeps such."""
    return _SOURCES.get(kind)
