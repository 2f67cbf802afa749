"""The page about the API: every call has an example, and the examples run as they stand."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

import pytest

from finetune_site.api_page import ApiOperation, _with_code, operations_by_tag


def calls(site: str) -> list[ApiOperation]:
    return [call for _tag, group in operations_by_tag(site) for call in group]


def test_every_call_has_an_example_with_its_address_and_the_key():
    for call in calls("https://house.example"):
        assert call.example.startswith("curl "), call
        assert "https://house.example" + call.path.split("{")[0] in call.example
        assert "$TUNESMITH_KEY" in call.example


def test_examples_are_commands_that_a_shell_reads():
    for call in calls("https://house.example"):
        words = shlex.split(call.example.replace("\\\n", " "))
        assert words[0] == "curl", call


def test_every_example_that_changes_something_names_its_method():
    assert all(f"-X {call.method} " in call.example for call in calls("https://house.example") if call.method != "GET")


def test_descriptions_show_names_as_code_and_nothing_as_markup(project, client):
    page = client.get("/api/v1/docs").content.decode()
    assert "``" not in page
    assert "<code>next_cursor</code>" in page
    assert _with_code("send ``<b>`` & go") == "send <code>&lt;b&gt;</code> &amp; go"


@pytest.mark.slow
def test_the_examples_that_need_no_id_run_as_they_stand(live_server, api_key, project):
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    environment = {**os.environ, "TUNESMITH_KEY": api_key("read", "train", "predict", "admin")}
    failed = {}
    for call in calls(live_server.url):
        if call.method != "GET" or "{" in call.path or "?" in call.example:
            continue
        command = call.example.replace("curl ", "curl -s -o /dev/null -w '%{http_code}' ", 1)
        done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
        if done.stdout != "200":
            failed[call.path] = done.stdout or done.stderr
    assert failed == {}
