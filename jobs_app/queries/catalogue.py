"""The catalogue as this site has it: the package's own, changed by ``DATA_DIR/models.toml``, and the rows that the operator
added with ``add_base_model``. Whatever is wrong in the operator's file, pages go on with the package's own."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from finetune_engine.catalogue.catalogue import HERE, CatalogueEntry, Price, load_catalogue, read_catalogue
from finetune_engine.catalogue.shape import shape_of_folder
from jobs_app.choices import Provider
from jobs_app.models import BaseModel
from jobs_app.queries.providers import OPENAI_URL

log = logging.getLogger(__name__)

OPERATORS_FILE = "models.toml"
USUAL_MIN, USUAL_RECOMMENDED = 100, 500  # for a model of which nobody said anything


def catalogue() -> Mapping[str, CatalogueEntry]:
    """All entries of the files by key, without the rows that the operator added."""
    return _read(*_stamp())[0]


def catalogue_problem() -> str:
    """What is wrong with the operator's file, in a sentence for ``doctor``; empty when all is well or there is none."""
    return _read(*_stamp())[1]


def operators_file() -> Path:
    """Where the operator's own catalogue lies, if there is one."""
    return Path(settings.DATA_DIR) / OPERATORS_FILE


def _stamp() -> tuple[Path, int, int]:
    """The file and what changes when it does; zeros while there is none."""
    path = operators_file()
    try:
        found = path.stat()
    except OSError:
        return path, 0, 0
    return path, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2)
def _read(path: Path, changed: int, _size: int) -> tuple[Mapping[str, CatalogueEntry], str]:
    own = load_catalogue()
    if not changed:
        return own, ""
    try:
        built_in = (HERE / OPERATORS_FILE).read_text(encoding="utf-8")
        return read_catalogue(path.read_text(encoding="utf-8"), beneath=built_in, folder=path.parent), ""
    except (OSError, ValueError, tomllib.TOMLDecodeError) as mistake:
        log.warning("the catalogue %s is not used: %s", path, mistake)
        return own, f"{path} is not used: {mistake}. Mend it; docs/base-models.md shows the form."


def row_entry(row: BaseModel) -> CatalogueEntry:
    """A model that the operator added, as a catalogue entry. What nobody said is unknown."""
    facts, report = row.facts, row.report
    path = Path(row.location) if row.provider == Provider.LOCAL else None
    return CatalogueEntry(
        key=row.key,
        name=row.name,
        provider=row.provider,  # type: ignore[arg-type]  # the choices are the same words
        licence=str(facts.get("licence") or ""),
        min_examples=int(facts.get("min_examples") or USUAL_MIN),
        recommended_examples=int(facts.get("recommended_examples") or USUAL_RECOMMENDED),
        strengths=tuple(facts.get("strengths") or ()),
        weaknesses=tuple(facts.get("weaknesses") or ()),
        status="available",
        path=path,
        hub=None if path is not None else row.location,
        revision=row.revision or None,
        base_url=row.base_url or None,
        parameters=facts.get("parameters") or report.get("parameters"),
        context_length=facts.get("context_length") or report.get("context_length"),
        price=_price(facts.get("price")),
        shape=shape_of_folder(path) if path is not None else None,
    )


def _price(raw: Any) -> Price | None:
    """A stored price; None when it is missing or unreadable."""
    if not isinstance(raw, Mapping) or not raw.get("currency"):
        return None
    try:
        amounts = {
            name: Decimal(str(raw[name])) if raw.get(name) is not None else None
            for name in ("training_per_million", "input_per_million", "output_per_million")
        }
    except InvalidOperation:
        return None
    day = str(raw.get("date") or date.today().isoformat())
    return Price(currency=str(raw["currency"]), url=str(raw.get("url") or ""), date=day, **amounts)


def provider_address(entry: CatalogueEntry) -> str:
    """The base URL at which a provider's model is trained; empty for a model that is trained here."""
    return OPENAI_URL if entry.provider == "openai" else entry.base_url or ""
