"""Kinds of personal data, and what a project decided to do with each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from finetune_engine.errors import UserError

Action = Literal["mask", "reject", "keep"]
Policy = dict[str, Action]

ACTIONS: tuple[Action, ...] = ("mask", "reject", "keep")
# ``name`` is found only where a recogniser is installed (see ``names``).
KINDS = ("email", "phone", "card", "iban", "ip", "us_ssn", "national_id", "url_credentials", "secret", "name")

# With an article, for the middle of a sentence.
KIND_NAMES: dict[str, str] = {
    "email": "an e-mail address",
    "phone": "a telephone number",
    "card": "a payment card number",
    "iban": "a bank account number (IBAN)",
    "ip": "an internet address (IP)",
    "us_ssn": "a US social security number",
    "national_id": "a national identity, tax or health number",
    "url_credentials": "a web address with a password",
    "secret": "a password or key",
    "name": "a person's name",
}


def read_policy(raw: Mapping[str, Any] | None) -> Policy:
    """One action for every kind; a kind that is not named is masked. UserError ``bad_policy`` names what is wrong."""
    raw = raw or {}
    if not isinstance(raw, Mapping):
        raise _bad("Give the decisions on personal data as a list of kinds, each with mask, reject or keep.")
    for kind, action in raw.items():
        if kind not in KINDS:
            raise _bad(f"There is no kind of personal data called {kind}. The kinds are {', '.join(KINDS)}.")
        if action not in ACTIONS:
            raise _bad(f"“{action}” is not a decision on {kind}. Choose one of {', '.join(ACTIONS)}.")
    return {kind: raw.get(kind, "mask") for kind in KINDS}


def _bad(sentence: str) -> UserError:
    return UserError("bad_policy", sentence, field="pii", reason="bad_config")
