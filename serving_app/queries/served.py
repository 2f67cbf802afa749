"""Which model a caller means, and the files behind it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from accounts_app.models import Project
from finetune_engine.errors import UserError
from finetune_engine.serve.calibration import Curve
from jobs_app import queries as jobs
from jobs_app.models import Checkpoint, ProviderConnection, TrainedModel
from jobs_app.queries.connections import access_to, remote_model
from jobs_app.queries.providers import OPENAI_URL
from serving_app.choices import PRODUCTION, BackendKind, DeploymentRole, DeploymentState
from serving_app.models import Deployment
from serving_app.queries.calibrations import newest_curve
from serving_app.queries.deployments import has_model

BASE_PREFIX = "base:"
REMOTE_PREFIX = "remote:"
TUNED_PREFIX = "ft:"
CHECKPOINT_PREFIX = "ckpt:"
BACKEND_MARK = "@"


@dataclass(frozen=True)
class AnswerSettings:
    """What a deployment says about its answers; the fields are those of ``models.Deployment``. ``curve`` turns the model's own
    confidence into the share of right answers, None when it was never calibrated."""

    default_temperature: float | None = None
    uses_exact_cache: bool = True
    uses_semantic_cache: bool = False
    semantic_threshold: float | None = None
    ask_human_below: float | None = None
    curve: Curve | None = None


@dataclass(frozen=True)
class ServedModel:
    """A model that may answer in a project. ``serving_id`` names it to the inference process without ambiguity
    (``base:<key>``, ``remote:<project>:<key>`` for a provider's, ``ft:<id of the trained model>`` or ``ckpt:<id>``; with
    ``@<backend>`` behind it where the deployment chose one), ``name`` to people; ``identity`` changes whenever the files
    behind it do, so that an answer in a cache is never another model's. ``shadow`` answers copies of ``shadow_percent`` of
    its questions, for the log alone."""

    serving_id: str
    name: str
    identity: str
    deployment_id: str | None = None
    settings: AnswerSettings = field(default_factory=AnswerSettings)
    shadow: ServedModel | None = None
    shadow_percent: int = 0


@dataclass(frozen=True)
class Route:
    """The models that a name leads to: the main one, and a trial beside it (``role`` is a ``choices.DeploymentRole``)."""

    main: ServedModel
    trial: ServedModel | None = None
    role: str = DeploymentRole.MAIN
    share_percent: int = 0


@dataclass(frozen=True)
class RemoteRef:
    """A model that a server of its own answers for: where, what it is called there, and whose key opens it
    (``connection`` None: the operator's)."""

    base_url: str
    model: str
    connection: ProviderConnection | None

    @property
    def identity(self) -> str:
        """As ``ServedModel.identity``. A provider may change a model behind its name; nobody here can see that."""
        return f"{REMOTE_PREFIX}{self.base_url}:{self.model}"


def named_model(project: Project, name: str) -> TrainedModel | None:
    """The project's trained model with this API name or id; None when there is none."""
    mine = TrainedModel.objects.filter(project=project)
    return mine.filter(api_name=name).first() or mine.filter(pk=name).first()


def route_of(project: Project, requested: str) -> Route:
    """Where a question to ``requested`` goes. Raises UserError 404 as ``served_model``."""
    if requested not in ("", PRODUCTION):
        return Route(_named(project, requested))
    rows = {
        row.role == DeploymentRole.MAIN: row
        for row in Deployment.objects.select_related("project", "trained_model__connection").filter(
            project=project, alias=PRODUCTION, state=DeploymentState.ACTIVE
        )
    }
    main, trial = rows.get(True), rows.get(False)
    if main is None or not has_model(main):
        raise UserError(
            "model_not_found",
            "No model is deployed in this project yet. Deploy one on the page Use, or name a model.",
            field="model",
            status=404,
        )
    model = model_of(main)
    if trial is None or not has_model(trial):
        return Route(model)
    try:
        other = model_of(trial)
    except UserError:  # its base model went away; a trial never costs the main model's answers
        return Route(model)
    if trial.role == DeploymentRole.SHADOW:
        model = replace(model, shadow=other, shadow_percent=trial.share_percent)
    return Route(model, other, trial.role, trial.share_percent)


def served_model(project: Project, requested: str) -> ServedModel:
    """The model a caller means: ``production`` (or nothing) is what is deployed, otherwise the name of a trained
    model of this project or the key of a base model. Raises UserError 404 for any other name."""
    return route_of(project, requested).main


def model_of(deployment: Deployment) -> ServedModel:
    """The model of a deployment, whether it is in use or not. Raises UserError 404 when it is gone."""
    settings = AnswerSettings(
        default_temperature=deployment.default_temperature,
        uses_exact_cache=deployment.uses_exact_cache,
        uses_semantic_cache=deployment.uses_semantic_cache,
        semantic_threshold=deployment.semantic_threshold,
        ask_human_below=deployment.ask_human_below,
        curve=newest_curve(deployment.trained_model_id),
    )
    if deployment.trained_model is not None:
        model = _tuned(deployment.trained_model)
    else:
        model = served_base(deployment.project, deployment.base_model_key)
    mark = "" if deployment.backend == BackendKind.AUTO else f"{BACKEND_MARK}{deployment.backend}"
    return replace(model, serving_id=model.serving_id + mark, deployment_id=deployment.pk, settings=settings)


def _named(project: Project, requested: str) -> ServedModel:
    trained = TrainedModel.objects.select_related("connection").filter(project=project, api_name=requested).first()
    if trained is not None:
        return replace(_tuned(trained), settings=AnswerSettings(curve=newest_curve(trained.pk)))
    if (checkpoint := jobs.find_checkpoint(requested, project)) is not None:
        identity = f"{checkpoint.training_job.base_model_key}:{checkpoint.manifest_sha256}"
        return ServedModel(f"{CHECKPOINT_PREFIX}{checkpoint.pk}", requested, identity)
    return served_base(project, requested)


def _tuned(trained: TrainedModel) -> ServedModel:
    if trained.remote_name:
        identity = _remote_of(trained).identity
    else:
        identity = f"{trained.base_model_key}:{trained.manifest_sha256}"
    return ServedModel(f"{TUNED_PREFIX}{trained.pk}", trained.api_name, identity)


def served_base(project: Project, key: str) -> ServedModel:
    """A base model as it is. Raises UserError 404 when this project has none of the name, or cannot ask it."""
    card = jobs.find_base_model(key, project)
    if card is None:
        raise UserError(
            "model_not_found",
            f"The model {key!r} does not exist in this project. GET /v1/models lists those that do.",
            field="model",
            status=404,
        )
    if not card.is_available:
        raise UserError(
            "model_unavailable",
            f"The model {key!r} cannot be asked here: {card.availability}.",
            field="model",
            status=404,
        )
    if card.is_remote:
        remote = _remote_base(project, key)
        return ServedModel(f"{REMOTE_PREFIX}{project.pk}:{key}", key, remote.identity)
    return ServedModel(f"{BASE_PREFIX}{key}", key, f"{BASE_PREFIX}{card.digest}")


def chosen_backend(serving_id: str) -> tuple[str, str]:
    """The serving id without its mark, and the backend that the mark names (``auto`` without one)."""
    bare, _, mark = serving_id.rpartition(BACKEND_MARK)
    if bare and mark in BackendKind.values:
        return bare, mark
    return serving_id, str(BackendKind.AUTO)


def served_remote(serving_id: str) -> RemoteRef | None:
    """Where a model is asked that has no files here; None for one that has. Raises UserError 404 when its project has no
    key for it any more."""
    bare, _ = chosen_backend(serving_id)
    kind, _, rest = bare.partition(":")
    if f"{kind}:" == REMOTE_PREFIX:
        project_id, _, key = rest.partition(":")
        project = Project.objects.filter(pk=project_id).first()
        if project is None:
            raise _unknown(serving_id)
        return _remote_base(project, key)
    if f"{kind}:" == TUNED_PREFIX:
        trained = TrainedModel.objects.select_related("connection").filter(pk=rest).exclude(remote_name="").first()
        return _remote_of(trained) if trained is not None else None
    return None


def _remote_of(trained: TrainedModel) -> RemoteRef:
    if trained.connection is not None:
        return RemoteRef(trained.connection.base_url, trained.remote_name, trained.connection)
    base = remote_model(trained.base_model_key)
    if base is None or not base.is_openai:  # the key was deleted: its questions must not go to anybody else
        raise _no_key(trained.api_name)
    return RemoteRef(OPENAI_URL, trained.remote_name, None)


def _remote_base(project: Project, key: str) -> RemoteRef:
    model = remote_model(key)
    access = access_to(model, project) if model is not None else None
    if model is None or access is None:
        raise _no_key(key)
    return RemoteRef(access.base_url, model.model, access.connection)


def served_files(serving_id: str) -> jobs.ModelFilesRef:
    """The files behind a serving id. Raises UserError 404 for an
    unknown one. May copy files from storage to this machine."""
    serving_id, _ = chosen_backend(serving_id)
    if serving_id.startswith(BASE_PREFIX):
        key = serving_id.removeprefix(BASE_PREFIX)
        card = jobs.usable_base_model(key)
        return jobs.ModelFilesRef(card.ref().as_dict(), None, card.digest)
    kind, _, key = serving_id.partition(":")
    if f"{kind}:" == TUNED_PREFIX:
        trained = TrainedModel.objects.select_related("project").filter(pk=key).first()
        if trained is not None:
            return jobs.model_files(trained.api_name, trained.project)
    if f"{kind}:" == CHECKPOINT_PREFIX:
        checkpoint = Checkpoint.objects.select_related("training_job__project").filter(pk=key).first()
        if checkpoint is not None:
            name = jobs.checkpoint_name(checkpoint)
            return jobs.model_files(name, checkpoint.training_job.project)
    raise _unknown(serving_id)


def expected_template(deployment: Deployment) -> str | None:
    """The sha256 of the chat template that the model was trained with; None when its training did not record one."""
    trained = deployment.trained_model
    if trained is None:
        return None
    if trained.checkpoint_step is not None:  # a state of a training speaks through that training's template
        trained = jobs.trained_model_of(trained.training_job) or trained
    return trained.run.get("template_sha256") or None


def _no_key(name: str) -> UserError:
    sentence = f"The model {name!r} is at a provider for which this project has no key."
    return UserError("model_unavailable", sentence, field="model", status=404)


def _unknown(serving_id: str) -> UserError:
    return UserError("model_not_found", f"There is no model {serving_id!r}.", field="model", status=404)
