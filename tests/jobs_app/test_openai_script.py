"""The script that drives our site (``tests/house/test_openai_package.py``) is right: it passes, unchanged, against an
independent server of the protocol too."""

from __future__ import annotations

import openai
import pytest

from tests import openai_script
from tests.protocol_server.server import ProtocolServer


def test_the_script_passes_against_an_independent_server_of_the_protocol(tmp_path):
    with ProtocolServer(models=("gpt-4o-mini",)) as server:
        client = openai.OpenAI(base_url=server.address, api_key=server.key, max_retries=0)
        report = openai_script.drive(client, model="gpt-4o-mini", rows=openai_script.write_rows(tmp_path), seconds=30)
    assert {purpose: job.status for purpose, job in report.jobs.items()} == {
        "supervised": "succeeded",
        "cancelled": "cancelled",
        "paused": "cancelled",
        "preferences": "succeeded",
        "continued": "succeeded",
    }


def test_the_script_notices_a_server_that_answers_something_else(tmp_path):
    with ProtocolServer(models=("gpt-4o-mini",)) as server:
        server.can_pause = False
        client = openai.OpenAI(base_url=server.address, api_key=server.key, max_retries=0)
        with pytest.raises(openai.NotFoundError):
            openai_script.drive(client, model="gpt-4o-mini", rows=openai_script.write_rows(tmp_path), seconds=30)
