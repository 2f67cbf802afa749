"""Inputs at the edge of what anybody would send: nothing, one character, emoji, far too much, another language, code.

They replace the last user message; what stands before it (system message, earlier turns) stays. There is no right
answer to most of them, so they are judged by whether the model still behaves: see ``is_handled``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from finetune_engine.evaluate.asking.asker import Answer
from finetune_engine.evaluate.metrics.labels import UNPARSABLE, LabelReader

LONG_CHARACTERS = 40_000
"""How long the long input is. About 10,000 tokens of English: more than a small model's context, not more than a large one's."""
_FEWEST_REPEATS = 4
_LONGEST_UNIT = 60
_SHORTEST_RUN = 16
_FEWEST_WORDS = 24
_FRESH_SHARE = 0.25

REFUSAL = re.compile(
    r"\b(?:can(?:no|')t|can not|unable|not able|don't know|do not know|not sure|unsure|unclear|unknown|none|n/a|sorry"
    r"|no (?:valid )?(?:text|input|question)|not (?:enough|applicable|clear|possible)"
    r"|please (?:provide|give|enter|repeat|ask|rephrase|clarify))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class EdgeInput:
    """One input. ``make`` gets the text of an ordinary case and gives the text to send."""

    kind: str
    when: str
    make: Callable[[str], str]


def _always(text: str) -> Callable[[str], str]:
    return lambda usual: text


def _long(usual: str) -> str:
    unit = (usual.strip() or "The same sentence once more.") + "\n"
    return (unit * (LONG_CHARACTERS // len(unit) + 1))[:LONG_CHARACTERS]


def _repeated(usual: str) -> str:
    return " ".join([usual.strip() or "again"] * 8)


_TEXTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "empty": ("an empty message", ("", " ", "\n\n")),
    "one character": ("a single character", ("a", "?", "7", "。")),
    "emoji": ("only emoji", ("🙂", "👍🏽👩‍👩‍👧‍👦🇰🇪", "🔥🔥🔥 ❓")),
    "other language": (
        "another language",
        (
            "¿Puede explicarme qué debo hacer ahora?",
            "Können Sie mir bitte sagen, was als Nächstes kommt?",
            "Pouvez-vous m'aider avec cette question ?",
            "请问下一步我应该怎么做？",
            "ช่วยอธิบายให้ฉันฟังหน่อยได้ไหม",
            "هل يمكنك مساعدتي في هذا الأمر؟",
        ),
    ),
    "digits only": ("only digits", ("0", "4711", "3.14159 2.71828 1.41421", "00000000000000000000")),
    "HTML or SQL": (
        "markup or code",
        (
            "<script>alert('hello')</script>",
            "<table><tr><td>&nbsp;</td></tr></table>",
            "'; DROP TABLE customers; --",
            "SELECT name FROM clients WHERE 1=1 OR ''='';",
        ),
    ),
    "repetition": ("one word over and over", ("no " * 60, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
}
EDGE_INPUTS: tuple[EdgeInput, ...] = (
    *(EdgeInput(kind, when, _always(text)) for kind, (when, texts) in _TEXTS.items() for text in texts),
    EdgeInput("repetition", "one word over and over", _repeated),
    EdgeInput("very long", f"a text of {LONG_CHARACTERS:,} characters", _long),
)


def is_handled(answer: Answer | None, labels: LabelReader | None) -> bool:
    """Whether a model behaves: it answered (None: the program failed), it said something, it does not run on in circles, and
    where only labels are answers (``labels``), it names one of them or declines."""
    if answer is None or not answer.text.strip() or runs_on(answer.text, answer.finish_reason):
        return False
    return labels is None or labels.read(answer.text) != UNPARSABLE or REFUSAL.search(answer.text) is not None


def runs_on(text: str, finish_reason: str) -> bool:
    """Whether an answer that had to be cut off is the same few words again and again."""
    if finish_reason != "length":
        return False
    bare = text.strip()
    for size in range(1, min(_LONGEST_UNIT, len(bare) // _FEWEST_REPEATS) + 1):
        times = max(_FEWEST_REPEATS, -(-_SHORTEST_RUN // size))
        if bare.endswith(bare[-size:] * times):
            return True
    words = bare.split()
    return len(words) >= _FEWEST_WORDS and len(set(words)) < _FRESH_SHARE * len(words)


def kinds_of(inputs: Sequence[EdgeInput]) -> list[str]:
    """The kinds among the inputs, in order."""
    return list(dict.fromkeys(edge.kind for edge in inputs))
