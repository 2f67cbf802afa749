"""Brings a deployment into use: the model servers load it one after the other, each is asked whether it speaks through the
template that the model was trained with, and only then it takes over. Until that moment the one before it answers.

At most one server loads at a time, so that a model which takes a server down with it takes one, and the deployment fails.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging import getLogger
from typing import Any

import httpx
from django.db import close_old_connections, connections

from finetune_engine.errors import UserError
from serving_app import queue
from serving_app.choices import DeploymentState, ReplicaState
from serving_app.models import Deployment, Replica
from serving_app.operations import preparing
from serving_app.queries import chosen_backend, expected_template, fresh_replicas, has_model, model_of
from serving_app.replicas.pool import UNIX_PREFIX

LOAD_SECONDS = 900.0
CONNECT_SECONDS = 5.0
PAUSE_SECONDS = 0.5
UNREACHABLE_SECONDS = 60.0
"""A server that has died leaves the table sooner; one that is there and cannot be reached for so long is a fault to tell."""
BREAKS_TO_FAIL = 2
"""One server that ends while it loads may have been restarted by its operator; a second one makes it the model."""
FORGOTTEN_SECONDS = 20.0

logger = getLogger(__name__)


class Unreachable(Exception):
    """The server could not be asked: that says nothing of the model."""


class Broken(Exception):
    """The server went away while it loaded."""


@dataclass
class Preparation:
    """One deployment on its way. ``loaded`` maps the addresses that are ready to the template that each told (None for a
    model whose template is not here)."""

    deployment: Deployment
    token: str
    serving_id: str
    loaded: dict[str, str | None] = field(default_factory=dict)
    silent_since: dict[str, float] = field(default_factory=dict)
    breaks: int = 0
    began: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """Until it is in use, has failed or was called off."""
        while True:
            servers = _servers(self.serving_id)
            waiting = [replica for replica in servers if replica.address not in self.loaded]
            if not waiting:
                break
            following = min(waiting, key=lambda replica: self.silent_since.get(replica.address, 0.0))
            if not self._note(servers, following.address):
                return
            self._load(following)
        if self.breaks and not self.loaded:
            raise UserError("server_ended", "The model server ended while it loaded the model.")
        checked = {"seconds": round(time.monotonic() - self.began, 2), **_templates(self.deployment, self.loaded)}
        preparing.activate_deployment(deployment_id=self.deployment.pk, token=self.token, checked=checked)

    def _note(self, servers: list[Replica], loading: str) -> bool:
        return preparing.note_progress(
            deployment_id=self.deployment.pk,
            token=self.token,
            ready=sorted(self.loaded),
            replicas=len(servers),
            loading=loading,
        )

    def _load(self, replica: Replica) -> None:
        with self._staying_alive(replica.address):
            try:
                template = load_at(replica.address, self.serving_id)
            except Unreachable as error:
                since = self.silent_since.setdefault(replica.address, time.monotonic())
                if time.monotonic() - since > UNREACHABLE_SECONDS:
                    raise UserError("unreachable", f"A model server cannot be reached ({error}).") from error
                time.sleep(PAUSE_SECONDS)
                return
            except Broken as error:
                self.breaks += 1
                if self.breaks >= BREAKS_TO_FAIL:
                    logger.warning("deployment %s: a second model server ended: %s", self.deployment.pk, error)
                    raise UserError(
                        "server_ended",
                        "Two model servers ended while they loaded it. It may need more memory than they have; their log "
                        "says more.",
                    ) from error
                time.sleep(PAUSE_SECONDS)
                return
        _demand_parity(self.deployment, template)
        self.loaded[replica.address] = template

    @contextmanager
    def _staying_alive(self, address: str) -> Iterator[None]:
        """Keep the claim while a server loads for minutes."""
        ended = threading.Event()

        def keep() -> None:
            while not ended.wait(preparing.CLAIM_SECONDS / 4):
                try:
                    self._note(_servers(self.serving_id), address)
                except Exception as error:  # the thread must outlive every fault of the database
                    logger.warning("the claim on a deployment was not renewed: %s", error)
                    close_old_connections()
            connections.close_all()  # those of this thread

        thread = threading.Thread(target=keep, name="preparing", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(timeout=5)


def prepare_waiting() -> None:
    """Bring everything that is on its way into use, as far as nobody else is at it; then look whether what came into use
    without waiting is as it should be. Safe to run twice at once."""
    for pk in Deployment.objects.filter(state=DeploymentState.PREPARING).order_by("id").values_list("pk", flat=True):
        prepare(pk)
    for row in _unlooked():
        warm(row)


def look_after() -> None:
    """The caretaker's round: ring again for what nobody has begun; what was left lying for long is done here."""
    now = time.time()
    waiting = [
        row
        for row in Deployment.objects.filter(state=DeploymentState.PREPARING)
        if float(row.progress.get("claimed_until", 0.0)) <= now
    ]
    waiting += _unlooked() if fresh_replicas() else []
    if not waiting:
        return
    oldest = min((row.activated_at or row.created_at).timestamp() for row in waiting)
    if now - oldest > FORGOTTEN_SECONDS:
        prepare_waiting()
    else:
        queue.ring_for_preparing()


