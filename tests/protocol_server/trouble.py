"""Answers with OpenAI's error object, and what a test can let go wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any


class Refusal(Exception):
    """An answer with OpenAI's error object."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    def body(self) -> dict[str, Any]:
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(self.status, "invalid_request_error")
        kind = "server_error" if self.status >= 500 else kind
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


@dataclass
class Trouble:
    """What goes wrong with the next ``times`` requests whose method and path match.

    ``how``: ``status`` answers with it at once; ``silence`` never answers; ``cut`` closes the connection before the body is
    read; ``lost_answer`` does the work, then closes the connection without telling.
    """

    method: str
    path: str
    how: str = "status"
    status: int = 500
    message: str = "The server had an error while processing your request."
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1

    def fits(self, method: str, path: str) -> bool:
        return self.times > 0 and method == self.method and re.fullmatch(self.path, path) is not None
