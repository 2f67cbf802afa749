"""The base models a project can choose: the catalogue's and the operator's, with what there is to say about each."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.models import Project
from datasets_app.tokenizers import Tokenizer
from finetune_engine.catalogue.catalogue import REMOTE, CatalogueEntry
from finetune_engine.catalogue.folder import FolderReport, inspect_model_folder
from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError
from finetune_engine.train.spec import BaseFacts, TrainingSpec
from jobs_app.choices import Provider
from jobs_app.models import BaseModel, ProviderConnection
from jobs_app.queries.catalogue import catalogue, provider_address, row_entry
from jobs_app.queries.providers import connections_of, is_openai_address, operators_key
from web_kit.wording import number_words

WANTS_GPU_FROM = 1_000_000_000


@dataclass(frozen=True)
class BaseModelCard:
    """A base model in plain sentences. ``tone`` is that of ``availability``; ``is_here`` means that nothing has to be
    downloaded; ``digest`` changes when the weights do, as far as they are known. None means unknown.

    ``is_remote``: a provider trains it, at ``base_url`` under the name ``remote_model``; it is available to a project
    that has a key there.
    """

    key: str
    name: str
    provider: str
    reasons: tuple[str, ...]
    availability: str
    tone: str
    is_available: bool
    is_here: bool
    is_deprecated: bool
    parameters: int | None
    context_length: int | None
    licence: str
    learning_rate: float | None
    path: str | None
    hub: str | None
    digest: str
    entry: CatalogueEntry = field(repr=False)
    base_url: str = ""

    @property
    def is_remote(self) -> bool:
        """Whether a provider trains it, so that the examples leave this machine."""
        return self.provider in REMOTE

    @property
    def remote_model(self) -> str:
        """What the provider calls it; empty for a model that is trained here."""
        return (self.entry.hub or "") if self.is_remote else ""

    @property
    def status(self) -> str:
        """Today's: available, deprecated or closed."""
        return self.entry.status_on(timezone.localdate())

    def as_dict(self) -> dict[str, Any]:
        """For the API: everything but paths on this machine and who has a key."""
        price, notice = self.entry.price, self.entry.notice
        return {
            "key": self.key,
            "name": self.name,
            "provider": self.provider,
            "reasons": self.reasons,
            "availability": self.availability,
            "is_available": self.is_available,
            "is_here": self.is_here,
            "is_deprecated": self.is_deprecated,
            "status": self.status,
            "parameters": self.parameters,
            "context_length": self.context_length,
            "licence": self.licence,
            "learning_rate": self.learning_rate,
            "hub": self.hub,
            "revision": self.entry.revision,
            "min_examples": self.entry.min_examples,
            "recommended_examples": self.entry.recommended_examples,
            "strengths": self.entry.strengths,
            "weaknesses": self.entry.weaknesses,
            "price": {name: None if value is None else str(value) for name, value in vars(price).items()}
            if price
            else None,
            "notice": vars(notice) if notice else None,
            "new_training_until": _iso(self.entry.new_training_until),
            "shuts_down_on": _iso(self.entry.shuts_down_on),
            "is_private": not self.is_remote,
        }

    def ref(self) -> BaseModelRef:
        """How the engine names it. Raises UserError for a provider's model, which has no weights here."""
        if self.is_remote:
            return self.entry.reference()
        return BaseModelRef(
            key=self.key,
            path=self.path,
            hub=self.hub,
            revision=self.entry.revision if self.path is None else None,
            learning_rate=self.learning_rate,
        )


def _iso(day: Any) -> str | None:
    return day.isoformat() if day is not None else None


def base_models(project: Project | None = None) -> list[BaseModelCard]:
    """All base models: those that can be used first, the operator's before the catalogue's. An operator's entry
    replaces the catalogue's with the same key. A provider's model can be used by a ``project`` with a key there."""
    rows = list(BaseModel.objects.filter(is_enabled=True).order_by("name"))
    own = {row.key for row in rows}
    keys = _Keys.of(project)
    cards = [_row_card(row, keys) for row in rows]
    cards += [_entry_card(entry, keys) for entry in catalogue().values() if entry.key not in own]
    order: dict[str, int] = {Provider.BUNDLED: 0, Provider.LOCAL: 0, Provider.HUB: 1}
    return sorted(
        cards,
        key=lambda card: (not card.is_available, card.is_deprecated, not card.is_here, order.get(card.provider, 2)),
    )


