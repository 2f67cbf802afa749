"""How tools are told to a model, and in which form it writes a call.

A model whose chat template has one of the forms below is spoken to in its own words. Every other model gets the tools in a
system message and writes calls as Hermes does; calls and results of earlier turns become plain text for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Turn = dict[str, Any]

TOLD = """You can call functions. These exist, one in each line:
<tools>
{tools}
</tools>
To call one, write only this, with its arguments as a JSON object:
<tool_call>
{{"name": "...", "arguments": {{...}}}}
</tool_call>"""


@dataclass(frozen=True)
class CallForm:
    """A way of writing calls: ``opening`` and ``closing`` around JSON whose arguments are under ``arguments_key``.

    ``closing`` is empty where the call ends with its JSON; ``is_list`` says that the calls are the items of one list;
    without ``opening`` the answer as a whole is the call.
    """

    name: str
    opening: str
    closing: str
    arguments_key: str
    is_list: bool = False


HERMES = CallForm("hermes", "<tool_call>", "</tool_call>", "arguments")
LLAMA = CallForm("llama", "", "", "parameters")
MISTRAL = CallForm("mistral", "[TOOL_CALLS]", "", "arguments", is_list=True)


def form_of(template: str) -> CallForm | None:
    """The form in which a chat template has calls written; None when it knows no tools, or has a form of its own.

    Qwen, Hermes and their kin: ``<tool_call>``. Mistral: ``[TOOL_CALLS]`` before a list. Llama 3: the answer is the call.
    """
    if "tools" not in template:
        return None
    if "[TOOL_CALLS]" in template:
        # From its eleventh tokenizer on Mistral writes name[ARGS]arguments, which is not read here.
        return None if "[ARGS]" in template else MISTRAL
    if "<tool_call>" in template:
        # Some write the call as XML inside the same tag.
        return None if "<function=" in template else HERMES
    if "ipython" in template and "parameters" in template:
        return LLAMA
    return None


def turns_in_form(form: CallForm, turns: Sequence[Turn]) -> list[Turn]:
    """Turns as templates with a form of their own read them: arguments are objects, ids fit the model."""
    return [_in_form(form, turn) for turn in turns]


def turns_in_words(turns: Sequence[Turn], tools: Sequence[Mapping[str, Any]], *, has_system: bool) -> list[Turn]:
    """Turns for a template that knows no tools: calls and results become text, ``tools`` are told at the beginning.

    ``has_system`` False puts them into the first turn of the user, for templates that refuse a system message.
    """
    told: list[Turn] = []
    for turn in turns:
        result = _result_text(turn)
        if result is None:
            told.append(_calls_in_words(turn))
        elif told and told[-1].get("is_result"):
            told[-1]["content"] += "\n" + result
        else:
            told.append({"role": "user", "content": result, "is_result": True})
    told = [{name: value for name, value in turn.items() if name != "is_result"} for turn in told]
    return _with_tools(told, tools, "system" if has_system else "user") if tools else told


def _with_tools(turns: list[Turn], tools: Sequence[Mapping[str, Any]], role: str) -> list[Turn]:
    text = TOLD.format(tools="\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools))
    if turns and turns[0].get("role") == role:
        first = f"{turns[0].get('content') or ''}\n\n{text}" if role == "system" else f"{text}\n\n{turns[0]['content']}"
        return [{**turns[0], "content": first}, *turns[1:]]
    return [{"role": role, "content": text}, *turns]


def calls_of(turn: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """``(name, arguments, id)`` of each call in an assistant's turn; arguments that are JSON text are read."""
    calls = turn.get("tool_calls") or ([turn["function_call"]] if turn.get("function_call") else [])
    found = []
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function", call) if isinstance(call, Mapping) else {}
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except (ValueError, RecursionError):
                pass  # told as it was written
        found.append(
            (str(function.get("name") or ""), {} if arguments is None else arguments, str(call.get("id") or ""))
        )
    return found


def _in_form(form: CallForm, turn: Turn) -> Turn:
    out = dict(turn)
    if calls := calls_of(turn):
        out["tool_calls"] = [
            {"type": "function", "id": _id_for(form, key), "function": {"name": name, "arguments": arguments}}
            for name, arguments, key in calls
        ]
        out.pop("function_call", None)
        out["content"] = out.get("content") or ""
    if turn.get("tool_call_id"):
        out["tool_call_id"] = _id_for(form, str(turn["tool_call_id"]))
    return out


def _id_for(form: CallForm, key: str) -> str:
    """Mistral's templates insist on ids of nine letters and digits."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:9] if form is MISTRAL else key


def _calls_in_words(turn: Turn) -> Turn:
    calls = calls_of(turn)
    if not calls:
        return turn
    blocks = [
        f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}\n</tool_call>"
        for name, arguments, _ in calls
    ]
    said = [str(turn["content"])] if turn.get("content") else []
    rest = {name: value for name, value in turn.items() if name not in ("tool_calls", "function_call")}
    return {**rest, "content": "\n".join(said + blocks)}


def _result_text(turn: Turn) -> str | None:
    if turn.get("role") not in ("tool", "function"):
        return None
    return f"<tool_response>\n{turn.get('content') or ''}\n</tool_response>"
