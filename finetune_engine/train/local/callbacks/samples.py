"""What the model answers so far, at evaluations: a person sees sooner than a curve whether it learns the right thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from finetune_engine.generate import generate_batch
from finetune_engine.ports import Run
from finetune_engine.train.local.callbacks.callback import Callback, Moment
from finetune_engine.train.local.encode import encode_prompt
from finetune_engine.train.local.forward import usual_attention
from finetune_engine.train.local.history import StepMetrics
from finetune_engine.train.local.load import LoadedModel, SharedModule

TOKENS = 64
TIME_SHARE = 0.05
CUT = "\u2026"


class Samples(Callback):
    """Lets the model answer the first validation rows, in at most a twentieth of the time that training took so far.

    An answer that is not finished when that time is over is shown as far as it goes. A question longer than
    ``max_length`` tokens is cut as it is for training.
    """

    def __init__(
        self,
        run: Run,
        loaded: LoadedModel,
        model: Any,
        conversations: Sequence[list[dict[str, Any]]],
        *,
        max_length: int | None = None,
    ) -> None:
        self._run, self._conversations, self._max_length = run, conversations, max_length
        self._speaking = replace(loaded, shared=SharedModule(model))
        self._start = run.clock.monotonic()
        self._spent = 0.0

    def started(self, settings: Mapping[str, Any], history: Sequence[StepMetrics]) -> None:
        """Training time counts from here."""
        self._start = self._run.clock.monotonic()

    def after_step(self, moment: Moment) -> None:
        """Show answers where the step was evaluated and time is left for it; the last ones come after training."""
        now = self._run.clock.monotonic()
        left = (now - self._start) * TIME_SHARE - self._spent
        if moment.is_evaluated and left > 0 and moment.step < moment.total_steps:
            self.show(moment.step, seconds=left)
            self._spent += self._run.clock.monotonic() - now

    def kept(self, step: int) -> None:
        """The last answers, of the model as it is kept."""
        self.show(step)

    def show(self, step: int, *, seconds: float | None = None) -> None:
        """Emit one ``sample`` event for each row; None takes as long as it takes."""
        if not self._conversations:
            return
        end = None if seconds is None else self._run.clock.monotonic() + seconds
        model = self._speaking.model
        was_training = model.training
        model.eval()
        try:
            with usual_attention(model):
                prompts = [
                    encode_prompt(self._speaking, messages[:-1], max_length=self._max_length)
                    for messages in self._conversations
                ]
                answers = generate_batch(
                    self._speaking,
                    prompts,
                    max_new_tokens=TOKENS,
                    should_stop=lambda: end is not None and self._run.clock.monotonic() > end,
                )
        finally:
            model.train(was_training)
        for messages, answer in zip(self._conversations, answers, strict=True):
            text = answer.text + (CUT if answer.finish_reason != "stop" else "")
            if answer.text or answer.finish_reason == "stop":
                asked = messages[-2]["content"] if len(messages) > 1 else ""
                self._run.emit("sample", step=step, prompt=asked, answer=text, reference=messages[-1]["content"])
