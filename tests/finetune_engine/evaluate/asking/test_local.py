from pathlib import Path

import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.evaluate.asking.likelihood import answer_ids
from finetune_engine.evaluate.asking.local import LocalAsker
from finetune_engine.evaluate.asking.store import AnswerStore
from finetune_engine.evaluate.cases import TestCase
from finetune_engine.evaluate.settings import PromptVariant
from finetune_engine.evaluate.spec import ModelSpec
from finetune_engine.events import ListSink
from finetune_engine.generate import generate_batch, score
from finetune_engine.ports import Run, Stopped
from finetune_engine.train.local.encode import encode_prompt
from finetune_engine.train.local.load import attach_adapter, detach_adapter, load_base

QUESTIONS = [
    [{"role": "user", "content": text}]
    for text in ["Rent?", "Who pays the rent on the first day of the month?", "Law?", "Rent?"]
]


class Watching:
    def __init__(self, stop=None):
        self.run = Run(ListSink(), **({"stop": stop} if stop else {}))
        self.done = 0

    def advance(self, questions):
        self.done += questions


@pytest.fixture(scope="module")
def base_ref(tiny_model):
    return BaseModelRef(key="tiny", path=str(tiny_model))


@pytest.fixture(scope="module")
def loaded(base_ref):
    return load_base(base_ref)


@pytest.fixture
def store(tmp_path):
    with AnswerStore(tmp_path / "answers.sqlite") as store:
        yield store


@pytest.fixture
def make(loaded, store, base_ref):
    def make(model=loaded, *, watch=None, store=store, **fields):
        examples = fields.pop("examples", ())
        spec = ModelSpec(fields.pop("key", "base"), "Base", base_ref, **fields)
        return LocalAsker(spec, model, store=store, watch=watch or Watching(), examples=examples)

    return make


def examples(count, labels=("x", "y")):
    return [
        TestCase(
            n, [{"role": "user", "content": f"q{n}"}], f"q{n}", labels[n % len(labels)], labels[n % len(labels)], None
        )
        for n in range(count)
    ]


def test_answers_are_those_of_the_model_in_the_order_of_the_questions(make, loaded):
    said = make().answer(QUESTIONS, max_new_tokens=6)
    wanted = generate_batch(loaded, [encode_prompt(loaded, one) for one in QUESTIONS], max_new_tokens=6)
    assert [answer.text for answer in said] == [one.text for one in wanted]
    assert [answer.completion_tokens for answer in said] == [len(one.token_ids) for one in wanted]
    assert said[0].prompt_tokens == len(encode_prompt(loaded, QUESTIONS[0]))
    assert said[0].logprob == pytest.approx(sum(wanted[0].logprobs) / len(wanted[0].logprobs))


def test_a_second_asker_of_the_same_model_generates_nothing(make, monkeypatch):
    first = make().answer(QUESTIONS, max_new_tokens=6)
    monkeypatch.setattr("finetune_engine.evaluate.asking.local.generate_batch", None)
    assert make(watch=(watch := Watching())).answer(QUESTIONS, max_new_tokens=6) == first
    assert watch.done == len(QUESTIONS)


def test_another_answer_limit_is_another_question(make, store):
    make().answer(QUESTIONS, max_new_tokens=6)
    make().answer(QUESTIONS, max_new_tokens=7)
    assert len(store) == 6  # three different questions, twice


def test_costs_are_those_of_scoring_prompt_and_answer(make, loaded):
    texts = ["rent", "the tenant", "law", "rent"]
    found = make().cost_of(QUESTIONS, texts)
    pairs = [
        (encode_prompt(loaded, one), answer_ids(loaded, one, text)) for one, text in zip(QUESTIONS, texts, strict=True)
    ]
    for cost, (nll, tokens) in zip(found, score(loaded, pairs), strict=True):
        assert (cost.nll, cost.tokens) == (pytest.approx(nll, abs=1e-4), tokens)


def test_choices_of_any_number_agree_with_their_costs(make):
    asker = make()
    choices = [["a", "b c"], ["law", "the whole law", "rent"], [], ["a", "b c"]]
    found = asker.choice_loglikelihoods(QUESTIONS, choices)
    for question, row, values in zip(QUESTIONS, choices, found, strict=True):
        wanted = [-cost.nll for cost in asker.cost_of([question] * len(row), row)]
        assert values == pytest.approx(wanted, abs=1e-3)


