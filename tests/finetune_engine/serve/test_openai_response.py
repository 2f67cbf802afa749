import json

from finetune_engine.errors import EngineError, UserError
from finetune_engine.serve.exchange import Alternative, CompletionRequest, Delta, Message, Served, Token, Usage
from finetune_engine.serve.openai_format import ChunkWriter, ReplyId, error_of, extension_of, gather, response_body

CHAT = CompletionRequest(model="m", messages=(Message("user", "hi"),), top_logprobs=1)
NAME = ReplyId("chatcmpl-1", 1_764_000_000)
DELTAS = [
    Delta(0, "Gr", (Token("Gr", -0.5, (Alternative("Gr", -0.5),)),)),
    Delta(0, "ü", (Token("ü", -1.5),), "stop"),
    Delta(usage=Usage(3, 2), served=Served("d1", "t1")),
]


def test_a_whole_answer_has_text_logprobs_usage_and_confidence():
    reply = gather(CHAT, DELTAS)
    extension = extension_of(reply, latency_seconds=0.25, first_token_seconds=0.1)
    body = response_body(CHAT, NAME, reply, extension)
    choice = body["choices"][0]
    assert choice["message"]["content"] == "Grü"
    assert choice["finish_reason"] == "stop"
    assert [entry["token"] for entry in choice["logprobs"]["content"]] == ["Gr", "ü"]
    assert choice["logprobs"]["content"][1]["bytes"] == [195, 188]
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert round(body["tunesmith"]["confidence"], 6) == 0.367879  # exp(-1)
    assert round(body["tunesmith"]["min_probability"], 6) == 0.22313  # exp(-1.5)
    assert body["tunesmith"]["model_digest"] == "d1"
    json.dumps(body, allow_nan=False)


def test_minus_infinity_becomes_the_number_openai_uses():
    reply = gather(CHAT, [Delta(0, "x", (Token("x", float("-inf")),), "stop")])
    body = response_body(CHAT, NAME, reply, {})
    assert body["choices"][0]["logprobs"]["content"][0]["logprob"] == -9999.0


def test_an_answer_without_tokens_has_no_confidence():
    extension = extension_of(gather(CHAT, [Delta(0, "", (), "stop")]), latency_seconds=0.1, first_token_seconds=None)
    assert extension["confidence"] is None
    assert extension["min_probability"] is None


def chunks_of(request):
    writer = ChunkWriter(request, NAME)
    out = list(writer.opening())
    for delta in DELTAS[:2]:
        out += writer.write(delta)
    return out + list(writer.closing(Usage(3, 2), {"confidence": 0.5}))


def test_every_chunk_of_a_plain_stream_has_a_choice_and_the_last_carries_the_extension():
    chunks = chunks_of(CHAT)
    assert all(chunk["choices"] for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["tunesmith"] == {"confidence": 0.5}
    assert sum("tunesmith" in chunk for chunk in chunks) == 1


def test_the_last_words_and_the_end_of_a_chat_are_two_chunks_and_nothing_follows_the_end():
    writer = ChunkWriter(CHAT, NAME)
    chunks = [chunk for delta in (*DELTAS[:2], DELTAS[1]) for chunk in writer.write(delta)]
    chunks += writer.closing(Usage(3, 2), {})
    told = [(chunk["choices"][0]["delta"], chunk["choices"][0]["finish_reason"]) for chunk in chunks]
    assert told == [({"content": "Gr"}, None), ({"content": "ü"}, None), ({}, "stop")]


def test_asked_for_usage_comes_in_a_chunk_of_its_own():
    request = CompletionRequest(model="m", messages=(Message("user", "hi"),), include_usage=True)
    chunks = chunks_of(request)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 5
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert "tunesmith" in chunks[-1]


def test_text_offsets_of_a_streamed_completion_go_on_counting():
    request = CompletionRequest(model="m", prompt="x", top_logprobs=0)
    offsets = [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in chunks_of(request)]
    assert offsets == [[0], [2]]


def test_of_rivals_that_read_alike_the_likeliest_is_told():
    request = CompletionRequest(model="m", prompt="x", top_logprobs=2)
    rivals = (Alternative("\ufffd", -0.5), Alternative("\ufffd", -3.0))
    reply = gather(request, [Delta(0, "é", (Token("é", -0.5, rivals),), "stop")])
    told = response_body(request, NAME, reply, {})["choices"][0]["logprobs"]
    assert told["top_logprobs"] == [{"\ufffd": -0.5}]


def test_what_the_caller_can_mend_is_told_and_what_is_ours_is_not():
    status, body = error_of(UserError("invalid_value", "Too hot.", "temperature", status=400))
    assert (status, body["error"]["param"], body["error"]["type"]) == (400, "temperature", "invalid_request_error")
    status, body = error_of(EngineError("oom_gpu", "CUDA out of memory at 0xdeadbeef"))
    assert status == 503
    assert "deadbeef" not in json.dumps(body)
    status, body = error_of(RuntimeError("/secret/path"))
    assert status == 500
    assert "secret" not in json.dumps(body)
