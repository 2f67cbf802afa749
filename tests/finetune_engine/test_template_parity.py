"""What a model is trained on, judged by and asked with: the same ids, for every format of data.

Files go the whole way: read, frozen, encoded by each method; read again by the evaluation; and sent as a request to the
model server. Templates are those of real families that differ in what they read of a message.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune_engine.catalogue.reference import BaseModelRef
from finetune_engine.data.options import read_options
from finetune_engine.data.prepare import prepare
from finetune_engine.data.snapshot import make_snapshot
from finetune_engine.data.snapshot_spec import read_spec
from finetune_engine.evaluate.asking import local
from finetune_engine.evaluate.asking.store import AnswerStore
from finetune_engine.evaluate.cases import read_cases
from finetune_engine.evaluate.progress import Progress
from finetune_engine.evaluate.spec import EvaluateSpec, ModelSpec
from finetune_engine.events import ListSink
from finetune_engine.generate import generate_batch
from finetune_engine.ports import Run
from finetune_engine.serve.backends.tickets import rows_of
from finetune_engine.serve.openai_format import parse_chat_request
from finetune_engine.train.local.examples import SnapshotRow, read_rows
from finetune_engine.train.local.load import LoadedModel, load_base
from finetune_engine.train.local.objectives.choice import objective_of
from finetune_engine.train.local.objectives.objective import Limits
from finetune_engine.train.local.template import DEFAULT_TEMPLATE
from finetune_engine.train.spec import SnapshotRef, TrainingSpec

CONTEXT = 2048
COUNT = 12
TOPICS = ["invoice", "refund", "delivery", "garden", "engine", "violin", "harbour", "window", "pepper", "mountain"]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + (' name=' + m.name if m.name else '') + '\\n' }}"
    "{% if m.reasoning_content %}{{ '<think>' + m.reasoning_content + '</think>' }}{% endif %}"
    "{{ m.content + eos_token + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
DATED = "{{ 'Today is ' + strftime_now('%d %b %Y') + '. ' }}" + DEFAULT_TEMPLATE
HERMES = (
    "{% if tools %}{{ '<tools>' + (tools | tojson) + '</tools>\\n' }}{% endif %}"
    "{% for m in messages %}{% if m.role == 'tool' %}{{ '<tool_response>' + m.content + '</tool_response>\\n' }}{% else %}"
    "{{ m.role + ': ' + m.content }}{% for c in m.tool_calls or [] %}"
    '{{ \'<tool_call>\\n{"name": "\' + c.function.name + \'", "arguments": \' }}'
    "{{ (c.function.arguments | tojson) + '}\\n</tool_call>' }}"
    "{% endfor %}{{ eos_token + '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
TEMPLATES = {"our own": DEFAULT_TEMPLATE, "ChatML": CHATML, "with a date": DATED}


def question(i: int) -> str:
    return f"What about the {TOPICS[i % 10]} in letter {i} of {TOPICS[(i * 7) % 10]}?"


def answer(i: int) -> str:
    return f"The {TOPICS[i % 10]} of {i} is settled."


def chat(i: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question(i)}, {"role": "assistant", "content": answer(i)}]}


def long_chat(i: int) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": "You are a careful clerk."},
            {"role": "user", "content": question(i), "name": "Ada"},
            {"role": "assistant", "content": "Which one?", "weight": 0, "reasoning_content": "There are two."},
            {
                "role": "user",
                "content": [{"type": "text", "text": f"The {i}th"}, {"type": "text", "text": ", please."}],
            },
            {"role": "assistant", "content": answer(i)},
        ]
    }


def developer_chat(i: int) -> dict[str, Any]:
    return {"messages": [{"role": "developer", "content": "Be short. </s> Really."}, *chat(i)["messages"]]}


def sharegpt(i: int) -> dict[str, Any]:
    turns = [("system", "Be kind."), ("human", question(i)), ("gpt", "Well?"), ("human", "Go on."), ("gpt", answer(i))]
    return {"conversations": [{"from": who, "value": said} for who, said in turns]}


def alpaca(i: int) -> dict[str, Any]:
    return {
        "instruction": "Answer the letter.",
        "input": question(i),
        "output": answer(i),
        "system": "You are a clerk.",
        "history": [["Are you there?", "I am."]],
    }


def preference(i: int) -> dict[str, Any]:
    return {"prompt": question(i), "chosen": answer(i), "rejected": f"No idea about {i}."}


def openai_preference(i: int) -> dict[str, Any]:
    return {
        "input": {"messages": long_chat(i)["messages"][:-1]},
        "preferred_output": [{"role": "assistant", "content": answer(i)}],
        "non_preferred_output": [{"role": "assistant", "content": "No."}],
    }


def tool_chat(i: int) -> dict[str, Any]:
    function = {"name": "look_up", "arguments": json.dumps({"letter": i})}
    call = {"id": f"call_{i}", "type": "function", "function": function}
    return {
        "messages": [
            {"role": "user", "content": question(i)},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{i}", "content": f"Letter {i}: settled."},
            {"role": "assistant", "content": answer(i)},
        ]
    }


FORMATS: dict[str, tuple[Callable[[int], dict[str, Any]], str]] = {
    "chat": (chat, "sft"),
    "chat with several turns": (long_chat, "sft"),
    "chat with a developer": (developer_chat, "sft"),
    "sharegpt": (sharegpt, "sft"),
    "instruction": (alpaca, "sft"),
    "prompt and completion": (lambda i: {"prompt": question(i), "completion": answer(i)}, "sft"),
    "text and label": (lambda i: {"text": question(i), "label": "yes" if i % 2 else "no"}, "sft"),
    "input and output": (lambda i: {"input": question(i), "output": answer(i)}, "sft"),
    "preference": (preference, "dpo"),
    "openai preference": (openai_preference, "dpo"),
    "verdicts": (lambda i: {"prompt": question(i), "completion": answer(i), "label": i % 2 == 0}, "kto"),
}


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> LoadedModel:
    loaded = load_base(BaseModelRef(key="tiny", path=str(tiny_model)))
    return replace(loaded, context_length=CONTEXT)


@pytest.fixture
def frozen(tmp_path: Path) -> Callable[[list[dict[str, Any]]], Path]:
    """The snapshot of some rows in a JSON Lines file; all of them to be trained on."""

    def freeze(rows: list[dict[str, Any]]) -> Path:
        source, run = tmp_path / "data.jsonl", Run(ListSink())
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        report = prepare(source, tmp_path / "prepared", read_options({}), run)
        chunks = [str(tmp_path / "prepared" / name) for name in report["chunks"]]
        asked = {"chunks": chunks, "task_type": report["task_type"], "split": {"train": 1, "validation": 0, "test": 0}}
        (tmp_path / "snapshot").mkdir()
        make_snapshot(read_spec(asked), tmp_path / "snapshot", run)
        return tmp_path / "snapshot" / "snapshot.parquet"

    return freeze


def trained_prompts(loaded: LoadedModel, rows: list[SnapshotRow], method: str) -> list[list[list[int]]]:
    """The prompt of every text that the method reads for each row: both answers of a pair have one."""
    objective = objective_of(TrainingSpec(method=method))
    encoded = [objective.encode(loaded, row, Limits(CONTEXT)) for row in rows]
    return [[text.input_ids[: text.prompt_length] for text in objective.sequences(row)] for row in encoded]


def judged_prompts(loaded: LoadedModel, snapshot: Path, split: str) -> list[list[int]]:
    """The prompts with which the evaluation really asked."""
    spec = EvaluateSpec((), snapshot, None, split, "chat", None, 1, None, ("quality",), None)
    questions = [case.messages for case in read_cases(spec).test]
    asked: list[list[int]] = []

    def generate(model: LoadedModel, prompts: list[list[int]], **more: Any) -> Any:
        asked.extend(prompts)
        return generate_batch(model, prompts, **more)

    with AnswerStore(Path(":memory:")) as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "generate_batch", generate)
        asker = local.LocalAsker(
            ModelSpec("base", "Base", loaded.ref), loaded, store=store, watch=Progress(Run(ListSink()), len(questions))
        )
        asker.answer(questions, max_new_tokens=1)
    return asked


def served_prompt(loaded: LoadedModel, messages: list[dict[str, Any]]) -> list[int]:
    """The prompt that the model server reads for a request with these messages."""
    request = parse_chat_request({"model": "tiny", "messages": messages})
    return rows_of(request, loaded)[0].writing.prompt


def as_sent(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conversation as a caller writes it: roles and texts."""
    return [{"role": message["role"], "content": message["content"]} for message in messages]


