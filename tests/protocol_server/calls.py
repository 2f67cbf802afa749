"""Which call does what, by method and path; and the pages of its lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.protocol_server.trouble import Refusal

if TYPE_CHECKING:
    from tests.protocol_server.server import ProtocolServer


def page(rows: list[dict[str, Any]], query: dict[str, str], limit: int = 20) -> dict[str, Any]:
    """The rows after the cursor, newest first, as a cursor page."""
    if after := query.get("after"):
        ids = [row["id"] for row in rows]
        rows = rows[ids.index(after) + 1 :] if after in ids else []
    size = int(query.get("limit") or limit)
    return {"object": "list", "data": rows[:size], "has_more": len(rows) > size}


def _list_files(house: ProtocolServer, query: dict[str, str]) -> dict[str, Any]:
    rows = [file.as_dict() for file in reversed(house.files.values())]
    return page([row for row in rows if query.get("purpose") in (None, row["purpose"])], query, 10_000)


def _list_jobs(house: ProtocolServer, query: dict[str, str]) -> dict[str, Any]:
    wanted = {name[9:-1]: value for name, value in query.items() if name.startswith("metadata[")}
    rows = [job.body for job in reversed(house.jobs.values())]
    rows = [row for row in rows if all((row["metadata"] or {}).get(key) == value for key, value in wanted.items())]
    return page(rows, query)


def _list_models(house: ProtocolServer) -> dict[str, Any]:
    base = [{"id": name, "object": "model", "created": 0, "owned_by": "system"} for name in house.base_models]
    return {"object": "list", "data": base + list(house.tuned.values())}


def _model(house: ProtocolServer, name: str) -> dict[str, Any]:
    found = next((row for row in _list_models(house)["data"] if row["id"] == name), None)
    if found is None:
        raise Refusal(404, f"The model '{name}' does not exist", code="model_not_found", param="model")
    return dict(found)


def _delete_file(house: ProtocolServer, file_id: str) -> dict[str, Any]:
    house.file(file_id)
    del house.files[file_id]
    return {"id": file_id, "object": "file", "deleted": True}


def _delete_model(house: ProtocolServer, name: str) -> dict[str, Any]:
    if name not in house.tuned:
        raise Refusal(404, f"The model '{name}' does not exist", code="model_not_found", param="model")
    del house.tuned[name]
    return {"id": name, "object": "model", "deleted": True}


Answer = Callable[["ProtocolServer", tuple[str, ...], dict[str, str], dict[str, Any]], Any]
ROUTES: list[tuple[str, str, Answer]] = [
    ("POST", r"/files", lambda house, ids, query, body: house.create_file(body)),
    ("GET", r"/files", lambda house, ids, query, body: _list_files(house, query)),
    ("GET", r"/files/([^/]+)", lambda house, ids, query, body: house.file(ids[0]).as_dict()),
    ("GET", r"/files/([^/]+)/content", lambda house, ids, query, body: house.file(ids[0]).content),
    ("DELETE", r"/files/([^/]+)", lambda house, ids, query, body: _delete_file(house, ids[0])),
    ("POST", r"/fine_tuning/jobs", lambda house, ids, query, body: house.create_job(body)),
    ("GET", r"/fine_tuning/jobs", lambda house, ids, query, body: _list_jobs(house, query)),
    ("GET", r"/fine_tuning/jobs/([^/]+)", lambda house, ids, query, body: house.looked_at(ids[0])),
    ("POST", r"/fine_tuning/jobs/([^/]+)/cancel", lambda house, ids, query, body: house.cancel(ids[0])),
    ("POST", r"/fine_tuning/jobs/([^/]+)/pause", lambda house, ids, query, body: house.pause(ids[0])),
    ("POST", r"/fine_tuning/jobs/([^/]+)/resume", lambda house, ids, query, body: house.resume(ids[0])),
    ("GET", r"/fine_tuning/jobs/([^/]+)/events", lambda house, ids, query, body: page(house.job(ids[0]).events, query)),
    (
        "GET",
        r"/fine_tuning/jobs/([^/]+)/checkpoints",
        lambda house, ids, query, body: page(house.job(ids[0]).checkpoints, query, 10),
    ),
    ("GET", r"/models", lambda house, ids, query, body: _list_models(house)),
    ("GET", r"/models/(.+)", lambda house, ids, query, body: _model(house, ids[0])),
    ("DELETE", r"/models/(.+)", lambda house, ids, query, body: _delete_model(house, ids[0])),
]
