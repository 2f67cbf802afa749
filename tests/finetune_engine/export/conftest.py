"""The tiny random model and its adapter."""

from tests.finetune_engine.tiny_chat_model import tiny_adapter, tiny_model  # noqa: F401  fixtures
