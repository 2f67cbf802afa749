"""The catalogue of base models, read from ``models.toml``. Free of torch."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

from finetune_engine.catalogue.folder import FolderReport, inspect_model_folder
from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import UserError

Provider = Literal["bundled", "local", "hub", "openai"]
Status = Literal["available", "deprecated", "closed"]
HERE = Path(__file__).resolve().parent
REQUIRED = ("key", "name", "provider", "licence", "min_examples", "recommended_examples", "strengths", "status")
OPTIONAL = ("path", "hub", "parameters", "context_length", "learning_rate", "needs_permission", "note", "price")
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
class CatalogueEntry:
    """A base model. None means unknown; ``path`` is absolute.

    ``hub`` is a hub name (``provider`` hub) or the provider's own model name (openai).
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

    @property
    def is_self_hosted(self) -> bool:
        """Whether data stays on this installation's own machines."""
        return self.provider != "openai"

    @property
    def is_open(self) -> bool:
        """Whether the weights can be downloaded and kept."""
        return self.provider != "openai"

    def reference(self) -> BaseModelRef:
        """How a run names this model. Raises UserError for a provider's model, which has no weights here."""
        if self.provider == "openai":
            raise UserError(
                "no_weights", f"{self.name} runs at its provider and cannot be loaded here.", field="base_model"
            )
        return BaseModelRef(
            key=self.key, path=str(self.path) if self.path else None, hub=self.hub, learning_rate=self.learning_rate
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


def read_catalogue(text: str) -> Mapping[str, CatalogueEntry]:
    """Entries of a catalogue in TOML. Raises ValueError naming the entry and what is wrong with it."""
    entries: dict[str, CatalogueEntry] = {}
    for raw in tomllib.loads(text).get("models", []):
        entry = _entry(raw)
        if entry.key in entries:
            raise ValueError(f"{entry.key} stands in the catalogue twice")
        entries[entry.key] = entry
    return entries


def _entry(raw: dict[str, Any]) -> CatalogueEntry:
    key = raw.get("key", "an entry without key")
    missing = [name for name in REQUIRED if name not in raw]
    unknown = [name for name in raw if name not in REQUIRED + OPTIONAL]
    if missing or unknown:
        raise ValueError(f"{key}: missing {missing}, unknown {unknown}")
    if raw["provider"] not in get_args(Provider) or raw["status"] not in get_args(Status):
        raise ValueError(f"{key}: unknown provider or status")
    if ("path" in raw) == ("hub" in raw):
        raise ValueError(f"{key}: needs either a path or a hub name")
    if not 0 < raw["min_examples"] <= raw["recommended_examples"]:
        raise ValueError(f"{key}: min_examples must be at most recommended_examples")
    values = dict(raw)
    values["strengths"] = tuple(raw["strengths"])
    values["path"] = (HERE / raw["path"]) if "path" in raw else None
    values["price"] = _price(key, raw["price"]) if "price" in raw else None
    return CatalogueEntry(**values)


def _price(key: str, raw: dict[str, Any]) -> Price:
    """A price with its source; without page and date it is a guess and refused."""
    if set(raw) - set(PRICE_PARTS) or not raw.get("url") or not raw.get("date") or not raw.get("currency"):
        raise ValueError(f"{key}: a price needs currency, url and date, and nothing unknown")
    amounts = {name: Decimal(str(raw[name])) if name in raw else None for name in PRICE_PARTS[1:4]}
    return Price(
        currency=raw["currency"],
        url=raw["url"],
        date=str(raw["date"]),
        **cast(dict[str, Any], amounts),
    )
