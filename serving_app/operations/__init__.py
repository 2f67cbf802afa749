"""Everything that changes deployments, replicas, the prediction log and what people say of it."""

from serving_app.operations.alerts import check_alerts
from serving_app.operations.deployments import change_settings, deploy_model, retire_deployment, roll_back
from serving_app.operations.drift import look_for_drift
from serving_app.operations.feedback import MAX_CORRECTION, give_feedback
from serving_app.operations.limits import forget_windows, set_key_limits, take_permits
from serving_app.operations.log_policy import prune_log
from serving_app.operations.prediction_log import log_predictions, refusals_left, without_vanished
from serving_app.operations.replicas import (
    ReplicaFacts,
    announce_replica,
    beat_replica,
    dismiss_replica,
    drain_replica,
    forget_lost_replicas,
)
from serving_app.operations.trials import end_trial, promote_trial, start_trial

__all__ = [
    "MAX_CORRECTION",
    "ReplicaFacts",
    "announce_replica",
    "beat_replica",
    "change_settings",
    "check_alerts",
    "deploy_model",
    "dismiss_replica",
    "drain_replica",
    "end_trial",
    "forget_lost_replicas",
    "forget_windows",
    "give_feedback",
    "log_predictions",
    "look_for_drift",
    "promote_trial",
    "prune_log",
    "refusals_left",
    "retire_deployment",
    "roll_back",
    "set_key_limits",
    "start_trial",
    "take_permits",
    "without_vanished",
]
