"""Losses of rows laid flat, padded and one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.train.local.collate import collate
from finetune_engine.train.local.encode import Encoded
from finetune_engine.train.local.forward import batch_loss, flat_layout, judge, picked_logits
from finetune_engine.train.local.load import LoadedModel, load_base

ROWS = [
    Encoded([5, 9, 17, 33, 60, 61, 1], 4),
    Encoded([7, 8, 1], 1),
    Encoded([20 + i for i in range(30)], 12),
    Encoded([11, 12], 1, learn_prompt=True),
]


@pytest.fixture
def loaded(tiny_model: Path) -> LoadedModel:
    return load_base(BaseModelRef(key="tiny", path=str(tiny_model)))


def plain_loss(loaded: LoadedModel, row: Encoded) -> float:
    """The textbook way: one row, all logits, labels shifted by one."""
    with torch.no_grad():
        logits = loaded.model(torch.tensor([row.input_ids])).logits[0, :-1]
    labels = torch.tensor(row.labels[1:])
    return float(torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum"))


@pytest.mark.parametrize("wanted", [True, False])
def test_every_layout_gives_the_textbook_loss(loaded: LoadedModel, wanted: bool) -> None:
    expected = sum(plain_loss(loaded, row) for row in ROWS)
    with flat_layout(loaded.model, ROWS, wanted=wanted, dtype=torch.float32) as flat:
        assert flat is wanted
        with torch.no_grad():
            loss, _ = batch_loss(loaded.model, collate(ROWS, flat=flat, pad_id=1), torch.float32)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_flat_rows_do_not_see_each_other(loaded: LoadedModel) -> None:
    with flat_layout(loaded.model, ROWS, wanted=True, dtype=torch.float32), torch.no_grad():
        alone = picked_logits(loaded.model, collate(ROWS[2:3], flat=True, pad_id=1), torch.float32)
        behind = picked_logits(loaded.model, collate([ROWS[0], ROWS[2]], flat=True, pad_id=1), torch.float32)
    assert torch.allclose(alone, behind[-len(alone) :], atol=1e-5)


def test_gradients_are_the_same_flat_and_padded(loaded: LoadedModel) -> None:
    weight = loaded.model.model.layers[0].mlp.up_proj.weight.requires_grad_(True)
    found = []
    for wanted in (True, False):
        with flat_layout(loaded.model, ROWS, wanted=wanted, dtype=torch.float32) as flat:
            loss, _ = batch_loss(loaded.model, collate(ROWS, flat=flat, pad_id=1), torch.float32)
            found.append(torch.autograd.grad(loss, weight)[0])
    assert torch.allclose(*found, rtol=1e-4, atol=1e-5)


def test_a_model_whose_attention_is_something_else_is_padded(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune_engine.train.local import attention

    def wrong(module: object, query: torch.Tensor, *args: object, **kwargs: object) -> tuple[torch.Tensor, None]:
        return query.transpose(1, 2), None

    monkeypatch.setattr(attention, "flat_attention", wrong)
    with flat_layout(loaded.model, ROWS, wanted=True, dtype=torch.float32) as flat:
        assert not flat


def test_the_models_own_attention_is_back_afterwards(loaded: LoadedModel) -> None:
    before = loaded.model.config._attn_implementation
    with flat_layout(loaded.model, ROWS, wanted=True, dtype=torch.float32):
        assert loaded.model.config._attn_implementation != before
    assert loaded.model.config._attn_implementation == before


def test_a_long_row_sees_only_its_window(tmp_path: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=8, initializer_range=0.2,
    )  # fmt: skip
    model = MistralForCausalLM(config).eval()
    rows = [Encoded([3, 4, 5], 1), Encoded([i % 60 for i in range(40)], 1)]
    with torch.no_grad():
        single = model(torch.tensor([rows[1].input_ids])).logits[0, :-1]
        with flat_layout(model, rows, wanted=True, dtype=torch.float32) as flat:
            assert flat
            laid = picked_logits(model, collate(rows, flat=True, pad_id=0), torch.float32)[-len(single) :]
    assert torch.allclose(single, laid, atol=1e-4)


def test_judging_does_not_depend_on_the_batch_and_keeps_the_mode(loaded: LoadedModel) -> None:
    loaded.model.train()
    found = [
        judge(loaded.model, ROWS, tokens=tokens, flat=False, pad_id=1, dtype=torch.float32) for tokens in (8, 1000)
    ]
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-5)
    assert (found[0].correct, found[0].scored) == (found[1].correct, found[1].scored)
    assert loaded.model.training
