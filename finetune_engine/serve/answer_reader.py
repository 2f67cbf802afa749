"""From what a model writes to what a caller is told: its thoughts, its text, and the functions that it wants called.

Text arrives in pieces. What may be the beginning of a tag is held back until it is clear, so that no half tag is ever told.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from finetune_engine.serve.exchange import CompletionRequest, Delta, FinishReason, Token, ToolCallPiece
from finetune_engine.serve.thoughts import THINK, THINK_END, opens_thoughts, thinks, token_of
from finetune_engine.train.local.tool_forms import HERMES, CallForm, form_of

if TYPE_CHECKING:
    from finetune_engine.train.local.load import LoadedModel

PYTHON_TAG = "<|python_tag|>"
_CALL_BEGINS = re.compile(r'\s*\{\s*"(name|type|function|parameters|arguments)"\s*:')
_CALL_MAY_BEGIN = 40
"""Characters after which an answer that is a call has shown its first key."""
_NAME = re.compile(r'"name"\s*:\s*("(?:[^"\\]|\\.)*")')


@dataclass
class _Told:
    """What one piece of text came to."""

    text: str = ""
    reasoning: str = ""
    calls: list[ToolCallPiece] = field(default_factory=list)


class AnswerReader:
    """Reads the deltas of one request; one comes out for each that goes in."""

    def __init__(self, request: CompletionRequest, template: str, *, is_open: bool = False) -> None:
        self._request = request
        self._form = form_of(template) or HERMES if request.tools else None
        self._thinks = request.is_chat and thinks(template)
        self._is_open = is_open
        self._choices: dict[int, _ChoiceReader] = {}

    def read(self, delta: Delta) -> Delta:
        """The delta with its text sorted into text, reasoning and tool calls. Tokens of thoughts are left out."""
        if delta.usage is not None or (self._form is None and not self._thinks):
            return delta
        reader = self._choices.get(delta.index)
        if reader is None:
            reader = _ChoiceReader(self._request, self._form, thinks=self._thinks, is_open=self._is_open)
            self._choices[delta.index] = reader
        told = reader.read(delta.text, delta.finish_reason)
        finish = delta.finish_reason
        if finish == "stop" and reader.call_count:
            finish = "tool_calls"
        tokens = reader.answer_tokens(delta.tokens)
        return replace(
            delta,
            text=told.text,
            reasoning=told.reasoning,
            tool_calls=tuple(told.calls),
            tokens=tokens,
            finish_reason=finish,
        )


def reader_of(request: CompletionRequest, loaded: LoadedModel, prompt: Sequence[int]) -> AnswerReader:
    """The reader for a request that a model answers, whose prompt has these token ids."""
    template = loaded.chat_template
    is_open = request.is_chat and thinks(template) and opens_thoughts(loaded.tokenizer, prompt)
    return AnswerReader(request, template, is_open=is_open)


def shown_tokens(request: CompletionRequest, loaded: LoadedModel) -> frozenset[int]:
    """Control tokens that have to be told as text although others are not: the mark of a call, and of thoughts."""
    words = []
    if request.tools:
        form = form_of(loaded.chat_template) or HERMES
        words += [form.opening, form.closing, PYTHON_TAG]
    if request.is_chat and thinks(loaded.chat_template):
        words += [THINK, THINK_END]
    tokens = [token_of(loaded.tokenizer, word) for word in words if word]
    return frozenset(token for token in tokens if token is not None) - set(loaded.eos_token_ids)


class _ChoiceReader:
    """One choice. ``held`` is text that is not told yet; ``stage`` says what is being read."""

    def __init__(self, request: CompletionRequest, form: CallForm | None, *, thinks: bool, is_open: bool) -> None:
        self.call_count = 0
        self._form = form
        self._names = {tool.name for tool in request.tools}
        self._most_calls = None if request.parallel_tool_calls else 1
        # A constrained answer that must call does not announce it where a control token would.
        self._starts_with_call = form is not None and (not form.opening or (request.must_call and form.is_list))
        self._held = ""
        self._gap = ""
        self._has_thought = False
        self._stage = "thoughts" if is_open else ("opening" if thinks else "start")
        self._seen = 0
        self._read = 0
        self._thoughts_end: int | None = None if thinks else 0

    def read(self, text: str, finish: FinishReason | None) -> _Told:
        """What ``text`` comes to; with ``finish`` nothing is held back any more."""
        self._held += text
        self._read += len(text)
        told = _Told()
        is_last = finish is not None
        while self._step(told, is_last=is_last):
            pass
        if is_last:
            self._end(told, finish)
        return told

    def answer_tokens(self, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        """Those of ``tokens`` (the next of the choice) that are no part of its thoughts."""
        kept = []
        for token in tokens:
            if self._thoughts_end is not None and self._seen >= self._thoughts_end:
                kept.append(token)
            self._seen += len(token.text)
        return tuple(kept)

    def _step(self, told: _Told, *, is_last: bool) -> bool:
        """Read on as far as the held text is clear; whether another stage has begun."""
        stages = {
            "opening": self._read_opening,
            "thoughts": self._read_thoughts,
            "start": self._read_start,
            "text": self._read_text,
            "call": self._read_call,
        }
        before = self._stage
        stages[before](told, is_last=is_last)
        return self._stage != before

    def _read_opening(self, told: _Told, *, is_last: bool) -> None:
        text = self._held.lstrip()
        if text.startswith(THINK):
            self._held, self._stage = text[len(THINK) :], "thoughts"
        elif is_last or (text and not THINK.startswith(text)):
            self._thoughts_end, self._stage = 0, "start"

    def _read_thoughts(self, told: _Told, *, is_last: bool) -> None:
        if not self._has_thought:
            self._held = self._held.lstrip()
            self._has_thought = bool(self._held)
        at = self._held.find(THINK_END)
        if at >= 0:
            told.reasoning += self._held[:at].rstrip()
            self._held = self._held[at + len(THINK_END) :]
            self._thoughts_end = self._read - len(self._held)
            self._stage = "start"
        else:
            keep = 0 if is_last else _beginning(self._held, THINK_END)
            clear = self._held[: len(self._held) - keep]
            clear = clear if is_last else clear.rstrip()
            told.reasoning += clear
            self._held = self._held[len(clear) :]

    def _read_start(self, told: _Told, *, is_last: bool) -> None:
        """The first characters of the answer: space after thoughts is dropped; the answer may be a call as a whole."""
        if self._thoughts_end:
            self._held = self._held.lstrip()
        if not self._held and not is_last:
            return
        if not self._starts_with_call or self._form is None:
            self._stage = "text"
            return
        begun = self._held.lstrip().removeprefix(PYTHON_TAG).lstrip().removeprefix("[" if self._form.is_list else "")
        if _CALL_BEGINS.match(begun):
            self._stage = "call"
        elif (
            is_last or len(begun) > _CALL_MAY_BEGIN or (begun and not PYTHON_TAG.startswith(begun) and begun[0] != "{")
        ):
            self._stage = "text"

    def _read_text(self, told: _Told, *, is_last: bool) -> None:
        opening = self._form.opening if self._form is not None else ""
        at = self._held.find(opening) if opening else -1
        if at >= 0:
            before = self._held[:at]
            told.text += before.rstrip()
            self._gap = before[len(before.rstrip()) :]
            self._held, self._stage = self._held[at + len(opening) :], "call"
            return
        keep = _beginning(self._held, opening) if opening and not is_last else 0
        clear = self._held[: len(self._held) - keep]
        if opening and not is_last:
            clear = clear.rstrip()  # space before a call is no part of the text
        told.text += clear
        self._held = self._held[len(clear) :]

    def _read_call(self, told: _Told, *, is_last: bool) -> None:
        """A call in a tag, as soon as the tag closes; the other forms are read at the end of the answer."""
        form = self._form
        if form is None or not form.closing:
            return
        at = self._held.find(form.closing)
        if at < 0:
            return
        body, rest = self._held[:at], self._held[at + len(form.closing) :]
        calls = _calls_in(body, self._names)
        if calls is None:
            told.text += self._gap + form.opening + body + form.closing
        else:
            self._tell(told, calls)
        self._held, self._stage = rest.lstrip() if calls else rest, "text"

    def _end(self, told: _Told, finish: FinishReason | None) -> None:
        """The answer is over: what is still held is a call without a closing tag, whole or cut off."""
        if finish == "length" and self._stage == "thoughts":
            told.reasoning = _without_half(told.reasoning, THINK_END)
        if self._form is None:
            return
        if self._stage != "call":
            if finish == "length":
                told.text = _without_half(told.text, self._form.opening)
            return
        calls = _calls_in(self._held, self._names)
        if calls is None and finish == "length":
            # Cut off by the limit: what there is of the arguments is told, as OpenAI does; half a name is not.
            calls = _cut_off(self._held, self._form, self._names)
        if calls is not None:
            self._tell(told, calls)
        elif finish != "length":
            told.text += self._gap + self._form.opening + self._held
        self._held = ""

    def _tell(self, told: _Told, calls: list[tuple[str, str]]) -> None:
        for name, arguments in calls:
            if self._most_calls is not None and self.call_count >= self._most_calls:
                return
            told.calls.append(ToolCallPiece(self.call_count, "call_" + secrets.token_hex(12), name, arguments))
            self.call_count += 1


def _calls_in(body: str, names: set[str]) -> list[tuple[str, str]] | None:
    """``(name, arguments as JSON text)`` of the calls in ``body``; None when that is not JSON or names no known tool."""
    values: list[Any] = []
    rest = body.strip().removeprefix(PYTHON_TAG).strip()
    decoder = json.JSONDecoder()
    try:
        while rest:
            value, end = decoder.raw_decode(rest)
            values += value if isinstance(value, list) else [value]
            rest = rest[end:].lstrip("; \n\t")
    except (ValueError, RecursionError):
        return None
    calls = [_call_of(value, names) for value in values]
    found = [call for call in calls if call is not None]
    return found if found and len(found) == len(calls) else None


def _call_of(value: Any, names: set[str]) -> tuple[str, str] | None:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or value["name"] not in names:
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        return str(value["name"]), arguments
    return str(value["name"]), json.dumps(arguments, ensure_ascii=False)


def _cut_off(body: str, form: CallForm, names: set[str]) -> list[tuple[str, str]] | None:
    """The calls in a body that breaks off: the whole ones of a list, and what there is of the last."""
    # Names need no escapes, so one that is written with any is none of theirs.
    begins = [match for match in _NAME.finditer(body) if match[1][1:-1] in names]
    calls = []
    for number, match in enumerate(begins):
        end = begins[number + 1].start() if number + 1 < len(begins) else len(body)
        rest = body[match.end() : end]
        key = re.search(rf'"(?:{form.arguments_key}|arguments|parameters)"\s*:\s*', rest)
        if key is None:
            continue
        written = rest[key.end() :]
        try:
            _, length = json.JSONDecoder().raw_decode(written)
        except (ValueError, RecursionError):
            length = len(written)
        calls.append((match[1][1:-1], written[:length]))
    return calls or None


def _without_half(text: str, tag: str) -> str:
    """A text that the limit may have cut off in the middle of a tag: the half is not told."""
    half = _beginning(text, tag)
    return text[:-half].rstrip() if half else text


def _beginning(text: str, word: str) -> int:
    """Length of the longest end of ``text`` that begins ``word`` without completing it."""
    return next((n for n in range(min(len(text), len(word) - 1), 0, -1) if word.startswith(text[-n:])), 0)
