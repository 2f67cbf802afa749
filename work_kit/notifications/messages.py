"""What is said when a job ends: a JSON event for programs, a plain letter for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts_app.models import Project, User
from web_kit.ids import new_id
from work_kit.choices import ADVICE, MailAbout, Reason, State
from work_kit.kinds import kind_of
from work_kit.models import Job

SENTENCES = {
    State.SUCCEEDED: gettext_lazy("“%(title)s” is done."),
    State.FAILED: gettext_lazy("“%(title)s” has failed."),
    State.CANCELLED: gettext_lazy("“%(title)s” was cancelled."),
}
MOST_TITLE, MOST_FAILURE = 120, 500


@dataclass(frozen=True)
class News:
    """Something to tell of a project that is not a job's end. ``data`` goes to programs beside ``object_id``; ``headline`` and
    ``page`` (a path) to people."""

    event: str
    object_id: str
    headline: str
    page: str
    data: dict[str, Any]


def event_name(job: Job) -> str | None:
    """``fine_tuning.job.succeeded`` and the like; None for a kind of job that programs are not told of."""
    named: tuple[str, str] | None = getattr(kind_of(job.kind), "announced", None)
    return f"{named[0]}.{job.state}" if named is not None else None


def event_body(job: Job, *, event: str, at: datetime) -> dict[str, Any]:
    """The event as OpenAI's webhooks have it; ``data.id`` is the job's id there."""
    _object, prefix = kind_of(job.kind).announced  # type: ignore[attr-defined]  # event_name has looked
    return sample_body(event, f"{prefix}{job.pk}", at)


def sample_body(event: str, object_id: str, at: datetime) -> dict[str, Any]:
    """An event about any object; a test sends one about a job that does not exist."""
    return {
        "id": f"evt_{new_id()}",
        "object": "event",
        "created_at": int(at.timestamp()),
        "type": event,
        "data": {"id": object_id},
    }


def is_for_people(job: Job) -> bool:
    """Whether the job has a page of its own, so that a letter can lead there."""
    return hasattr(kind_of(job.kind), "page_url")


def letter(job: Job, person: User, about: str) -> dict[str, str]:
    """Subject and text of the e-mail about an ended job. Titles and failures are people's text: one line each."""
    title = _one_line(job.title, MOST_TITLE)
    news = str(SENTENCES[State(job.state)]) % {"title": title}
    lines = [
        _("Hello %(name)s,") % {"name": _one_line(str(person), 80)},
        "",
        _("%(news)s It is a job of the project “%(project)s”.")
        % {"news": news, "project": _one_line(job.project.name, MOST_TITLE)},
        *_reasons(job),
        "",
        _("Look at it: %(link)s") % {"link": link(kind_of(job.kind).page_url(job))},  # type: ignore[attr-defined]
        "",
        "-- ",
        _("You asked to hear of: %(about)s.") % {"about": str(MailAbout(about).label).lower()},
        _("Change that here: %(link)s") % {"link": link(page_of(job.project))},
    ]
    return {"subject": f"[{_one_line(job.project.name, 40)}] {news}", "text": "\n".join(lines) + "\n"}


def news_letter(project: Project, person: User, news: News) -> dict[str, str]:
    """Subject and text of the e-mail about a project's news."""
    headline = _one_line(news.headline, MOST_FAILURE)
    lines = [
        _("Hello %(name)s,") % {"name": _one_line(str(person), 80)},
        "",
        _("%(news)s It is about the project “%(project)s”.")
        % {"news": headline, "project": _one_line(project.name, MOST_TITLE)},
        "",
        _("Look at it: %(link)s") % {"link": link(news.page)},
        "",
        "-- ",
        _("You get this as an owner of the project. Change that here: %(link)s") % {"link": link(page_of(project))},
    ]
    subject = f"[{_one_line(project.name, 40)}] {_one_line(news.headline, MOST_TITLE)}"
    return {"subject": subject, "text": "\n".join(lines) + "\n"}


def _reasons(job: Job) -> list[str]:
    """What happened and the way out, for a failed job."""
    if job.state != State.FAILED:
        return []
    reason = Reason(job.failure_reason)
    told = _one_line(str(job.failure.get("message") or ""), MOST_FAILURE)
    happened = str(reason.label) if not told or told == str(reason.label) else f"{reason.label} {told}"
    return [
        "",
        _("What happened: %(sentence)s") % {"sentence": happened},
        _("What to do: %(advice)s") % {"advice": ADVICE[reason]},
    ]


def link(path: str) -> str:
    """The whole address of a page; without ``SITE_URL`` the path alone is known."""
    return f"{settings.SITE_URL}{path}"


def page_of(project: Project) -> str:
    """The project's page about notifications."""
    return reverse("notifications:page", args=[project.slug])


def _one_line(text: str, most: int) -> str:
    """Printable signs on one line: no line breaks that could end a header or fake a second paragraph."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
