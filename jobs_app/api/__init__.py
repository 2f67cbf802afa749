"""The JSON twin of the pages, a file for each group of pages."""

from __future__ import annotations

from jobs_app.api.training import job_json, model_json, router

__all__ = ["job_json", "model_json", "router"]
