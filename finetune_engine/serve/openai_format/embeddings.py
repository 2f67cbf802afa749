"""``/v1/embeddings``: texts in, numbers out."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from finetune_engine.serve.openai_format.fields import (
    bad,
    check_text,
    checked_body,
    integer,
    model_name,
    refuse_unsupported,
)

Encoding = Literal["float", "base64"]

MAX_INPUTS = 2048
_KNOWN = frozenset({"model", "input", "encoding_format", "dimensions", "user"})


@dataclass(frozen=True)
class EmbeddingRequest:
    """A checked request. ``dimensions`` is None, or the length that the vectors must have by themselves."""

    model: str
    inputs: list[str]
    encoding_format: Encoding = "float"
    dimensions: int | None = None
    user: str | None = None


def parse_embedding_request(body: Any) -> EmbeddingRequest:
    """The request in a ``/v1/embeddings`` body (parsed JSON). Raises UserError (400) naming the parameter at fault."""
    values = checked_body(body)
    refuse_unsupported(values, _KNOWN, {}, {})
    check_text(values, "user")
    given = values.get("input")
    inputs = [given] if isinstance(given, str) else given
    if not isinstance(inputs, list) or not inputs or not all(isinstance(text, str) and text for text in inputs):
        sentence = "'input' must be a text or a list of texts, none of them empty; token numbers are not read."
        raise bad("input", sentence, missing="input" not in values)
    if len(inputs) > MAX_INPUTS:
        raise bad("input", f"'input' takes at most {MAX_INPUTS} texts; there are {len(inputs)}.")
    if values.get("encoding_format") not in (None, "float", "base64"):
        raise bad("encoding_format", "'encoding_format' must be float or base64.")
    encoding: Encoding = "base64" if values.get("encoding_format") == "base64" else "float"
    return EmbeddingRequest(
        model=model_name(values),
        inputs=inputs,
        encoding_format=encoding,
        dimensions=integer(values, "dimensions", 1),
        user=values.get("user"),
    )


def embedding_body(request: EmbeddingRequest, vectors: Sequence[Sequence[float]], prompt_tokens: int) -> dict[str, Any]:
    """OpenAI's answer: one vector for each text, in their order. ``prompt_tokens`` counts all texts.

    Raises UserError (400) when the caller wants vectors of another length: they cannot be cut without losing their meaning.
    """
    length = len(vectors[0]) if vectors else 0
    if request.dimensions not in (None, length):
        raise bad("dimensions", f"'dimensions' can only be {length} for this model: its vectors are not cut.")
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector, request.encoding_format)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return {"object": "list", "data": data, "model": request.model, "usage": usage}


def _encoded(vector: Sequence[float], encoding: Encoding) -> list[float] | str:
    """The numbers, or their little-endian 32-bit floats in base64 (what the official package asks for)."""
    if encoding == "float":
        return [float(value) for value in vector]
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
