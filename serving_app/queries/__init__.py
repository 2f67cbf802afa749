"""Reads about deployments, replicas and predictions."""

from serving_app.queries.deployments import (
    coming_deployment,
    current_deployment,
    current_trial,
    deployments_of,
    has_model,
    model_label,
    use_of_connection,
    use_of_model,
)
from serving_app.queries.replicas import Health, fresh_replicas, serving_health
from serving_app.queries.served import (
    AnswerSettings,
    RemoteRef,
    Route,
    ServedModel,
    chosen_backend,
    expected_template,
    model_of,
    named_model,
    route_of,
    served_files,
    served_model,
    served_remote,
)
from serving_app.queries.traffic import Traffic, job_counts, traffic_of

__all__ = [
    "AnswerSettings",
    "Health",
    "RemoteRef",
    "Route",
    "ServedModel",
    "Traffic",
    "chosen_backend",
    "coming_deployment",
    "current_deployment",
    "current_trial",
    "deployments_of",
    "expected_template",
    "fresh_replicas",
    "has_model",
    "job_counts",
    "model_label",
    "model_of",
    "named_model",
    "route_of",
    "served_files",
    "served_model",
    "served_remote",
    "serving_health",
    "traffic_of",
    "use_of_connection",
    "use_of_model",
]
