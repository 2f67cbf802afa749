"""From what a request demands of an answer to a grammar in llguidance's form.

The grammars are never wider than the schemas in them: what is written by them is an instance of the schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from finetune_engine.serve.exchange import CompletionRequest, Tool
from finetune_engine.train.local.tool_forms import CallForm

MAX_CALLS = 16
"""The most calls in one answer."""

# Space between the parts of a JSON text: one space, or a line break with its indentation. Without a bound, a weak model
# would fill its answer with line breaks.
_SPACE = r"( |\n {0,24})?"
_OPTIONS = {"whitespace_pattern": _SPACE, "item_separator": ",", "key_separator": ":"}
# What Python takes for space at the beginning of a text: whoever reads the answer looks for a call behind it.
_BLANK = r"\s\x1c-\x1f"
# In an object with nothing but these, properties that are not named can be ruled out without changing what the others mean.
_SIMPLE = frozenset(
    {"type", "properties", "required", "title", "description", "default", "examples", "$defs", "definitions"}
    | {"$schema", "$id", "$comment", "deprecated", "readOnly", "writeOnly", "nullable", "strict"}
)
# About the largest whole number of 64 bits, as databases and most languages have them: an end to a model's digits.
_LARGEST = 9 * 10**18
# Keywords that join several schemas into one: an object that is closed in one of them would shut out the others'.
_JOINING = frozenset(
    {
        "allOf",
        "not",
        "if",
        "dependentSchemas",
        "unevaluatedProperties",
        "unevaluatedItems",
        "$dynamicRef",
        "$recursiveRef",
    }
)
_SCHEMAS_BY_NAME = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_SCHEMAS_IN_LIST = frozenset({"anyOf", "oneOf", "prefixItems"})


def grammar_of(request: CompletionRequest, form: CallForm, marker_id: int | None = None) -> str | None:
    """The Lark grammar of the whole answer (thoughts apart); None when anything may be written.

    ``marker_id`` is the token that ``form.opening`` is, where that is a control token rather than text.
    """
    schema = request.answer_schema
    if request.must_call:
        wanted = [tool for tool in request.tools if request.tool_name in (None, tool.name)]
        # Whoever has to call need not announce it with a control token, which no text shows.
        opening = "" if marker_id is not None else form.opening
        return _lark("calls", _calls(request, wanted, form, json.dumps(opening) if opening else ""))
    opening = f"<[{marker_id}]>" if marker_id is not None else json.dumps(form.opening)
    if schema is not None:
        answer = f"answer: {_json(schema.schema)}"
        if not request.tools:
            return _lark("answer", [answer])
        return _lark("answer | calls", [answer, *_calls(request, request.tools, form, opening)])
    if any(tool.strict for tool in request.tools):
        return _free_text_or_calls(request, form, marker_id)
    return None


def _free_text_or_calls(request: CompletionRequest, form: CallForm, marker_id: int | None) -> str:
    """Text as the model likes; a call, once begun, is right. Text that begins as a call would is a call."""
    if not form.opening:
        text = rf"TEXT: /[{_BLANK}]*([^{{{_BLANK}](.|\n)*)?/"
        return _lark("TEXT | calls", [text, *_calls(request, request.tools, form, "")])
    if marker_id is not None:
        return _lark("TEXT calls?", ["TEXT: /(.|\\n)*/", *_calls(request, request.tools, form, f"<[{marker_id}]>")])
    # The free text ends with the first opening tag; after a call come more calls, or the end.
    rules = _calls(request, request.tools, form, json.dumps(form.opening))
    bodies = " | ".join(f"body_{number}" for number in range(len(request.tools)))
    more = f' ("\\n" call){{0,{MAX_CALLS - 1}}}' if request.parallel_tool_calls else ""
    free = ["TEXT: /(.|\\n)*/", f"begun[lazy]: TEXT {json.dumps(form.opening)}", f"free: begun ({bodies}){more}"]
    return _lark("TEXT | free", [*free, *rules])


def _calls(request: CompletionRequest, tools: Sequence[Tool], form: CallForm, opening: str) -> list[str]:
    """The rules ``calls``, ``call`` and for each tool ``body_N`` (a call without its opening) and ``arguments_N``."""
    several = request.parallel_tool_calls and request.tool_name is None
    more = f"{{0,{MAX_CALLS - 1}}}" if several else "{0}"
    if form.is_list:
        rules = [f'calls: {opening} "[" call (", " call){more} "]"' if several else f'calls: {opening} "[" call "]"']
    elif form.closing:
        rules = [f'calls: call ("\\n" call){more}' if several else "calls: call"]
    else:
        rules = ["calls: call"]  # an answer that is a call has no room for a second
    start = opening if form.closing else ""
    rules.append("call: " + " | ".join(f"{start} body_{number}" for number in range(len(tools))))
    line = "\n" if form.closing else ""
    for number, tool in enumerate(tools):
        begin = f'{line}{{"name": {json.dumps(tool.name)}, "{form.arguments_key}": '
        rules.append(f"body_{number}: {json.dumps(begin)} arguments_{number} {json.dumps('}' + line + form.closing)}")
        rules.append(f"arguments_{number}: {_json(tool.parameters)}")
    return rules


def _lark(start: str, rules: list[str]) -> str:
    return "\n".join(["%llguidance {}", f"start: {start}", *rules]) + "\n"


def _json(schema: Mapping[str, Any]) -> str:
    plain = {name: value for name, value in schema.items() if name != "x-guidance"}
    closed = plain if _mentions(plain, _JOINING) else _closed(plain)
    return "%json " + json.dumps({**closed, "x-guidance": _OPTIONS}, ensure_ascii=True)


def _mentions(value: Any, words: frozenset[str]) -> bool:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            if words & item.keys():
                return True
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return False


def _closed(schema: Any) -> Any:
    """The schema with objects shut to properties that it does not name, where it says nothing about them, and whole
    numbers bounded.

    Every instance of the result is one of the original; a model would otherwise be free to go on for ever.
    """
    if not isinstance(schema, Mapping):
        return schema
    out: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
            out[name] = {key: _closed(item) for key, item in value.items()}
        elif name in _SCHEMAS_IN_LIST and isinstance(value, list):
            out[name] = value if "properties" in schema else [_closed(item) for item in value]
        elif name == "items":
            out[name] = _closed(value)
        else:
            out[name] = value
    if "properties" in schema and schema.keys() <= _SIMPLE:
        out["additionalProperties"] = False
    if schema.get("type") == "integer" and schema.keys() <= _SIMPLE:
        out |= {"minimum": -_LARGEST, "maximum": _LARGEST}
    return out