def test_running_text_costs_what_its_tokens_cost_after_the_first(make, loaded):
    (found,) = make().text_cost(["The tenant pays the rent."])
    ids = loaded.tokenizer("The tenant pays the rent.")["input_ids"]
    ((nll, tokens),) = score(loaded, [(ids[:1], ids[1:])])
    assert (found.nll, found.tokens) == (pytest.approx(nll), tokens)


def test_a_question_longer_than_the_context_is_cut_and_answered(make, loaded):
    asker = make()
    long = [{"role": "user", "content": "rent " * 2000}]
    (answer,) = asker.answer([long], max_new_tokens=6)
    assert answer.prompt_tokens == pytest.approx(loaded.context_length - 6, abs=3)
    assert asker.shortened == 1


def test_a_conversation_too_long_in_every_message_keeps_its_newest_tokens(make, loaded):
    many = [{"role": ("user", "assistant")[n % 2], "content": f"turn {n} of many words"} for n in range(301)]
    (answer,) = make().answer([many], max_new_tokens=6)
    assert answer.prompt_tokens == loaded.context_length - 6


def test_a_reference_longer_than_the_context_still_has_a_cost(make, loaded):
    (cost,) = make().cost_of(QUESTIONS[:1], ["rent " * 500])
    assert 0 < cost.tokens < loaded.context_length


def test_an_adapter_and_its_base_share_nothing_in_the_store(make, loaded, tiny_adapter, store):
    plain = make().answer(QUESTIONS, max_new_tokens=6)
    tuned = attach_adapter(loaded, tiny_adapter)
    asker = make(tuned, adapter=Path(tiny_adapter), key="tuned")
    assert asker.digest != make().digest
    said = asker.answer(QUESTIONS, max_new_tokens=6)
    detach_adapter(tuned)
    assert [answer.text for answer in said] != [answer.text for answer in plain]
    assert len(store) == 6


def test_the_digest_follows_the_contents_of_a_folder_not_its_place(make, base_ref, tiny_model, tmp_path, store):
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for file in tiny_model.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    moved = load_base(BaseModelRef(key="tiny", path=str(copy)))
    assert make(moved).digest == make().digest
    config = copy / "generation_config.json"
    config.write_text(config.read_text() + " ")
    assert make(moved).digest != make().digest


def test_a_run_that_is_cancelled_keeps_the_batches_that_were_done(make, store):
    class Later:
        left = 15

        def action(self):
            Later.left -= 1
            return "go" if Later.left > 0 else "cancel"

    questions = [[{"role": "user", "content": f"question {number}"}] for number in range(200)]
    with pytest.raises(Stopped):
        make(watch=Watching(Later())).answer(questions, max_new_tokens=6)
    assert 64 <= len(store) < 200


def test_examples_stand_before_the_question_and_each_label_comes_once(make, loaded):
    asker = make(prompt=PromptVariant("Be brief.", 2), examples=examples(6))
    (prompt,) = asker.prompts(QUESTIONS[:1], max_new_tokens=6)
    text = loaded.tokenizer.decode(prompt)
    assert text.index("Be brief.") < text.index("q0") < text.index("q1") < text.index("Rent?")
    assert "q2" not in text


def test_examples_that_do_not_fit_are_left_out_before_anything_is_cut(make, loaded):
    asker = make(prompt=PromptVariant(None, 8), examples=examples(8, labels=["word " * 12]))
    (prompt,) = asker.prompts(QUESTIONS[1:2], max_new_tokens=6)
    text = loaded.tokenizer.decode(prompt)
    assert len(prompt) <= loaded.context_length - 6
    assert "first day of the month?" in text
    assert "q0" in text
    assert "q7" not in text
    assert asker.shortened == 0


def test_a_prompt_of_ones_own_makes_another_model(make):
    digests = {
        make().digest,
        make(prompt=PromptVariant("Be brief.", 0)).digest,
        make(prompt=PromptVariant(None, 2), examples=examples(4)).digest,
    }
    assert len(digests) == 3


def test_a_template_without_a_system_role_gets_the_words_with_the_question(make, loaded):
    from dataclasses import replace

    strict = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ m['content'] }}</s>{% endfor %}"
    )
    asker = make(replace(loaded, chat_template=strict), prompt=PromptVariant("Be brief.", 0))
    (prompt,) = asker.prompts(QUESTIONS[:1], max_new_tokens=6)
    text = loaded.tokenizer.decode(prompt)
    assert text.index("Be brief.") < text.index("Rent?")
