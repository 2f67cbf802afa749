"""What an evaluation will show and take, said before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from accounts_app.models import Project
from datasets_app.models import Snapshot
from evaluation_app.models import Evaluation
from evaluation_app.queries.columns import MOST_OFFERED, metadata_columns
from evaluation_app.queries.lists import PILOT_DISCORDANCE, sample_power
from finetune_engine.evaluate.statistics.power import cases_needed
from web_kit.wording import number_words
from work_kit.choices import State

GAIN = 0.15


@dataclass(frozen=True)
class Pilot:
    """The share of cases on which two models differed in an earlier evaluation."""

    evaluation_id: str
    model_name: str
    discordance: float


@dataclass(frozen=True)
class Outlook:
    """``power`` says how often a gain is missed, ``basis`` what that rests on, ``enough`` how many cases would do.
    ``cases`` None while there is no data to count. ``columns`` are what slices and fairness can name."""

    cases: int | None
    power: str
    basis: str
    enough: str
    columns: list[str]


def outlook(
    project: Project, snapshot: Snapshot | None, *, split: str, limit: int | None, discordance: float | None
) -> Outlook:
    """``discordance`` (0..1) None: as an earlier evaluation on the same data found, else the usual guess."""
    if snapshot is None:
        return Outlook(None, _("Choose the data to see what it can show."), "", "", [])
    there = int((snapshot.counts or {}).get(split) or 0)
    cases = min(limit, there) if limit else there
    pilot = None if discordance else pilot_of(project, snapshot)
    share = discordance or (pilot.discordance if pilot else PILOT_DISCORDANCE)
    return Outlook(
        cases=cases,
        power=sample_power(cases, share),
        basis=_basis(discordance, pilot),
        enough=_enough(cases, share),
        columns=metadata_columns(snapshot)[:MOST_OFFERED],
    )


def _basis(told: float | None, pilot: Pilot | None) -> str:
    if told:
        return _("This rests on your guess that the two models differ on %(n)s of 100 cases.") % {
            "n": round(told * 100)
        }
    if pilot:
        sentence = _("The evaluation of “%(model)s” found that the two models differ on %(n)s of 100 cases.")
        return sentence % {"model": pilot.model_name, "n": round(pilot.discordance * 100)}
    return _("This assumes that the two models differ on %(n)s of 100 cases.") % {"n": round(PILOT_DISCORDANCE * 100)}


def _enough(cases: int, discordance: float) -> str:
    """Empty where there are enough cases already."""
    gain = min(GAIN, discordance)
    needed = cases_needed(discordance=discordance, gain=gain)
    if needed is None or cases >= needed:
        return ""
    sentence = _("%(n)s cases would show it 8 times in 10.")
    return sentence % {"n": number_words(needed)}


def pilot_of(project: Project, snapshot: Snapshot) -> Pilot | None:
    """The newest finished evaluation on the same data that compared two models case by case; None without one."""
    rows = Evaluation.objects.filter(
        project=project, snapshot__dataset=snapshot.dataset_id, work__state=State.SUCCEEDED
    )
    fields = ("pk", "trained_model__name", "report__comparison", "report__power")
    for pk, name, comparison, power in rows.order_by("-id").values_list(*fields)[:5]:
        share = _discordance(comparison or {}, power or {})
        if share:
            return Pilot(pk, name, share)
    return None


def _discordance(comparison: Mapping[str, Any], power: Mapping[str, Any]) -> float | None:
    """Cases where only one of the two was right, of all; the report's own figure where it has one from its cases."""
    better, worse, n = (comparison.get(name) for name in ("better", "worse", "n"))
    if better is not None and worse is not None and n:
        share = (int(better) + int(worse)) / int(n)
        return share if 0 < share <= 1 else None
    told = power.get("discordance")
    return float(told) if isinstance(told, int | float) and 0 < told <= 1 else None
