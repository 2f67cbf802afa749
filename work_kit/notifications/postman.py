"""Sends what lies in the outbox. Every worker of the queue ``cpu`` has one postman in a thread of its own, so that a long
job in the worker holds up no message; several postmen share the work, because a message is claimed before it is sent."""

from __future__ import annotations

import logging
import smtplib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import connection
from django.utils.translation import gettext as _

from finetune_engine.errors import UserError
from web_kit import outgoing
from work_kit.notifications import outbox
from work_kit.notifications.outbox import Claimed, Outcome
from work_kit.notifications.signing import signed_headers
from work_kit.outages import OUTAGES, drop_connection

logger = logging.getLogger(__name__)

AT_ONCE = 8
LOOK_SECONDS = 2.0
ANSWER_SECONDS = 15.0
TIDY_SECONDS = 3600.0
NO_SUCH_MAILBOX = 550


def send_due() -> int:
    """Send everything that is due now; returns how many sendings were tried."""
    tried = 0
    while claimed := outbox.claim_deliveries(most=AT_ONCE):
        with ThreadPoolExecutor(AT_ONCE) as pool:  # waiting for receivers; the database is asked in this thread only
            outcomes = list(pool.map(_sent, claimed))
        for one, outcome in zip(claimed, outcomes, strict=True):
            outbox.record_outcome(one, outcome)
            if outcome.status == HTTPStatus.GONE:
                outbox.switch_off_gone(one)
        tried += len(claimed)
    return tried


def deliver_until(ended: threading.Event) -> None:
    """Look into the outbox every two seconds until ``ended``. A database that does not answer is waited for."""
    tidied = time.monotonic()
    while not ended.wait(LOOK_SECONDS):
        try:
            send_due()
            if time.monotonic() - tidied > TIDY_SECONDS:
                outbox.forget_old_deliveries()
                tidied = time.monotonic()
        except OUTAGES:
            drop_connection()
        except Exception:  # the thread must outlive a mistake in one message
            logger.exception("the outbox could not be sent")
    connection.close()


def _sent(claimed: Claimed) -> Outcome:
    return _posted(claimed) if claimed.url else _mailed(claimed)


def _posted(claimed: Claimed) -> Outcome:
    """One POST without redirects. Only a 2xx answer means that the message was taken."""
    signature = signed_headers(
        message_id=f"wh_{claimed.id}", at=int(time.time()), body=claimed.body, secret=claimed.secret
    )
    headers = {"Content-Type": "application/json", **signature}
    try:
        status, _body = outgoing.send(
            "POST", claimed.url, content=claimed.body, headers=headers, seconds=ANSWER_SECONDS, most_bytes=4096
        )
    except UserError as refused:
        slow = _("The receiver took longer than %(n)s seconds to answer.") % {"n": int(ANSWER_SECONDS)}
        return Outcome(problem=slow if refused.code == "too_slow" else refused.sentence)
    if 200 <= status < 300:
        return Outcome(status)
    problem = _("The receiver answered with the status %(status)s.") % {"status": status}
    return Outcome(status, problem, is_final=status == HTTPStatus.GONE)


def _mailed(claimed: Claimed) -> Outcome:
    message = EmailMessage(
        claimed.letter["subject"],
        claimed.letter["text"],
        settings.DEFAULT_FROM_EMAIL,
        [claimed.address],
        # The same id when it is sent again: mail programs show it once. And no out-of-office answers.
        headers={"Message-ID": f"<{claimed.id}@tunesmith>", "Auto-Submitted": "auto-generated"},
    )
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as refused:
        code = next(iter(refused.recipients.values()))[0]
        problem = _("The mail server does not take mail for this address (%(code)s).") % {"code": code}
        return Outcome(problem=problem, is_final=code == NO_SUCH_MAILBOX)
    except (OSError, ValueError) as error:  # smtplib's errors are OSErrors; ValueError: an address it cannot write
        logger.warning("a letter was not taken by the mail server: %s", error)
        return Outcome(
            problem=_("The mail server did not take the letter (%(error)s).") % {"error": type(error).__name__}
        )
    return Outcome()
