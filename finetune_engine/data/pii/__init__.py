"""Personal data and secrets: found, decided upon, masked. The values are never reported."""

from finetune_engine.data.pii.find import MAY_HOLD_PII, Span, find_pii, may_hold_pii
from finetune_engine.data.pii.mask import Masked, context_of, mask_messages, mask_text
from finetune_engine.data.pii.names import names_are_found
from finetune_engine.data.pii.policy import ACTIONS, KIND_NAMES, KINDS, Action, Policy, read_policy

__all__ = [
    "ACTIONS",
    "KINDS",
    "KIND_NAMES",
    "MAY_HOLD_PII",
    "Action",
    "Masked",
    "Policy",
    "Span",
    "context_of",
    "find_pii",
    "mask_messages",
    "mask_text",
    "may_hold_pii",
    "names_are_found",
    "read_policy",
]
