"""E-mail and internet addresses, addresses with a password in them, and secrets of programs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

# Every repetition is bounded or begins where no run can begin again, so that no text takes long.
_MAILBOX = re.compile(r"(?<![\w.+%-])[\w+%][\w.+%'-]{0,63}\Z")
_MAIL_HOST = re.compile(r"(?:[\w-]{1,63}\.){1,8}(?:[^\W\d_]{2,24}|xn--[a-z0-9-]{2,59})\b")
_URL = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]{0,20}://[^\s/:@]{1,200}:[^\s/@]{1,200}@[^\s\"'<>]{1,500}")


def emails(text: str) -> Iterator[tuple[int, int]]:
    """E-mail addresses."""
    at = text.find("@")
    while at >= 0:
        host = _MAIL_HOST.match(text, at + 1)
        box = _MAILBOX.search(text, max(0, at - 64), at) if host is not None else None
        if host is not None and box is not None:
            yield box.start(), host.end()
        at = text.find("@", at + 1 if host is None else host.end())


def url_credentials(text: str) -> Iterator[tuple[int, int]]:
    """Web addresses with a user name and a password."""
    if "://" not in text or "@" not in text:
        return
    for match in _URL.finditer(text):
        yield match.span()


_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9]|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-fA-F]{1,4}:[0-9a-fA-F:]{2,35}(?![\w:])")
_IP_CONTEXT = re.compile(
    r"\b(?:ip|ipv4|ipv6|server|host|address|ping|dns|gateway|from|at)\b\W*(?:\w+\W+){0,2}$", re.IGNORECASE
)
_NOT_IP_CONTEXT = re.compile(
    r"(?:\b(?:version|release|ver|build|section|clause|article|chapter|paragraph|item|rule|schedule|annex|exhibit|oid)"
    r"|§)[\s.:]*$",
    re.IGNORECASE,
)


def ips(text: str) -> Iterator[tuple[int, int]]:
    """Internet addresses. Four small numbers are one only where the words before say so: clauses are numbered 3.4.2.1."""
    if text.count(".") >= 3:
        for match in _IPV4.finditer(text):
            if _is_ipv4(match.group(), text[max(0, match.start() - 40) : match.start()]):
                yield match.span()
    if text.count(":") >= 2:
        for match in _IPV6.finditer(text):
            if (end := _ipv6_end(match)) is not None:
                yield match.start(), end


def _is_ipv4(value: str, before: str) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    if address.is_unspecified or _NOT_IP_CONTEXT.search(before):
        return False
    parts = [int(part) for part in value.split(".")]
    telling = max(parts) > 31 or parts[0] == 10 or len(set(parts)) == 1
    return telling or _IP_CONTEXT.search(before) is not None


def _ipv6_end(match: re.Match[str]) -> int | None:
    value = match.group().rstrip(":")
    groups = [group for group in value.split(":") if group]
    # "a::b" is an address and also a name in a program; real ones are longer or begin with a known network.
    if len(groups) < 3 and not re.match(r"(?:fe80|f[cd][0-9a-f]{2}|[23][0-9a-f]{3}):", value, re.IGNORECASE):
        return None
    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return None
    return match.start() + len(value)


_KEY = re.compile(
    r"(?<![A-Za-z0-9_-])(?:sk-(?:proj-|ant-|or-)?[A-Za-z0-9_-]{20,}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}"
    r"|gh[posru]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}"
    r"|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"
    r"|SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}|dop_v1_[a-f0-9]{64}"
    r"|eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{8,})"
    r"|hooks\.slack\.com/services/[A-Za-z0-9_/]{20,}"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[^-]|-(?!----)){0,20000}(?:-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----)?"
)
_NAMED_KEY = re.compile(
    r"(?i:\b(?:password|passwd|passphrase|passcode|pwd|api[_ -]?key|secret(?:[_ -]?key)?|client[_ -]?secret|access[_ -]?token"
    r"|auth[_ -]?token|passwort|mot de passe|contraseña)\b[\"']?\s{0,3}(?:=|:|\bis\b|\best\b|\bist\b|\bes\b)\s{0,3}"
    r"[\"'`]?(?P<value>[^\s\"'`,;]{8,200})|\bbearer\s{1,3}(?P<bearer>[A-Za-z0-9._~+/-]{20,2000}))"
)

# What a text must hold for the patterns above to match at all.
_KEY_MARKS = (
    "sk-", "k_live_", "k_test_", "ghp_", "gho_", "ghr_", "ghs_", "ghu_", "github_pat_", "glpat-", "xox", "AKIA", "ASIA",
    "AIza", "ya29.", "GOCSPX-", "hf_", "npm_", "pypi-", "shp", "SG.", "dop_v1_", "eyJ", "hooks.slack.com", "-----BEGIN",
)  # fmt: skip
_KEY_WORDS = (
    "passw",
    "passphrase",
    "passcode",
    "pwd",
    "key",
    "secret",
    "token",
    "mot de passe",
    "contraseña",
    "bearer",
)


def secrets(text: str) -> Iterator[tuple[int, int]]:
    """Keys whose beginning gives them away, private keys, and what is named a password or key."""
    if any(mark in text for mark in _KEY_MARKS):
        for match in _KEY.finditer(text):
            yield match.span()
    lower = text.lower()
    if not any(word in lower for word in _KEY_WORDS):
        return
    for match in _NAMED_KEY.finditer(text):
        group = "value" if match["value"] is not None else "bearer"
        start = match.start(group)
        value = match[group].rstrip(".!?)]}>")
        if _like_secret(value):
            yield start, start + len(value)


def _like_secret(value: str) -> bool:
    """Words are no passwords; addresses and placeholders neither."""
    return (
        len(value) >= 8
        and len(set(value)) >= 5
        and any(c.isdigit() for c in value)
        and not value.startswith(("http", "{{", "${", "<", "[", "%"))
    )