def base_model_names() -> dict[str, str]:
    """Key to name of every base model, closed ones included."""
    names = {entry.key: entry.name for entry in catalogue().values()}
    return names | dict(BaseModel.objects.filter(is_enabled=True).values_list("key", "name"))


def find_base_model(key: str, project: Project | None = None) -> BaseModelCard | None:
    """The base model with this key, usable or not; None when there is none."""
    row = BaseModel.objects.filter(pk=key, is_enabled=True).first()
    if row is not None:
        return _row_card(row, _Keys.of(project) if row.provider in REMOTE else _Keys())
    entry = catalogue().get(key)
    if entry is None:
        return None
    return _entry_card(entry, _Keys.of(project) if entry.provider in REMOTE else _Keys())


@dataclass(frozen=True)
class _Keys:
    """A project's keys at providers, and whether the operator gave one for OpenAI."""

    connections: tuple[ProviderConnection, ...] = ()
    has_operators: bool = False

    @classmethod
    def of(cls, project: Project | None) -> _Keys:
        """All keys that the project may use; none without a project."""
        return cls(tuple(connections_of(project)), bool(operators_key())) if project is not None else cls()

    def opens(self, entry: CatalogueEntry) -> bool:
        """Whether there is a key for the provider of this model (as ``connections.access_to`` decides)."""
        if entry.provider == "openai":
            return self.has_operators or any(is_openai_address(row.base_url) for row in self.connections)
        return any(row.base_url == provider_address(entry) for row in self.connections)


def usable_base_model(key: str, project: Project | None = None) -> BaseModelCard:
    """The base model with this key. Raises UserError when there is none or it cannot be trained by ``project``."""
    card = find_base_model(key, project)
    if card is None:
        raise UserError(
            "unknown_base_model",
            f"There is no base model {key!r}. Choose one of the list; the operator adds others with add_base_model.",
            field="base_model",
            reason="bad_config",
        )
    if not card.is_available:
        raise UserError(
            "model_unavailable",
            f"{card.name} cannot be trained here: {card.availability[:1].lower()}{card.availability[1:]}. "
            "Choose another base model.",
            field="base_model",
            reason="model_unavailable",
        )
    return card


def base_model_ref(key: str) -> dict[str, Any]:
    """The ``base_model`` part of an engine spec. Raises UserError as ``usable_base_model``."""
    return usable_base_model(key).ref().as_dict()


def automatic_learning_rate(key: str, peft: str = "lora") -> float:
    """The learning rate that "auto" means for this base model; that of an unknown model for an unknown key."""
    card = find_base_model(key)
    facts = BaseFacts(card.parameters, card.context_length, card.learning_rate) if card is not None else BaseFacts()
    return TrainingSpec(peft=peft).effective(1, facts).learning_rate


def _row_card(row: BaseModel, keys: _Keys) -> BaseModelCard:
    report = row.report
    entry = row_entry(row)
    is_local = row.provider == Provider.LOCAL
    hub = None if is_local else f"{row.location}@{row.revision}" if row.revision else row.location
    here = Path(row.location).is_dir() if is_local else row.provider == Provider.HUB and _is_downloaded(row.location)
    availability, tone, usable = _availability(entry, here, keys)
    said = (_("Added by the operator of this site."), _size(entry.parameters, entry.context_length), _leaves(entry))
    return BaseModelCard(
        key=row.key,
        name=row.name,
        provider=row.provider,
        reasons=tuple(filter(None, said)),
        availability=availability,
        tone=tone,
        is_available=usable,
        is_here=here,
        is_deprecated=False,
        parameters=entry.parameters,
        context_length=entry.context_length,
        licence=entry.licence,
        learning_rate=None,
        path=row.location if is_local else None,
        hub=hub,
        digest=str(report.get("sha256") or f"{row.location}@{row.revision}"),
        entry=entry,
        base_url=provider_address(entry),
    )


