"""Look into a model folder without torch: is it safe to load, and what is it?

Only safetensors weights are accepted, because reading a pickle runs the code inside it; and no model that
brings Python code of its own (``auto_map``).
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_engine.errors import Place, UserError

PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".msgpack", ".h5"})
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt", "tekken.json")
CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length", "model_max_length")
USED_SUFFIXES = frozenset({".safetensors", ".json", ".jinja", ".model", ".txt"})
MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True)
class FolderReport:
    """What a usable model folder holds. ``sha256`` is None when it was not asked for.

    ``context_length`` is in tokens, None when the config does not say; ``weights_bytes`` is the size on disk.
    """

    path: Path
    model_type: str
    architecture: str | None
    parameters: int
    weights_bytes: int
    dtype: str | None
    context_length: int | None
    vocabulary_size: int | None
    has_chat_template: bool
    sha256: str | None
    files: tuple[str, ...]


def inspect_model_folder(path: Path | str, *, digest: bool = True) -> FolderReport:
    """Check a local model folder and describe it.

    Raises UserError: ``model_missing``, ``not_safetensors``, ``unsafe_model``, ``broken_model``,
    ``no_tokenizer`` or ``not_causal``. ``digest=False`` saves reading every byte.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise _refuse("model_missing", folder, f"There is no model folder at {folder}.", "Check the path.")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    config = _read_json(folder, "config.json", required=True)
    _refuse_pickles(folder, names)
    _refuse_code(folder, names)
    if config.get("is_encoder_decoder"):
        raise _refuse(
            "not_causal", folder, f"{folder.name} is an encoder-decoder model.", "Choose a model that writes text."
        )
    if not any(name in names for name in TOKENIZER_FILES):
        raise _refuse(
            "no_tokenizer", folder, f"{folder.name} has no tokenizer.", "Copy the tokenizer files into the folder too."
        )
    weights = _weight_files(folder, names)
    parameters, dtype = 0, None
    for name in weights:
        count, kind = _read_header(folder, name)
        parameters, dtype = parameters + count, dtype or kind
    used = tuple(name for name in names if Path(name).suffix in USED_SUFFIXES)
    nested = config.get("text_config")
    text: dict[str, Any] = nested if isinstance(nested, dict) else config
    architectures = config.get("architectures") or []
    return FolderReport(
        path=folder,
        model_type=str(config.get("model_type") or "unknown"),
        architecture=str(architectures[0]) if architectures else None,
        parameters=parameters,
        weights_bytes=sum((folder / name).stat().st_size for name in weights),
        dtype=dtype,
        context_length=next((int(text[f]) for f in CONTEXT_FIELDS if isinstance(text.get(f), int)), None),
        vocabulary_size=text.get("vocab_size") if isinstance(text.get("vocab_size"), int) else None,
        has_chat_template="chat_template.jinja" in names
        or bool(_read_json(folder, "tokenizer_config.json").get("chat_template")),
        sha256=_digest(folder, used) if digest else None,
        files=used,
    )


def _refuse(code: str, folder: Path, sentence: str, fix: str, *, file: str | None = None) -> UserError:
    return UserError(
        code,
        f"{sentence} {fix}",
        field="base_model",
        place=Place(file=file or str(folder), fix=fix),
        reason="bad_config",
    )


def _refuse_pickles(folder: Path, names: list[str]) -> None:
    pickles = [name for name in names if Path(name).suffix.lower() in PICKLE_SUFFIXES]
    if pickles:
        raise _refuse(
            "not_safetensors",
            folder,
            f"{folder.name} contains {pickles[0]}, a format that can run code when it is opened.",
            "Use a folder whose weights are .safetensors files only.",
            file=pickles[0],
        )


def _refuse_code(folder: Path, names: list[str]) -> None:
    for name in names:
        if not name.endswith(".json") or name.endswith(".index.json") or name in ("tokenizer.json", "vocab.json"):
            continue
        content = _read_json(folder, name)
        if content.get("auto_map") or content.get("custom_pipelines"):
            raise _refuse(
                "unsafe_model",
                folder,
                f"{folder.name} asks to run Python code of its own (auto_map in {name}).",
                "Choose a model that the transformers library knows by itself.",
                file=name,
            )


def _weight_files(folder: Path, names: list[str]) -> list[str]:
    index = _read_json(folder, "model.safetensors.index.json")
    if index:
        listed = sorted(set(map(str, (index.get("weight_map") or {}).values())))
        missing = [name for name in listed if name not in names]
        if missing or not listed:
            raise _refuse(
                "broken_model",
                folder,
                f"{folder.name} lacks {missing[0] if missing else 'its weight files'}.",
                "Copy the whole folder again.",
            )
        return listed
    if "model.safetensors" in names:
        return ["model.safetensors"]
    raise _refuse(
        "not_safetensors",
        folder,
        f"{folder.name} has no model.safetensors.",
        "Use a folder whose weights are .safetensors files.",
    )


def _read_header(folder: Path, name: str) -> tuple[int, str | None]:
    """``(parameters, dtype of the first tensor)`` from the JSON header of a safetensors file."""
    path = folder / name
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(MAX_HEADER_BYTES, size):
                raise ValueError("header longer than the file")
            header = json.loads(file.read(length))
        tensors = [value for key, value in header.items() if key != "__metadata__"]
        end = max((int(tensor["data_offsets"][1]) for tensor in tensors), default=0)
        if end + 8 + length != size:
            raise ValueError("the file is cut short or has bytes too many")
        return sum(math.prod(tensor["shape"]) for tensor in tensors), (tensors[0]["dtype"] if tensors else None)
    except (OSError, ValueError, KeyError, TypeError, IndexError, struct.error) as problem:
        raise _refuse(
            "broken_model", folder, f"{name} cannot be read ({problem}).", "Copy the file again.", file=name
        ) from problem


def _read_json(folder: Path, name: str, *, required: bool = False) -> dict[str, Any]:
    path = folder / name
    if not path.exists():
        if required:
            raise _refuse(
                "broken_model", folder, f"{folder.name} has no {name}.", "Copy the whole model folder.", file=name
            )
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise _refuse(
            "broken_model", folder, f"{name} is not readable JSON.", "Copy the file again.", file=name
        ) from problem
    return content if isinstance(content, dict) else {}


def _digest(folder: Path, names: tuple[str, ...]) -> str:
    """SHA-256 over ``name NUL sha256(file) LF`` of the files a model is made of, by name."""
    whole = hashlib.sha256()
    for name in names:
        with (folder / name).open("rb") as file:
            whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()
