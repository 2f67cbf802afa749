"""The catalogue of base models, read from ``models.toml``. Free of torch."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

from finetune_engine.catalogue.folder import FolderReport, inspect_model_folder
from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.catalogue.shape import ModelShape, shape_of_folder
from finetune_engine.errors import UserError

Provider = Literal["bundled", "local", "hub", "openai", "endpoint"]
Status = Literal["available", "deprecated", "closed"]
HERE = Path(__file__).resolve().parent
REQUIRED = ("key", "name", "provider", "licence", "min_examples", "recommended_examples", "strengths", "status")
OPTIONAL = (
    "path", "hub", "revision", "base_url", "parameters", "context_length", "learning_rate", "needs_permission", "note",
    "weaknesses", "new_training_until", "shuts_down_on", "notice", "shape", "price",
)  # fmt: skip
REMOTE = frozenset({"openai", "endpoint"})
PRICE_PARTS = ("currency", "training_per_million", "input_per_million", "output_per_million", "url", "date")


@dataclass(frozen=True)
class Price:
    """What a provider asks for a million tokens, with the page and the day it was read (ISO date)."""

    currency: str
    training_per_million: Decimal | None
    input_per_million: Decimal | None
    output_per_million: Decimal | None
    url: str
    date: str


@dataclass(frozen=True)
class Notice:
    """Something that the maker announced about a model, with the page and the day it was read (ISO date)."""

    text: str
    url: str
    date: str


@dataclass(frozen=True)
class CatalogueEntry:
    """A base model. None means unknown; ``path`` is absolute.

    ``hub`` is a hub name (``provider`` hub) or the provider's own model name (openai, endpoint); ``base_url`` the
    endpoint's address. ``new_training_until`` is the first day without new training, ``shuts_down_on`` that on which the
    model and everything trained on it stops answering.
    """

    key: str
    name: str
    provider: Provider
    licence: str
    min_examples: int
    recommended_examples: int
    strengths: tuple[str, ...]
    status: Status
    path: Path | None = None
    hub: str | None = None
    parameters: int | None = None
    context_length: int | None = None
    learning_rate: float | None = None
    needs_permission: bool = False
    note: str = ""
    price: Price | None = None
    revision: str | None = None
    base_url: str | None = None
    weaknesses: tuple[str, ...] = ()
    new_training_until: date | None = None
    shuts_down_on: date | None = None
    notice: Notice | None = None
    shape: ModelShape | None = None

    @property
    def is_self_hosted(self) -> bool:
        """Whether data stays on this installation's own machines."""
        return self.provider not in REMOTE

    @property
    def is_open(self) -> bool:
        """Whether the weights can be downloaded and kept."""
        return self.provider not in REMOTE

    def status_on(self, day: date) -> Status:
        """The status on a day: what the file says, or closed once the maker takes no new training."""
        closings = (self.new_training_until, self.shuts_down_on)
        return "closed" if any(closing is not None and day >= closing for closing in closings) else self.status

    def known_shape(self) -> ModelShape | None:
        """The shape that the catalogue tells, or that of the folder; None when neither is known."""
        return self.shape or (shape_of_folder(self.path) if self.path is not None else None)

    def reference(self) -> BaseModelRef:
        """How a run names this model. Raises UserError for a provider's model, which has no weights here."""
        if self.provider in REMOTE:
            raise UserError(
                "no_weights", f"{self.name} runs at its provider and cannot be loaded here.", field="base_model"
            )
        return BaseModelRef(
            key=self.key,
            path=str(self.path) if self.path else None,
            hub=self.hub,
            revision=self.revision,
            learning_rate=self.learning_rate,
        )

    def folder_report(self) -> FolderReport | None:
        """What lies in the model's folder, None for one that is not on this machine (or not yet built)."""
        if self.path is None or not self.path.is_dir():
            return None
        return inspect_model_folder(self.path, digest=False)


@lru_cache(maxsize=1)
def load_catalogue() -> Mapping[str, CatalogueEntry]:
    """All entries by key, in the order of the file. Raises ValueError when the file is wrong (a test reads it)."""
    return read_catalogue((HERE / "models.toml").read_text(encoding="utf-8"))


def find_model(key: str) -> CatalogueEntry:
    """The entry called ``key``; raises UserError ``unknown_base_model``."""
    entry = load_catalogue().get(key)
    if entry is None:
        raise UserError(
            "unknown_base_model",
            f"There is no base model {key!r} in the catalogue.",
            field="base_model",
            reason="bad_config",
        )
    return entry


