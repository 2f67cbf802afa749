"""``tools``, ``tool_choice`` and ``response_format`` of a chat request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetune_engine.serve.exchange import AnswerSchema, Tool
from finetune_engine.serve.openai_format.fields import bad, flag, unsupported
from finetune_engine.serve.openai_format.schemas import schema_problem

MAX_TOOLS = 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NO_ARGUMENTS = {"type": "object", "properties": {}}


@dataclass(frozen=True)
class ToolUse:
    """What a request says of tools; ``tools`` are empty where none may be called."""

    tools: tuple[Tool, ...] = ()
    must_call: bool = False
    tool_name: str | None = None
    parallel_tool_calls: bool = True


def read_tools(values: Mapping[str, Any]) -> ToolUse:
    """``tools``, ``tool_choice`` and ``parallel_tool_calls``. Raises UserError naming what is wrong."""
    tools = _tools(values.get("tools"))
    choice = values.get("tool_choice")
    parallel = flag(values, "parallel_tool_calls", default=True)
    if not tools:
        if choice not in (None, "none", "auto"):
            raise bad("tool_choice", "'tool_choice' asks for a call, but there are no 'tools'.")
        return ToolUse()
    if choice in (None, "auto"):
        return ToolUse(tools, parallel_tool_calls=parallel)
    if choice == "none":
        return ToolUse()
    if choice == "required":
        return ToolUse(tools, must_call=True, parallel_tool_calls=parallel)
    return ToolUse(tools, must_call=True, tool_name=_named(choice, tools), parallel_tool_calls=parallel)


def read_answer_schema(value: Any) -> AnswerSchema | None:
    """``response_format``: the schema of the answer, None for plain text."""
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return AnswerSchema({"type": "object"}, "json_object")
    if kind != "json_schema":
        sentence = "'response_format' must have the 'type' text, json_object or json_schema."
        raise bad("response_format", sentence)
    place = "response_format.json_schema"
    wanted = value.get("json_schema")
    if not isinstance(wanted, Mapping) or not _is_name(wanted.get("name")):
        raise bad(place, f"'{place}' must have a 'name' of letters, digits, _ and -, and a 'schema'.")
    _only(wanted, ("name", "description", "schema", "strict"), place)
    schema = wanted.get("schema")
    if not isinstance(schema, Mapping):
        raise bad(f"{place}.schema", f"'{place}.schema' must be a JSON schema: an object.", missing=schema is None)
    if wanted.get("strict") not in (None, True, False):
        raise bad(f"{place}.strict", f"'{place}.strict' must be true or false.")
    _check_size(schema, f"{place}.schema")
    return AnswerSchema(schema, str(wanted["name"]))


def _tools(value: Any) -> tuple[Tool, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise bad("tools", "'tools' must be a list.")
    if len(value) > MAX_TOOLS:
        raise bad("tools", f"'tools' takes at most {MAX_TOOLS} functions; there are {len(value)}.")
    tools = tuple(_tool(item, f"tools[{position}]") for position, item in enumerate(value))
    if len({tool.name for tool in tools}) < len(tools):
        raise bad("tools", "'tools' has two functions of one name.")
    return tools


def _tool(item: Any, place: str) -> Tool:
    kind = item.get("type") if isinstance(item, Mapping) else None
    if isinstance(kind, str) and kind != "function":
        raise unsupported(f"{place}.type", f"'{place}.type' is {kind[:40]!r}; only functions are supported.")
    function = item.get("function") if isinstance(item, Mapping) else None
    if not isinstance(function, Mapping) or not _is_name(function.get("name")):
        sentence = f"'{place}.function' must have a 'name' of up to 64 letters, digits, _ and -."
        raise bad(f"{place}.function", sentence)
    _only(item, ("type", "function"), place)
    _only(function, ("name", "description", "parameters", "strict"), f"{place}.function")
    description = function.get("description")
    if not isinstance(description, str | None):
        raise bad(f"{place}.function.description", f"'{place}.function.description' must be a text.")
    parameters = _NO_ARGUMENTS if function.get("parameters") is None else function["parameters"]
    # A call's arguments are always an object; a schema that leaves that open means one.
    if not isinstance(parameters, Mapping) or parameters.get("type", "object") != "object":
        sentence = f"'{place}.function.parameters' must be the JSON schema of an object."
        raise bad(f"{place}.function.parameters", sentence)
    strict = flag(function, "strict")
    _check_size(parameters, f"{place}.function.parameters")
    return Tool(str(function["name"]), description or "", {"type": "object", **parameters}, strict)


def _check_size(schema: Mapping[str, Any], place: str) -> None:
    if problem := schema_problem(schema):
        raise bad(place, f"'{place}' is too large a schema: {problem}.")


def _named(choice: Any, tools: tuple[Tool, ...]) -> str:
    function = choice.get("function") if isinstance(choice, Mapping) and choice.get("type") == "function" else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str):
        raise bad("tool_choice", "'tool_choice' must be none, auto, required, or name a function of 'tools'.")
    if name not in {tool.name for tool in tools}:
        raise bad("tool_choice", f"'tool_choice' names the function {name[:64]!r}, which is not among 'tools'.")
    return name


def _only(values: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    for name, value in values.items():
        if name not in known and value is not None:
            raise unsupported(f"{place}.{name}", f"'{place}.{name}' is not supported. Leave it out and send again.")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None
