"""OpenAI's JSON: requests read strictly, responses written the way the official SDK expects them."""

from finetune_engine.serve.openai_format.embeddings import EmbeddingRequest, embedding_body, parse_embedding_request
from finetune_engine.serve.openai_format.request import parse_chat_request, parse_completion_request
from finetune_engine.serve.openai_format.response import (
    Choice,
    ChunkWriter,
    Reply,
    ReplyId,
    error_body,
    error_of,
    extension_of,
    gather,
    response_body,
)

__all__ = [
    "Choice",
    "ChunkWriter",
    "EmbeddingRequest",
    "Reply",
    "ReplyId",
    "embedding_body",
    "error_body",
    "error_of",
    "extension_of",
    "gather",
    "parse_chat_request",
    "parse_completion_request",
    "parse_embedding_request",
    "response_body",
]
