"""The native API, as a person reads it."""

from __future__ import annotations

from dataclasses import dataclass

from finetune_site.api import api

OPENAI_SNIPPET = """from openai import OpenAI

client = OpenAI(base_url="{base_url}", api_key="tsk_...")
file = client.files.create(file=open("examples.jsonl", "rb"), purpose="fine-tune")
job = client.fine_tuning.jobs.create(model="demo-base", training_file=file.id)
"""

METHOD_ORDER = {"get": 0, "post": 1, "patch": 2, "put": 3, "delete": 4}


@dataclass(frozen=True)
class ApiOperation:
    """One call."""

    method: str
    path: str
    summary: str
    description: str


def operations_by_tag() -> list[tuple[str, list[ApiOperation]]]:
    """All calls of the OpenAPI document, grouped by their first tag, in the document's order."""
    groups: dict[str, list[ApiOperation]] = {}
    for path, methods in api.get_openapi_schema()["paths"].items():
        for method, call in sorted(methods.items(), key=lambda item: METHOD_ORDER.get(item[0], 9)):
            tag = str((call.get("tags") or ["other"])[0])
            groups.setdefault(tag, []).append(
                ApiOperation(method.upper(), path, str(call.get("summary", "")), str(call.get("description", "")))
            )
    return list(groups.items())
