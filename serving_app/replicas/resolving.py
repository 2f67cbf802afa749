"""What a serving id stands for, as the engine's backends want it: files on this machine, or a server to ask.

Runs in the inference process alone: nowhere else are providers' keys decrypted for answering.
"""

from __future__ import annotations

from django.conf import settings
from django.db import close_old_connections

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError
from finetune_engine.serve.backends.models import ModelFiles, RemoteModel
from jobs_app.operations.connections import key_of
from jobs_app.queries.providers import is_openai_address, operators_key
from serving_app.choices import BackendKind
from serving_app.queries import RemoteRef, chosen_backend, served_files, served_remote


def resolve(serving_id: str) -> ModelFiles | RemoteModel:
    """Files, or a remote model with its key. May copy files from storage to this machine. Raises UserError 404 for an unknown
    id, and whatever is the matter with its key."""
    close_old_connections()
    try:
        remote = served_remote(serving_id)
        return _asked_elsewhere(serving_id, remote) if remote is not None else _files(serving_id)
    finally:
        close_old_connections()


def _files(serving_id: str) -> ModelFiles:
    base, adapter, digest = served_files(serving_id)
    _, backend = chosen_backend(serving_id)
    return ModelFiles(
        model_id=serving_id,
        base=BaseModelRef.from_dict(base),
        adapter=adapter,
        digest=digest,
        backend="vllm" if backend == BackendKind.VLLM else "in_process",
    )


def _asked_elsewhere(serving_id: str, remote: RemoteRef) -> RemoteModel:
    return RemoteModel(
        model_id=serving_id,
        base_url=remote.base_url,
        key=_key(remote),
        model=remote.model,
        digest=remote.identity,
        allowed_hosts=tuple(settings.OUTBOUND_ALLOWED_HOSTS),
    )


def _key(remote: RemoteRef) -> str:
    """A key belongs to its address: the operator's goes to OpenAI alone."""
    if remote.connection is not None:
        return key_of(remote.connection)
    if is_openai_address(remote.base_url) and (key := operators_key()):
        return key
    raise UserError("no_key", "There is no key for this model's provider any more.", field="model", status=404)