def _entry_card(entry: CatalogueEntry, keys: _Keys) -> BaseModelCard:
    report = _bundled_report(str(entry.path)) if entry.path is not None else None
    here = report is not None if entry.path is not None else entry.provider == "hub" and _is_downloaded(entry.hub or "")
    status = entry.status_on(timezone.localdate())
    availability, tone, usable = _availability(entry, here, keys)
    if status == "closed":
        availability, tone, usable = _("Closed: its maker offers no new training"), "idle", False
    elif status == "deprecated" and usable:
        availability, tone = _("Outdated: choose a newer one for new work"), "warn"
    parameters = entry.parameters or (report.parameters if report else None)
    context = entry.context_length or (report.context_length if report else None)
    return BaseModelCard(
        key=entry.key,
        name=entry.name,
        provider=entry.provider,
        reasons=_reasons(entry, parameters, context),
        availability=availability,
        tone=tone,
        is_available=usable,
        is_here=here,
        is_deprecated=status != "available",
        parameters=parameters,
        context_length=context,
        licence=entry.licence,
        learning_rate=entry.learning_rate,
        path=str(entry.path) if entry.path is not None else None,
        hub=entry.hub if entry.path is None else None,
        digest=str(entry.hub or entry.key),
        entry=entry,
        base_url=provider_address(entry),
    )


def _availability(entry: CatalogueEntry, here: bool, keys: _Keys) -> tuple[str, str, bool]:
    """``(words, tone, usable)``."""
    if entry.provider in REMOTE:
        where = _("OpenAI") if entry.provider == "openai" else _host(entry.base_url or "")
        if not keys.opens(entry):
            return _("Runs at %(where)s: this project has no key there") % {"where": where}, "idle", False
        return _("Runs at %(where)s; there is a key for it") % {"where": where}, "info", True
    if here:
        return _("On this machine"), "ok", True
    if entry.provider != "hub":
        return _("Its folder is missing on this machine"), "bad", False
    if _is_offline():
        return _("Not downloaded, and this machine is kept offline"), "idle", False
    return _("From the hub: needs a network"), "info", True


def _host(address: str) -> str:
    return urlsplit(address).netloc or address


def _leaves(entry: CatalogueEntry) -> str:
    return "" if entry.is_self_hosted else _("Your examples leave this machine.")


def _reasons(entry: CatalogueEntry, parameters: int | None, context: int | None) -> tuple[str, ...]:
    strengths = ", ".join(entry.strengths)
    sentences = [
        entry.note,
        f"{strengths[:1].upper()}{strengths[1:]}." if strengths else "",
        _size(parameters, context),
        _("Learns from %(few)s examples, better from %(many)s.")
        % {"few": number_words(entry.min_examples), "many": number_words(entry.recommended_examples)},
        _leaves(entry),
    ]
    return tuple(sentence for sentence in sentences if sentence)


def _size(parameters: int | None, context: int | None) -> str:
    if not parameters:
        return ""
    millions = parameters / 1_000_000
    size = (
        _("%(n)s billion parameters") % {"n": number_words(millions / 1000, 1)}
        if millions >= 1000
        else _("%(n)s million parameters") % {"n": number_words(millions, 0 if millions >= 10 else 1)}
    )
    reads = _(", reads up to %(n)s tokens") % {"n": number_words(context)} if context else ""
    needs = _(" Wants a graphics card.") if parameters >= WANTS_GPU_FROM else ""
    return f"{size}{reads}.{needs}"


@lru_cache(maxsize=32)
def _bundled_report(path: str) -> FolderReport | None:
    """The bundled model's folder does not change while we run."""
    try:
        return inspect_model_folder(path, digest=False)
    except UserError:
        return None


def _is_downloaded(hub: str) -> bool:
    """Whether the hub's cache on this machine has the model (workers may run elsewhere with a cache of their own)."""
    home = os.environ.get("HF_HOME") or os.path.join(os.path.expanduser("~"), ".cache", "huggingface")
    name = hub.partition("@")[0].replace("/", "--")
    return any(Path(home, "hub", f"models--{name}", "snapshots").glob("*/config.json"))


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}


def local_tokenizers() -> list[Tokenizer]:
    """The base models whose folders lie on this machine: their tokenizers can count the tokens of rows."""
    return [Tokenizer(card.key, card.name, Path(card.path)) for card in base_models() if card.path]
