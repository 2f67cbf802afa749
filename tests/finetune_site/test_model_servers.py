"""How many model servers the site starts, on which card, and where they listen."""

from __future__ import annotations

import pytest

from finetune_site.management.commands import start


@pytest.fixture
def model_servers(settings, monkeypatch):
    def listed(visible: str | None, replicas: int = 0):
        settings.INFERENCE_REPLICAS = replicas
        settings.INFERENCE_BIND = "unix:/run/inference.sock"
        monkeypatch.setattr(start, "devices", list)
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        programs = [program for program in start.programs("127.0.0.1", 8000) if program.kind == "model"]
        return [
            (program.name, program.arguments[-1], program.environment.get("CUDA_VISIBLE_DEVICES"))
            for program in programs
        ]

    return listed


def test_without_a_card_there_is_one(model_servers) -> None:
    assert model_servers(None) == [("model", "unix:/run/inference.sock", None)]


def test_each_card_has_its_own(model_servers) -> None:
    assert model_servers("0,1") == [
        ("model1", "unix:/run/inference.sock", "0"),
        ("model2", "unix:/run/inference-2.sock", "1"),
    ]


def test_the_operator_may_ask_for_several_on_a_processor(model_servers) -> None:
    assert [name for name, _, _ in model_servers(None, replicas=3)] == ["model1", "model2", "model3"]


def test_ports_follow_each_other() -> None:
    assert start.replica_bind("0.0.0.0:8100", 2) == "0.0.0.0:8102"
    assert start.replica_bind("127.0.0.1:0", 2) == "127.0.0.1:0"
