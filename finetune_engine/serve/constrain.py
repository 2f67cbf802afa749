"""Answers that cannot help being valid JSON: a grammar says at each step which tokens may come next."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.exchange import CompletionRequest
from finetune_engine.serve.grammar import grammar_of
from finetune_engine.serve.thoughts import THINK, THINK_END, opens_thoughts, thinks, token_of
from finetune_engine.train.local.tool_forms import HERMES, form_of

if TYPE_CHECKING:
    from finetune_engine.train.local.load import LoadedModel

Allowed = NDArray[np.bool_]
Problem = EngineError | UserError
KEPT_GRAMMARS = 32
MAX_GRAMMAR_CHARACTERS = 200_000
MAX_ROW_ITEMS = 5000
"""Enough for as many optional properties as a schema may have: an object of a thousand needs four thousand."""
_TOO_LARGE = re.compile(r"too (many|large|complex)|max is|fuel", re.IGNORECASE)
# The bytes that valid UTF-8 is made of.
_UTF8 = frozenset(range(0xC0)) | frozenset(range(0xC2, 0xF5))
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class Constraint(Protocol):
    """What may be written next in one answer."""

    def mask(self) -> Allowed | None:
        """True where a token may come next, ``(vocabulary,)``; None: anything goes. At least one token is allowed."""

    def take(self, token_id: int) -> None:
        """A token was written (the end token too, if the caller likes)."""

    @property
    def is_complete(self) -> bool:
        """Whether the answer is whole and nothing can follow: it ends here, with the finish reason ``stop``."""

    @property
    def problem(self) -> Problem | None:
        """Why the answer cannot go on by its rules: it must be given up. None as long as all is well."""


def constraint_of(request: CompletionRequest, loaded: LoadedModel, prompt: Sequence[int] = ()) -> Constraint | None:
    """The constraint of one choice of ``request``, whose prompt has these token ids; None when it may say anything.

    A model that thinks may think first. Raises UserError (400) for a schema that no grammar can follow and for a tokenizer
    that cannot write every character.
    """
    if not request.tools and request.answer_schema is None:
        return None
    form = form_of(loaded.chat_template) or HERMES
    marker = _control_token(loaded.tokenizer, form.opening)
    grammar = grammar_of(request, form, marker)
    if grammar is None:
        return None
    speller = _speller_of(loaded)
    # A schema may stand in response_format or in a tool; the first is the one people get wrong.
    field = request.answer_schema.field if request.answer_schema else "tools"
    constraint = GrammarConstraint(speller, speller.matcher(grammar, field), field)
    if not request.is_chat or not thinks(loaded.chat_template):
        return constraint
    is_open = opens_thoughts(loaded.tokenizer, prompt)
    return ThoughtsFirst(speller, constraint, is_open=is_open, opening=token_of(loaded.tokenizer, THINK))


class GrammarConstraint:
    """An answer by a grammar.

    Processor time, measured on one core of a two-core server: a mask and the token after it take 0.013 ms with the demo model's
    vocabulary of 3,072 tokens, 0.09 ms with 150,000 (1 in 100 takes 2 ms). A grammar that was seen before begins in 0.3 ms, a
    new one in 1 to 50 ms. The first use of a vocabulary of 150,000 takes 0.9 s.
    """

    def __init__(self, speller: Speller, matcher: Any, field: str) -> None:
        self._speller = speller
        self._matcher = matcher
        self._field = field

    def mask(self) -> Allowed | None:
        """See Constraint."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed: Allowed = np.unpackbits(bits, count=self._speller.size, bitorder="little").view(np.bool_)
        return allowed if allowed.any() else self._speller.ends

    def take(self, token_id: int) -> None:
        """See Constraint."""
        if token_id in self._speller.end_ids or self._matcher.is_stopped():
            return
        self._matcher.consume_token(token_id)

    @property
    def is_complete(self) -> bool:
        """See Constraint. A grammar that gave up counts as complete: an answer must end."""
        return bool(self._matcher.is_stopped())

    @property
    def problem(self) -> Problem | None:
        """See Constraint. Some schemas only turn out to be too large in the middle of an answer."""
        if not self._matcher.is_error():
            return None
        words = self._matcher.get_error().strip().splitlines()[0][:300]
        if _TOO_LARGE.search(words):
            return _bad_schema(self._field, words)
        return EngineError("internal", f"an answer could not be kept to its grammar: {words}")


