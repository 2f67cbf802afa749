"""``make bench``: every program of this folder, small (or ``--full``), and one table."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
from pathlib import Path

AREAS = ["preparation", "near_duplicates", "bulk_load", "whole_import", "pii", "generation", "pages", "review"]
AREAS += ["streams", "training", "inference", "calibration", "serving"]


def main() -> None:
    """Run the chosen areas; ``--json PATH`` also writes ``{name: {value, unit, goal, arms}}``."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(AREAS)} (default: all)")
    parser.add_argument("--full", action="store_true", help="the sizes of docs/benchmarks.md")
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    if unknown := set(wanted.areas) - set(AREAS):
        parser.error(f"there is no area {', '.join(sorted(unknown))}")
    results: dict[str, dict[str, object]] = {}
    for area in wanted.areas or AREAS:
        results |= importlib.import_module(f"benchmarks.{area}").measure(full=wanted.full)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    for name, result in results.items():
        print(f"{name:<44} {result['value']:>8.2f} {result['unit']:<28} goal {result['goal']}")
        for arm, seconds in result["arms"].items():  # type: ignore[attr-defined]
            print(f"    {arm:<40} {seconds:>8.3f}")
    if wanted.json:
        wanted.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
