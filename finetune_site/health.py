"""What answers, and what does not."""

from __future__ import annotations

from django.db import DatabaseError, connection
from django.http import HttpRequest

from accounts_app.choices import Act
from accounts_app.permissions import actor_from_key
from finetune_engine.errors import UserError
from serving_app.choices import ReplicaState
from serving_app.queries import current_deployment, fresh_replicas


def health_of_key(request: HttpRequest) -> str | None:
    """The name of the deployed model, for a valid key of its project; None for everybody else."""
    if not request.headers.get("Authorization"):
        return None
    try:
        actor = actor_from_key(request.headers["Authorization"], Act.PREDICT)
    except UserError:
        return None
    deployment = current_deployment(actor.project)
    if deployment is None:
        return None
    return deployment.trained_model.api_name if deployment.trained_model else deployment.base_model_key


def readiness() -> dict[str, str]:
    """``database`` and ``model_server``: ``ok`` or ``unavailable``. A model server that is about to end does not count."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        database = "ok"
    except DatabaseError:
        return {"database": "unavailable", "model_server": "unavailable"}
    takes_questions = any(replica.state == ReplicaState.READY for replica in fresh_replicas())
    return {"database": database, "model_server": "ok" if takes_questions else "unavailable"}
