import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.evaluate.asking.likelihood import answer_ids, label_ids, label_loglikelihoods
from finetune_engine.generate import score
from finetune_engine.train.local.encode import encode_prompt
from finetune_engine.train.local.load import attach_adapter, load_base

LABELS = ["rent", "law", "notice of the end", "x"]
ROWS = [
    [{"role": "user", "content": text}]
    for text in ["Rent.", "The tenant pays the rent on the first day.", "Either party may end this agreement."]
]


@pytest.fixture(scope="module")
def loaded(tiny_model):
    return load_base(BaseModelRef(key="tiny", path=str(tiny_model)))


def naive(loaded):
    out = []
    for row in ROWS:
        pairs = [(encode_prompt(loaded, row), answer_ids(loaded, row, label)) for label in LABELS]
        out.append([-nll for nll, _ in score(loaded, pairs)])
    return out


def shared(loaded):
    prompts = [encode_prompt(loaded, row) for row in ROWS]
    return label_loglikelihoods(loaded, prompts, label_ids(loaded, ROWS, LABELS))


def test_sharing_the_prompt_gives_the_likelihoods_of_scoring_each_pair(loaded):
    for found, expected in zip(shared(loaded), naive(loaded), strict=True):
        assert found == pytest.approx(expected, abs=1e-3)


def test_small_blocks_of_labels_give_the_same(loaded, monkeypatch):
    monkeypatch.setattr("finetune_engine.evaluate.asking.likelihood.CACHED_TOKENS", 1)
    for found, expected in zip(shared(loaded), naive(loaded), strict=True):
        assert found == pytest.approx(expected, abs=1e-3)


def test_models_whose_cache_cannot_be_copied_are_scored_pair_by_pair(loaded, monkeypatch):
    monkeypatch.setattr("finetune_engine.evaluate.asking.likelihood._shared", lambda *_: None)
    for found, expected in zip(shared(loaded), naive(loaded), strict=True):
        assert found == pytest.approx(expected, abs=1e-3)


def test_an_adapter_changes_the_likelihoods_and_leaves_the_base_alone(loaded, tiny_adapter):
    before = shared(loaded)
    tuned = attach_adapter(loaded, tiny_adapter)
    assert shared(tuned)[0] != pytest.approx(before[0], abs=1e-3)
    assert shared(loaded)[0] == pytest.approx(before[0], abs=1e-5)


def test_progress_is_told_up_to_the_last_row(loaded):
    seen = []
    prompts = [encode_prompt(loaded, row) for row in ROWS]
    label_loglikelihoods(loaded, prompts, label_ids(loaded, ROWS, LABELS), on_done=seen.append)
    assert seen[-1] == len(ROWS)
