"""Two ways to learn a rising curve from confidence to the share of right answers: isotonic regression and Platt's sigmoid.

Both give points of a ``Curve``. They rise strictly, by a tilt far below what anybody reads, so that a threshold on the
calibrated number is a threshold on the model's own and never lumps together answers that it told apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Points = tuple[tuple[float, ...], tuple[float, ...]]

FEWEST_IN_BLOCK = 10
"""Answers that one step of the isotonic curve rests on at least."""
TILT = 1e-6
EDGE = 1e-6
"""Confidences nearer to 0 or 1 than this are held at it before their logit is taken."""
SIGMOID_POINTS = 200
ROUNDS = 100


@dataclass(frozen=True)
class Block:
    """The answers with a confidence from ``low`` to ``high``: how many, and how many right."""

    low: float
    high: float
    n: int
    right: int


def identity(_sure: Values, _hits: Values) -> Points:
    """The model's own confidence as it is."""
    return (0.0, 1.0), (0.0, 1.0)


def isotonic(sure: Values, hits: Values) -> Points:
    """Pool adjacent violators (Ayer et al. 1955): the rising steps of least squared error, joined where no answer lies.

    ``sure`` and ``hits`` are ``(n,)``, 0..1 and 0 or 1. A step that rests on fewer than FEWEST_IN_BLOCK answers joins its
    neighbour; each step's share is (right + 1/2) / (n + 1), so that no step is certain.
    """
    blocks: list[Block] = []
    values, at = np.unique(sure, return_inverse=True)
    for value, n, right in zip(values, np.bincount(at), np.bincount(at, weights=hits), strict=True):
        blocks.append(Block(float(value), float(value), int(n), int(right)))
        while len(blocks) > 1 and blocks[-2].right * blocks[-1].n >= blocks[-1].right * blocks[-2].n:
            blocks[-2:] = [_joined(*blocks[-2:])]
    blocks = _thick(blocks)
    shares = np.maximum.accumulate([(block.right + 0.5) / (block.n + 1) for block in blocks])
    x = [edge for block in blocks for edge in (block.low, block.high)]
    y = [float(share) for share in shares for _ in range(2)]
    return _rising([0.0, *x, 1.0], [y[0], *y, y[-1]])


def platt(sure: Values, hits: Values) -> Points:
    """A sigmoid of the logit of the confidence by Newton's method, with Platt's softened targets (Platt 1999).

    A slope that would fall is held at zero: then the curve is the mean.
    """
    z = _logit(sure)
    right, n = float(hits.sum()), len(hits)
    target = np.where(hits > 0.5, (right + 1) / (right + 2), 1 / (n - right + 2))
    design = np.column_stack([z, np.ones_like(z)])
    weights = _newton(design, target)
    if weights[0] <= 0:
        mean = float(target.mean())
        return _rising([0.0, 1.0], [mean, mean])
    grid = np.linspace(float(_logit(np.array([EDGE]))[0]), float(_logit(np.array([1 - EDGE]))[0]), SIGMOID_POINTS)
    y = _sigmoid(weights[0] * grid + weights[1])
    return _rising([0.0, *map(float, _sigmoid(grid)), 1.0], [float(y[0]), *map(float, y), float(y[-1])])


def _newton(design: Values, target: Values) -> Values:
    """The weights ``(k,)`` of least log loss; each step is halved until the loss falls."""

    def loss(weights: Values) -> float:
        z = design @ weights
        return float((np.logaddexp(0.0, z) - target * z).sum())

    weights = np.array([1.0] + [0.0] * (design.shape[1] - 1))
    for _ in range(ROUNDS):
        said = _sigmoid(design @ weights)
        bend = (design * (said * (1 - said))[:, None]).T @ design + 1e-9 * np.eye(len(weights))
        step = np.linalg.solve(bend, design.T @ (said - target))
        before = loss(weights)
        while loss(weights - step) > before and float(np.abs(step).max()) > 1e-6:
            step = step / 2
        weights = weights - step
        if float(np.abs(step).max()) < 1e-6:
            break
    return weights


def _joined(one: Block, other: Block) -> Block:
    return Block(one.low, other.high, one.n + other.n, one.right + other.right)


def _thick(blocks: list[Block]) -> list[Block]:
    """Neighbours joined until every block has enough answers. Joined neighbours still rise."""
    found: list[Block] = []
    for block in blocks:
        if found and (found[-1].n < FEWEST_IN_BLOCK or block.n < FEWEST_IN_BLOCK):
            found[-1] = _joined(found[-1], block)
        else:
            found.append(block)
    return found


def _rising(x: list[float], y: list[float]) -> Points:
    """Without points of equal confidence, tilted."""
    kept_x: list[float] = []
    kept_y: list[float] = []
    for place, share in zip(x, y, strict=True):
        if kept_x and place <= kept_x[-1]:
            kept_y[-1] = max(kept_y[-1], share * (1 - TILT) + TILT * place)
            continue
        kept_x.append(place)
        kept_y.append(share * (1 - TILT) + TILT * place)
    return tuple(kept_x), tuple(kept_y)


def _logit(sure: Values) -> Values:
    held = np.clip(sure, EDGE, 1 - EDGE)
    found: Values = np.log(held) - np.log1p(-held)
    return found


def _sigmoid(z: Values) -> Values:
    found: Values = 1 / (1 + np.exp(-np.clip(z, -40, 40)))
    return found
