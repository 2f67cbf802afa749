"""A report's JSON with the few questions that every section asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from finetune_engine.evaluate.worth import reading


@dataclass(frozen=True)
class Reading:
    """The report of an evaluation, of this version or of the first one (which knew only ``base`` and ``tuned``).

    ``subject`` is the key of the model that the verdict is about, ``against`` that of the one it is compared with (None:
    nothing). ``names`` and ``kinds`` are by key, in the order in which models are shown: the subject first.
    """

    report: Mapping[str, Any]
    subject: str = ""
    against: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Reading:
        """From the JSON as it is stored; an empty one has no models."""
        subject, against = reading.subject_key(report), reading.against_key(report)
        models = list(report.get("models") or ())
        order = sorted(models, key=lambda model: (model.get("key") != subject, model.get("key") != against))
        names = {str(model["key"]): str(model.get("name") or model["key"]) for model in order}
        kinds = {str(model["key"]): _kind(model, subject) for model in order}
        return cls(report, subject or "", against, names, kinds)

    @property
    def keys(self) -> list[str]:
        """The models' keys, the subject first, then what it is compared with."""
        return list(self.names)

    @property
    def n(self) -> int:
        """How many cases were asked."""
        return int(self.report.get("n") or 0)

    @property
    def name(self) -> str:
        """The subject's name."""
        return self.names.get(self.subject, "")

    @property
    def against_name(self) -> str:
        """The name of what it is compared with; empty without one."""
        return self.names.get(self.against or "", "")

    @property
    def is_plain_pair(self) -> bool:
        """Whether the only models are a trained one and its own base."""
        return len(self.names) <= 2 and self.is_before_and_after

    @property
    def is_before_and_after(self) -> bool:
        """Whether a trained model is compared with a plain base model; alone, it is read in the same words."""
        trained = self.kinds.get(self.subject, "trained") == "trained"
        return trained and self.kinds.get(self.against or "", "base") == "base"

    def model(self, key: str | None) -> Mapping[str, Any]:
        """What the report says of one model; empty where it says nothing."""
        return reading.model_of(self.report, key)

    def role(self, key: str) -> str:
        """What a model is in this comparison."""
        if key == self.subject:
            return _("your trained model") if self.kinds[key] == "trained" else _("the model judged")
        roles = {
            "base": _("before training") if self.kinds.get(self.subject) == "trained" else _("base model"),
            "trained": _("another trained model"),
            "prompted": _("base model, asked in another way"),
            "endpoint": _("behind an address"),
        }
        return roles.get(self.kinds.get(key, ""), "")

    def part(self, name: str) -> Any:
        """A suite's section of the report; None where it was not run."""
        return self.report.get(name)


def _kind(model: Mapping[str, Any], subject: str | None) -> str:
    return str(model.get("kind") or ("trained" if model.get("key") == subject else "base"))
