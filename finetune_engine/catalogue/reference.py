"""How a run names its base model. Free of torch: the site imports it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_engine.errors import UserError

TEXT_FIELDS = ("key", "path", "hub", "revision", "chat_template")


@dataclass(frozen=True)
class BaseModelRef:
    """A base model: a folder on this machine (``path``) or a hub name (``hub``, ``name`` or ``name@revision``).

    ``chat_template`` overrides the model's own; ``learning_rate`` is the catalogue's suggestion, or None.
    """

    key: str
    path: str | None = None
    hub: str | None = None
    revision: str | None = None
    chat_template: str | None = None
    learning_rate: float | None = None

    @classmethod
    def from_dict(cls, raw: Any) -> BaseModelRef:
        """Read ``{"key", "path"|"hub", ...}``; raises UserError ``bad_base_model`` naming what is wrong."""
        if not isinstance(raw, Mapping):
            raise _bad("The base model must be an object with a key and a path or hub name.")
        for name in TEXT_FIELDS:
            if raw.get(name) is not None and not isinstance(raw[name], str):
                raise _bad(f"The base model's {name} must be text.")
        rate = raw.get("learning_rate")
        if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1):
            raise _bad("The base model's learning_rate must be a number between 0 and 1.")
        if not raw.get("path") and not raw.get("hub"):
            raise _bad("The base model has neither a folder (path) nor a hub name (hub). Give one of them.")
        return cls(
            key=raw.get("key") or raw.get("path") or raw.get("hub") or "",
            path=raw.get("path") or None,
            hub=raw.get("hub") or None,
            revision=raw.get("revision") or None,
            chat_template=raw.get("chat_template") or None,
            learning_rate=float(rate) if rate is not None else None,
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields, None included, as JSON values."""
        return dict(vars(self))

    @property
    def folder(self) -> Path | None:
        """The local folder, or None for a hub model."""
        return Path(self.path) if self.path else None

    @property
    def hub_name(self) -> tuple[str, str | None]:
        """``(repository, revision or None)`` for a hub model; the revision may stand behind an ``@``."""
        name, _, revision = (self.hub or "").partition("@")
        return name, self.revision or revision or None


def _bad(sentence: str) -> UserError:
    return UserError("bad_base_model", sentence, field="base_model", reason="bad_config")
