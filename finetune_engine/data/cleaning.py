"""Cleaning: named steps in a fixed order, each of which can be switched off and says which texts it changed.

No step changes what a text says. ``clean_text`` is what happens to one text; ``needs_cleaning`` tells, for a whole
column at once, which texts it may change, so that the rest is never looked at in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetune_engine.data.cleaning_steps import PLAIN_STEPS, boilerplate_pattern, may_change, without_boilerplate
from finetune_engine.data.message_texts import change_written
from finetune_engine.data.records import Message
from finetune_engine.data.replacing import Replacement, as_json, replace_all, rules_may_match
from finetune_engine.errors import UserError

if TYPE_CHECKING:
    import polars as pl

MAX_RULES = 100
MAX_RULE_LENGTH = 500


@dataclass(frozen=True)
class Step:
    """One step. ``title`` and ``description`` are for people; ``default`` says whether it runs unless switched off."""

    name: str
    title: str
    description: str
    default: bool = True


STEPS: tuple[Step, ...] = (
    Step(
        "repair_unicode",
        "Repair garbled letters",
        "Mends text that was read in the wrong encoding, such as “cafÃ©” for “café”. Quotes and ligatures stay.",
    ),
    Step(
        "html_entities",
        "Resolve HTML codes",
        "Writes “&amp;” as “&” and “&#8211;” as “–”. Leave it off where the text is about HTML.",
        default=False,
    ),
    Step(
        "control_characters",
        "Remove invisible control characters",
        "Removes characters that nobody sees, such as soft hyphens and bell marks. Tabs and new lines stay.",
    ),
    Step(
        "nfc",
        "Write each letter in one way",
        "Joins letters and accents that were stored apart (Unicode NFC), so that equal words are equal.",
    ),
    Step(
        "whitespace",
        "Tidy blanks",
        "Removes blanks at the end of lines and more than two empty lines in a row; non-breaking blanks become "
        "ordinary ones. Indentation stays.",
    ),
    Step(
        "boilerplate",
        "Remove lines that repeat everywhere",
        "Removes the lines you name, such as “Confidential - page *”; a star stands for anything.",
        default=False,
    ),
    Step("replacements", "Your own find and replace", "Applies your own rules, in your order."),
)
DEFAULT_STEPS: tuple[str, ...] = tuple(step.name for step in STEPS if step.default)
_NAMES = tuple(step.name for step in STEPS)


@dataclass(frozen=True)
class CleaningPlan:
    """What to do. Steps run in the order of ``STEPS``; ``boilerplate`` and ``replacements`` run where there are any.

    ``boilerplate``: whole lines to remove, case ignored, ``*`` for anything.
    """

    steps: tuple[str, ...] = DEFAULT_STEPS
    replacements: tuple[Replacement, ...] = ()
    boilerplate: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wanted = {*self.steps} - {"boilerplate", "replacements"}
        wanted |= {"boilerplate"} if self.boilerplate else set()
        wanted |= {"replacements"} if self.replacements else set()
        object.__setattr__(self, "steps", tuple(name for name in _NAMES if name in wanted))


@dataclass(frozen=True)
class Change:
    """A text before and after, with the names of the steps that changed it."""

    before: str
    after: str
    steps: list[str] = field(default_factory=list)


def read_plan(raw: Mapping[str, Any] | None) -> CleaningPlan:
    """A plan from the options ``cleaning``, ``replacements`` and ``boilerplate``; other keys are not looked at.

    UserError ``bad_cleaning`` names the option that is wrong and, for a pattern, says why it cannot be used.
    """
    raw = raw or {}
    names = raw.get("cleaning")
    if names is None:
        names = DEFAULT_STEPS
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise _bad("cleaning", "Give the cleaning steps as a list of names.")
    for name in names:
        if name not in _NAMES:
            raise _bad("cleaning", f"There is no cleaning step called {name}. The steps are {', '.join(_NAMES)}.")
    rules = _list(raw, "replacements", "find-and-replace rules")
    patterns = _list(raw, "boilerplate", "lines to remove")
    return CleaningPlan(
        steps=tuple(names),
        replacements=tuple(_rule(rule, number) for number, rule in enumerate(rules, 1)),
        boilerplate=tuple(_line(pattern, number) for number, pattern in enumerate(patterns, 1)),
    )


def _list(raw: Mapping[str, Any], key: str, what: str) -> list[Any]:
    value = raw.get(key) or []
    if not isinstance(value, list | tuple):
        raise _bad(key, f"Give the {what} as a list.")
    if len(value) > MAX_RULES:
        raise _bad(key, f"There are {len(value)} {what}; at most {MAX_RULES} can be used.")
    return list(value)


def _rule(raw: Any, number: int) -> Replacement:
    what = f"Rule {number}"
    if not isinstance(raw, Mapping) or not isinstance(raw.get("find"), str):
        raise _bad("replacements", f"{what} has no text to find.")
    find, replace, is_regex = raw["find"], raw.get("replace", ""), raw.get("is_regex", False)
    if not isinstance(replace, str) or not isinstance(is_regex, bool):
        raise _bad("replacements", f"{what} needs a text to put in place, and true or false for “is_regex”.")
    if not find:
        raise _bad("replacements", f"{what} has no text to find.")
    if max(len(find), len(replace)) > MAX_RULE_LENGTH:
        raise _bad("replacements", f"{what} is longer than {MAX_RULE_LENGTH} characters. Shorten it.")
    rule = Replacement(find, replace, is_regex)
    if (fault := rule.fault()) is not None:
        raise _bad("replacements", f"{what} cannot be used: {fault}")
    return rule


def _line(raw: Any, number: int) -> str:
    if not isinstance(raw, str) or not raw.strip(" *\t"):
        raise _bad("boilerplate", f"Line {number} to remove must hold some text besides stars.")
    if len(raw) > MAX_RULE_LENGTH or "\n" in raw.strip():
        raise _bad("boilerplate", f"Line {number} to remove must be one line of at most {MAX_RULE_LENGTH} characters.")
    return raw.strip()


def _bad(key: str, sentence: str) -> UserError:
    return UserError("bad_cleaning", sentence, field=key, reason="bad_config")


def clean_text(text: str, plan: CleaningPlan) -> tuple[str, list[str]]:
    """The cleaned text, and the names of the steps that changed it, in order."""
    steps: list[str] = []
    for name in plan.steps:
        cleaned = _run(name, text, plan)
        if cleaned != text:
            steps.append(name)
            text = cleaned
    return text, steps


def clean_messages(messages: Sequence[Message], plan: CleaningPlan) -> tuple[list[Message], list[str]]:
    """Cleaned messages (the given ones stay as they are) and the steps that changed any of their texts.

    Tool arguments are left alone: they are data for a program.
    """
    seen: set[str] = set()

    def change(text: str) -> str:
        cleaned, steps = clean_text(text, plan)
        seen.update(steps)
        return cleaned

    changed = change_written(messages, change)
    return changed, [name for name in plan.steps if name in seen]


def preview(texts: Iterable[str], plan: CleaningPlan) -> list[Change]:
    """What the plan would do to each text."""
    return [Change(text, *clean_text(text, plan)) for text in texts]


def needs_cleaning(column: pl.Series, plan: CleaningPlan) -> pl.Series:
    """Which texts the plan may change. False is certain; a few of the True ones turn out to need nothing.

    A missing text needs nothing.
    """
    needed = may_change(column, plan.steps)
    if plan.boilerplate:
        needed |= column.str.contains(boilerplate_pattern(plan.boilerplate)).fill_null(False)
    if plan.replacements:
        needed |= rules_may_match(column, plan.replacements)
    return needed.rename("needs_cleaning")


def rows_to_clean(frame: pl.DataFrame, plan: CleaningPlan) -> pl.Series:
    """Like ``needs_cleaning`` for whole rows: False means that ``clean_messages`` changes nothing in the row.

    Looks at ``messages`` and ``rejected`` as the JSON they are stored as, which is several times quicker than looking at
    their texts. Patterns of one's own are asked of ``prompt`` and ``answer``; rows with other texts are then all True.
    """
    import polars as pl

    columns = [frame["messages"]]
    if "rejected" in frame.columns and frame["rejected"].null_count() < frame.height:
        columns.append(frame["rejected"])
    needed = pl.repeat(False, frame.height, eager=True)
    literals = [rule for rule in plan.replacements if not rule.is_regex]
    for column in columns:
        needed |= may_change(column, plan.steps, in_json=True)
        if literals:
            needed |= rules_may_match(column, [as_json(rule) for rule in literals])
    if plan.boilerplate or len(literals) < len(plan.replacements):
        patterns = CleaningPlan((), tuple(r for r in plan.replacements if r.is_regex), plan.boilerplate)
        needed |= needs_cleaning(frame["prompt"], patterns) | needs_cleaning(frame["answer"], patterns)
        needed |= (frame["turns"] > 2) | (frame["rejected"].is_not_null() if len(columns) > 1 else False)
    return needed.rename("needs_cleaning")


def _run(name: str, text: str, plan: CleaningPlan) -> str:
    if name == "boilerplate":
        return without_boilerplate(text, plan.boilerplate)
    if name == "replacements":
        return replace_all(text, plan.replacements)
    return PLAIN_STEPS[name](text)
