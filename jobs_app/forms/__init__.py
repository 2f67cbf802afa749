"""The forms of this app's pages, a file for each group of pages."""

from __future__ import annotations

from jobs_app.forms.training import NewTrainingForm, initial_of

__all__ = ["NewTrainingForm", "initial_of"]
