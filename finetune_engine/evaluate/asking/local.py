"""A model on this machine that answers: every question is put into its template, and asked once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from finetune_engine.errors import UserError
from finetune_engine.evaluate.asking.asker import Answer, Messages, ReferenceCost
from finetune_engine.evaluate.asking.digest import folder_digest
from finetune_engine.evaluate.asking.likelihood import answer_ids, label_ids, label_loglikelihoods
from finetune_engine.evaluate.asking.remembered import Batch, Watch, is_stopping, raise_stopped, remembered
from finetune_engine.evaluate.asking.store import AnswerStore, key_of
from finetune_engine.evaluate.asking.wording import Wording
from finetune_engine.evaluate.cases import TestCase
from finetune_engine.evaluate.spec import ModelSpec
from finetune_engine.generate import Generated, generate_batch, score
from finetune_engine.train.local.encode import AnswerTooLong, encode_prompt
from finetune_engine.train.local.load import LoadedModel

BATCH_ROWS = 64
"""Answers written together, where their tokens leave room for so many."""
Keep = Callable[[Batch], None]


class LocalAsker:
    """Speaks to a loaded model through the answer store. ``shortened`` counts the prompts that had to be cut."""

    def __init__(
        self,
        spec: ModelSpec,
        loaded: LoadedModel,
        *,
        store: AnswerStore,
        watch: Watch,
        examples: Sequence[TestCase] = (),
    ) -> None:
        self._spec = spec
        self._store = store
        self._watch = watch
        self._wording = Wording(spec.prompt, examples)
        self._system_apart = True
        self.loaded = loaded
        self.shortened = 0
        self._weights = _weights_digest(spec, loaded, store)

    @property
    def spec(self) -> ModelSpec:
        """Which model this is."""
        return self._spec

    @property
    def digest(self) -> str:
        """SHA-256 over weights, precision, kind of device, chat template and what is put around each question."""
        parts = "\n".join([self._weights, self.loaded.template_sha256, self._wording.digest])
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def can_score(self) -> bool:
        """A model on this machine gives likelihoods."""
        return True

    @property
    def vocabulary(self) -> int | None:
        """The size of the tokenizer's vocabulary."""
        return len(self.loaded.tokenizer)

    def answer(self, questions: Sequence[Messages], *, max_new_tokens: int) -> list[Answer]:
        """One greedy answer to each question. Raises ports.Stopped."""
        prompts = self.prompts(questions, max_new_tokens=max_new_tokens)
        keys = [self._key("answer", ids=prompt, max_new_tokens=max_new_tokens, decoding="greedy") for prompt in prompts]

        def ask(rows: list[int], keep: Keep) -> None:
            def on_batch(written: dict[int, Generated]) -> None:
                done = {at: said for at, said in written.items() if said.finish_reason != "cancelled"}
                keep([(rows[at], _plain(said)) for at, said in done.items()])

            said = generate_batch(
                self.loaded,
                [prompts[row] for row in rows],
                max_new_tokens=max_new_tokens,
                batch_rows=BATCH_ROWS,
                should_stop=lambda: is_stopping(self._watch.run),
                on_batch=on_batch,
            )
            if any(one.finish_reason == "cancelled" for one in said):
                raise_stopped(self._watch.run)

        values = remembered(self._store, self._watch, keys, ask)
        return [
            Answer(value["text"], value["finish"], len(prompt), value["tokens"], value["logprob"])
            for prompt, value in zip(prompts, values, strict=True)
        ]

    def cost_of(self, questions: Sequence[Messages], texts: Sequence[str]) -> list[ReferenceCost]:
        """What each text costs as the answer to its question. Raises ports.Stopped."""
        pairs = []
        for question, text in zip(questions, texts, strict=True):
            ids = answer_ids(self.loaded, self._put(question), text)
            prompt = self._prompt(question, self._room(len(ids)))
            pairs.append((prompt, ids[: self.loaded.context_length - len(prompt)]))
        return self._costs("cost", pairs)

    def choice_loglikelihoods(
        self, questions: Sequence[Messages], choices: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Summed log-likelihood of each choice as the answer to its question. Raises ports.Stopped.

        The prompt is read once for all choices of a question, and questions with equally many choices are read together.
        """
        ids = self._choice_ids(questions, choices)
        longest = [max(map(len, row), default=0) for row in ids]
        prompts = [self._prompt(question, self._room(size)) for question, size in zip(questions, longest, strict=True)]
        keys = [self._key("choices", ids=prompt, choices=row) for prompt, row in zip(prompts, ids, strict=True)]

        def ask(rows: list[int], keep: Keep) -> None:
            by_count: dict[int, list[int]] = {}
            for row in rows:
                by_count.setdefault(len(ids[row]), []).append(row)
            for count, group in by_count.items():
                if count == 0:
                    keep([(row, []) for row in group])
                    continue
                label_loglikelihoods(
                    self.loaded,
                    [prompts[row] for row in group],
                    [ids[row] for row in group],
                    on_batch=lambda found, group=group: keep(  # type: ignore[misc]
                        [(group[at], values) for at, values in found.items()]
                    ),
                )

        values = remembered(self._store, self._watch, keys, ask)
        return [[float(number) for number in row] for row in values]

    def text_cost(self, texts: Sequence[str]) -> list[ReferenceCost]:
        """What running text costs, token by token from the second on. Raises ports.Stopped."""
        pairs = []
        for text in texts:
            ids = list(self.loaded.tokenizer(text)["input_ids"])[: self.loaded.context_length]
            pairs.append((ids[:1], ids[1:]))
        return self._costs("text", pairs)

    def answer_tokens(self, questions: Sequence[Messages], texts: Sequence[str]) -> list[int]:
        """How many tokens each text takes as the answer to its question, the end token included."""
        pairs = zip(questions, texts, strict=True)
        return [len(answer_ids(self.loaded, self._put(question), text)) for question, text in pairs]

    def prompts(self, questions: Sequence[Messages], *, max_new_tokens: int) -> list[list[int]]:
        """The token ids that are asked, cut to leave room for the answer."""
        room = self._room(max_new_tokens)
        return [self._prompt(question, room, is_counted=True) for question in questions]

    def _costs(self, kind: str, pairs: Sequence[tuple[list[int], list[int]]]) -> list[ReferenceCost]:
        keys = [self._key(kind, ids=prompt, answer=answer) for prompt, answer in pairs]

        def ask(rows: list[int], keep: Keep) -> None:
            score(
                self.loaded,
                [pairs[row] for row in rows],
                on_batch=lambda scored: keep([(rows[at], list(value)) for at, value in scored.items()]),
            )

        values = remembered(self._store, self._watch, keys, ask)
        return [ReferenceCost(float(nll), int(tokens)) for nll, tokens in values]

    def _room(self, for_answer: int) -> int:
        """Tokens left for the prompt; at least half the context, so that no long answer leaves nothing of the question."""
        context = self.loaded.context_length
        return max(context - for_answer, context // 2, 1)

    def _put(self, question: Messages) -> list[dict[str, Any]]:
        return self._wording.put(question, system_apart=self._system_apart)

    def _prompt(self, question: Messages, room: int, *, is_counted: bool = False) -> list[int]:
        ids: list[int] = []
        for turns in self._wording.fewer(question, system_apart=self._system_apart):
            ids = self._encoded(question, turns)
            if len(ids) <= room:
                return ids
        self.shortened += is_counted
        try:
            return encode_prompt(
                self.loaded, self._wording.put(question, shots=0, system_apart=self._system_apart), max_length=room
            )
        except AnswerTooLong:  # what stands around the longest message is too long by itself
            return ids[-room:]

    def _encoded(self, question: Messages, turns: Sequence[Mapping[str, Any]]) -> list[int]:
        try:
            return encode_prompt(self.loaded, turns)
        except UserError as error:
            if error.code != "template_failed" or self._wording.system is None or not self._system_apart:
                raise
            self._system_apart = False  # this template knows no system role
            return encode_prompt(self.loaded, self._put(question))

    def _choice_ids(self, questions: Sequence[Messages], choices: Sequence[Sequence[str]]) -> list[list[list[int]]]:
        if questions and all(row == choices[0] for row in choices):
            return label_ids(self.loaded, [self._put(question) for question in questions], list(choices[0]))
        return [
            [answer_ids(self.loaded, self._put(question), choice) for choice in row]
            for question, row in zip(questions, choices, strict=True)
        ]

    def _key(self, kind: str, **content: Any) -> bytes:
        return key_of({"kind": kind, "model": self._weights, "template": self.loaded.template_sha256, **content})


def _plain(said: Generated) -> dict[str, Any]:
    logprob = sum(said.logprobs) / len(said.logprobs) if said.logprobs else None
    return {"text": said.text, "finish": said.finish_reason, "tokens": len(said.token_ids), "logprob": logprob}


def _weights_digest(spec: ModelSpec, loaded: LoadedModel, store: AnswerStore) -> str:
    folders: Iterable[Any] = [loaded.folder, *([spec.adapter] if spec.adapter is not None else [])]
    parts = [folder_digest(folder, store) for folder in folders]
    parts += [str(loaded.dtype).removeprefix("torch."), loaded.device.type]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
