"""Deterministic faults for tests: ``TUNESMITH_FAILPOINT=<write>:<before|after>:<kill|stop|raise>``."""

from __future__ import annotations

import os
import signal


def failpoint(write: str, moment: str) -> None:
    """Die, freeze or raise here when the environment says so; otherwise nothing."""
    wanted = os.environ.get("TUNESMITH_FAILPOINT", "")
    name, _, rest = wanted.partition(":")
    when, _, how = rest.partition(":")
    if name != write or when != moment:
        return
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        raise RuntimeError(f"failpoint {wanted}")
