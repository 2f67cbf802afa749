"""The catalogue of base models."""

from __future__ import annotations

import subprocess
import sys

import pytest

from finetune_engine.catalogue.catalogue import find_model, load_catalogue, read_catalogue
from finetune_engine.errors import UserError

ENTRY = """
[[models]]
key = "one"
name = "One"
provider = "hub"
hub = "maker/one"
licence = "MIT"
min_examples = 10
recommended_examples = 20
strengths = []
status = "available"
"""


def test_the_catalogue_has_the_models_that_recommendations_speak_of() -> None:
    assert {"demo-base", "gpt-3.5-turbo", "gpt-4", "gpt-4o-mini", "llama-2-7b", "mistral-7b"} <= set(load_catalogue())


def test_no_price_stands_without_its_page_and_date() -> None:
    for entry in load_catalogue().values():
        assert entry.price is None or (entry.price.url.startswith("https://") and entry.price.date)


def test_the_bundled_model_lies_inside_the_package() -> None:
    path = find_model("demo-base").reference().path
    assert path is not None
    assert path.endswith("finetune_engine/catalogue/demo_base/model")


def test_a_providers_model_has_no_weights_to_load() -> None:
    with pytest.raises(UserError) as caught:
        find_model("gpt-4").reference()
    assert caught.value.code == "no_weights"


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(UserError, match="gpt-99"):
        find_model("gpt-99")


def test_what_is_not_known_reads_as_none() -> None:
    entry = read_catalogue(ENTRY)["one"]
    assert (entry.parameters, entry.context_length, entry.price, entry.learning_rate) == (None, None, None, None)


@pytest.mark.parametrize(
    "spoiled",
    [
        ENTRY.replace('"available"', '"gone"'),
        ENTRY.replace('hub = "maker/one"', ""),
        ENTRY.replace("min_examples = 10", "min_examples = 30"),
        ENTRY + "colour = 1",
        ENTRY + '[models.price]\ncurrency = "USD"\ntraining_per_million = 3',
        ENTRY + ENTRY,
    ],
)
def test_a_wrong_entry_is_refused_by_name(spoiled: str) -> None:
    with pytest.raises(ValueError, match="one"):
        read_catalogue(spoiled)


def test_the_catalogue_is_readable_without_torch() -> None:
    code = (
        "import sys; from finetune_engine.catalogue.catalogue import load_catalogue; "
        "load_catalogue(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
