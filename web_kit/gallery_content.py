"""The example content of the gallery: a made-up claims desk, so that every component shows something honest."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from web_kit.forms import StyledForm
from web_kit.live_job import LiveJob, LogLine
from web_kit.pagination import Page

STEPS = 120


class GalleryForm(StyledForm):
    """One field of each kind that pages use."""

    terms = {"epochs": "epoch", "learning_rate": "learning_rate"}  # noqa: RUF012  declared ClassVar in the base

    name = forms.CharField(label=_("Name of the job"), help_text=_("You will find the model under this name."))
    epochs = forms.IntegerField(label=_("How many passes"), initial=3, min_value=1, max_value=20)
    learning_rate = forms.FloatField(
        label=_("How large each adjustment is"), required=False, help_text=_("Leave empty to let Tunesmith choose.")
    )
    split = forms.ChoiceField(
        label=_("Divide by"), choices=[("random", _("Chance")), ("label", _("Label, evenly"))], required=False
    )
    when = forms.ChoiceField(
        label=_("Start"),
        choices=[("now", _("As soon as a device is free")), ("later", _("I will start it myself"))],
        widget=forms.RadioSelect,
    )
    notes = forms.CharField(label=_("Notes"), widget=forms.Textarea(attrs={"rows": 3}), required=False)
    keep_best = forms.BooleanField(
        label=_("Keep the best checkpoint, not the last"),
        required=False,
        initial=True,
        help_text=_("The best is the one with the lowest loss on the validation examples."),
    )


def metrics(upto: int = STEPS) -> list[dict[str, Any]]:
    """A run that learns, loses its numbers for three steps, and begins to memorise near the end."""
    dice = random.Random(7)
    rows: list[dict[str, Any]] = []
    for step in range(1, upto + 1):
        loss = 0.42 + 1.9 * math.exp(-step / 22) + dice.gauss(0, 0.05)
        row: dict[str, Any] = {
            "step": step,
            "train_loss": round(loss, 4),
            "tokens_per_second": 1840 + dice.randrange(90),
        }
        if step in (61, 62, 63):
            row["train_loss"] = math.nan
        if step % 10 == 0:
            row["valid_loss"] = round(0.55 + 1.8 * math.exp(-step / 20) + max(0, step - 80) * 0.0022, 4)
        rows.append(row)
    return rows


def live_job(events_url: str, upto: int = 40) -> LiveJob:
    """A job in the middle of its training."""
    now = datetime.now(UTC)
    return LiveJob(
        events_url=events_url,
        state="running",
        phase_label="Training",
        done=upto,
        total=STEPS,
        unit="steps",
        eta_seconds=322,
        reading="Learning well. The loss on new examples is still falling.",
        metrics=metrics(upto),
        log=[
            LogLine("Base model loaded: 135 million parameters, 0.9% of them are trained.", now - timedelta(minutes=4)),
            LogLine(
                "2 of 4,160 examples are longer than 512 tokens and were cut.", now - timedelta(minutes=3), "warning"
            ),
            LogLine("Checkpoint saved at step 40.", now - timedelta(seconds=20)),
        ],
        last_event_id=1000 + upto,
    )


def steps() -> list[dict[str, str]]:
    """The seven steps of a project half-way."""
    rows = [
        ("Advice", "done", "Fine-tuning fits: a narrow task and 5,200 examples.", ""),
        ("Data", "done", "5,200 examples, 5,014 usable.", ""),
        ("Review", "warn", "38 rows wait for your decision.", "Review rows"),
        ("Model", "done", "SmolLM2 135M, runs on this machine.", ""),
        ("Train", "now", "Everything is ready. About 25 minutes.", "Start training"),
        ("Judge", "later", "Comes after training.", ""),
        ("Use", "later", "Comes after judging.", ""),
    ]
    keys = ("name", "state", "sentence", "act")
    return [dict(zip(keys, row, strict=True)) | {"url": "#", "act_url": "#"} for row in rows]


def histogram() -> list[dict[str, float]]:
    """Lengths of questions in words."""
    counts = [12, 160, 540, 910, 1180, 960, 640, 380, 210, 120, 60, 24, 4]
    return [{"from": i * 25, "to": (i + 1) * 25, "count": n} for i, n in enumerate(counts)]


def scores() -> list[dict[str, Any]]:
    """Base model, tuned model and a baseline on the same test cases."""
    return [
        {"name": "Most frequent label", "value": 0.412, "low": 0.371, "high": 0.454, "base": True},
        {"name": "Base model", "value": 0.538, "low": 0.496, "high": 0.580, "base": True},
        {"name": "Claims triage 3", "value": 0.871, "low": 0.841, "high": 0.897, "base": False},
    ]


def context() -> dict[str, Any]:
    """Everything that the gallery's template names."""
    now = datetime.now(UTC)
    states = ["queued", "preparing", "running", "saving", "stopping", "paused", "succeeded", "failed", "cancelled"]
    states += ["accepted", "flagged", "needs_review", "rejected", "frozen", "production", "retired"]
    jobs = [
        ("Claims triage 4", "running", now - timedelta(minutes=6), None, None),
        ("Claims triage 3", "succeeded", now - timedelta(hours=3), 1510, 0.871),
        ("Letters in plain words", "failed", now - timedelta(days=2), 95, None),
    ]
    keys = ("name", "state", "created_at", "seconds", "score")
    return {
        "states": states,
        "jobs": [SimpleNamespace(**dict(zip(keys, job, strict=True))) for job in jobs],
        "page": Page(jobs, next_cursor="next", previous_cursor="previous"),
        "steps": steps(),
        "bins": histogram(),
        "scores": scores(),
        "requests": [4, 9, 14, 11, 18, 26, 21, 30, 34, 28, 41, 39],
        "labels": ["Motor", "Home", "Travel", "Other"],
        "matrix": [[182, 6, 2, 4], [9, 141, 0, 11], [1, 2, 63, 5], [12, 17, 3, 42]],
        "code": 'curl http://localhost:8000/predict \\\n  -H "Authorization: Bearer $TUNESMITH_KEY" \\\n'
        '  -d \'{"text": "Water came through the ceiling."}\'',
        "long_text": "Dear Sir or Madam,\nmy luggage did not arrive in Lisbon. <b>Please advise.</b>",
        "now": now,
        "nav": _navigation(),
    }


def _navigation() -> SimpleNamespace:
    def entry(label: str, icon: str, is_current: bool = False) -> SimpleNamespace:
        return SimpleNamespace(label=label, url="#", icon=icon, is_current=is_current)

    return SimpleNamespace(
        project=SimpleNamespace(name="Contract desk"),
        user=SimpleNamespace(name="Dr. Amara Okafor", email="amara@example.org"),
        projects=[entry("Contract desk", "folder", True), entry("Claims letters", "folder")],
        items=[
            entry("Home", "house"),
            entry("Data", "database"),
            entry("Training", "activity", True),
            entry("Results", "scale"),
            entry("Use", "message-square"),
            entry("Team", "users"),
        ],
        house_items=[entry("All jobs", "list")],
    )
