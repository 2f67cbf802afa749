"""What is stored about serving."""

from serving_app.models.alerts import Alert, AlertRule
from serving_app.models.cache import ForgetNotice, SemanticEntry, SemanticServing
from serving_app.models.calibration import Calibration
from serving_app.models.deployment import Deployment, Replica
from serving_app.models.drift import DriftReport
from serving_app.models.export import ModelExport
from serving_app.models.feedback import Feedback
from serving_app.models.limits import KeyLimit, RateWindow
from serving_app.models.prediction import LogPolicy, Prediction, TrafficBucket

__all__ = [
    "Alert",
    "AlertRule",
    "Calibration",
    "Deployment",
    "DriftReport",
    "Feedback",
    "ForgetNotice",
    "KeyLimit",
    "LogPolicy",
    "ModelExport",
    "Prediction",
    "RateWindow",
    "Replica",
    "SemanticEntry",
    "SemanticServing",
    "TrafficBucket",
]
