"""Stop when evaluations bring no gain any more."""

from __future__ import annotations

from finetune_engine.ports import Run
from finetune_engine.train.local.callbacks.callback import Callback, Moment


class EarlyStopping(Callback):
    """Ends training after ``patience`` evaluations in a row without gain."""

    def __init__(self, run: Run, patience: int) -> None:
        self._run, self._patience = run, patience

    def after_step(self, moment: Moment) -> str | None:
        """``early_stopping`` when patience is over and steps are left."""
        is_last = moment.step >= moment.total_steps
        if not moment.is_evaluated or is_last or moment.stale < self._patience:
            return None
        sentence = (
            f"Stopped at step {moment.step}: {self._patience} evaluations in a row brought no gain; "
            f"the best was at step {moment.best_step}."
        )
        self._run.emit("log", level="info", message=sentence)
        return "early_stopping"
