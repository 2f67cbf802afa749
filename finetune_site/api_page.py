"""The native API, as a person reads it: every call with a line that can be pasted into a shell."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from finetune_site.api import api

OPENAI_SNIPPET = """from openai import OpenAI

client = OpenAI(base_url="{base_url}", api_key="tsk_...")
file = client.files.create(file=open("examples.jsonl", "rb"), purpose="fine-tune")
job = client.fine_tuning.jobs.create(model="demo-base", training_file=file.id)
"""

_ASKED = [{"role": "user", "content": "Your text"}]
ANSWERING: dict[str, tuple[str, dict[str, Any]]] = {
    "/predict": ("One answer, simply", {"text": "Your text", "temperature": 0}),
    "/v1/chat/completions": ("OpenAI's chat completions", {"model": "production", "messages": _ASKED}),
    "/v1/completions": ("OpenAI's plain completions", {"model": "production", "prompt": "Your text"}),
    "/v1/embeddings": ("OpenAI's embeddings", {"model": "embedder", "input": ["Your text"]}),
}
"""The calls outside ``/api/v1`` that put something to a model: what each does, and a body."""

METHOD_ORDER = {"get": 0, "post": 1, "patch": 2, "put": 3, "delete": 4}
JSON, FORM = "application/json", "multipart/form-data"
_PARAMETER = re.compile(r"\{(\w+)\}")
_OF_TYPE: dict[str, Any] = {"integer": 1, "number": 0.5, "boolean": True, "array": [], "object": {}}


@dataclass(frozen=True)
class ApiOperation:
    """One call. ``example`` is a curl command; words in capitals in it are ids to fill in."""

    method: str
    path: str
    summary: str
    description: SafeString
    example: str


def operations_by_tag(site: str) -> list[tuple[str, list[ApiOperation]]]:
    """The answering calls, then all calls of the OpenAPI document, grouped by their first tag, in the document's order.
    ``site`` is the address as callers reach it, without a slash at its end."""
    document = api.get_openapi_schema()
    groups: dict[str, list[ApiOperation]] = {"answers": answering_calls(site)}
    for path, methods in document["paths"].items():
        for method, call in sorted(methods.items(), key=lambda item: METHOD_ORDER.get(item[0], 9)):
            tag = str((call.get("tags") or ["other"])[0])
            example = _curl(site, method, path + _query_of(call), *_body_of(call, document))
            summary, description = str(call.get("summary", "")), _with_code(str(call.get("description", "")))
            groups.setdefault(tag, []).append(ApiOperation(method.upper(), path, summary, description, example))
    return list(groups.items())


def answering_calls(site: str) -> list[ApiOperation]:
    """The calls of ``ANSWERING``."""
    return [
        ApiOperation("POST", path, summary, SafeString(), _curl(site, "post", path, JSON, body))
        for path, (summary, body) in ANSWERING.items()
    ]


def _with_code(text: str) -> SafeString:
    """A docstring as HTML: what stands between double backquotes is code."""
    forms = ("{}", "<code>{}</code>")
    return SafeString("".join(format_html(forms[n % 2], part) for n, part in enumerate(text.split("``"))))


def _curl(site: str, method: str, path: str, content_type: str, body: Any) -> str:
    """A command of one line for each part."""
    address = site + _PARAMETER.sub(lambda found: found[1].upper(), path)
    lines = [f"curl '{address}'" if method == "get" else f"curl -X {method.upper()} '{address}'"]
    lines.append('-H "Authorization: Bearer $TUNESMITH_KEY"')
    if content_type == FORM:
        lines += [f"-F '{name}={value}'" for name, value in body.items()]
    elif content_type:
        lines += [
            f"-H 'Content-Type: {JSON}'",
            "-d '" + json.dumps(body, ensure_ascii=False).replace("'", "'\\''") + "'",
        ]
    return " \\\n  ".join(lines)


def _query_of(call: Mapping[str, Any]) -> str:
    """The parameters that the call cannot do without."""
    wanted = [one["name"] for one in call.get("parameters", ()) if one.get("in") == "query" and one.get("required")]
    return "?" + "&".join(f"{name}={{{name}}}" for name in wanted) if wanted else ""


def _body_of(call: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[str, Any]:
    """``(content type, sample body)`` of a call; an empty type when it takes none."""
    content = call.get("requestBody", {}).get("content", {})
    if FORM in content:
        fields = _resolved(content[FORM]["schema"], document)
        names = fields.get("required") or list(fields.get("properties", {}))[:1]
        sample = {name: _sample(fields["properties"][name], document) for name in names}
        files = [
            name
            for name, field in fields.get("properties", {}).items()
            if _resolved(field, document).get("format") == "binary"
        ]
        return FORM, sample | dict.fromkeys(files, "@examples.jsonl")
    if JSON in content:
        return JSON, _sample(content[JSON]["schema"], document)
    return "", None


def _resolved(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return _resolved(schema[name][0], document)
    return schema


def _sample(schema: Mapping[str, Any], document: Mapping[str, Any], name: str = "") -> Any:
    """What the schema gives as its example, else the least it demands."""
    if schema.get("examples"):
        return schema["examples"][0]
    if "example" in schema:
        return schema["example"]
    if schema.get("default") is not None:
        return schema["default"]
    found = _resolved(schema, document)
    if found.get("enum"):
        return found["enum"][0]
    if found.get("properties"):
        demanded = found.get("required") or list(found["properties"])[:1]
        return {key: _sample(found["properties"][key], document, key) for key in demanded}
    if found.get("type") == "array" and found.get("items"):
        return [_sample(found["items"], document, name)]
    return _OF_TYPE.get(str(found.get("type")), name.upper() or "TEXT")
