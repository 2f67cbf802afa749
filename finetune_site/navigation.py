"""What the frame of every page shows: where am I, and where can I go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts_app.models import Project
from accounts_app.queries import projects_of


@dataclass(frozen=True)
class NavItem:
    """One entry. ``is_current`` marks the section the page belongs to."""

    label: str
    url: str
    icon: str
    is_current: bool = False


@dataclass
class Navigation:
    """The frame's content; ``project`` is None outside a project."""

    user: Any = None
    project: Project | None = None
    items: list[NavItem] = field(default_factory=list)
    projects: list[NavItem] = field(default_factory=list)
    house_items: list[NavItem] = field(default_factory=list)


SECTIONS = [
    ("home", "project_home", "home"),
    ("datasets", "datasets:list", "database"),
    ("jobs", "jobs:list", "activity"),
    ("evaluation", "evaluation:list", "scale"),
    ("serving", "serving:detail", "message-square"),
    ("team", "team:team", "users"),
    ("notifications", "notifications:page", "bell"),
]
DATA_PAGES = {"row_models", "snapshot_models"}  # pages about data that are composed here


def navigation(request: HttpRequest) -> dict[str, Navigation]:
    """Template context: ``nav``."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"nav": Navigation()}
    match = request.resolver_match
    namespace = (match.namespace or match.url_name or "") if match else ""
    namespace = "datasets" if namespace in DATA_PAGES else namespace
    namespace = "jobs" if namespace == "compare_trainings" else namespace
    actor = getattr(request, "actor", None)
    nav = Navigation(user=user, project=actor.project if actor else None)
    nav.projects = [
        NavItem(project.name, reverse("project_home", args=[project.slug]), "folder", project == nav.project)
        for project in projects_of(user)
    ]
    nav.house_items = [
        NavItem(_("All jobs"), reverse("work_jobs"), "list", namespace == "work_jobs"),
        NavItem(_("Machines"), reverse("machines"), "server", namespace == "machines"),
    ]
    if nav.project is not None:
        labels = {
            "home": _("Home"),
            "datasets": _("Data"),
            "jobs": _("Training"),
            "evaluation": _("Results"),
            "serving": _("Use"),
            "team": _("Team"),
            "notifications": _("Notifications"),
        }
        for key, url_name, icon in SECTIONS:
            current = namespace == key or (key == "home" and namespace == "project_home")
            nav.items.append(NavItem(labels[key], reverse(url_name, args=[nav.project.slug]), icon, current))
    return {"nav": nav}
