"""What the documentation names is there: files, addresses and their fields, commands, variables, figures."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands
from django.urls import Resolver404, resolve

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
PAGES += [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "finetune_engine/catalogue/demo_base/README.md"]
CODE = ("finetune_site", "finetune_engine", "serving_app", "evaluation_app", "jobs_app", "datasets_app", "work_kit")
CODE += ("accounts_app", "web_kit")
METHODS = "GET|POST|PUT|PATCH|DELETE"

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for language, code in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.M | re.S):
        if language in languages:
            yield code


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and GitLab make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in _anchors(path), target


@every_page
def test_every_file_of_ours_that_is_named_is_there(page: Path) -> None:
    tops = {path.name for path in ROOT.iterdir() if path.is_dir()}
    for name in re.findall(r"`([\w./-]+/[\w./-]*)`", prose(page)):
        if name.split("/")[0] in tops - {"data"}:
            assert (ROOT / name).exists() or (ROOT / "templates" / name).exists(), name


def test_every_page_is_found_from_the_front_page() -> None:
    docs = ROOT / "docs"
    front = (ROOT / "README.md").read_text()
    assert [page.name for page in docs.glob("*.md") if f"docs/{page.name}" not in front] == []


def test_the_map_has_every_room() -> None:
    rooms = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()} | {"tests"}
    text = (ROOT / "docs/map.md").read_text()
    assert {room for room in rooms if f"`{room}/" not in text} == set()
    for parent in ("finetune_engine", "serving_app", "finetune_engine/serve"):
        for path in (ROOT / parent).iterdir():
            if (path / "__init__.py").exists() and path.name not in _SAME_IN_EVERY_APP:
                assert re.search(rf"\b{path.name}/`", text), path


_SAME_IN_EVERY_APP = {
    "api",
    "forms",
    "management",
    "migrations",
    "models",
    "operations",
    "queries",
    "templatetags",
    "views",
}
"""``docs/map.md`` says once what they are."""


# --- variables --------------------------------------------------------------------------------------------------------

_READ = re.compile(r"""(?:environ\.get\(|environ\[|getenv\(|\b(?:flag|limit|words)\()\s*["']([A-Z][A-Z_]+)["']""")
_NOT_FOR_OPERATORS = {
    "DJANGO_SETTINGS_MODULE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "OMP_WAIT_POLICY", "POLARS_MAX_THREADS", "RANK", "WORLD_SIZE",
    "TUNESMITH_FAILPOINT_MARK", "TUNESMITH_FAILPOINT_VICTIM", "HF_HUB_DISABLE_TELEMETRY", "TOKENIZERS_PARALLELISM",
    "TUNESMITH_KEY", "TUNESMITH_THREADS", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT", "_RJEM_MALLOC_CONF",
}  # fmt: skip
"""Set by our own programs for their children, or told by another program."""


@cache
def _code() -> str:
    return "\n".join(path.read_text() for top in CODE for path in sorted((ROOT / top).rglob("*.py")))


def _names_of_variables(text: str) -> set[str]:
    return set(re.findall(r"\b[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+\b|\b(?:DEBUG|HOST|PORT|PRODUCTION)\b", text))


def test_every_variable_that_the_site_reads_is_explained_to_operators() -> None:
    told = set().union(*(_names_of_variables(page.read_text()) for page in PAGES if page.parent.name == "docs"))
    assert set(_READ.findall(_code())) - _NOT_FOR_OPERATORS - told == set()
    operators = _names_of_variables((ROOT / "docs/operators.md").read_text())
    assert set(_READ.findall((ROOT / "finetune_site/settings.py").read_text())) - operators == set()


def test_every_variable_in_the_table_for_operators_is_read() -> None:
    rows = re.findall(r"^\| (`[A-Z].*?) \|", (ROOT / "docs/operators.md").read_text(), re.M)
    named = {name for row in rows for name in re.findall(r"`([A-Z][A-Z_]+)`", row)}
    assert len(named) > 40
    read_elsewhere = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "HF_HOME", "WEB_CONCURRENCY"}
    assert {name for name in named - read_elsewhere if f'"{name}"' not in _code()} == set()


def test_every_variable_of_the_example_is_in_the_table_for_operators() -> None:
    named = set(re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M))
    assert named - _names_of_variables((ROOT / "docs/operators.md").read_text()) == set()


def test_no_value_of_the_example_has_a_comment_behind_it() -> None:
    """The reader of ``.env`` would take it for a part of the value: a secret key that everybody knows."""
    assert re.findall(r"^#? ?[A-Z_]+=.*#.*$", (ROOT / ".env.example").read_text(), re.M) == []


# --- commands ---------------------------------------------------------------------------------------------------------


@every_page
def test_every_command_that_is_named_is_there(page: Path) -> None:
    text = page.read_text()
    commands = get_commands()
    for name in re.findall(r"manage\.py ([a-z_]+)", text):
        assert name in commands, name
    for name in re.findall(r"python -m ([a-z_.]+[a-z_])", text):
        assert importlib.util.find_spec(name) is not None, name
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    shell = "\n".join(blocks(page, "sh"))
    for name in re.findall(r"`make ([a-z-]+)", prose(page)) + re.findall(r"^make ([a-z-]+)", shell, re.M):
        assert name in targets, name


@every_page
def test_every_snippet_can_be_read(page: Path) -> None:
    for code in blocks(page, "python"):
        compile(code, str(page), "exec")
    for code in blocks(page, "json"):
        json.loads(code)
    for code in blocks(page, "yaml"):
        yaml.safe_load(code)
    for code in blocks(page, "sh"):
        shlex.split(code, comments=True)


# --- addresses --------------------------------------------------------------------------------------------------------


@cache
def _schema() -> dict[str, Any]:
    from finetune_site.api import api

    return dict(api.get_openapi_schema())


@cache
def _operations() -> dict[str, dict[str, Any]]:
    """What the API's own description says of each address: ``{path: {method: operation}}``."""
    return {path: {name.upper(): one for name, one in found.items()} for path, found in _schema()["paths"].items()}


def _matching(named: str) -> dict[str, Any]:
    """The operations of the address that is meant. ``.../x`` is any address that ends so; a ``$ID`` or ``{id}`` any value."""
    segments = named.removeprefix("...").strip("/").split("/")
    found: dict[str, Any] = {}
    for path, methods in _operations().items():
        there = path.strip("/").split("/")
        there = there[-len(segments) :] if named.startswith("...") else there
        if len(there) == len(segments) and all(map(_same, segments, there)):
            found |= methods
    return found


def _same(named: str, there: str) -> bool:
    pattern = re.sub(r"\\\$\w+", ".+", re.escape(named))
    return bool(re.fullmatch(pattern, there)) or (there[0] == "{" and named[0] == "{")


def _is_page_or_gateway(path: str) -> bool:
    from serving_app.gateway.routes import PATHS

    filled = re.sub(r"\{\w+\}|\$\w+", "x" * 8, path)
    try:
        resolve(filled)
    except Resolver404:
        return filled in PATHS
    return True


_CALL = re.compile(rf"\b((?:{METHODS})(?:(?:, | or |, and )(?:{METHODS}))*)`? `?(\.\.\./|/)([\w/{{}}$.-]+)")


def _calls(text: str) -> Iterator[tuple[list[str], str]]:
    for methods, root, rest in _CALL.findall(text):
        yield re.findall(METHODS, methods), root + rest.rstrip(".")


@every_page
def test_every_call_that_is_named_is_there(page: Path) -> None:
    for methods, address in _calls(prose(page)):
        found = _matching(address) or _matching("/api/v1" + address)
        if not found and (_is_page_or_gateway(address) or address.startswith(("/files", "/fine_tuning"))):
            continue  # a page, a hot address, or a call that goes to a provider
        assert set(methods) <= set(found), f"{methods} {address}: {sorted(found)}"
    for address in re.findall(r"/api/v1/[\w/{}$-]+", prose(page)):
        assert _matching(address) or _is_page_or_gateway(address), address


def _shell_calls(page: Path) -> Iterator[tuple[str, str, str]]:
    """``(method, address, body)`` of each ``curl`` in the page's snippets. A page says once what ``$SITE`` stands for."""
    named = re.search(r"^SITE=https?://[^/\s]+(\S*)$", page.read_text(), re.M)
    for code in blocks(page, "sh"):
        words = shlex.shlex(code, posix=True, punctuation_chars=";|()")
        words.whitespace_split = True
        told = list(words)
        starts = [at for at, word in enumerate(told) if word == "curl"]
        for start, end in itertools.pairwise([*starts, len(told)]):
            call = told[start:end]
            address = next(word for word in call if re.match(r"https?://|\$SITE/", word))
            given = dict(itertools.pairwise(call))
            path = re.sub(r"^\$SITE", named.group(1) if named else "", re.sub(r"^https?://[^/]+", "", address))
            method = given.get("-X") or ("POST" if {"-d", "-F"} & set(call) else "GET")
            yield method, path.split("?")[0], given.get("-d", "")


def _fields(operation: dict[str, Any]) -> set[str] | None:
    """The names of the fields that a call's body may have; None when it takes any, or no JSON."""
    content = (operation.get("requestBody") or {}).get("content", {}).get("application/json")
    if content is None:
        return None
    schema = content["schema"]
    if "$ref" in schema:
        schema = _schema()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return set(schema["properties"]) if "properties" in schema else None


@every_page
def test_every_call_in_a_snippet_is_there_and_takes_its_fields(page: Path) -> None:
    for method, address, body in _shell_calls(page):
        found = _matching(address)
        if not found:
            assert _is_page_or_gateway(address), address
            continue
        assert method in found, f"{method} {address}"
        if body and (fields := _fields(found[method])) is not None:
            assert set(json.loads(body)) <= fields, address


# --- figures ----------------------------------------------------------------------------------------------------------


def test_prometheus_figures_and_their_pages_agree() -> None:
    from prometheus_client.metrics import MetricWrapperBase

    from serving_app import metrics
    from serving_app.caching import embedder, semantic

    counted = [value for module in (metrics, embedder, semantic) for value in vars(module).values()]
    there = {one.name for value in counted if isinstance(value, MetricWrapperBase) for one in value.describe()}
    assert len(there) >= 12
    text = "".join(prose(ROOT / "docs" / name) for name in ("watching.md", "caches.md"))
    told = {name.removesuffix("_total") for name in re.findall(r"`(model_[a-z_]+)", text)} - {"model_name"}
    assert told == there