class ThoughtsFirst:
    """Thoughts as the model likes, then ``answer``. Only the end token is barred from thoughts.

    ``is_open``: the prompt has begun the thoughts. Otherwise they may be begun with the token ``opening``, at once or never.
    """

    def __init__(self, speller: Speller, answer: Constraint, *, is_open: bool, opening: int | None) -> None:
        self._speller = speller
        self._answer = answer
        self._is_open = is_open
        self._opening = opening
        self._tail = b""

    def mask(self) -> Allowed | None:
        """See Constraint."""
        if self._is_open:
            return ~self._speller.ends
        allowed = self._answer.mask()
        if allowed is not None and self._opening is not None:
            allowed = allowed.copy()
            allowed[self._opening] = True
        return allowed

    def take(self, token_id: int) -> None:
        """See Constraint."""
        if not self._is_open:
            if token_id == self._opening:
                self._is_open = True
            else:
                self._answer.take(token_id)
            self._opening = None
            return
        end = THINK_END.encode()
        self._tail = (self._tail + self._speller.bytes_of(token_id))[-64 - len(end) :]
        self._is_open = end not in self._tail

    @property
    def is_complete(self) -> bool:
        """See Constraint."""
        return not self._is_open and self._answer.is_complete

    @property
    def problem(self) -> Problem | None:
        """See Constraint."""
        return self._answer.problem


class Speller:
    """A tokenizer as grammars see it: the bytes of each token. Safe to use from several threads."""

    def __init__(self, tokenizer: Any, end_ids: tuple[int, ...], size: int) -> None:
        self.size = size
        self.end_ids = end_ids
        self.ends: Allowed = np.zeros(size, dtype=np.bool_)
        self.ends[[token for token in end_ids if token < size]] = True
        self._tokenizer = _ll_tokenizer(tokenizer, end_ids, size)
        self._matchers: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def bytes_of(self, token_id: int) -> bytes:
        """What a token writes."""
        written: bytes = self._tokenizer.decode_bytes([token_id])
        return written

    def matcher(self, grammar: str, field: str) -> Any:
        """A fresh matcher for the grammar. Raises UserError when the schema in it cannot be followed."""
        with self._lock:
            kept = self._matchers.get(grammar)
            if kept is None:
                kept = self._matchers[grammar] = self._compiled(grammar, field)
                if len(self._matchers) > KEPT_GRAMMARS:
                    self._matchers.popitem(last=False)
            self._matchers.move_to_end(grammar)
            return kept.deep_copy()

    def _compiled(self, grammar: str, field: str) -> Any:
        from llguidance import LLMatcher, LLParserLimits

        limits = LLParserLimits(
            verbose_errors=False,
            max_grammar_size=100_000,
            max_lexer_states=50_000,
            max_items_in_row=MAX_ROW_ITEMS,
        )
        problem = "it is too large"
        if len(grammar) <= MAX_GRAMMAR_CHARACTERS:
            matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=limits)
            matcher.compute_bitmask()  # some grammars only turn out to be too large when they are used
            if not matcher.is_error():
                return matcher
            problem = matcher.get_error().strip().splitlines()[0][:300]
        raise _bad_schema(field, problem)


def _bad_schema(field: str, problem: str) -> UserError:
    sentence = f"'{field}' has a JSON schema that cannot be followed: {problem}"
    return UserError("invalid_json_schema", sentence, field, reason="bad_config", status=400)


_spellers: WeakKeyDictionary[Any, dict[tuple[tuple[int, ...], int], Speller]] = WeakKeyDictionary()
_spellers_lock = threading.Lock()


def _speller_of(loaded: LoadedModel) -> Speller:
    """The speller of a model's tokenizer, made once."""
    config = loaded.model.config.get_text_config()
    key = (loaded.eos_token_ids, max(int(config.vocab_size), len(loaded.tokenizer)))
    with _spellers_lock:
        known = _spellers.setdefault(loaded.tokenizer, {})
        if key not in known:
            known[key] = Speller(loaded.tokenizer, *key)
        return known[key]


def _ll_tokenizer(tokenizer: Any, end_ids: tuple[int, ...], size: int) -> Any:
    try:
        from llguidance import LLTokenizer
    except ImportError as problem:
        message = "llguidance is not installed: pip install 'tunesmith[ml]'"
        raise EngineError("model_unavailable", message) from problem
    backend = getattr(tokenizer, "backend_tokenizer", None)
    try:
        known = LLTokenizer(backend.to_str(), n_vocab=size, eos_token=list(end_ids)) if backend else None
    except ValueError:  # neither byte-level nor with byte fallback
        known = None
    if known is None or not _can_spell(known, tokenizer):
        raise UserError(
            "unsupported_parameter",
            "This model's tokenizer cannot write every character, so a form of the answer cannot be guaranteed: "
            "'response_format' and 'tool_choice' (required or named) need another model.",
            "response_format",
            reason="bad_config",
            status=400,
        )
    return known


def _can_spell(known: Any, tokenizer: Any) -> bool:
    """Whether every byte of valid UTF-8 has a token of its own, so that no text is out of reach."""
    vocabulary = tokenizer.get_vocab()
    short = [token for word, token in vocabulary.items() if len(word) == 1 or _BYTE.fullmatch(word)]
    written = {known.decode_bytes([token]) for token in short}
    return all(bytes([byte]) in written for byte in _UTF8)


def _control_token(tokenizer: Any, text: str) -> int | None:
    """The id of a text that is a control token, which never shows in what is written; None when it is plain text."""
    token = token_of(tokenizer, text) if text else None
    added = tokenizer.added_tokens_decoder.get(token) if token is not None else None
    return token if added is not None and added.special else None
