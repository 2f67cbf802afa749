"""What of a prediction may be written down, by its project's policy."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from logging import getLogger
from typing import Any, Protocol

from accounts_app.models import Project
from datasets_app.queries.policy import pii_policy
from finetune_engine.data.pii import Policy, mask_messages, read_policy
from serving_app.models import LogPolicy

logger = getLogger(__name__)

KEPT_SECONDS = 1.0
UNWRITTEN = "The texts were not written: masking personal data failed."
MOST_ERROR = 300


class Row(Protocol):
    """What a row of the log must have; the fields are those of ``models.Prediction``."""

    request_id: str
    project_id: str
    input: dict[str, Any]
    question_text: str
    output: str
    params: dict[str, Any]
    error: str
    is_masked: bool


@dataclass(frozen=True)
class LogRules:
    """What holds for the log of one project. ``kinds`` are the decisions on personal data: what would keep an example out of the
    training data is masked here."""

    keeps_texts: bool = True
    masks: bool = False
    kinds: Policy | None = None


def made_fit(predictions: Sequence[Row]) -> None:
    """Mask or empty the texts of rows about to be written, in place. Runs in the log's writing thread and never raises: where
    masking fails the row is written without its texts and says so."""
    for prediction in predictions:
        try:
            _made_fit(prediction, rules_of(prediction.project_id))
        except Exception:  # a front door: an answer that was given must stand in the log
            logger.exception("the texts of prediction %s could not be masked", prediction.request_id)
            _emptied(prediction)
            prediction.is_masked = True
            prediction.error = UNWRITTEN


def masked_text(project_id: str, text: str) -> str:
    """``text`` as this project's log may hold it: masked, or "" where no texts are kept."""
    rules = rules_of(project_id)
    if not rules.keeps_texts:
        return ""
    if not rules.masks or not text:
        return text
    return str(mask_messages([{"content": text}], rules.kinds or {}).messages[0]["content"])


_known: dict[str, tuple[float, LogRules]] = {}
_lock = threading.Lock()


def rules_of(project_id: str) -> LogRules:
    """The project's rules, at most a second old."""
    now = time.monotonic()
    with _lock:
        found = _known.get(project_id)
    if found is not None and now - found[0] < KEPT_SECONDS:
        return found[1]
    try:
        rules = _read(project_id)
    except Exception:
        if found is None:
            raise
        logger.warning("the policy of project %s could not be read; the one before holds", project_id)
        return found[1]
    with _lock:
        if len(_known) > 10_000:
            _known.clear()
        _known[project_id] = (now, rules)
    return rules


def forget_rules() -> None:
    """Read them again at the next question (a policy has changed in this process)."""
    with _lock:
        _known.clear()


def _read(project_id: str) -> LogRules:
    row = LogPolicy.objects.filter(project=project_id).first()
    if row is None:
        return LogRules()
    kinds = pii_policy(Project.objects.get(pk=project_id)) if row.masks_personal_data else None
    return LogRules(row.keeps_texts, row.masks_personal_data, read_policy(kinds))


def _made_fit(prediction: Row, rules: LogRules) -> None:
    if not rules.keeps_texts:
        _emptied(prediction)
        return
    if rules.masks:
        _mask(prediction, rules.kinds or {})


def _emptied(prediction: Row) -> None:
    prediction.input = {}
    prediction.question_text = prediction.output = prediction.error = ""  # an error may repeat what was asked
    prediction.params = {name: value for name, value in prediction.params.items() if _is_number(value)}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def _mask(prediction: Row, kinds: Policy) -> None:
    """One value gets one mark in the whole row, in the question and in the answer."""
    messages = list(prediction.input.get("messages") or ())
    others = {name: value for name, value in prediction.input.items() if name != "messages"}
    params = {name: value for name, value in prediction.params.items() if not _is_number(value)}
    # Under an empty name: a name is read as words before its value.
    texts = [prediction.output, prediction.question_text, prediction.error, others, params]
    done = mask_messages(messages, kinds, beside={"": texts})
    prediction.output, prediction.question_text, error, others, params = done.beside[""]
    prediction.error = error[:MOST_ERROR]  # a mark may be longer than what it stands for
    prediction.params = prediction.params | params
    prediction.input = others | ({"messages": done.messages} if messages else {})
    prediction.is_masked = True