@pytest.mark.parametrize("name", FORMATS)
def test_training_evaluation_and_serving_read_the_same_ids(
    base: LoadedModel, frozen: Callable[[list[dict[str, Any]]], Path], name: str
) -> None:
    make, method = FORMATS[name]
    snapshot = frozen([make(i) for i in range(COUNT)])
    rows = sorted(read_rows(SnapshotRef(str(snapshot))), key=lambda row: row.number)
    learnt = [row for row in rows if row.split == "train"]
    assert len(learnt) >= COUNT - 3
    for template in TEMPLATES.values():
        loaded = replace(base, chat_template=template)
        trained = trained_prompts(loaded, learnt, method)
        judged = judged_prompts(loaded, snapshot, "train")
        for row, texts, prompt in zip(learnt, trained, judged, strict=True):
            served = served_prompt(loaded, as_sent(row.messages[:-1]))
            assert len(served) > 20
            assert prompt == served
            assert all(text == served for text in texts)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_file_sent_as_it_was_uploaded_is_read_as_it_was_learnt(
    base: LoadedModel, frozen: Callable[[list[dict[str, Any]]], Path], template: str
) -> None:
    loaded = replace(base, chat_template=TEMPLATES[template])
    uploaded = [developer_chat(i) for i in range(COUNT)]
    rows = list(read_rows(SnapshotRef(str(frozen(uploaded)))))
    sent = [served_prompt(loaded, row["messages"][:-1]) for row in uploaded]
    assert all(texts[0] in sent for texts in trained_prompts(loaded, rows, "sft"))


def test_the_ids_are_the_same_on_another_day(base: LoadedModel, time_machine: Any) -> None:
    loaded = replace(base, chat_template=DATED)
    messages = [{"role": "user", "content": "Good morning"}]
    time_machine.move_to("2026-01-01")
    before = served_prompt(loaded, messages)
    time_machine.move_to("2031-05-05")
    assert served_prompt(loaded, messages) == before


@pytest.mark.parametrize("template", [*TEMPLATES, "with tools"])
def test_calls_and_results_are_read_as_they_were_learnt(
    base: LoadedModel, frozen: Callable[[list[dict[str, Any]]], Path], template: str
) -> None:
    loaded = replace(base, chat_template=TEMPLATES.get(template, HERMES))
    uploaded = [tool_chat(i) for i in range(COUNT)]
    rows = list(read_rows(SnapshotRef(str(frozen(uploaded)))))
    sent = [served_prompt(loaded, row["messages"][:-1]) for row in uploaded]
    trained = trained_prompts(loaded, rows, "sft")
    assert trained
    assert all(texts[0] in sent for texts in trained)
    text = loaded.tokenizer.decode(sent[0])
    assert '<tool_call>\n{"name": "look_up", "arguments": {"letter": 0}}\n</tool_call>' in text
    assert "<tool_response>" in text
