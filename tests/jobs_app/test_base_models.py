"""The catalogue and what the operator adds to it."""

from __future__ import annotations

import shutil

import pytest
from django.core.management import CommandError, call_command

from finetune_engine.catalogue.catalogue import find_model
from finetune_engine.errors import UserError
from jobs_app import queries
from jobs_app.models import BaseModel

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path):
    """A copy of the bundled model's folder."""
    return shutil.copytree(find_model("demo-base").path, tmp_path / "legal-model")


def test_a_local_folder_is_checked_and_used_where_it_lies(folder):
    call_command("add_base_model", "legal", str(folder), name="Legal model")
    ref = queries.base_model_ref("legal")
    row = BaseModel.objects.get()
    assert (ref["path"], ref["hub"]) == (str(folder), None)
    assert len(row.report["sha256"]) == 64
    assert row.report["parameters"] > 1_000_000
    assert next(card for card in queries.base_models() if card.key == "legal").is_available


def test_pickle_weights_are_refused_with_a_sentence(folder):
    (folder / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(CommandError, match="safetensors"):
        call_command("add_base_model", "legal", str(folder))
    assert not BaseModel.objects.exists()


def test_a_hub_name_with_a_revision_is_kept_for_the_worker():
    call_command("add_base_model", "tiny", "owner/tiny-model@abc123")
    assert queries.find_base_model("tiny").ref().hub_name == ("owner/tiny-model", "abc123")


def test_an_offline_machine_says_that_a_hub_model_is_not_here(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    card = queries.find_base_model("qwen2.5-7b")
    assert not card.is_available
    assert "offline" in card.availability


def test_a_machine_with_a_network_offers_hub_models(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    card = queries.usable_base_model("qwen2.5-7b")
    assert card.availability == "From the hub: needs a network"


@pytest.mark.parametrize("text", ["/nowhere/model", "just-a-word", "owner/../../etc"])
def test_what_is_neither_folder_nor_hub_name_is_refused(text):
    with pytest.raises(CommandError):
        call_command("add_base_model", "x", text)


def test_a_folder_that_has_gone_is_shown_but_cannot_be_chosen(folder):
    call_command("add_base_model", "legal", str(folder))
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="missing"):
        queries.usable_base_model("legal")


def test_an_operators_entry_replaces_the_catalogues(folder):
    call_command("add_base_model", "demo-base", str(folder))
    assert queries.base_model_ref("demo-base")["path"] == str(folder)
    assert [card.key for card in queries.base_models()].count("demo-base") == 1


def test_models_that_can_be_used_come_first():
    cards = queries.base_models()
    assert cards[0].key == "demo-base"
    flags = [card.is_available for card in cards]
    assert flags == sorted(flags, reverse=True)
