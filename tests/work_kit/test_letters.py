"""E-mail about ended jobs, through the outbox and a real SMTP connection."""

from __future__ import annotations

import email
import socketserver
import threading
from email import policy

import pytest

from finetune_engine.errors import UserError
from work_kit import kinds
from work_kit.models import Delivery
from work_kit.notifications import operations, postman
from work_kit.operations import claim_job, end_attempt, submit_job, succeed_job

pytestmark = pytest.mark.django_db


class Smtp(socketserver.StreamRequestHandler):
    """Enough of RFC 5321 to take a letter, or to refuse it (``server.refuses`` is the answer to RCPT)."""

    def handle(self) -> None:
        self._say("220 here")
        letter: list[bytes] | None = None
        for line in self.rfile:
            if letter is not None:
                if line == b".\r\n":
                    self.server.letters.append(email.message_from_bytes(b"".join(letter), policy=policy.default))
                    letter = None
                    self._say("250 taken")
                else:
                    letter.append(line)
                continue
            word = line[:4].upper()
            if word == b"DATA":
                letter = []
                self._say("354 go on")
            elif word == b"QUIT":
                self._say("221 bye")
                return
            else:
                self._say(self.server.refuses if word == b"RCPT" and self.server.refuses else "250 fine")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def mail_server(settings):
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp)
    server.daemon_threads = True
    server.letters, server.refuses = [], ""
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.server_address[1]
    settings.MAIL_IS_SENT = True
    settings.SITE_URL = "https://tunesmith.example"
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def toy(toy):
    toy.page_url = lambda job: f"/p/{job.project.slug}/train/{job.pk}"
    return toy


@pytest.fixture
def end(actor, toy):
    """``end("failed", title=..., actor=...)``: a job that ends so."""

    def run(state: str, title: str = "Clauses", by=actor):
        job = submit_job(actor=by, kind=toy.name, title=title, params={})
        lease = claim_job(queue="cpu", host="here", device="cpu")
        if state == "succeeded":
            succeed_job(lease, kinds.kind_of(toy.name), {})
        else:
            failure = {"code": "out_of_memory", "message": "7 GB were\nneeded, \x1b[31m6 GB are there."}
            end_attempt(lease, reason="bad_data", failure=failure)
        return job

    return run


def test_a_letter_says_what_happened_the_way_out_and_where_to_look(mail_server, end, owner):
    job = end("failed")
    assert postman.send_due() == 1
    (letter,) = mail_server.letters
    text = letter.get_content()
    assert letter["To"] == owner.email
    assert letter["Subject"] == "[Contract desk] “Clauses” has failed."
    assert "The data cannot be used as it is. 7 GB were needed, [31m6 GB are there." in text
    assert "Mend the rows" in text
    assert f"https://tunesmith.example/p/contract-desk/train/{job.pk}" in text
    assert "https://tunesmith.example/p/contract-desk/notifications/" in text
    assert letter.get_content_type() == "text/plain"
    assert Delivery.objects.get().delivered_at is not None


def test_a_title_cannot_add_headers_or_lines(mail_server, end):
    end("failed", title="Hello\r\nBcc: everybody@example.org\r\n\r\nYou have won <b>a prize</b>")
    postman.send_due()
    (letter,) = mail_server.letters
    assert letter["Bcc"] is None
    assert "“Hello Bcc: everybody@example.org You have won <b>a prize</b>” has failed." in letter["Subject"]


@pytest.mark.parametrize(
    ("about", "own_success", "own_failure", "others_failure"),
    [(None, 0, 1, 0), ("nothing", 0, 0, 0), ("failures", 0, 1, 0), ("mine", 1, 1, 0), ("all", 1, 1, 1)],
)
def test_each_wish_gets_its_jobs(
    mail_server, end, actor, trainer, project, about, own_success, own_failure, others_failure
):
    from accounts_app.permissions import project_for

    other = project_for(trainer, project.slug, "train")
    operations.set_mail_wish(actor=other, about="nothing")
    if about:
        operations.set_mail_wish(actor=actor, about=about)
    ends = [("succeeded", actor, own_success), ("failed", actor, own_failure), ("failed", other, others_failure)]
    for state, by, wanted in ends:
        before = len(mail_server.letters)
        end(state, by=by)
        postman.send_due()
        assert len(mail_server.letters) - before == wanted, (state, wanted)


def test_nothing_is_written_while_there_is_no_mail_server(end, settings):
    settings.MAIL_IS_SENT = False
    end("failed")
    assert not Delivery.objects.exists()


def test_a_server_that_does_not_answer_is_tried_again_later(mail_server, end, settings):
    end("failed")
    settings.EMAIL_PORT = 1
    postman.send_due()
    delivery = Delivery.objects.get()
    assert (delivery.delivered_at, delivery.given_up_at, delivery.attempts) == (None, None, 1)
    settings.EMAIL_PORT = mail_server.server_address[1]
    Delivery.objects.update(available_at="2020-01-01T00:00:00Z")
    postman.send_due()
    assert len(mail_server.letters) == 1


def test_an_address_that_does_not_exist_is_given_up_at_once(mail_server, end):
    mail_server.refuses = "550 no such mailbox"
    end("failed")
    postman.send_due()
    delivery = Delivery.objects.get()
    assert delivery.given_up_at is not None
    assert "550" in delivery.problem


def test_who_has_left_the_project_gets_no_letter(mail_server, end, trainer, project):
    from accounts_app.models import Membership
    from accounts_app.permissions import project_for

    end("failed", by=project_for(trainer, project.slug, "train"))
    Membership.objects.filter(user=trainer).delete()
    postman.send_due()
    assert mail_server.letters == []
    assert Delivery.objects.get().given_up_at is not None


def test_a_key_has_no_wishes(project):
    from accounts_app.permissions import Actor

    with pytest.raises(UserError):
        operations.set_mail_wish(actor=Actor(project=project, acts=frozenset({"view"})), about="all")
