"""Operations on what a project was asked before it trains: whether to train at all."""

from __future__ import annotations

from django.utils import timezone

from accounts_app.permissions import Actor
from finetune_engine.catalogue.advice import Situation
from jobs_app.models import AdviceAnswers


def remember_advice(*, actor: Actor, situation: Situation, verdict: str) -> None:
    """Keep what the project's people answered, for the next time they ask."""
    AdviceAnswers.objects.update_or_create(
        project=actor.project,
        defaults={
            "answers": situation.as_dict(),
            "verdict": verdict,
            "updated_by": actor.user,
            "updated_at": timezone.now(),
        },
    )
