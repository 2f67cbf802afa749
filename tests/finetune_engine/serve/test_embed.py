import math

import openai
import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve import embed
from finetune_engine.serve.backends.choosing import ChoosingBackend
from finetune_engine.serve.backends.models import ModelFiles, RemoteModel
from tests.finetune_engine.serve.running import client_of, served

SAME = ["How do I end the rental agreement?", "In what way can the lease be terminated?", "Bananas are yellow."]


@pytest.fixture(scope="module")
def embedding(tiny_model, tiny_adapter):
    base = BaseModelRef(key="tiny", path=str(tiny_model))
    known = {
        "base": ModelFiles("base", base, None, "b"),
        "tuned": ModelFiles("tuned", base, tiny_adapter, "t"),
        "far": RemoteModel("far", "http://127.0.0.1:9/v1", "", "x", "f"),
    }
    backend = ChoosingBackend(known.__getitem__)
    yield backend
    backend.close()


def likeness(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_minilm_finds_a_paraphrase_closer_than_another_subject(embedding):
    pytest.importorskip(embed.MINILM_PACKAGE)
    made = embedding.embed("embed:minilm", SAME)
    assert [len(vector) for vector in made.vectors] == [384] * 3
    assert likeness(made.vectors[0], made.vectors[1]) > 0.5 > likeness(made.vectors[0], made.vectors[2]) + 0.2
    assert math.hypot(*made.vectors[0]) == pytest.approx(1, abs=1e-5)


def test_a_text_has_the_same_vector_alone_and_among_others(embedding):
    pytest.importorskip(embed.MINILM_PACKAGE)
    among = embedding.embed("embed:minilm", [*SAME, "x " * 400]).vectors[1]
    assert embedding.embed("embed:minilm", [SAME[1]]).vectors[0] == pytest.approx(among, abs=1e-5)


def test_minilm_needs_no_network(embedding, monkeypatch):
    pytest.importorskip(embed.MINILM_PACKAGE)
    import socket

    def refuse(*_):
        raise AssertionError("it went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert embed.MinilmEmbedder().embed(["hello"]).prompt_tokens == 3


def test_hidden_states_tell_a_base_from_its_tuned_model(embedding):
    base, tuned = (embedding.embed(f"hidden:{name}", SAME[:1]).vectors[0] for name in ("base", "tuned"))
    assert len(base) == 32
    assert math.hypot(*base) == pytest.approx(1, abs=1e-5)
    assert likeness(base, tuned) < 0.999


def test_the_official_sdk_gets_embeddings(embedding):
    with served(embedding) as url:
        answer = client_of(url).embeddings.create(model="hidden:base", input=SAME)
        assert [len(row.embedding) for row in answer.data] == [32] * 3
        assert answer.usage.prompt_tokens > 10
        with pytest.raises(openai.NotFoundError):
            client_of(url).embeddings.create(model="base", input="x")


def test_a_missing_package_and_a_model_elsewhere_are_told(embedding, monkeypatch):
    monkeypatch.setattr(embed, "MINILM_PACKAGE", "not_installed_here")
    assert embed.available_embedders() == ["hidden:"]
    with pytest.raises(UserError, match="pip install") as caught:
        embedding.embed("embed:minilm", ["x"])
    assert caught.value.status == 404
    with pytest.raises(UserError, match="hidden states"):
        embedding.embed("hidden:far", ["x"])


def test_who_asks_after_the_end_is_told_instead_of_waiting_for_ever():
    pytest.importorskip(embed.MINILM_PACKAGE)
    for texts in ([], ["hello"]):  # closed before the model was loaded, and after
        embedder = embed.MinilmEmbedder()
        if texts:
            embedder.embed(texts)
        embedder.close()
        with pytest.raises(EngineError, match="about to end"):
            embedder.embed(["hello"])
