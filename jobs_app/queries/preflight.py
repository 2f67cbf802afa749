"""What to know before a training starts: things that stop it, and things to think about."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from finetune_engine.catalogue.estimate import DataFacts, Estimate
from finetune_engine.train.spec import TrainingSpec
from jobs_app.queries.base_models import BaseModelCard
from jobs_app.queries.estimates import Machine
from web_kit.wording import number_words


@dataclass(frozen=True)
class Check:
    """One line of the list. ``tone``: bad (it will fail), warn (think about it), info (good to know) or ok."""

    tone: str
    sentence: str


def preflight(
    card: BaseModelCard, facts: DataFacts | None, told: Estimate | None, spec: TrainingSpec, place: Machine
) -> list[Check]:
    """The list for this plan, worst first; one good line when there is nothing to say."""
    found = [*_model(card), *_machine(card, told, place), *_rows(card, facts, spec)]
    found.sort(key=lambda check: ("bad", "warn", "info").index(check.tone))
    return found or [Check("ok", _("Nothing stands in the way."))]


def _model(card: BaseModelCard) -> list[Check]:
    found = []
    if not card.is_available:
        found.append(Check("bad", f"{card.name}: {card.availability}."))
    if card.entry.notice is not None:
        found.append(Check("warn", card.entry.notice.text))
    if card.is_remote:
        found.append(Check("warn", _("Your examples leave this machine and go to the provider.")))
    elif not card.is_here and card.is_available:
        found.append(Check("info", _("The base model is downloaded first, which is not part of the time told.")))
    if card.entry.needs_permission:
        found.append(Check("info", _("The maker must grant your Hugging Face account access to this model.")))
    return found


def _machine(card: BaseModelCard, told: Estimate | None, place: Machine) -> list[Check]:
    if card.is_remote:
        return []
    if not place.host:
        return [Check("warn", _("No machine is taking trainings now: it will wait until a worker runs."))]
    fit = told.fit if told is not None else "unknown"
    if fit == "too_large":
        return [Check("bad", _("It needs more memory than the machine has. Choose a smaller model or QLoRA."))]
    if fit == "tight":
        return [
            Check("warn", _("Memory may just be enough. Measure this machine, or choose fewer examples at a time."))
        ]
    return []


def _rows(card: BaseModelCard, facts: DataFacts | None, spec: TrainingSpec) -> list[Check]:
    if facts is None:
        return [Check("info", _("The data is not counted yet: what it will take is told when it is."))]
    found = []
    if facts.rows < card.entry.min_examples:
        sentence = _("%(rows)s examples are few: this model wants at least %(least)s.")
        words = {"rows": number_words(facts.rows), "least": number_words(card.entry.min_examples)}
        found.append(Check("warn", sentence % words))
    if not facts.validation_rows:
        found.append(Check("warn", _("There are no rows to check with, so it cannot stop at its best state.")))
    longest = round(facts.tokens(facts.longest, card.key).expected)
    limit = spec.max_length if isinstance(spec.max_length, int) else card.context_length
    if limit and longest > limit:
        sentence = _("The longest example has about %(longest)s tokens, and what goes beyond %(limit)s is cut off.")
        found.append(Check("warn", sentence % {"longest": number_words(longest), "limit": number_words(limit)}))
    return found
