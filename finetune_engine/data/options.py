"""What a person chose for an import, read strictly."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finetune_engine.data.readers.source import MAX_LINE_BYTES
from finetune_engine.data.records import Mapping
from finetune_engine.errors import UserError

TASK_TYPES = ("completion", "chat", "classification", "preference")
OVER_LENGTH = ("keep", "cut", "drop")


@dataclass(frozen=True)
class SourceOptions:
    """Choices for one file. ``format`` may be ``auto``; ``name`` None takes the name on disk. ``proposed``: its rows
    are somebody's proposals, which all wait for a decision (see ``finetune_engine.data.proposed``)."""

    name: str | None = None
    format: str = "auto"
    mapping: Mapping | None = None
    proposed: bool = False


@dataclass(frozen=True)
class PrepareOptions:
    """Choices for one import. ``format`` and ``task_type`` may be ``auto``; None turns a limit off.

    ``name``, ``format``, ``mapping`` and ``proposed`` are for one file; ``sources`` takes their place when there are
    several, one entry per file. ``max_prompt_words`` cuts longer inputs. ``context_tokens`` is the length above which
    ``over_length`` acts: ``keep`` marks the row, ``cut`` shortens its last input, ``drop`` takes it out.
    ``tokenizer`` is a folder with ``tokenizer.json``; None estimates. ``cleaning`` names steps, None for the
    default ones; ``replacements`` are ``{find, replace, is_regex}``.
    """

    name: str | None = None
    format: str = "auto"
    mapping: Mapping | None = None
    proposed: bool = False
    sources: tuple[SourceOptions, ...] = ()
    task_type: str = "auto"
    max_line_bytes: int = MAX_LINE_BYTES
    max_rows: int | None = None
    min_prompt_words: int = 5
    min_completion_words: int = 10
    max_prompt_words: int | None = 1000
    context_tokens: int | None = 4096
    tokenizer: str | None = None
    over_length: str = "keep"
    near_duplicates: bool = True
    pii: bool = True
    cleaning: tuple[str, ...] | None = None
    replacements: tuple[dict[str, Any], ...] = ()
    boilerplate: tuple[str, ...] = ()
    languages: bool = True

    def source(self, number: int) -> SourceOptions:
        """The choices for one of the files, counted from 0."""
        if self.sources:
            return self.sources[number]
        return SourceOptions(self.name if number == 0 else None, self.format, self.mapping, self.proposed)

    def cleaning_json(self) -> dict[str, Any]:
        """The part that says how texts are cleaned, as JSON."""
        return {
            "cleaning": None if self.cleaning is None else list(self.cleaning),
            "replacements": list(self.replacements),
            "boilerplate": list(self.boilerplate),
        }


_NUMBERS = ("max_line_bytes", "min_prompt_words", "min_completion_words")
_LIMITS = ("max_rows", "max_prompt_words", "context_tokens")
_SWITCHES = ("near_duplicates", "pii", "languages", "proposed")


def read_options(raw: AnyMapping[str, Any] | None) -> PrepareOptions:
    """Options from JSON. UserError ``bad_option`` names the one that is wrong."""
    raw = dict(raw or {})
    known = PrepareOptions.__dataclass_fields__
    for key in raw:
        if key not in known:
            raise _bad(key, f"There is no option called {key}. The options are {', '.join(known)}.")
    _check_numbers(raw)
    for key in _SWITCHES:
        if key in raw and not isinstance(raw[key], bool):
            raise _bad(key, f"The option {key} must be true or false, not {raw[key]!r}.")
    task_type = raw.get("task_type") or "auto"
    if task_type != "auto" and task_type not in TASK_TYPES:
        raise _bad("task_type", f"“{task_type}” is not a task type. Choose one of {', '.join(TASK_TYPES)}.")
    raw["task_type"] = task_type
    raw["name"] = _name(raw.get("name"), "name")
    raw["format"] = raw.get("format") or "auto"
    raw["mapping"] = read_mapping(raw.get("mapping"))
    raw["sources"] = _read_sources(raw.get("sources"))
    raw["over_length"] = _read_over_length(raw)
    raw["tokenizer"] = _read_tokenizer(raw.get("tokenizer"))
    cleaning = raw.get("cleaning")
    raw["cleaning"] = None if cleaning is None else _texts(cleaning, "cleaning", "the names of cleaning steps")
    raw["boilerplate"] = _texts(raw.get("boilerplate") or [], "boilerplate", "patterns")
    raw["replacements"] = _read_replacements(raw.get("replacements"))
    options = PrepareOptions(**raw)
    if options.cleaning is not None or options.replacements or options.boilerplate:
        from finetune_engine.data.cleaning import read_plan

        read_plan(options.cleaning_json())
    return options


