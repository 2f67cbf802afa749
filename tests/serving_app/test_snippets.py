"""The calls that the pages offer for copying run as they stand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from serving_app.snippets import Snippet, call_snippets

pytestmark = pytest.mark.django_db(transaction=True)
TITLES = [snippet.title for snippet in call_snippets("http://x")]


@pytest.fixture
def carry_out(site, api_key, deployed_base, inference, tmp_path):
    """``carry_out("curl")``: what this snippet prints."""
    from serving_app.gateway.database import prediction_log

    programs = {"sh": ["bash"], "python": [sys.executable], "javascript": [shutil.which("node") or ""]}
    endings = {"sh": "sh", "python": "py", "javascript": "mjs"}
    key = api_key("predict")

    def run(title: str) -> str:
        snippet: Snippet = next(one for one in call_snippets(site) if one.title == title)
        path = tmp_path / f"call.{endings[snippet.language]}"
        path.write_text(snippet.code)
        if not programs[snippet.language][0]:
            pytest.skip("there is no node on this machine")
        environment = {"PATH": os.environ["PATH"], "TUNESMITH_KEY": key, "HOME": str(tmp_path)}
        done = subprocess.run(
            [*programs[snippet.language], str(path)], capture_output=True, text=True, env=environment, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert prediction_log.flush()
        return done.stdout

    return run


@pytest.mark.parametrize("title", [title for title in TITLES if not title.startswith("JavaScript, openai")])
def test_it_runs_as_it_stands(carry_out, title) -> None:
    from serving_app.models import Feedback, Prediction

    said = carry_out(title)
    logged = Prediction.objects.get()
    assert logged.question == "Your text"
    assert logged.status == 200
    if "word by word" in title and title.startswith("curl"):
        assert said.rstrip().endswith("data: [DONE]")
    else:
        assert logged.output.strip()[:20] in said.replace("\\n", "\n")
    if "feedback" in title:
        assert Feedback.objects.get().correction == "The right answer"


@pytest.mark.parametrize("title", [title for title in TITLES if title.startswith("JavaScript")])
def test_javascript_is_a_module_that_node_can_read(title, tmp_path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on this machine")
    path = tmp_path / "call.mjs"
    path.write_text(next(one.code for one in call_snippets("http://localhost:8000") if one.title == title))
    done = subprocess.run([node, "--check", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_address_and_model_are_the_real_ones() -> None:
    for snippet in call_snippets("https://models.example.com", "ft:demo-base:desk:clauses:1"):
        assert "https://models.example.com" in snippet.code
        assert "ft:demo-base:desk:clauses:1" in snippet.code
        assert "SITE" not in snippet.code
        assert "MODEL" not in snippet.code
