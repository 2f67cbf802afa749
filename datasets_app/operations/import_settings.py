"""How files are read and checked: what may be chosen, and what a project chose before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from string import Formatter
from typing import Any

from django.utils import timezone

from accounts_app.models import Project
from accounts_app.permissions import Actor
from datasets_app import tokenizers
from datasets_app.choices import OVER_LENGTH, TaskType, format_choices
from datasets_app.models import RememberedMapping
from datasets_app.queries.policy import cleaning_plan
from finetune_engine.errors import UserError

MAPPING_PARTS = ("completion", "group", "label", "lists", "metadata", "prompt", "prompt_template", "split", "system")
_LISTS = {"prompt", "metadata", "lists"}
_SETTINGS = ("task_type", "over_length", "base_model", "context_tokens")
LARGEST_CONTEXT = 1_000_000


def reading_of(format: str, mapping: dict[str, Any] | None) -> dict[str, Any]:
    """How one file is read, as ``Source.options`` keeps it."""
    return {"format": format, "mapping": mapping}


def check_reading(format: str, mapping: Any) -> None:
    """Raises UserError for a format that does not exist and for a mapping that is none."""
    formats = [name for name, _ in format_choices()]
    if format not in formats:
        raise UserError(
            "unknown_format", f"Unknown format {format[:40]!r}; choose among {', '.join(formats)}.", field="format"
        )
    if mapping is None:
        return
    if not isinstance(mapping, dict) or not mapping.get("prompt") or not mapping.get("completion"):
        raise _bad('A mapping names the columns, for example {"prompt": "question", "completion": "answer"}.')
    if unknown := sorted(set(mapping) - set(MAPPING_PARTS)):
        raise _bad(f"A mapping has no part {unknown[0][:40]!r}; its parts are {', '.join(MAPPING_PARTS)}.")
    for part, value in mapping.items():
        is_list = isinstance(value, list) and part in _LISTS
        if not (value is None or isinstance(value, str) or (is_list and all(isinstance(v, str) for v in value))):
            raise _bad(f"The part {part!r} of the mapping must name a column.")
    if template := mapping.get("prompt_template"):
        check_template(template, [mapping["prompt"]] if isinstance(mapping["prompt"], str) else mapping["prompt"])


def template_columns(template: str) -> list[str]:
    """The columns that a template such as ``"{title}: {body}"`` joins, in order. Raises UserError for a template that
    cannot be read."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise _bad_template() from error
    if any(name is not None and (not name or spec or conversion) for _, name, spec, conversion in parts):
        raise _bad_template()
    return list(dict.fromkeys(name for _, name, _, _ in parts if name))


def check_template(template: str, columns: Sequence[str]) -> None:
    """Raises UserError unless the template names columns, and only these."""
    named = template_columns(template)
    if not named:
        raise _bad("The template names no column. Write a column in braces, as in {title}.", "prompt_template")
    if missing := [column for column in named if column not in columns]:
        raise _bad(f"The template names {missing[0][:80]!r}, and there is no such column.", "prompt_template")


def check_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that are not the default. Raises UserError for one that does not exist.

    ``task_type``; ``over_length``: ``keep``, ``cut`` or ``drop``; ``base_model``: whose tokenizer counts tokens;
    ``context_tokens``: above how many a row is too long.
    """
    if unknown := sorted(set(settings) - set(_SETTINGS)):
        raise UserError(
            "unknown_setting", f"There is no setting {unknown[0][:40]!r}; there are {', '.join(_SETTINGS)}.", "settings"
        )
    task_type = settings.get("task_type") or TaskType.AUTO
    if task_type not in TaskType.values:
        raise UserError(
            "unknown_task_type",
            f"Unknown task type {str(task_type)[:40]!r}; choose among {', '.join(TaskType.values)}.",
            field="task_type",
        )
    over_length = settings.get("over_length") or "keep"
    if over_length not in OVER_LENGTH:
        raise UserError(
            "bad_over_length", f"Rows that are too long can be {', '.join(OVER_LENGTH)}.", field="over_length"
        )
    context = settings.get("context_tokens")
    if context is not None and (
        isinstance(context, bool) or not isinstance(context, int) or not 16 <= context <= LARGEST_CONTEXT
    ):
        raise UserError(
            "bad_context_tokens",
            f"The longest row must be a whole number of tokens from 16 to {LARGEST_CONTEXT:,}.",
            field="context_tokens",
        )
    base_model = settings.get("base_model") or ""
    if base_model and tokenizers.tokenizer_folder(str(base_model)) is None:
        raise UserError(
            "unknown_base_model",
            f"There is no base model {str(base_model)[:60]!r} whose tokenizer is on this machine.",
            field="base_model",
        )
    kept: dict[str, Any] = {"task_type": str(task_type)}
    kept |= {"over_length": over_length} if over_length != "keep" else {}
    kept |= {"base_model": str(base_model)} if base_model else {}
    return kept | ({"context_tokens": context} if context is not None else {})


def import_settings(project: Project, settings: dict[str, Any]) -> dict[str, Any]:
    """The checked settings together with what the project decided about cleaning; kept with the dataset."""
    cleaning = {
        key: value for key, value in cleaning_plan(project).items() if value or (value == [] and key == "cleaning")
    }
    return {**settings, **cleaning}


def audited(options: dict[str, Any]) -> dict[str, Any]:
    """The settings as the audit trail keeps them: it is never shortened, and a rule may hold a name or an address, so
    of rules it has the number."""
    return options | {key: len(options[key]) for key in ("replacements", "boilerplate") if options.get(key)}


def engine_options(options: dict[str, Any]) -> dict[str, Any]:
    """The kept settings as the engine takes them. Raises UserError when the tokenizer is gone."""
    given = dict(options)
    key = given.pop("base_model", "")
    if not key:
        return given
    folder = tokenizers.tokenizer_folder(key)
    if folder is None:
        raise UserError(
            "unknown_base_model",
            f"The tokenizer of {key} is no longer on this machine. Check again with another base model.",
            field="base_model",
        )
    return given | {"tokenizer": str(folder)}


# --- what was chosen before -------------------------------------------------------------------------------------


def columns_hash(columns: Sequence[str]) -> str:
    """One name for all files with these columns, in whatever order."""
    return hashlib.sha256(json.dumps(sorted(columns), ensure_ascii=False).encode()).hexdigest()


def remember_mapping(*, actor: Actor, columns: Sequence[str], reading: dict[str, Any], task_type: str) -> None:
    """Keep how a file with these columns is read, for the next one; what is found by itself is not kept."""
    key = columns_hash(columns)
    if reading["format"] == "auto" and reading["mapping"] is None and task_type == TaskType.AUTO:
        RememberedMapping.objects.filter(project=actor.project, columns_hash=key).delete()
        return
    RememberedMapping.objects.update_or_create(
        project=actor.project,
        columns_hash=key,
        defaults={"options": {**reading, "task_type": task_type}, "used_at": timezone.now()},
    )


def remembered_options(project: Project, columns: Sequence[str]) -> dict[str, Any]:
    """``{format, mapping, task_type}`` as chosen for an earlier file with these columns; empty when none was."""
    if not columns:
        return {}
    found = RememberedMapping.objects.filter(project=project, columns_hash=columns_hash(columns)).first()
    return dict(found.options) if found else {}


def _bad(sentence: str, field: str = "mapping") -> UserError:
    return UserError("bad_mapping", sentence, field=field)


def _bad_template() -> UserError:
    return _bad("Write the template as text with column names in braces, such as {title}.", "prompt_template")
