"""Everything that changes what this app stores."""

from evaluation_app.operations.contenders import ContenderWish
from evaluation_app.operations.evaluations import KIND, keep_report, repeat_evaluation, start_evaluation
from evaluation_app.operations.sign_off import sign_off_model, withdraw_sign_off

__all__ = [
    "KIND",
    "ContenderWish",
    "keep_report",
    "repeat_evaluation",
    "sign_off_model",
    "start_evaluation",
    "withdraw_sign_off",
]
