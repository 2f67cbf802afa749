"""Which base models' tokenizers can count the tokens of rows. The app that keeps the base models says where they are.

The folder of a model holds ``tokenizer.json``; nothing else of it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tokenizer:
    """A base model whose tokenizer lies on this machine."""

    key: str
    name: str
    folder: Path


def bundled_tokenizers() -> list[Tokenizer]:
    """The one that comes with the product."""
    from finetune_engine import catalogue

    folder = Path(str(catalogue.__file__)).parent / "demo_base" / "model"
    return [Tokenizer("demo-base", "demo-base", folder)]


_source: Callable[[], list[Tokenizer]] = bundled_tokenizers


def register(source: Callable[[], list[Tokenizer]]) -> None:
    """Ask ``source`` from now on; it replaces the one before."""
    global _source
    _source = source


def tokenizers_here() -> list[Tokenizer]:
    """All that can be chosen."""
    return [known for known in _source() if (known.folder / "tokenizer.json").is_file()]


def tokenizer_folder(key: str) -> Path | None:
    """The folder of this base model; None when it is not on this machine."""
    return next((known.folder for known in tokenizers_here() if known.key == key), None)
