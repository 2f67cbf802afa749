"""What can be chosen of an evaluation beyond its models and data: read, completed, and checked all at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from accounts_app.models import Project
from datasets_app.models import Snapshot
from evaluation_app.choices import Suite, headlines_for, metric_names
from evaluation_app.operations.typed_text import typed_text
from evaluation_app.queries.columns import MOST_OFFERED, metadata_columns
from finetune_engine.errors import UserError
from jobs_app.queries.providers import connections_of

KNOWN = ("headline", "metrics", "weights", "slices", "fairness", "judge", "discordance", "cost", "group_by")
MOST_COLUMNS = 8
MOST_LISTS = 10
MOST_WORDS = 200
MOST_JUDGED = 500
USUAL_JUDGED = 50
LONGEST_RUBRIC = 4_000
LONGEST_TEXT = 8_000

Settings = dict[str, Any]


def checked_settings(
    raw: Mapping[str, Any] | None, *, project: Project, snapshot: Snapshot
) -> tuple[Settings, list[UserError]]:
    """The settings as they are stored, and everything that is wrong with them. Fields at fault are named as in ``raw``."""
    told = _as_kept(dict(raw or {}))
    problems: list[UserError] = []
    unknown = sorted(set(told) - set(KNOWN))
    if unknown:
        sentence = _("There is no setting %(name)r. Known are: %(known)s.")
        problems.append(_bad("settings", sentence % {"name": unknown[0], "known": ", ".join(KNOWN)}))
    out: Settings = {}
    readers: dict[str, Callable[[Any], Any]] = {
        "headline": lambda value: _headline(value, snapshot),
        "metrics": _metrics,
        "weights": _weights,
        "slices": lambda value: {"columns": _columns(value, "slices", snapshot)},
        "fairness": lambda value: _fairness(value, snapshot),
        "judge": lambda value: _judge(value, project),
        "discordance": _discordance,
        "cost": _cost,
        "group_by": lambda value: _one_column(value, snapshot),
    }
    for name, read in readers.items():
        if told.get(name) in (None, "", {}, []):
            continue
        try:
            out[name] = read(told[name])
        except UserError as problem:
            problems.append(problem)
    return {name: value for name, value in out.items() if value not in (None, {}, [])}, problems


def _as_kept(value: Any) -> Any:
    """The same with all texts as every database can keep them."""
    if isinstance(value, str):
        return typed_text(value, LONGEST_TEXT)
    if isinstance(value, Mapping):
        return {typed_text(str(name), LONGEST_TEXT): _as_kept(part) for name, part in value.items()}
    return [_as_kept(part) for part in value] if isinstance(value, list | tuple) else value


def _bad(field: str, sentence: str) -> UserError:
    return UserError("bad_setting", sentence, field=field, reason="bad_config")


def _headline(value: Any, snapshot: Snapshot) -> str:
    offered = headlines_for(snapshot.task_type)
    if value not in offered:
        sentence = _("%(name)r cannot decide this evaluation. Choose among: %(known)s.")
        raise _bad("headline", sentence % {"name": value, "known": ", ".join(offered)})
    return str(value)


def _metrics(value: Any) -> list[str]:
    names, there = _texts(value, "metrics"), metric_names()
    unknown = [name for name in names if name not in there]
    if unknown:
        told = {"name": unknown[0], "known": ", ".join(there)}
        raise _bad("metrics", _("There is no metric %(name)r. Known are: %(known)s.") % told)
    return names


def _weights(value: Any) -> dict[str, float]:
    """Shares that sum to 1; percents that sum to 100 are taken as well."""
    if not isinstance(value, Mapping):
        raise _bad("weights", _("The weights are one number for each kind of measurement."))
    unknown = sorted(set(value) - set(Suite.values))
    if unknown:
        raise UserError("unknown_suite", _unknown_suite(unknown[0]), field="weights")
    shares = {}
    for suite, weight in value.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight) or weight < 0:
            raise _bad("weights", _("A weight is a number from 0. Give 0 to what should not count."))
        shares[str(suite)] = float(weight)
    total = math.fsum(shares.values())
    for whole in (1.0, 100.0):
        if abs(total - whole) < 0.005 * whole:
            return {suite: weight / total for suite, weight in shares.items() if weight}
    shown = total if total > 2 else total * 100
    raise _bad("weights", _("The weights add up to %(total)g %%; make them 100 %%.") % {"total": round(shown, 2)})


def _unknown_suite(name: str) -> str:
    told = {"name": name, "known": ", ".join(Suite.values)}
    return _("There is no kind of measurement %(name)r: choose among %(known)s.") % told


def _columns(value: Any, field: str, snapshot: Snapshot) -> list[str]:
    names = _texts((value or {}).get("columns") if isinstance(value, Mapping) else value, field)
    if len(names) > MOST_COLUMNS:
        raise _bad(field, _("Choose at most %(most)s columns.") % {"most": MOST_COLUMNS})
    there = metadata_columns(snapshot)
    unknown = [name for name in names if there and name not in there]
    if unknown:
        told = {"name": unknown[0], "known": ", ".join(there[:MOST_OFFERED])}
        raise _bad(field, _("This data has no column %(name)r. It has: %(known)s.") % told)
    return names


def _one_column(value: Any, snapshot: Snapshot) -> str | None:
    return next(iter(_columns([value], "group_by", snapshot)), None)


def _fairness(value: Any, snapshot: Snapshot) -> Settings:
    if not isinstance(value, Mapping):
        raise _bad("fairness", _("Fairness takes columns and lists of words."))
    lists = value.get("lists") or {}
    if not isinstance(lists, Mapping) or len(lists) > MOST_LISTS:
        raise _bad("fairness", _("Give at most %(most)s lists of words.") % {"most": MOST_LISTS})
    return {
        "columns": _columns({"columns": value.get("columns") or []}, "fairness", snapshot),
        "lists": {str(name)[:60]: _swap(name, groups) for name, groups in lists.items()},
    }


def _swap(name: Any, groups: Any) -> list[list[str]]:
    is_pair = isinstance(groups, Sequence) and not isinstance(groups, str) and len(groups) == 2
    found = [_texts(group, "fairness") for group in groups] if is_pair else []
    if not is_pair or not all(found) or max(map(len, found)) > MOST_WORDS:
        sentence = _("The list %(name)r needs two groups of 1 to %(most)s words that can stand for each other.")
        raise _bad("fairness", sentence % {"name": str(name), "most": MOST_WORDS})
    return found


def _judge(value: Any, project: Project) -> Settings:
    if not isinstance(value, Mapping):
        raise _bad("judge", _("A judge is a model at one of the project's connections."))
    connection = connections_of(project).filter(pk=str(value.get("connection") or "")).first()
    if connection is None:
        sentence = _("The judge needs one of the project's connections. An owner adds them on 'Providers and budget'.")
        raise UserError("no_connection", sentence, field="judge", reason="bad_config")
    model, rubric = str(value.get("model") or "").strip(), str(value.get("rubric") or "").strip()
    if not model or len(model) > 250:
        raise _bad("judge", _("Say what the judging model is called at %(where)s.") % {"where": connection.name})
    if len(rubric) > LONGEST_RUBRIC:
        raise _bad("judge", _("The judge's instructions may have %(most)s characters.") % {"most": LONGEST_RUBRIC})
    sample = value.get("sample") or USUAL_JUDGED
    if isinstance(sample, bool) or not isinstance(sample, int) or not 1 <= sample <= MOST_JUDGED:
        raise _bad("judge", _("The judge reads 1 to %(most)s cases.") % {"most": MOST_JUDGED})
    return {"connection": connection.pk, "model": model, "rubric": rubric, "sample": sample}


def _discordance(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise _bad("discordance", _("The share of cases on which two models differ is above 0 and at most 100 %."))
    return float(value)


def _cost(value: Any) -> Settings:
    """``{device_hour: {amount, currency}, watts}``: only what a person says; the rest comes from the catalogue."""
    if not isinstance(value, Mapping) or set(value) - {"device_hour", "watts"}:
        raise _bad("cost", _("The cost settings are device_hour {amount, currency} and watts."))
    out: Settings = {}
    if (hour := value.get("device_hour")) is not None:
        amount = hour.get("amount") if isinstance(hour, Mapping) else None
        currency = str(hour.get("currency") or "") if isinstance(hour, Mapping) else ""
        if not _is_amount(amount) or len(currency) != 3:
            raise _bad("cost", _("The price of a machine hour is an amount from 0 with a currency such as EUR."))
        out["device_hour"] = {"amount": float(amount), "currency": currency.upper()}  # type: ignore[arg-type]
    if (watts := value.get("watts")) is not None:
        if not _is_amount(watts):
            raise _bad("cost", _("Watts are a number from 0."))
        out["watts"] = float(watts)
    return out


def _is_amount(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0


def _texts(value: Any, field: str) -> list[str]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise _bad(field, _("This takes a list of texts."))
    return list(dict.fromkeys(item.strip() for item in value if item.strip()))
