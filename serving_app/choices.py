"""States of a deployment, the doors a prediction came through, and what people think of it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

PRODUCTION = "production"
"""The one alias: what answers when a caller names no model."""


class DeploymentState(models.TextChoices):
    """``preparing`` becomes ``active`` or ``failed``, ``active`` becomes ``retired``; nothing else."""

    PREPARING = "preparing", _("Getting ready")
    ACTIVE = "active", _("In use")
    FAILED = "failed", _("Could not be loaded")
    RETIRED = "retired", _("Retired")


class DeploymentRole(models.TextChoices):
    """What a deployment answers: everything, or beside the main one on trial."""

    MAIN = "main", _("Answers")
    SHADOW = "shadow", _("Listens along")
    SPLIT = "split", _("Answers a share")


class BackendKind(models.TextChoices):
    """What runs the model."""

    AUTO = "auto", _("Whatever the model server has")
    TRANSFORMERS = "transformers", _("transformers, in the model server")
    VLLM = "vllm", _("vLLM, beside the model server")
    ENDPOINT = "endpoint", _("A server that speaks OpenAI's protocol")


class ReplicaState(models.TextChoices):
    """Whether a replica takes new questions."""

    READY = "ready", _("Ready")
    DRAINING = "draining", _("Finishing")


class Door(models.TextChoices):
    """Where a question came in."""

    PREDICT = "predict", _("Program, simple call")
    CHAT = "chat", _("Program, chat")
    COMPLETIONS = "completions", _("Program, completion")
    EMBEDDINGS = "embeddings", _("Program, embedding")
    PLAYGROUND = "playground", _("Playground")
    SHADOW = "shadow", _("Listening along")


class Verdict(models.TextChoices):
    """What a person thinks of an answer."""

    GOOD = "good", _("Good")
    BAD = "bad", _("Bad")


class Reason(models.TextChoices):
    """What is wrong with an answer."""

    WRONG = "wrong", _("Wrong")
    MADE_UP = "made_up", _("Made up")
    INCOMPLETE = "incomplete", _("Incomplete")
    OUTDATED = "outdated", _("Out of date")
    FORMAT = "format", _("Wrong form")
    TONE = "tone", _("Wrong tone")
    UNSAFE = "unsafe", _("Harmful or confidential")
    OTHER = "other", _("Something else")


class CacheKind(models.TextChoices):
    """Where an answer came from that was not written anew."""

    EXACT = "exact", _("The same question before")
    SEMANTIC = "semantic", _("A question that means the same")


class HitVerdict(models.TextChoices):
    """Whether two questions deserved the same answer."""

    RIGHT = "right", _("Same meaning")
    WRONG = "wrong", _("Different meaning")


class AlertKind(models.TextChoices):
    """The figure an alert watches; its unit stands in ``serving_app.alerts``."""

    ERROR_RATE = "error_rate", _("Share of failed requests")
    LATENCY = "latency", _("Time for 95 of 100 answers")
    NO_REPLICA = "no_replica", _("Model servers running")
    CONFIDENCE = "confidence", _("Mean confidence")
    NEEDS_HUMAN = "needs_human", _("Share of answers for a person")
    BAD_FEEDBACK = "bad_feedback", _("Share of bad verdicts")
    DRIFT = "drift", _("Questions unlike the training data")
    TOKENS = "tokens", _("Tokens per day")


class ExportKind(models.TextChoices):
    """What an archive of a model holds."""

    MERGED = "merged", _("Merged model (safetensors)")
    ADAPTER = "adapter", _("Adapter only (PEFT)")
    GGUF = "gguf", _("GGUF (llama.cpp, Ollama)")


REPLICA_FRESH_SECONDS = 15.0
REPLICA_HEARTBEAT_SECONDS = 5.0
STARTING = "The model server is starting; try again in a few seconds."
