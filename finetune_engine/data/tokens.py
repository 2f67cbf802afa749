"""How long a text is for a model: counted by the model's own tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finetune_engine.errors import UserError

_AT_ONCE = 1_000
# A chat template wraps each message in about this many control tokens (role, begin, end).
TOKENS_PER_MESSAGE = 4


class TokenCounter:
    """Counts tokens with ``tokenizer.json`` of a model folder. UserError ``bad_tokenizer`` when there is none to read."""

    def __init__(self, folder: Path | str) -> None:
        from tokenizers import Tokenizer

        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise _bad(f"The model folder {Path(folder).name} has no tokenizer.json, so tokens cannot be counted.")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust library raises a bare Exception for a file it cannot read
            raise _bad(
                f"The tokenizer.json of {Path(folder).name} cannot be read, so tokens cannot be counted."
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without marks for its beginning and end."""
        out: list[int] = []
        for start in range(0, len(texts), _AT_ONCE):
            part = list(texts[start : start + _AT_ONCE])
            out.extend(len(e.ids) for e in self._tokenizer.encode_batch_fast(part, add_special_tokens=False))
        return out


def _bad(sentence: str) -> UserError:
    return UserError("bad_tokenizer", sentence, field="tokenizer", reason="bad_config")
