"""Roles, scopes and what each may do."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    """What a person is in one project, from most to least."""

    OWNER = "owner", _("Owner")
    TRAINER = "trainer", _("Trainer")
    REVIEWER = "reviewer", _("Reviewer")
    VIEWER = "viewer", _("Viewer")


class Scope(models.TextChoices):
    """What an API key may do."""

    READ = "read", _("Read")
    TRAIN = "train", _("Train")
    PREDICT = "predict", _("Predict")
    ADMIN = "admin", _("Administer")


class Act(models.TextChoices):
    """What somebody wants to do; every route names exactly one."""

    VIEW = "view", _("look at the project")
    REVIEW = "review", _("decide on rows and vote")
    TRAIN = "train", _("upload, train and evaluate")
    PREDICT = "predict", _("ask the model")
    OWN = "own", _("deploy, manage keys and members, delete")


ROLE_ACTS: dict[str, frozenset[str]] = {
    Role.VIEWER: frozenset({Act.VIEW}),
    Role.REVIEWER: frozenset({Act.VIEW, Act.REVIEW, Act.PREDICT}),
    Role.TRAINER: frozenset({Act.VIEW, Act.REVIEW, Act.TRAIN, Act.PREDICT}),
    Role.OWNER: frozenset(Act.values),
}

SCOPE_ACTS: dict[str, frozenset[str]] = {
    Scope.READ: frozenset({Act.VIEW}),
    Scope.PREDICT: frozenset({Act.PREDICT}),
    Scope.TRAIN: frozenset({Act.VIEW, Act.REVIEW, Act.TRAIN}),
    Scope.ADMIN: frozenset(Act.values),
}
