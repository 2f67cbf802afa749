"""Make demo-base: `python -m finetune_engine.catalogue.demo_base.build --out DIR`.

Read top to bottom: write the text, train the tokenizer, train the model, save both in Hugging Face layout. No download
takes place. Everything is seeded. The text and the tokenizer come out the same everywhere; the weights come out the
same on the same processor with the same library versions and number of threads, and elsewhere differ slightly, as
floating-point sums depend on their order.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from finetune_engine.catalogue.demo_base.text import Author, Document, read_lexicon

PAD, BOS, EOS, SYSTEM, USER, ASSISTANT = SPECIALS = ["<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"]
"""`</s>` ends every turn and every plain text, and is the token at which generation stops."""

CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message['role'] == 'system' -%}
        {{- '<|system|>' + message['content'] + eos_token -}}
    {%- elif message['role'] == 'user' -%}
        {{- '<|user|>' + message['content'] + eos_token -}}
    {%- elif message['role'] == 'assistant' -%}
        {{- '<|assistant|>' -}}
        {%- generation -%}
        {{- message['content'] + eos_token -}}
        {%- endgeneration -%}
    {%- else -%}
        {{- raise_exception('demo-base knows the roles system, user and assistant, not ' + message['role']) -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|assistant|>' -}}
{%- endif -%}
"""


@dataclass(frozen=True)
class Recipe:
    """How the model is made. Lengths are in tokens."""

    seed: int = 7
    vocab_size: int = 3072
    first_documents: int = 20_000
    """How many documents the tokenizer and the first embeddings are made from."""
    hidden_size: int = 192
    intermediate_size: int = 512
    num_hidden_layers: int = 3
    num_attention_heads: int = 6
    max_position_embeddings: int = 512
    sequence_length: int = 256
    batch_size: int = 8
    steps: int = 1_600
    learning_rate: float = 3e-3
    warmup_steps: int = 60
    decay_share: float = 0.25
    weight_decay: float = 0.05
    answer_weight: float = 4.0
    """How much a token of an answer counts. Answers are short, and are what the model is for."""


def build(out: Path, recipe: Recipe) -> float:
    """Make the model and write it to the folder `out`. Returns the mean loss of the last 50 steps, in nats."""
    torch.manual_seed(recipe.seed)
    author = Author(read_lexicon(), recipe.seed)
    first_documents = list(itertools.islice(author.documents(), recipe.first_documents))
    tokenizer = train_tokenizer(first_documents, recipe)
    model = new_model(recipe)
    start_embeddings(model, first_documents, tokenizer)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer):,} tokens in the vocabulary")
    loss = train(model, packed_batches(author.documents(), tokenizer, recipe), recipe)
    save(model, tokenizer, out)
    return loss


def train_tokenizer(documents: Sequence[Document], recipe: Recipe) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: any Unicode text goes in and comes back unchanged."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab_size,
        special_tokens=SPECIALS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = (text for document in documents for text in _texts(document))
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=recipe.max_position_embeddings,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )


def new_model(recipe: Recipe) -> LlamaForCausalLM:
    """The untrained model. Embeddings are tied to keep it small."""
    config = LlamaConfig(
        vocab_size=recipe.vocab_size,
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.num_hidden_layers,
        num_attention_heads=recipe.num_attention_heads,
        num_key_value_heads=recipe.num_attention_heads,
        max_position_embeddings=recipe.max_position_embeddings,
        tie_word_embeddings=True,
        pad_token_id=SPECIALS.index(PAD),
        bos_token_id=SPECIALS.index(BOS),
        eos_token_id=SPECIALS.index(EOS),
        dtype="float32",
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        pad_token_id=config.pad_token_id,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        do_sample=False,
        max_new_tokens=128,
    )
    return model


def start_embeddings(
    model: LlamaForCausalLM, documents: Sequence[Document], tokenizer: PreTrainedTokenizerFast
) -> None:
    """Let tokens that occur in the same documents start with similar embeddings, which saves most of the training.

    Positive pointwise mutual information of the tokens of a document, then its largest singular vectors
    (Levy and Goldberg, "Neural Word Embedding as Implicit Matrix Factorization", 2014).
    """
    size, width = model.config.vocab_size, model.config.hidden_size
    rows = [sorted(set(tokenizer(" ".join(_texts(document)))["input_ids"])) for document in documents]
    ends = np.cumsum([0, *map(len, rows)])
    occurs = csr_matrix((np.ones(ends[-1]), np.concatenate(rows), ends), shape=(len(rows), size))
    together = (occurs.T @ occurs).tocoo()
    alone = np.maximum(1.0, np.asarray(occurs.sum(axis=0)).ravel())
    information = np.log(together.data * len(rows) / (alone[together.row] * alone[together.col]))
    positive = csr_matrix((np.maximum(0.0, information), (together.row, together.col)), shape=(size, size))
    vectors, strengths, _ = svds(positive, k=width, v0=np.ones(size))
    vectors = vectors * np.sqrt(strengths)
    spread = np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-3)
    noise = model.get_input_embeddings().weight
    assert isinstance(noise, torch.Tensor)
    with torch.no_grad():
        noise.mul_(0.5).add_(torch.tensor(vectors / spread * 0.03 * np.sqrt(width), dtype=noise.dtype))


