"""demo-base loads anywhere, speaks its chat template exactly, and has not seen the examples of the demo."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from finetune_engine.catalogue.demo_base.build import CHAT_TEMPLATE, Recipe
from finetune_engine.catalogue.demo_base.text import Author, Document, read_lexicon
from finetune_engine.data.samples.contract_clauses import CLEAN_ROWS, jsonl, sample_rows, shingles

FOLDER = Path(__file__).parents[3] / "finetune_engine" / "catalogue" / "demo_base" / "model"
CHATS = [
    [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hello. How can I help?"}],
    [
        {"role": "system", "content": " Be exact.\n"},
        {"role": "user", "content": "Où est 東京? "},
        {"role": "assistant", "content": "  Tokyo\n"},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "Governing Law"},
    ],
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    loaded = AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)
    assert isinstance(loaded, PreTrainedTokenizerFast)
    return loaded


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    loaded = AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True, use_safetensors=True)
    assert isinstance(loaded, PreTrainedModel)
    return loaded


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    """The first part of what the model was trained on."""
    return list(itertools.islice(Author(read_lexicon(), Recipe().seed).documents(), 8_000))


def token_ids(tokenizer: PreTrainedTokenizerFast, chat: list[dict[str, str]], *, prompt: bool = False) -> list[int]:
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=prompt, return_dict=False)
    assert isinstance(ids, list)
    return ids


def test_the_folder_is_small_and_holds_no_pickle() -> None:
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 10_000_000
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".jinja"}


def test_the_model_is_a_llama_with_the_shape_of_the_recipe(model: PreTrainedModel) -> None:
    recipe = Recipe()
    config = model.config
    assert config.model_type == "llama"
    assert config.architectures == ["LlamaForCausalLM"]
    assert (config.hidden_size, config.num_hidden_layers) == (recipe.hidden_size, recipe.num_hidden_layers)
    assert config.vocab_size == recipe.vocab_size
    assert config.tie_word_embeddings


def test_the_end_token_is_the_same_in_tokenizer_and_both_configurations(tokenizer: PreTrainedTokenizerFast) -> None:
    for name in ("config.json", "generation_config.json"):
        assert json.loads((FOLDER / name).read_text())["eos_token_id"] == tokenizer.eos_token_id
    assert tokenizer.eos_token == "</s>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_the_shipped_template_is_the_one_in_the_program(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.chat_template == CHAT_TEMPLATE


@pytest.mark.parametrize("chat", CHATS)
def test_the_prompt_is_a_token_prefix_of_the_whole_chat(
    tokenizer: PreTrainedTokenizerFast, chat: list[dict[str, str]]
) -> None:
    prompt = token_ids(tokenizer, chat[:-1], prompt=True)
    whole = token_ids(tokenizer, chat)
    answer = tokenizer.encode(chat[-1]["content"], add_special_tokens=False)
    assert whole == [*prompt, *answer, tokenizer.eos_token_id]


@pytest.mark.parametrize("chat", CHATS)
def test_the_assistant_mask_covers_answers_and_their_end_tokens(
    tokenizer: PreTrainedTokenizerFast, chat: list[dict[str, str]]
) -> None:
    rendered = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    marked = [
        token for token, is_answer in zip(rendered["input_ids"], rendered["assistant_masks"], strict=True) if is_answer
    ]
    answers = [message["content"] for message in chat if message["role"] == "assistant"]
    wanted = [[*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id] for answer in answers]
    assert marked == list(itertools.chain.from_iterable(wanted))


def test_an_unknown_role_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(Exception, match="roles system, user and assistant"):
        token_ids(tokenizer, [{"role": "tool", "content": "3"}])


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        " two  spaces ",
        "tab\tand\nline\r\n",
        "naïve café — “quoted”",
        "東京 와 مرحبا",
        "👩‍👩‍👧 🇳🇿 e\u0301",
        "\u200b\x00\x7f",
    ],
)
def test_any_text_survives_the_tokenizer(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_a_clause_has_some_dozens_of_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    lengths = [len(tokenizer.tokenize(row.fields["text"])) for row in sample_rows() if row.flaw is None]
    assert 35 <= sum(lengths) / len(lengths) <= 80
    assert max(lengths) < 200


def test_it_answers_a_greeting_and_stops(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    inputs = tokenizer.apply_chat_template(
        CHATS[0][:1], add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    written = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]  # type: ignore[operator]
    assert tokenizer.decode(written) == "Hello. How can I help?</s>"


def test_the_tokenizer_file_needs_no_other_library() -> None:
    assert Tokenizer.from_file(str(FOLDER / "tokenizer.json")).get_vocab_size() == Recipe().vocab_size


def test_the_same_seed_writes_the_same_text(documents: list[Document]) -> None:
    again = Author(read_lexicon(), Recipe().seed).documents()
    assert list(itertools.islice(again, 500)) == documents[:500]


def test_the_text_holds_no_clause_of_the_sample(documents: list[Document]) -> None:
    """Not even most of one: of no clause do half of the five-word runs occur in a document."""
    clauses = [shingles(row.fields["text"]) for row in sample_rows() if row.fields["text"].strip()]
    where: dict[tuple[str, ...], list[int]] = {}
    for number, clause in enumerate(clauses):
        for run in clause:
            where.setdefault(run, []).append(number)
    for document in documents:
        runs = shingles(document if isinstance(document, str) else " ".join(text for _, text in document))
        for number in {number for run in runs for number in where.get(run, [])}:
            assert len(runs & clauses[number]) < 0.5 * len(clauses[number])


def test_no_chat_answers_with_a_clause_type(documents: list[Document]) -> None:
    types = {kind.lower() for kind in CLEAN_ROWS}
    answers = [
        text
        for document in documents
        if not isinstance(document, str)
        for role, text in document
        if role == "assistant"
    ]
    assert answers
    assert not [answer for answer in answers if answer.lower().strip(". ") in types]


def test_the_sample_is_not_among_the_files_that_the_text_is_made_from() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (FOLDER.parent).glob("*.txt"))
    lines = [json.loads(line).get("text", "") for line in jsonl(sample_rows()).splitlines()]
    assert not [text for text in lines if text.strip() and text in sources]
