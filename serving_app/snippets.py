"""Calls that a programmer can copy and run, with the real address and model. The key stands in ``TUNESMITH_KEY``."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext as _

from serving_app.choices import PRODUCTION

# SITE and MODEL are replaced by the real ones.
_CURL = """curl SITE/predict \\
  -H "Authorization: Bearer $TUNESMITH_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"text": "Your text", "temperature": 0, "model": "MODEL"}'"""

_CURL_STREAM = """curl --no-buffer SITE/v1/chat/completions \\
  -H "Authorization: Bearer $TUNESMITH_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "MODEL", "messages": [{"role": "user", "content": "Your text"}], "temperature": 0, "stream": true}'"""

_OPENAI = """import os
from openai import OpenAI

client = OpenAI(base_url="SITE/v1", api_key=os.environ["TUNESMITH_KEY"])
answer = client.chat.completions.create(
    model="MODEL",
    messages=[{"role": "user", "content": "Your text"}],
    temperature=0,
)
print(answer.choices[0].message.content)"""

_OPENAI_STREAM = """import os
from openai import OpenAI

client = OpenAI(base_url="SITE/v1", api_key=os.environ["TUNESMITH_KEY"])
stream = client.chat.completions.create(
    model="MODEL",
    messages=[{"role": "user", "content": "Your text"}],
    temperature=0,
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()"""

_PYTHON = """import json, os, urllib.request

def call(path, body):
    request = urllib.request.Request(
        "SITE" + path,
        data=json.dumps(body).encode(),
        headers={
            "Authorization": "Bearer " + os.environ["TUNESMITH_KEY"],
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)

answer = call("/predict", {"text": "Your text", "temperature": 0, "model": "MODEL"})
print(answer["prediction"])"""

_PYTHON_FEEDBACK = (
    _PYTHON
    + """

# Say what the answer should have been: it waits on the page Improve for the next version.
feedback = {"verdict": "bad", "reasons": ["wrong"], "correction": "The right answer"}
kept = call("/api/v1/predictions/" + answer["request_id"] + "/feedback", feedback)
print(kept["verdict"])"""
)

_JAVASCRIPT = """const headers = {
  "Authorization": `Bearer ${process.env.TUNESMITH_KEY}`,
  "Content-Type": "application/json",
};
const response = await fetch("SITE/predict", {
  method: "POST",
  headers,
  body: JSON.stringify({ text: "Your text", temperature: 0, model: "MODEL" }),
});
const answer = await response.json();
console.log(answer.prediction);"""

_JAVASCRIPT_OPENAI = """import OpenAI from "openai";

const client = new OpenAI({ baseURL: "SITE/v1", apiKey: process.env.TUNESMITH_KEY });
const stream = await client.chat.completions.create({
  model: "MODEL",
  messages: [{ role: "user", content: "Your text" }],
  temperature: 0,
  stream: true,
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}"""


@dataclass(frozen=True)
class Snippet:
    """One way to call. ``language`` is sh, python or javascript; a JavaScript one is a module (``.mjs``)."""

    title: str
    code: str
    language: str


def site_address(request: HttpRequest) -> str:
    """The site's address as callers reach it: SITE_URL, else the one of this request. No slash at the end."""
    return settings.SITE_URL or request.build_absolute_uri("/").rstrip("/")


def call_snippets(site: str, model: str = PRODUCTION) -> list[Snippet]:
    """Shell, the OpenAI package, plain Python, JavaScript: whole, streamed, and with feedback on the answer."""
    texts = (
        ("curl", _CURL, "sh"),
        (_("curl, word by word"), _CURL_STREAM, "sh"),
        ("Python, openai", _OPENAI, "python"),
        (_("Python, openai, word by word"), _OPENAI_STREAM, "python"),
        ("Python", _PYTHON, "python"),
        (_("Python, with feedback on the answer"), _PYTHON_FEEDBACK, "python"),
        ("JavaScript, fetch", _JAVASCRIPT, "javascript"),
        (_("JavaScript, openai, word by word"), _JAVASCRIPT_OPENAI, "javascript"),
    )
    return [
        Snippet(title, text.replace("SITE", site).replace("MODEL", model), language) for title, text, language in texts
    ]