def packed_batches(
    documents: Iterator[Document], tokenizer: PreTrainedTokenizerFast, recipe: Recipe
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of token ids and their weights, each (batch, sequence): documents end to end, cut where a row is full."""
    wanted = recipe.batch_size * recipe.sequence_length
    shape = (recipe.batch_size, recipe.sequence_length)
    ids: list[int] = []
    weights: list[float] = []
    while True:
        while len(ids) < wanted:
            for part, weight in _parts(next(documents), tokenizer, recipe):
                ids += part
                weights += [weight] * len(part)
        yield torch.tensor(ids[:wanted]).view(shape), torch.tensor(weights[:wanted]).view(shape)
        ids, weights = ids[wanted:], weights[wanted:]


def train(model: LlamaForCausalLM, batches: Iterator[tuple[torch.Tensor, torch.Tensor]], recipe: Recipe) -> float:
    """Next-token training: AdamW; the rate warms up, stays, and goes down in a line at the end.

    Returns the mean weighted loss of the last 50 steps, in nats per token.
    """
    decayed = [weight for weight in model.parameters() if weight.dim() > 1]
    others = [weight for weight in model.parameters() if weight.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        betas=(0.9, 0.95),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share_of_rate(step, recipe))
    model.train()
    losses: list[float] = []
    started = time.monotonic()
    for step, (ids, weights) in enumerate(itertools.islice(batches, recipe.steps), 1):
        loss = weighted_loss(model, ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 0:
            recent = sum(losses[-50:]) / 50
            print(f"step {step:5d}  loss {recent:.3f}  {time.monotonic() - started:6.0f} s", flush=True)
    last = losses[-50:]
    return sum(last) / len(last)


def weighted_loss(model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The mean next-token loss in nats, each token counting as much as its weight says. Both are (batch, sequence)."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (losses * weights[:, 1:].flatten()).sum() / weights[:, 1:].sum()


def share_of_rate(step: int, recipe: Recipe) -> float:
    """The share of the learning rate at `step`: up in a line, level, and down to nothing over the last quarter or so."""
    up = (step + 1) / recipe.warmup_steps
    down = (recipe.steps - step) / (recipe.steps * recipe.decay_share)
    return max(0.0, min(1.0, up, down))


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write a model folder that loads without network, replacing what an earlier build left there."""
    if out.exists():
        shutil.rmtree(out)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    # The number of a library's release in these files would change them for no reason at each upgrade.
    for name in ("config.json", "generation_config.json"):
        content = json.loads((out / name).read_text(encoding="utf-8"))
        content.pop("transformers_version", None)
        (out / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Build from the command line."""
    defaults = Recipe()
    parser = argparse.ArgumentParser(description="Make demo-base, the small model of the demo.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an existing one is replaced")
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    loss = build(options.out, Recipe(steps=options.steps))
    print(f"done in {time.monotonic() - started:.0f} s, last loss {loss:.3f} nats per token")


def _texts(document: Document) -> list[str]:
    return [document] if isinstance(document, str) else [content for _, content in document]


def _parts(document: Document, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Iterator[tuple[list[int], float]]:
    """The tokens of a document, as the chat template would write them, with the weight of each part.

    A plain text has no role token. An answer's end token weighs as much as the answer: it is how the model stops.
    """
    begin, end = SPECIALS.index(BOS), SPECIALS.index(EOS)
    if isinstance(document, str):
        yield [begin, *tokenizer.encode(document, add_special_tokens=False), end], 1.0
        return
    yield [begin], 1.0
    for role, content in document:
        yield [SPECIALS.index(f"<|{role}|>")], 1.0
        tokens = [*tokenizer.encode(content, add_special_tokens=False), end]
        yield tokens, recipe.answer_weight if role == "assistant" else 1.0


if __name__ == "__main__":
    main()
