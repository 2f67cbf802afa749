"""Using a model through the API: the gateway, many callers at once, and the look-up of similar questions.

``python -m benchmarks.serving [--full] [--only gateway,throughput,semantic] [--json PATH]``. Conditions: ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

PARTS = {"gateway": "serving_gateway", "throughput": "serving_throughput", "semantic": "semantic_lookup"}


def measure(*, full: bool = False, only: tuple[str, ...] = tuple(PARTS)) -> dict[str, dict[str, Any]]:
    """The chosen parts, one after the other."""
    results: dict[str, dict[str, Any]] = {}
    for name in only:
        results |= importlib.import_module(f"benchmarks.{PARTS[name]}").measure(full=full)
    return results


def main() -> None:
    """See above."""
    from benchmarks.training import show

    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the sizes of docs/benchmarks.md")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    only = tuple(name for name in wanted.only.split(",") if name)
    if unknown := set(only) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    results = measure(full=wanted.full, only=only)
    show(results)
    if wanted.json:
        wanted.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
