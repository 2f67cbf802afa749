"""What to know before a training starts: what the engine can foresee, and what only the site knows."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from finetune_engine.catalogue.estimate import DataFacts, Estimate
from finetune_engine.train import preflight as engine
from finetune_engine.train.spec import BaseFacts, TrainingSpec
from jobs_app.queries.base_models import BaseModelCard
from jobs_app.queries.estimates import Machine
from web_kit.wording import number_words

TONES = {"error": "bad", "warning": "warn"}


@dataclass(frozen=True)
class Check:
    """One line of the list. ``tone``: bad (it will fail), warn (think about it), info (good to know) or ok."""

    tone: str
    sentence: str


def preflight(
    card: BaseModelCard, facts: DataFacts | None, told: Estimate | None, spec: TrainingSpec, place: Machine
) -> list[Check]:
    """The list for this plan, worst first; one good line when there is nothing to say."""
    found = [*_model(card), *_place(card, place), *_foreseen(card, facts, told, spec, place), *_cut(card, facts, spec)]
    if facts is None:
        found.append(Check("info", _("The data is not counted yet: what it will take is told when it is.")))
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


def _place(card: BaseModelCard, place: Machine) -> list[Check]:
    if card.is_remote or place.host:
        return []
    return [Check("warn", _("No machine is taking trainings now: it will wait until a worker runs."))]


def _foreseen(
    card: BaseModelCard, facts: DataFacts | None, told: Estimate | None, spec: TrainingSpec, place: Machine
) -> list[Check]:
    """What the engine would say itself at the start of the run."""
    longest = round(facts.tokens(facts.longest, card.key).expected) if facts is not None else None
    known = engine.Facts(
        base=BaseFacts(card.parameters, card.context_length, card.learning_rate),
        base_status=None if card.entry.notice is not None else card.status,
        min_examples=card.entry.min_examples,
        rows=facts.rows if facts is not None else None,
        validation_rows=facts.validation_rows if facts is not None else None,
        longest_tokens=longest,
        trained=told.trainable_parameters if told is not None else None,
        memory=told.memory_bytes if told is not None else None,
        memory_free=place.facts.free_bytes or place.facts.memory_bytes,
        disk_free=None if card.is_remote else place.disk_free_bytes,
    )
    looked = engine.preflight(spec, known)
    return [Check(TONES[one.level], f"{one.sentence} {one.fix}".strip()) for one in looked if one.level in TONES]


def _cut(card: BaseModelCard, facts: DataFacts | None, spec: TrainingSpec) -> list[Check]:
    if facts is None or card.is_remote or not isinstance(spec.max_length, int):
        return []
    longest = round(facts.tokens(facts.longest, card.key).expected)
    if longest <= spec.max_length:
        return []
    sentence = _("The longest example has about %(longest)s tokens; what goes beyond %(limit)s is cut off.")
    return [Check("warn", sentence % {"longest": number_words(longest), "limit": number_words(spec.max_length)})]
