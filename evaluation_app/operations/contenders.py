"""Which models an evaluation asks: the one it is about, its base model, and whatever else a person wants beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from django.utils.translation import gettext as _

from accounts_app.models import Project
from evaluation_app.choices import SHOTS, ContenderKind
from evaluation_app.models import Contender
from evaluation_app.operations.typed_text import typed_text
from finetune_engine.errors import UserError
from jobs_app.models import ProviderConnection, TrainedModel
from jobs_app.queries import base_model_names, find_base_model, usable_base_model
from jobs_app.queries.connections import remote_model

MOST_CONTENDERS = 8
LONGEST_SYSTEM = 8_000
LONGEST_NAME = 250
SUBJECT_KEY, BASE_KEY = "tuned", "base"


@dataclass(frozen=True)
class ContenderWish:
    """One more model to ask. Say one of these: a ``trained_model``; a ``base_model_key``; ``system`` or ``shots`` (the
    subject's own base model with these instructions, and so many solved examples before each question); or the
    ``remote_name`` of a model at a ``connection``. ``name`` empty: it gets a telling one."""

    trained_model: TrainedModel | None = None
    base_model_key: str = ""
    system: str = ""
    shots: int = 0
    connection: ProviderConnection | None = None
    remote_name: str = ""
    name: str = ""

    @property
    def is_prompt(self) -> bool:
        """Whether it is the base model, asked in another way."""
        return not (self.trained_model or self.base_model_key or self.remote_name or self.connection)


@dataclass
class Lineup:
    """The contenders, not stored yet; the address that each model behind one has, by key; and what is wrong."""

    contenders: list[Contender] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    problems: list[UserError] = field(default_factory=list)

    @property
    def needs_machine(self) -> bool:
        """Whether any of them has to be loaded here."""
        return any(contender.key not in self.addresses for contender in self.contenders)

    @property
    def base(self) -> Contender | None:
        """The plain base model of the subject."""
        return next((contender for contender in self.contenders if contender.key == BASE_KEY), None)

    def add(self, contender: Contender, address: str = "") -> None:
        """Take one in."""
        self.contenders.append(contender)
        if address:
            self.addresses[contender.key] = address


def lineup(project: Project, subject: TrainedModel, others: Sequence[ContenderWish]) -> Lineup:
    """The base model, the subject and the wished ones, in this order. Naming the same model twice is harmless."""
    found = Lineup()
    _add_base(found, subject)
    _add_trained(found, subject, SUBJECT_KEY)
    seen: list[object] = [("trained", subject.pk), ("base", subject.base_model_key)]
    number = 2
    for wish in map(_as_kept, others):
        mark = _mark(wish)
        if mark in seen:
            continue
        seen.append(mark)
        _add_wish(found, project, subject, wish, f"model_{number}")
        number += 1
    if len(seen) > MOST_CONTENDERS:
        sentence = _("At most %(most)s models can be compared at once, the trained model and its base model included.")
        found.problems.append(UserError("too_many_models", sentence % {"most": MOST_CONTENDERS}, field="models"))
    return found


def _as_kept(wish: ContenderWish) -> ContenderWish:
    """With its texts as every database can keep them; what is too long stays so and is refused."""
    return replace(
        wish,
        system=typed_text(wish.system, LONGEST_SYSTEM + 1),
        remote_name=typed_text(wish.remote_name, LONGEST_NAME + 1),
        name=typed_text(wish.name, LONGEST_NAME),
    )


def _mark(wish: ContenderWish) -> object:
    """What makes two wishes the same."""
    if wish.trained_model is not None:
        return ("trained", wish.trained_model.pk)
    if wish.base_model_key:
        return ("base", wish.base_model_key)
    if wish.is_prompt:
        return ("prompt", wish.system, wish.shots)
    return ("endpoint", wish.connection.pk if wish.connection else None, wish.remote_name)


def _add_base(found: Lineup, subject: TrainedModel) -> None:
    """The subject's base model, which it is compared with. A provider's model that is no longer known has none."""
    key = subject.base_model_key
    base = Contender(key=BASE_KEY, kind=ContenderKind.BASE, name=_base_name(key), base_model_key=key, is_reference=True)
    if not subject.remote_name:
        found.problems += _unusable(key)
        found.add(base)
        return
    remote, address = remote_model(key), _address(subject)
    if remote is not None and address:
        base.remote_name, base.connection = remote.model, subject.connection
        found.add(base, address)


def _add_trained(found: Lineup, model: TrainedModel, key: str) -> None:
    contender = Contender(
        key=key,
        kind=ContenderKind.TRAINED,
        name=model.name,
        trained_model=model,
        base_model_key=model.base_model_key,
        is_subject=key == SUBJECT_KEY,
    )
    if model.remote_name:
        contender.remote_name, contender.connection = model.remote_name, model.connection
        if not _address(model):
            sentence = _("%(model)s lives at a provider whose address is not known here any more.")
            found.problems.append(UserError("no_connection", sentence % {"model": model.name}, field="models"))
    found.add(contender, _address(model))


def _add_wish(found: Lineup, project: Project, subject: TrainedModel, wish: ContenderWish, key: str) -> None:
    if wish.trained_model is not None:
        if wish.trained_model.project_id != project.pk:
            raise UserError("not_found", _("There is no such model in this project."), field="models", status=404)
        if not wish.trained_model.remote_name and wish.trained_model.base_model_key != subject.base_model_key:
            found.problems += _unusable(wish.trained_model.base_model_key)
        _add_trained(found, wish.trained_model, key)
    elif wish.base_model_key:
        _add_other_base(found, wish, key)
    elif wish.is_prompt:
        _add_prompt(found, wish, key)
    else:
        _add_endpoint(found, project, wish, key)


def _add_other_base(found: Lineup, wish: ContenderWish, key: str) -> None:
    card = find_base_model(wish.base_model_key)
    if card is not None and card.is_remote:
        sentence = _(
            "%(model)s runs at a provider. Name it with the connection to that provider instead (page 'Providers and budget')."
        )
        found.problems.append(UserError("base_at_provider", sentence % {"model": card.name}, field="models"))
        return
    found.problems += _unusable(wish.base_model_key)
    name = wish.name or _base_name(wish.base_model_key)
    found.add(Contender(key=key, kind=ContenderKind.BASE, name=name, base_model_key=wish.base_model_key))


def _add_prompt(found: Lineup, wish: ContenderWish, key: str) -> None:
    system, base = wish.system, found.base
    if base is None:
        sentence = _(
            "The base model of this trained model cannot be asked, so other instructions for it cannot be tried."
        )
        found.problems.append(UserError("no_base", sentence, field="prompts"))
        return
    if not system and not wish.shots:
        sentence = _("To try the base model in another way, give it instructions, some examples, or both.")
        found.problems.append(UserError("empty_prompt", sentence, field="prompts"))
    if wish.shots not in SHOTS:
        told = {"shots": ", ".join(map(str, SHOTS))}
        sentence = _("The number of examples before each question is one of %(shots)s.") % told
        found.problems.append(UserError("bad_shots", sentence, field="prompts"))
    if len(system) > LONGEST_SYSTEM:
        sentence = _("Instructions may have up to %(most)s characters.") % {"most": LONGEST_SYSTEM}
        found.problems.append(UserError("long_prompt", sentence, field="prompts"))
    contender = Contender(
        key=key,
        kind=ContenderKind.PROMPTED,
        name=wish.name or _prompt_name(base.name, system, wish.shots),
        base_model_key=base.base_model_key,
        connection=base.connection,
        remote_name=base.remote_name,
        prompt={"system": system or None, "shots": wish.shots},
    )
    found.add(contender, found.addresses.get(BASE_KEY, ""))


def _prompt_name(base: str, system: str, shots: int) -> str:
    if system and shots:
        return _("%(base)s, other instructions and %(shots)s examples") % {"base": base, "shots": shots}
    if shots:
        return _("%(base)s, with %(shots)s examples") % {"base": base, "shots": shots}
    return _("%(base)s, other instructions") % {"base": base}


def _add_endpoint(found: Lineup, project: Project, wish: ContenderWish, key: str) -> None:
    name = wish.remote_name
    if wish.connection is None:
        sentence = _(
            "To ask a model behind an address, choose one of the project's connections. An owner adds them on the page "
            "'Providers and budget'."
        )
        found.problems.append(UserError("no_connection", sentence, field="endpoints"))
        return
    if wish.connection.project_id != project.pk:
        raise UserError("not_found", _("There is no such connection in this project."), field="endpoints", status=404)
    if not name or len(name) > LONGEST_NAME:
        sentence = _("Say what the model is called at %(where)s.") % {"where": wish.connection.name}
        found.problems.append(UserError("no_remote_name", sentence, field="endpoints"))
    contender = Contender(
        key=key,
        kind=ContenderKind.ENDPOINT,
        name=wish.name or _("%(model)s at %(where)s") % {"model": name[:120], "where": wish.connection.name},
        connection=wish.connection,
        remote_name=name[:LONGEST_NAME],
    )
    found.add(contender, wish.connection.base_url)


def _address(model: TrainedModel) -> str:
    """Where a provider keeps this model; empty for one that lies here."""
    if not model.remote_name:
        return ""
    kept = str(model.training_job.remote.get("base_url") or "")
    return kept or (model.connection.base_url if model.connection is not None else "")


def _unusable(key: str) -> list[UserError]:
    try:
        usable_base_model(key)
    except UserError as problem:
        problem.field = "models"
        return [problem]
    return []


def _base_name(key: str) -> str:
    return base_model_names().get(key, key)


def wish_of(contender: Contender) -> ContenderWish:
    """The wish that makes this contender again. Raises UserError when what it was is gone."""
    gone = contender.kind == ContenderKind.TRAINED and contender.trained_model is None
    gone = gone or (contender.kind == ContenderKind.ENDPOINT and contender.connection is None)
    if gone:
        sentence = _("%(model)s no longer exists, so this evaluation cannot be run again. Start a new one without it.")
        raise UserError("contender_gone", sentence % {"model": contender.name}, field="models", status=409)
    if contender.kind == ContenderKind.TRAINED:
        return ContenderWish(trained_model=contender.trained_model)
    if contender.kind == ContenderKind.PROMPTED:
        prompt = contender.prompt or {}
        return ContenderWish(
            system=prompt.get("system") or "", shots=int(prompt.get("shots") or 0), name=contender.name
        )
    if contender.kind == ContenderKind.BASE:
        return ContenderWish(base_model_key=contender.base_model_key, name=contender.name)
    return ContenderWish(connection=contender.connection, remote_name=contender.remote_name, name=contender.name)
