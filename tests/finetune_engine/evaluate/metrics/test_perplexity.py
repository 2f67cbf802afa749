"""Perplexity against a computation of its own: logits of a real model, in float64, with numpy."""

import math

import numpy as np
import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.evaluate.asking.likelihood import answer_ids
from finetune_engine.evaluate.metrics.metric import Material
from finetune_engine.evaluate.metrics.perplexity import BitsPerByte, Perplexity
from finetune_engine.generate import score
from finetune_engine.train.local.encode import encode_prompt
from finetune_engine.train.local.load import load_base

QUESTIONS = ["Who pays the rent?", "Which law governs?", "How much notice?", "Rent?"]
REFERENCES = ["The tenant.", "The laws of the State of New York, ü.", "Thirty days notice, by either party.", "x"]


@pytest.fixture(scope="module")
def pairs(tiny_model):
    loaded = load_base(BaseModelRef(key="tiny", path=str(tiny_model)))
    rows = [[{"role": "user", "content": text}] for text in QUESTIONS]
    ids = [
        (encode_prompt(loaded, row), answer_ids(loaded, row, said)) for row, said in zip(rows, REFERENCES, strict=True)
    ]
    return loaded, ids


@pytest.fixture(scope="module")
def material(pairs):
    found = score(*pairs)
    return Material(REFERENCES, REFERENCES, nll=[nll for nll, _ in found], tokens=[tokens for _, tokens in found])


@pytest.fixture(scope="module")
def reference(tiny_model, pairs):
    """Summed nll (nats) and answer tokens, each text by itself, from logits taken to float64 before anything else."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float64).eval()
    total, count = 0.0, 0
    for prompt, answer in pairs[1]:
        ids = [*prompt, *answer]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].numpy().astype(np.float64)
        for place in range(len(prompt), len(ids)):
            row = logits[place - 1]
            top = row.max()
            total -= row[ids[place]] - top - math.log(np.exp(row - top).sum())
            count += 1
    return total, count


def test_perplexity_is_that_of_a_float64_reference(material, reference):
    total, count = reference
    assert sum(material.tokens) == count
    assert Perplexity().measure(material).value == pytest.approx(math.exp(total / count), rel=1e-5)


def test_bits_per_byte_are_those_of_a_float64_reference(material, reference):
    size = len("".join(REFERENCES).encode())
    assert size > len("".join(REFERENCES))  # the ü counts as two bytes
    assert BitsPerByte().measure(material).value == pytest.approx(reference[0] / math.log(2) / size, rel=1e-5)


def test_perplexity_is_weighted_by_tokens_and_no_mean_of_perplexities():
    material = Material(["", ""], ["a", "b"], nll=[1.0, 30.0], tokens=[1, 10])
    found = Perplexity().measure(material)
    assert found.value == pytest.approx(math.exp(31 / 11))
    assert found.values == pytest.approx([math.e, math.exp(3)])


def test_a_model_that_gives_no_likelihoods_has_no_perplexity():
    material = Material(["x"], ["x"])
    assert not Perplexity().suits(material)
    assert not BitsPerByte().suits(material)
