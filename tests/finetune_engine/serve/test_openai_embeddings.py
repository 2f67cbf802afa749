import base64
import struct

import pytest

from finetune_engine.errors import UserError
from finetune_engine.serve.openai_format import embedding_body, parse_embedding_request

VECTORS = [[0.5, -1.0], [0.25, 2.0]]


def test_numbers_come_in_the_order_of_the_texts():
    request = parse_embedding_request({"model": "m", "input": ["a", "b"]})
    body = embedding_body(request, VECTORS, 7)
    assert [entry["embedding"] for entry in body["data"]] == VECTORS
    assert [entry["index"] for entry in body["data"]] == [0, 1]
    assert body["usage"] == {"prompt_tokens": 7, "total_tokens": 7}


def test_base64_holds_little_endian_floats():
    request = parse_embedding_request({"model": "m", "input": "a", "encoding_format": "base64"})
    told = embedding_body(request, VECTORS[:1], 1)["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(told)) == (0.5, -1.0)


def test_vectors_are_never_cut():
    request = parse_embedding_request({"model": "m", "input": "a", "dimensions": 2})
    assert embedding_body(request, VECTORS[:1], 1)["data"]
    shorter = parse_embedding_request({"model": "m", "input": "a", "dimensions": 1})
    with pytest.raises(UserError, match="can only be 2") as caught:
        embedding_body(shorter, VECTORS[:1], 1)
    assert caught.value.field == "dimensions"


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "\ud800"}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"colour": 1}, "colour"),
        ({"model": ""}, "model"),
    ],
)
def test_mistakes_are_named(extra, param):
    with pytest.raises(UserError) as caught:
        parse_embedding_request({"model": "m", "input": "a"} | extra)
    assert (caught.value.status, caught.value.field) == (400, param)
