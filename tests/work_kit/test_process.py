"""How long a child is given before it is ended."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest

from work_kit import process


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=lambda: clock.seconds))
    return clock


@pytest.fixture
def sent(monkeypatch) -> list[int]:
    """The signals that the child would get."""
    sent: list[int] = []
    monkeypatch.setattr(process, "kill_group", lambda _pid, number: sent.append(number))
    return sent


@pytest.fixture
def child(clock, tmp_path):
    child = process.Child("/bin/sleep", ["600"], events=tmp_path / "events", errors=tmp_path / "errors")
    yield child
    child.process.kill()
    child.process.wait()


def test_a_child_has_its_grace_then_sigterm_then_sigkill(child, clock, sent) -> None:
    child.insist("cancel")
    clock.seconds = 3.0
    child.insist("cancel")
    assert sent == []
    for clock.seconds in (5.0, 9.0):
        child.insist("cancel")
    assert sent == [signal.SIGTERM, signal.SIGKILL]


def test_the_time_in_which_a_child_had_to_hold_is_not_taken_from_its_grace(child, clock, sent) -> None:
    child.insist("pause")
    clock.seconds = 10.0
    child.insist("hold")  # the database is silent
    clock.seconds = 300.0
    child.insist("pause")
    clock.seconds = 310.0
    child.insist("pause")
    assert sent == []


def test_another_wish_has_a_grace_of_its_own(child, clock, sent) -> None:
    child.insist("stop_and_keep")
    clock.seconds = 60.0
    child.insist("cancel")
    assert sent == []
    clock.seconds = 65.0
    child.insist("cancel")
    assert sent == [signal.SIGTERM]
