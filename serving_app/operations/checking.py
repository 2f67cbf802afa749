"""What may be asked of a deployment: its backend and its settings."""

from __future__ import annotations

import math
from typing import Any

from django.utils.translation import gettext as _

from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from jobs_app.queries.connections import remote_model
from serving_app.choices import BackendKind
from serving_app.queries import fresh_replicas

SETTINGS = (
    "default_temperature",
    "uses_exact_cache",
    "uses_semantic_cache",
    "semantic_threshold",
    "ask_human_below",
)
_SWITCHES = ("uses_exact_cache", "uses_semantic_cache")
_RANGES = {"default_temperature": (0.0, 2.0), "semantic_threshold": (0.5, 1.0), "ask_human_below": (0.0, 1.0)}


def checked_backend(backend: str, trained_model: TrainedModel | None, base_model_key: str) -> str:
    """The backend, fit for the model and for what runs. Raises UserError naming the field ``backend``."""
    if backend not in BackendKind.values:
        known = ", ".join(BackendKind.values)
        raise UserError("invalid_value", _("There is no such backend. Known: %(known)s.") % {"known": known}, "backend")
    is_remote = bool(trained_model.remote_name) if trained_model else remote_model(base_model_key) is not None
    if is_remote and backend in (BackendKind.TRANSFORMERS, BackendKind.VLLM):
        raise UserError("backend_unfit", _("This model lies at its provider; only the provider can run it."), "backend")
    if not is_remote and backend == BackendKind.ENDPOINT:
        raise UserError("backend_unfit", _("This model lies here, not behind another server's address."), "backend")
    if backend == BackendKind.VLLM and not any(BackendKind.VLLM in replica.backends for replica in fresh_replicas()):
        raise UserError(
            "backend_missing",
            _("No model server with vLLM is running. Install vLLM beside one, or choose transformers."),
            "backend",
            status=409,
        )
    return backend


def checked_settings(changes: dict[str, Any]) -> dict[str, Any]:
    """The changes, each of the right kind and in its range. Raises UserError naming the field."""
    checked: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in SETTINGS:
            known = ", ".join(SETTINGS)
            raise UserError("unknown_field", _("There is no such setting. Known: %(known)s.") % {"known": known}, name)
        checked[name] = _switch(name, value) if name in _SWITCHES else _number(name, value)
    return checked


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UserError("invalid_value", _("This must be true or false."), name)
    return value


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    low, high = _RANGES[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError("invalid_value", _("This must be a number."), name)
    if not low <= value <= high:
        sentence = _("This must be a number from %(low)s to %(high)s.") % {"low": f"{low:g}", "high": f"{high:g}"}
        raise UserError("invalid_value", sentence, name)
    return float(value)
