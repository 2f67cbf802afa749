"""How many questions may be under way at once, so that a flood is refused early and a neighbour is not crowded out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from finetune_engine.errors import UserError


class TooBusy(UserError):
    """429 with Retry-After."""

    retry_after = 1

    def __init__(self, sentence: str) -> None:
        super().__init__("too_many_requests", sentence, status=429)


class Admission:
    """Places of this process. Used from one event loop; ``total`` and ``per_project`` are the most at once."""

    def __init__(self, total: int, per_project: int) -> None:
        self.total = total
        self.per_project = per_project
        self._inside: Counter[str] = Counter()

    @contextmanager
    def place(self, project_id: str) -> Iterator[None]:
        """Hold a place for one question. Raises TooBusy when there is none."""
        if self._inside.total() >= self.total:
            raise TooBusy("The server is answering as many questions as it can. Try again in a second.")
        if self._inside[project_id] >= self.per_project:
            raise TooBusy(
                f"This project has {self.per_project} questions under way already. Wait for one of them, then try again."
            )
        self._inside[project_id] += 1
        try:
            yield
        finally:
            self._inside[project_id] -= 1
            if not self._inside[project_id]:
                del self._inside[project_id]


admission = Admission(
    total=int(os.environ.get("MAX_REQUESTS_AT_ONCE") or 256),
    per_project=int(os.environ.get("MAX_REQUESTS_PER_PROJECT") or 64),
)
