"""How many questions may be under way at once, so that a flood is refused early and a neighbour is not crowded out."""

from __future__ import annotations

from collections import Counter

from django.conf import settings

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

    def place(self, project_id: str) -> Place:
        """A place for one question, held for a ``with`` block; entering it raises TooBusy when there is none."""
        return Place(self, project_id)

    def enter(self, project_id: str) -> None:
        """Take a place. Raises TooBusy."""
        if self._inside.total() >= self.total:
            raise TooBusy("The server is answering as many questions as it can. Try again in a second.")
        if self._inside[project_id] >= self.per_project:
            raise TooBusy(
                f"This project has {self.per_project} questions under way already. Wait for one of them, then try again."
            )
        self._inside[project_id] += 1

    def leave(self, project_id: str) -> None:
        """Give it back."""
        self._inside[project_id] -= 1
        if not self._inside[project_id]:
            del self._inside[project_id]


class Place:
    """What ``Admission.place`` gives. A class, because a generator as context costs three times as much on the hot path."""

    __slots__ = ("_admission", "_project_id")

    def __init__(self, admission: Admission, project_id: str) -> None:
        self._admission, self._project_id = admission, project_id

    def __enter__(self) -> None:
        self._admission.enter(self._project_id)

    def __exit__(self, *error: object) -> None:
        self._admission.leave(self._project_id)


admission = Admission(
    total=settings.MAX_REQUESTS_AT_ONCE,
    per_project=settings.MAX_REQUESTS_PER_PROJECT,
)
