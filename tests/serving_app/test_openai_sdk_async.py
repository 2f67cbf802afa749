"""The asynchronous client of the official package, and its embeddings."""

from __future__ import annotations

import asyncio

import openai
import pytest

pytestmark = pytest.mark.django_db(transaction=True)
TURNS = [{"role": "user", "content": "The landlord"}]


def test_the_asynchronous_client_asks_and_streams_side_by_side(deployed_base, inference, site, api_key) -> None:
    key = api_key("predict")

    async def streamed(client: openai.AsyncOpenAI, **wanted) -> str:
        stream = await client.chat.completions.create(stream=True, **wanted)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def ask() -> tuple:
        wanted = {"model": "production", "messages": TURNS, "temperature": 0, "max_tokens": 8}
        async with openai.AsyncOpenAI(base_url=f"{site}/v1", api_key=key, max_retries=0, timeout=120) as client:
            return await asyncio.gather(
                client.chat.completions.create(**wanted),
                *(streamed(client, **wanted, seed=seed) for seed in range(4)),
            )

    whole, *pieces = asyncio.run(ask())
    assert whole.choices[0].message.content
    assert set(pieces) == {whole.choices[0].message.content}


def test_texts_become_vectors_that_mean_something(deployed_base, inference, site, api_key) -> None:
    client = openai.OpenAI(base_url=f"{site}/v1", api_key=api_key("predict"), max_retries=0, timeout=120)
    texts = ["The tenant pays the rent.", "The tenant pays the rent!", "Bananas are yellow."]
    answer = client.embeddings.create(model="production", input=texts)  # the package asks for base64 and reads it
    first, near, far = (entry.embedding for entry in answer.data)
    assert len(first) == len(near) == len(far) > 8
    assert cosine(first, near) > cosine(first, far)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    plain = client.embeddings.create(model="production", input=texts[0], encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(first, abs=1e-5)
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="production", input=texts, dimensions=3)
    assert caught.value.param == "dimensions"


def cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / (sum(a * a for a in one) * sum(b * b for b in other)) ** 0.5
