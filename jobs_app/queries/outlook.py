"""What the start form says beside its button: the estimate, the list of checks, and whether a test run is under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accounts_app.models import Project
from datasets_app.models import Dataset, Snapshot
from finetune_engine.catalogue.estimate import Estimate
from finetune_engine.errors import UserError
from finetune_engine.train.spec import SpecProblems, TrainingSpec
from jobs_app.queries.base_models import BaseModelCard
from jobs_app.queries.estimates import data_facts, estimate_training, machine, open_probe
from jobs_app.queries.preflight import Check, preflight
from work_kit.models import Job


@dataclass(frozen=True)
class Outlook:
    """``estimate`` is None while the data is not counted; ``mistake`` that settings stand in the way. ``can_measure``: a
    test run would refine it; ``probe`` is the one under way."""

    card: BaseModelCard | None = None
    estimate: Estimate | None = None
    checks: Sequence[Check] = ()
    probe: Job | None = None
    can_measure: bool = False
    machine_name: str = ""
    mistake: bool = False

    @property
    def is_paid(self) -> bool:
        """Whether somebody outside sends a bill."""
        return self.card is not None and self.card.is_remote


def outlook(
    project: Project,
    card: BaseModelCard | None,
    data: Snapshot | Dataset | None,
    spec: Mapping[str, Any],
    *,
    validation: Dataset | None = None,
) -> Outlook:
    """Everything for one plan. Raises SpecProblems for settings that cannot be used."""
    if card is None:
        return Outlook()
    asked, place = TrainingSpec.from_dict(spec), machine()
    try:
        told = estimate_training(card, data, spec, validation=validation, on=place)
    except SpecProblems:
        raise
    except UserError:  # nothing counted yet
        told = None
    facts = data_facts(data, validation)
    checks = preflight(card, facts, told, asked, place) if data is not None else []
    running = None if card.is_remote else open_probe(project, card.key)
    return Outlook(
        card=card,
        estimate=told,
        checks=checks,
        probe=running,
        can_measure=bool(place.host) and told is not None and not card.is_remote and card.is_available,
        machine_name=place.facts.name,
    )