def for_files(options: PrepareOptions, count: int) -> PrepareOptions:
    """The same options with one entry of ``sources`` per file. UserError when their numbers differ."""
    if options.sources and len(options.sources) != count:
        raise _bad("sources", f"There are {count} files and choices for {len(options.sources)}. Give one for each.")
    return replace(options, sources=tuple(options.source(number) for number in range(count)))


def _check_numbers(raw: dict[str, Any]) -> None:
    for key in (*_NUMBERS, *_LIMITS):
        value = raw.get(key)
        if value is None and (key in _LIMITS or key not in raw):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise _bad(key, f"The option {key} must be a whole number, not {value!r}.")


def _read_sources(raw: Any) -> tuple[SourceOptions, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, list | tuple) or not all(isinstance(item, dict) for item in raw):
        raise _bad("sources", "“sources” must be a list with one {name, format, mapping} per file.")
    out = []
    for item in raw:
        if unknown := set(item) - {"name", "format", "mapping", "proposed"}:
            sentence = f"A file has no choice called {min(unknown)}. There are name, format, mapping and proposed."
            raise _bad("sources", sentence)
        name = _name(item.get("name"), "sources")
        mapping, proposed = read_mapping(item.get("mapping")), item.get("proposed", False)
        if not isinstance(proposed, bool):
            raise _bad("sources", f"“proposed” must be true or false, not {proposed!r}.")
        out.append(SourceOptions(name, item.get("format") or "auto", mapping, proposed))
    return tuple(out)


def _name(value: Any, key: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _bad(key, f"The name of a file must be a text, not {value!r}.")
    return value


def _read_over_length(raw: dict[str, Any]) -> str:
    wanted = raw.get("over_length") or "keep"
    if wanted not in OVER_LENGTH:
        raise _bad("over_length", f"“{wanted}” is no way to treat long rows. Choose one of {', '.join(OVER_LENGTH)}.")
    return str(wanted)


def _read_tokenizer(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not (Path(value) / "tokenizer.json").is_file():
        raise _bad("tokenizer", f"There is no tokenizer.json in {value}.")
    return value


def _read_replacements(raw: Any) -> tuple[dict[str, Any], ...]:
    if raw is None:
        return ()
    fits = isinstance(raw, list | tuple) and all(
        isinstance(rule, dict) and isinstance(rule.get("find"), str) and isinstance(rule.get("replace", ""), str)
        for rule in raw
    )
    if not fits:
        raise _bad("replacements", "“replacements” must be a list of {find, replace, is_regex}.")
    return tuple(dict(rule) for rule in raw)


def _texts(value: Any, key: str, what: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _bad(key, f"The option {key} must be a list of {what}.")
    return tuple(value)


def read_mapping(raw: Any) -> Mapping | None:
    """A column mapping from JSON; None for none. UserError ``bad_mapping``."""
    if raw is None:
        return None
    if not isinstance(raw, dict) or not (raw.get("completion") or raw.get("label")):
        raise _no_columns()
    for part, single in (("prompt", str), ("metadata", None), ("lists", None)):
        if not isinstance(raw.get(part), list | tuple | single | None):
            sentence = f"In a mapping, “{part}” must be a list of names, not {raw[part]!r}."
            raise UserError("bad_mapping", sentence, field="mapping")
    prompt = raw.get("prompt") or ()
    columns = (prompt,) if isinstance(prompt, str) else tuple(map(str, prompt))
    more: dict[str, Any] = {}
    if isinstance(raw.get("lists"), list):
        more["lists"] = tuple(map(str, raw["lists"]))
    if template := raw.get("prompt_template"):
        columns = _template_columns(str(template))
        more["prompt_template"] = str(template)
    if not columns:
        raise _no_columns()
    metadata = raw.get("metadata")
    return Mapping(
        prompt=columns,
        completion=str(raw.get("completion") or raw["label"]),
        system=raw.get("system") or None,
        label=raw.get("label") or None,
        metadata=None if metadata is None else tuple(map(str, metadata)),
        group=raw.get("group") or None,
        split=raw.get("split") or None,
        **more,
    )


def _no_columns() -> UserError:
    return UserError("bad_mapping", "Choose at least one column for the input and one for the answer.", field="mapping")


def _template_columns(template: str) -> tuple[str, ...]:
    """The columns that a template names, each once."""
    from string import Formatter

    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise _bad_template() from error
    if any(name is not None and (spec or conversion or not name) for _, name, spec, conversion in parts):
        raise _bad_template()
    return tuple(dict.fromkeys(name for _, name, _, _ in parts if name))


def _bad_template() -> UserError:
    sentence = "Write the template as text with column names in braces, such as {title}. Double a brace that is text."
    return UserError("bad_mapping", sentence, field="mapping")


def _bad(key: str, sentence: str) -> UserError:
    return UserError("bad_option", sentence, field=key, reason="bad_config")
