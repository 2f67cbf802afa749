"""How a state looks: one word, one tone (colour) and one shape for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Tone = Literal["ok", "warn", "bad", "info", "running", "idle"]

TONE_ICONS: dict[str, str] = {
    "ok": "circle-check",
    "warn": "triangle-alert",
    "bad": "octagon-x",
    "info": "info",
    "running": "circle-dot",
    "idle": "circle",
}


@dataclass(frozen=True)
class StateLook:
    """``word`` is shown to people; ``icon`` names a symbol of ``static/img/icons.svg``."""

    word: str | Promise
    tone: Tone
    icon: str


STATES: dict[str, StateLook] = {
    "queued": StateLook(_("Waiting"), "idle", "clock"),
    "preparing": StateLook(_("Preparing"), "running", "circle-dashed"),
    "processing": StateLook(_("Working"), "running", "circle-dot"),
    "importing": StateLook(_("Importing"), "running", "circle-dot"),
    "running": StateLook(_("Running"), "running", "circle-dot"),
    "saving": StateLook(_("Saving"), "running", "hard-drive"),
    "stopping": StateLook(_("Stopping"), "warn", "circle-dashed"),
    "paused": StateLook(_("Paused"), "warn", "circle-pause"),
    "succeeded": StateLook(_("Finished"), "ok", "circle-check"),
    "ready": StateLook(_("Ready"), "ok", "circle-check"),
    "failed": StateLook(_("Failed"), "bad", "octagon-x"),
    "cancelled": StateLook(_("Cancelled"), "idle", "circle-slash"),
    "draft": StateLook(_("Draft"), "idle", "pencil"),
    "frozen": StateLook(_("Frozen"), "info", "snowflake"),
    "accepted": StateLook(_("Accepted"), "ok", "check"),
    "flagged": StateLook(_("Flagged"), "warn", "triangle-alert"),
    "needs_review": StateLook(_("Needs review"), "info", "eye"),
    "rejected": StateLook(_("Rejected"), "bad", "x"),
    "starting": StateLook(_("Starting"), "running", "circle-dashed"),
    "active": StateLook(_("Active"), "ok", "circle-check"),
    "healthy": StateLook(_("Healthy"), "ok", "circle-check"),
    "production": StateLook(_("Production"), "ok", "rocket"),
    "staging": StateLook(_("Staging"), "info", "flask-conical"),
    "retired": StateLook(_("Retired"), "idle", "minus"),
    "revoked": StateLook(_("Revoked"), "bad", "x"),
    "expired": StateLook(_("Expired"), "warn", "clock"),
    "online": StateLook(_("Online"), "ok", "circle-check"),
    "offline": StateLook(_("Offline"), "bad", "octagon-alert"),
}


def look_of(state: str, *, word: str = "", tone: str = "") -> StateLook:
    """The look of ``state``; an unknown one is shown as its own word, neutrally.

    ``word`` and ``tone`` win over the table when given. An unknown tone counts as ``idle``.
    """
    known = STATES.get(state)
    if known is None:
        known = StateLook(state.replace("_", " ").capitalize(), "idle", TONE_ICONS["idle"])
    if tone and tone != known.tone:
        chosen: Tone = tone if tone in TONE_ICONS else "idle"  # type: ignore[assignment]  # narrowed by the table
        known = StateLook(known.word, chosen, TONE_ICONS[chosen])
    return StateLook(word or known.word, known.tone, known.icon)
