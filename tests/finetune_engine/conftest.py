"""A tiny model with random weights and a byte tokenizer, snapshots to train it on, and a stop signal."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from finetune_engine.events import ListSink
from finetune_engine.ports import Action, Run

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

TINY_CONTEXT = 256
WriteSnapshot = Callable[..., Path]


def write_tiny_model(folder: Path, **config: Any) -> Path:
    """Two layers, 32 wide; every byte is a token; ``<s>`` begins, ``</s>`` ends and pads."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>", model_max_length=TINY_CONTEXT
    )
    fast.save_pretrained(folder)
    torch.manual_seed(1)
    settings: dict[str, Any] = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": TINY_CONTEXT,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
        "initializer_range": 0.2,
    }
    LlamaForCausalLM(LlamaConfig(**(settings | config))).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random Llama. Read only."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def stories() -> Path:
    """A small real pre-trained model whose end token is ``<s>``; skips where it is absent."""
    shared = Path(os.environ.get("TUNESMITH_SHARED") or Path(__file__).resolve().parents[3] / "shared")
    folder = shared / "data" / "models" / "stories260K"
    if not folder.is_dir():
        pytest.skip("the model stories260K (in TUNESMITH_SHARED) is not here")
    return folder


@pytest.fixture
def write_snapshot(tmp_path: Path) -> WriteSnapshot:
    """Writes ``snapshot.parquet``: ``write_snapshot(train=24, validation=6)`` or from given conversations."""

    def write(train: int = 24, validation: int = 6, pairs: Sequence[tuple[str, str]] | None = None) -> Path:
        import pyarrow
        import pyarrow.parquet

        words = ["rent", "notice", "law", "tax"]
        pairs = pairs or [(f"the {words[i % 4]} clause {i}", words[i % 4]) for i in range(train + validation)]
        rows = [
            {
                "row": number + 1,
                "split": "train" if number < train else "validation",
                "messages": json.dumps([{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]),
            }
            for number, (asked, answer) in enumerate(pairs)
        ]
        path = tmp_path / "snapshot.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path

    return write


class Script:
    """A stop signal that answers ``go`` until it has been asked ``after`` times, then ``action``."""

    def __init__(self, after: int, action: Action) -> None:
        self.after, self._action, self.asked = after, action, 0

    def action(self) -> Action:
        """The next answer."""
        self.asked += 1
        return self._action if self.asked > self.after else "go"


@pytest.fixture
def sink() -> ListSink:
    """Where the events of a run under test go."""
    return ListSink()


@pytest.fixture
def run(sink: ListSink) -> Run:
    """A run that nobody interrupts."""
    return Run(sink=sink)
