"""The loss of scored positions straight from their vectors, without holding all logits at once.

Logits are wide (a vocabulary of 150,000 makes half a megabyte a token); kept for the gradient they are often the largest
thing in memory. Here they are made for a few rows at a time, and what remains of them is the gradient of the vectors.
For models whose last layer is a bare frozen matrix; everything else goes the usual way.
"""

from __future__ import annotations

from typing import Any

import torch

# Their logits are the last layer's output as it is: no scaling, no soft cap.
PLAIN_HEADS = frozenset({"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"})
LOGITS_AT_ONCE = 1 << 25


class ScoredLoss(torch.autograd.Function):
    """``(sum of nats, right guesses)`` of vectors ``(scored, width)`` under a frozen matrix ``(vocabulary, width)``."""

    @staticmethod
    def forward(
        ctx: Any, vectors: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, wants_gradient: bool, rows: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradient is ``(softmax - one-hot) W``, made while the logits of ``rows`` vectors are at hand."""
        nats = torch.zeros((), dtype=torch.float64 if vectors.dtype == torch.float64 else torch.float32)
        nats, right = nats.to(vectors.device), torch.zeros((), dtype=torch.long, device=vectors.device)
        gradient = torch.empty_like(vectors) if wants_gradient else None
        for start in range(0, vectors.shape[0], rows):
            part, wanted = vectors[start : start + rows], targets[start : start + rows, None]
            logits = (part @ weight.t()).to(nats.dtype)
            right += (logits.argmax(-1, keepdim=True) == wanted).sum()
            highest = logits.gather(1, wanted)
            total = logits.logsumexp(-1, keepdim=True)
            nats += (total - highest).sum()
            if gradient is not None:
                shares = logits.sub_(total).exp_()
                shares.scatter_add_(1, wanted, torch.full_like(total, -1.0))
                torch.mm(shares.to(weight.dtype), weight, out=gradient[start : start + rows])
        ctx.gradient = gradient
        ctx.mark_non_differentiable(right)
        return nats, right

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        """The gradient of the vectors."""
        return ctx.gradient * grads[0].to(ctx.gradient.dtype), None, None, None, None


def scored_loss(
    vectors: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, *, rows: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """``(sum of nats with its graph, right guesses)``; ``rows`` vectors at a time (None: by the vocabulary's size)."""
    rows = rows or max(1, LOGITS_AT_ONCE // weight.shape[0])
    wants = torch.is_grad_enabled() and vectors.requires_grad
    found: tuple[torch.Tensor, torch.Tensor] = ScoredLoss.apply(  # type: ignore[no-untyped-call]
        vectors.to(weight.dtype), weight, targets, wants, rows
    )
    return found


def plain_head(core: Any) -> torch.Tensor | None:
    """The last layer's frozen matrix ``(vocabulary, width)``, where the logits are nothing but its product; else None."""
    head = getattr(core, "lm_head", None)
    if type(core).__name__ not in PLAIN_HEADS or type(head) is not torch.nn.Linear or head.bias is not None:
        return None
    whole = type(head.weight.data) is torch.Tensor and not head.weight.requires_grad
    return head.weight if whole else None
