"""From a conversation to token ids: the same ids for training, evaluation and serving.

The ids of a training row begin with exactly the ids of its prompt, so a model that is asked later sees what
it was trained on. Only the answer and the token that ends it are learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetune_engine.errors import UserError
from finetune_engine.train.local.load import LoadedModel
from finetune_engine.train.local.template import render

IGNORED = -100
Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Encoded:
    """One conversation as ids: ``input_ids[:prompt_length]`` is the prompt, the rest the answer and its end.

    ``learn_prompt`` also scores the prompt; ``shortened`` tells that part of the input text was cut off.
    """

    input_ids: list[int]
    prompt_length: int
    learn_prompt: bool = False
    shortened: bool = False

    @property
    def first_scored(self) -> int:
        """Index of the first id that is learnt (at least 1: the first id has nothing before it)."""
        return 1 if self.learn_prompt else max(1, self.prompt_length)

    @property
    def labels(self) -> list[int]:
        """As long as ``input_ids``; -100 where nothing is learnt."""
        first = 0 if self.learn_prompt else self.prompt_length
        return [IGNORED] * first + self.input_ids[first:]

    @property
    def answer_ids(self) -> list[int]:
        """The ids after the prompt, the end token included."""
        return self.input_ids[self.prompt_length :]


class AnswerTooLong(UserError):
    """The answer alone does not fit ``max_length``; cutting it would teach the model to stop midway."""

    def __init__(self, length: int, max_length: int) -> None:
        super().__init__(
            "answer_too_long",
            f"An answer needs {length} tokens with its instructions, but only {max_length} fit. "
            "Shorten it or raise the maximum length.",
            field="max_length",
        )


def encode_prompt(
    loaded: LoadedModel,
    messages: Messages,
    *,
    max_length: int | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
) -> list[int]:
    """Ids of ``messages`` followed by the opening of the assistant's turn; ``tools`` are told to the model.

    With ``max_length`` the end of the longest message is cut until the prompt fits (as in training).
    """
    ids = _ids(loaded, render(loaded.tokenizer, loaded.chat_template, messages, prompt=True, tools=tools))
    if max_length is None or len(ids) <= max_length:
        return ids
    _, ids = _shorten(loaded, messages, max_length, tools)
    return ids


def encode_chat(
    loaded: LoadedModel, messages: Messages, *, max_length: int | None = None, learn_prompt: bool = False
) -> Encoded:
    """Ids of a conversation whose last message is the assistant's answer.

    A conversation that is too long loses the end of its longest earlier message, never its answer.
    Raises UserError ``no_answer``, ``template_mismatch``, ``template_failed`` or AnswerTooLong.
    """
    if not messages or messages[-1].get("role") != "assistant":
        raise UserError("no_answer", "An example must end with the assistant's answer.", field="messages")
    before = list(messages[:-1])
    prompt_text = render(loaded.tokenizer, loaded.chat_template, before, prompt=True)
    whole = render(loaded.tokenizer, loaded.chat_template, messages, prompt=False)
    prompt = _ids(loaded, prompt_text)
    answer = _answer_ids(loaded, prompt_text, whole, prompt)
    shortened = False
    if max_length is not None and len(prompt) + len(answer) > max_length:
        if len(answer) >= max_length:
            raise AnswerTooLong(len(answer), max_length)
        _, prompt = _shorten(loaded, before, max_length - len(answer))
        shortened = True
    return Encoded(prompt + answer, len(prompt), learn_prompt, shortened)


def _ids(loaded: LoadedModel, text: str) -> list[int]:
    return list(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])


def _answer_ids(loaded: LoadedModel, prompt_text: str, whole: str, prompt: list[int]) -> list[int]:
    """The ids after the prompt, ending with exactly one end token."""
    if not whole.startswith(prompt_text):
        raise UserError(
            "template_mismatch",
            "The model's chat template writes a finished conversation differently from the prompt it is asked "
            "with, so training and answering would not match. Choose another chat template for this model.",
            field="chat_template",
            reason="bad_config",
        )
    ids = _ids(loaded, whole)
    if ids[: len(prompt)] == prompt and len(ids) > len(prompt):
        answer = ids[len(prompt) :]
    else:
        # The tokenizer merged across the seam: encode the answer on its own, as it will be generated.
        answer = _ids(loaded, whole[len(prompt_text) :])
    return _end_once(loaded, answer)


def _end_once(loaded: LoadedModel, answer: list[int]) -> list[int]:
    """Cut what a template writes after the end token (a line break); add the token where there is none."""
    last = next((i for i in range(len(answer) - 1, -1, -1) if answer[i] in loaded.eos_token_ids), None)
    if last is not None and not loaded.tokenizer.decode(answer[last + 1 :]).strip():
        return answer[: last + 1]
    return [*answer, loaded.eos_token_id]


def _shorten(
    loaded: LoadedModel, messages: Messages, limit: int, tools: Sequence[Mapping[str, Any]] = ()
) -> tuple[list[dict[str, Any]], list[int]]:
    """The messages with the end of the longest cut off so that the prompt has at most ``limit`` ids."""
    rows = [dict(message) for message in messages]
    longest = max(range(len(rows)), key=lambda i: len(str(rows[i].get("content") or "")), default=None)
    if longest is None:
        raise AnswerTooLong(limit, limit)
    text = str(rows[longest].get("content") or "")
    best: list[int] | None = None
    low, high = 0, len(text)
    while low <= high:
        middle = (low + high) // 2
        rows[longest]["content"] = text[:middle]
        ids = _ids(loaded, render(loaded.tokenizer, loaded.chat_template, rows, prompt=True, tools=tools))
        if len(ids) <= limit:
            best, low = ids, middle + 1
        else:
            high = middle - 1
    if best is None:
        raise AnswerTooLong(len(ids), limit)
    return rows, best