def read_catalogue(text: str, *, beneath: str = "", folder: Path = HERE) -> Mapping[str, CatalogueEntry]:
    """Entries of a catalogue in TOML. Raises ValueError naming the entry and what is wrong with it.

    With ``beneath``, the text of another catalogue, an entry whose key stands there too changes only the fields that it
    names, and the others stay. Paths are relative to ``folder`` (the package's own for entries from ``beneath``).
    """
    lower = {raw["key"]: raw for raw in _tables(beneath)}
    upper: dict[str, dict[str, Any]] = {}
    for raw in _tables(text):
        key = raw.get("key")
        if not isinstance(key, str) or not key:
            raise ValueError("an entry has no key")
        if key in upper:
            raise ValueError(f"{key} stands in the catalogue twice")
        placed = raw | {"path": str(folder / raw["path"])} if isinstance(raw.get("path"), str) else raw
        upper[key] = lower.get(key, {}) | placed
    return {key: _checked_entry(raw) for key, raw in (lower | upper).items()}


def _tables(text: str) -> list[dict[str, Any]]:
    parsed = tomllib.loads(text)
    tables = parsed.get("models", [])
    if set(parsed) - {"models"} or not isinstance(tables, list) or not all(isinstance(raw, dict) for raw in tables):
        raise ValueError("a catalogue consists of [[models]] tables and nothing else")
    return tables


def _checked_entry(raw: dict[str, Any]) -> CatalogueEntry:
    try:
        return _entry(raw)
    except (TypeError, AttributeError, InvalidOperation) as mistake:
        raise ValueError(f"{raw['key']}: a field has a value of the wrong kind ({mistake})") from mistake


def _entry(raw: dict[str, Any]) -> CatalogueEntry:
    key = raw["key"]
    missing = [name for name in REQUIRED if name not in raw]
    unknown = [name for name in raw if name not in REQUIRED + OPTIONAL]
    if missing or unknown:
        raise ValueError(f"{key}: missing {missing}, unknown {unknown}")
    if raw["provider"] not in get_args(Provider) or raw["status"] not in get_args(Status):
        raise ValueError(f"{key}: unknown provider or status")
    if ("path" in raw) == ("hub" in raw):
        raise ValueError(f"{key}: needs either a path or a hub name")
    if (raw["provider"] == "endpoint") != ("base_url" in raw):
        raise ValueError(f"{key}: a model at an endpoint needs a base_url, and no other has one")
    if not 0 < raw["min_examples"] <= raw["recommended_examples"]:
        raise ValueError(f"{key}: min_examples must be at most recommended_examples")
    values = dict(raw)
    for name in ("strengths", "weaknesses"):
        values[name] = _words(key, name, raw.get(name, []))
    values["path"] = (HERE / raw["path"]) if "path" in raw else None
    values["price"] = _price(key, raw["price"]) if "price" in raw else None
    values["notice"] = _notice(key, raw["notice"]) if "notice" in raw else None
    values["shape"] = ModelShape.from_mapping(raw["shape"]) if "shape" in raw else None
    for name in ("new_training_until", "shuts_down_on"):
        values[name] = _day(key, raw[name]) if name in raw else None
    return CatalogueEntry(**values)


def _words(key: str, name: str, raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(word, str) for word in raw):
        raise ValueError(f"{key}: {name} must be a list of words")
    return tuple(raw)


def _day(key: str, raw: Any) -> date:
    """TOML's own date, or the same as text."""
    try:
        return raw if type(raw) is date else date.fromisoformat(raw)
    except (TypeError, ValueError) as mistake:
        raise ValueError(f"{key}: {raw!r} is no date such as 2027-01-06") from mistake


def _notice(key: str, raw: dict[str, Any]) -> Notice:
    if set(raw) != {"text", "url", "date"}:
        raise ValueError(f"{key}: a notice needs text, url and date, and nothing else")
    return Notice(str(raw["text"]), str(raw["url"]), _day(key, raw["date"]).isoformat())


def _price(key: str, raw: dict[str, Any]) -> Price:
    """A price with its source; without page and date it is a guess and refused."""
    if set(raw) - set(PRICE_PARTS) or not raw.get("url") or not raw.get("date") or not raw.get("currency"):
        raise ValueError(f"{key}: a price needs currency, url and date, and nothing unknown")
    amounts = {name: Decimal(str(raw[name])) if name in raw else None for name in PRICE_PARTS[1:4]}
    if any(amount is not None and (not amount.is_finite() or amount < 0) for amount in amounts.values()):
        raise ValueError(f"{key}: a price must be a number from 0")
    return Price(
        currency=raw["currency"],
        url=raw["url"],
        date=_day(key, raw["date"]).isoformat(),
        **cast(dict[str, Any], amounts),
    )
