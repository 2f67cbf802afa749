"""How a transformer is built: the few numbers from which its parameters and its memory follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIELDS = ("layers", "hidden", "intermediate", "vocabulary", "heads", "kv_heads", "head_size")


@dataclass(frozen=True)
class ModelShape:
    """A decoder with gated feed-forward layers (Llama, Qwen, Mistral, Gemma, Phi).

    ``tied``: the word vectors are also the output matrix. ``is_guess``: made from the number of parameters alone.
    """

    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_size: int
    tied: bool = True
    is_guess: bool = False

    @property
    def linear(self) -> tuple[tuple[str, int, int], ...]:
        """``(name, inputs, outputs)`` of the matrices in one layer."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        return (
            ("q_proj", self.hidden, queries),
            ("k_proj", self.hidden, keys),
            ("v_proj", self.hidden, keys),
            ("o_proj", queries, self.hidden),
            ("gate_proj", self.hidden, self.intermediate),
            ("up_proj", self.hidden, self.intermediate),
            ("down_proj", self.intermediate, self.hidden),
        )

    @property
    def linear_parameters(self) -> int:
        """Parameters in the matrices of all layers: what QLoRA stores in four bits."""
        return self.layers * sum(inputs * outputs for _name, inputs, outputs in self.linear)

    @property
    def embedding_parameters(self) -> int:
        """Word vectors, and the output matrix where it is one of its own."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All of them but biases and the small norms inside attention (less than 0.1 % of any model here)."""
        return self.linear_parameters + self.embedding_parameters + (2 * self.layers + 1) * self.hidden

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> ModelShape:
        """The catalogue's ``shape`` table. Raises ValueError for what is missing or no positive whole number."""
        unknown = set(raw) - {*FIELDS, "tied"}
        numbers: dict[str, Any] = {name: raw.get(name) for name in FIELDS}
        wrong = [name for name, value in numbers.items() if not _is_count(value)]
        if unknown or wrong:
            raise ValueError(f"shape: wrong or missing {wrong}, unknown {sorted(unknown)}")
        return cls(**numbers, tied=bool(raw.get("tied", True)))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def shape_of_folder(folder: Path) -> ModelShape | None:
    """The shape of a model folder from its ``config.json``; None when that is missing or says too little."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text: dict[str, Any] = config.get("text_config") or config
        heads = text["num_attention_heads"]
        return ModelShape.from_mapping(
            {
                "layers": text["num_hidden_layers"],
                "hidden": text["hidden_size"],
                "intermediate": text["intermediate_size"],
                "vocabulary": text["vocab_size"],
                "heads": heads,
                "kv_heads": text.get("num_key_value_heads") or heads,
                "head_size": text.get("head_dim") or text["hidden_size"] // heads,
                "tied": text.get("tie_word_embeddings", config.get("tie_word_embeddings", True)),
            }
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
        return None


def guessed_shape(parameters: int) -> ModelShape:
    """A usual shape for so many parameters, for a model of which nothing else is known.

    Usual models of 1 to 8 billion parameters have about 12 h^2 parameters a layer and one layer for every 96 of their
    width h, so that parameters = h^3 / 8.
    """
    hidden = max(64, round((8 * parameters) ** (1 / 3) / 64) * 64)
    return ModelShape(
        layers=max(2, round(hidden / 96)),
        hidden=hidden,
        intermediate=round(hidden * 8 / 3),
        vocabulary=64_000,
        heads=max(1, hidden // 64),
        kv_heads=max(1, hidden // 64),
        head_size=64,
        is_guess=True,
    )
