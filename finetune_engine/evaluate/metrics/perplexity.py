"""How surprised a model is by the expected answers: by token, and by byte."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from finetune_engine.evaluate.metrics.metric import ALL_TASKS, Material, Measured

Values = npt.NDArray[np.float64]
_LARGEST_EXPONENT = 700.0


def perplexity_of_sums(sums: Values) -> Values:
    """exp of the token-weighted mean, from ``[nll, tokens]``; not a mean of perplexities."""
    mean = sums[:, 0] / np.maximum(sums[:, 1], 1.0)
    value: Values = np.exp(np.minimum(_LARGEST_EXPONENT, mean))
    return value


def bits_of_sums(sums: Values) -> Values:
    """Bits for each byte of the references, from ``[nll in nats, bytes]``."""
    bits: Values = sums[:, 0] / math.log(2) / np.maximum(sums[:, 1], 1.0)
    return bits


class Perplexity:
    """exp of the mean negative log-likelihood of an answer token. Not comparable between tokenizers."""

    name = "perplexity"
    unit = "number"
    higher_is_better = False
    is_proportion = False
    task_types = ALL_TASKS

    def suits(self, material: Material) -> bool:
        """When the model can tell likelihoods."""
        return material.nll is not None and material.tokens is not None

    def measure(self, material: Material) -> Measured:
        """Over all answer tokens; of a case alone, over its own."""
        rows = np.column_stack([np.asarray(material.nll, np.float64), np.asarray(material.tokens, np.float64)])
        signature = "exp(sum of answer-token nll / answer tokens), end token included"
        return Measured(rows, perplexity_of_sums, perplexity_of_sums(rows), signature)


class BitsPerByte:
    """Bits the model needs for each byte of the expected answers: comparable between tokenizers."""

    name = "bits_per_byte"
    unit = "number"
    higher_is_better = False
    is_proportion = False
    task_types = ALL_TASKS

    def suits(self, material: Material) -> bool:
        """When the model can tell likelihoods, and there is a byte to explain."""
        return material.nll is not None and any(material.references)

    def measure(self, material: Material) -> Measured:
        """Over all references; of a case alone, over its own."""
        sizes = [float(len(reference.encode())) for reference in material.references]
        rows = np.column_stack([np.asarray(material.nll, np.float64), sizes])
        signature = "sum of answer-token nll / ln 2 / UTF-8 bytes of the references, end token's cost included"
        return Measured(rows, bits_of_sums, bits_of_sums(rows), signature)