def _unlooked() -> list[Deployment]:
    """Those that came into use before any server had loaded them."""
    rows = Deployment.objects.filter(state=DeploymentState.ACTIVE, progress={}, problem="")
    return list(rows.select_related("project", "trained_model__connection"))


def prepare(deployment_id: str) -> None:
    """One deployment, from its claim to its end. Whatever goes wrong ends as ``failed`` with a sentence."""
    token = preparing.claim_preparation(deployment_id=deployment_id)
    if token is None:
        return
    try:
        deployment = Deployment.objects.select_related("project", "trained_model__connection").get(pk=deployment_id)
        if not has_model(deployment):
            raise UserError("model_gone", "Its model was deleted meanwhile.")
        Preparation(deployment, token, model_of(deployment).serving_id).run()
    except UserError as error:
        preparing.fail_deployment(deployment_id=deployment_id, token=token, problem=error.sentence)
    except Exception as error:
        logger.exception("preparing deployment %s failed", deployment_id)
        problem = f"Preparing it failed ({type(error).__name__}). The log of the site says more."
        preparing.fail_deployment(deployment_id=deployment_id, token=token, problem=problem)


def warm(deployment: Deployment) -> None:
    """Have the servers load a model that is in use already, and note what they said; without servers nothing is noted."""
    loaded: dict[str, str | None] = {}
    try:
        if not has_model(deployment):
            return
        serving_id = model_of(deployment).serving_id
        for replica in _servers(serving_id):
            loaded[replica.address] = load_at(replica.address, serving_id)
            _demand_parity(deployment, loaded[replica.address])
    except (Broken, Unreachable):
        return  # the next round tries again
    except UserError as error:
        preparing.note_check(deployment=deployment, checked={"template": "unknown"}, problem=error.sentence)
        return
    if loaded:
        preparing.note_check(deployment=deployment, checked=_templates(deployment, loaded))


def load_at(address: str, serving_id: str) -> str | None:
    """Have one model server load a model; returns the sha256 of the template it speaks through. Raises UserError with the
    server's own sentence, Unreachable, and Broken when it ended meanwhile."""
    is_socket = address.startswith(UNIX_PREFIX)
    transport = httpx.HTTPTransport(uds=address.removeprefix(UNIX_PREFIX)) if is_socket else httpx.HTTPTransport()
    timeout = httpx.Timeout(LOAD_SECONDS, connect=CONNECT_SECONDS)
    base = "http://replica" if is_socket else address
    try:
        with httpx.Client(transport=transport, base_url=base, timeout=timeout, trust_env=False) as client:
            response = client.post("/v1/load", json={"model": serving_id})
            told: dict[str, Any] = response.json()
    except httpx.ReadTimeout as error:
        sentence = f"The model server did not load the model within {LOAD_SECONDS / 60:.0f} minutes."
        raise UserError("load_timeout", sentence) from error
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Unreachable(f"{address}: {type(error).__name__}") from error
    except (httpx.HTTPError, ValueError) as error:
        raise Broken(f"{address}: {type(error).__name__}") from error
    if response.status_code == 200:
        return told.get("template_sha256") or None
    error_told = told.get("error") or {}
    raise UserError("not_loaded", str(error_told.get("message") or "A model server could not load the model."))


def _servers(serving_id: str) -> list[Replica]:
    """The model servers that take questions and can run what the serving id asks for."""
    _, backend = chosen_backend(serving_id)
    found = [replica for replica in fresh_replicas() if replica.state == ReplicaState.READY]
    able = [replica for replica in found if backend in ("auto", *replica.backends)]
    return able or found


def _demand_parity(deployment: Deployment, template: str | None) -> None:
    wanted = expected_template(deployment)
    if wanted and template and wanted != template:
        raise UserError(
            "template_differs",
            "The model server speaks to the model through another chat template than the one it was trained with, so its "
            "answers would not be those that were judged.",
        )


def _templates(deployment: Deployment, loaded: dict[str, str | None]) -> dict[str, Any]:
    """What was found out about templates, for the deployment's record."""
    told = {template for template in loaded.values() if template}
    wanted = expected_template(deployment)
    same = bool(told) and wanted is not None and told == {wanted}
    return {
        "servers": len(loaded),
        "template": "same" if same else "unknown",
        "template_sha256": next(iter(told)) if len(told) == 1 else None,
    }
