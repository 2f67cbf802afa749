"""A tiny random model that chats, and an adapter for it."""

from tests.finetune_engine.tiny_chat_model import tiny_adapter, tiny_model  # noqa: F401  fixtures
