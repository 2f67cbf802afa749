"""Calls that a programmer can copy, with the real address."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

_CURL = """curl {site}/predict \\
  -H "Authorization: Bearer $TUNESMITH_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"text": "Your text", "temperature": 0}}'"""

_PYTHON = """import json, os, urllib.request

request = urllib.request.Request(
    "{site}/predict",
    data=json.dumps({{"text": "Your text", "temperature": 0}}).encode(),
    headers={{
        "Authorization": "Bearer " + os.environ["TUNESMITH_KEY"],
        "Content-Type": "application/json",
    }},
)
with urllib.request.urlopen(request) as response:
    print(json.load(response)["prediction"])"""

_OPENAI = """import os
from openai import OpenAI

client = OpenAI(base_url="{site}/v1", api_key=os.environ["TUNESMITH_KEY"])
answer = client.chat.completions.create(
    model="production",
    messages=[{{"role": "user", "content": "Your text"}}],
    temperature=0,
)
print(answer.choices[0].message.content)"""

_JAVASCRIPT = """const response = await fetch("{site}/predict", {{
  method: "POST",
  headers: {{
    "Authorization": `Bearer ${{process.env.TUNESMITH_KEY}}`,
    "Content-Type": "application/json",
  }},
  body: JSON.stringify({{ text: "Your text", temperature: 0 }}),
}});
console.log((await response.json()).prediction);"""


@dataclass(frozen=True)
class Snippet:
    """One way to call."""

    title: str
    code: str


def site_address(request: HttpRequest) -> str:
    """The site's address as callers reach it: SITE_URL, else the one of this request. No slash at the end."""
    return settings.SITE_URL or request.build_absolute_uri("/").rstrip("/")


def call_snippets(site: str) -> list[Snippet]:
    """Shell, plain Python, the OpenAI package, JavaScript."""
    texts = (("curl", _CURL), ("Python", _PYTHON), ("Python, openai", _OPENAI), ("JavaScript", _JAVASCRIPT))
    return [Snippet(title, text.format(site=site)) for title, text in texts]
