"""``python -m finetune_engine serve --models MODELS.json --uds PATH``: the inference process."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from finetune_engine.ports import Run

VLLM_COMMAND = "TUNESMITH_VLLM"


def add_arguments(subparsers: Any) -> None:
    """Describe the command; nothing heavy is imported until it runs."""
    parser = subparsers.add_parser("serve", help="answer requests with trained models")
    parser.add_argument("--models", type=Path, required=True, metavar="MODELS.json", help="which models may be asked")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--uds", type=Path, metavar="PATH", help="unix socket to listen on")
    where.add_argument("--port", type=int, help="port of localhost to listen on")
    parser.add_argument("--max-models", type=int, default=2, help="base models kept in memory")
    parser.add_argument("--max-in-flight", type=int, default=128, help="requests beyond this are answered 429")
    parser.add_argument(
        "--vllm",
        default=os.environ.get(VLLM_COMMAND, ""),
        metavar="PROGRAM",
        help=f"the vllm program, for models that ask for it (default: ${VLLM_COMMAND})",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="working folder, held while serving")
    parser.set_defaults(func=run_command)


def run_command(args: argparse.Namespace, run: Run) -> None:
    """Serve until told to stop (SIGTERM): then finish what is under way."""
    import uvicorn

    from finetune_engine.serve.app import build_app
    from finetune_engine.serve.backends.choosing import ChoosingBackend, VllmSettings
    from finetune_engine.serve.draining import DrainingServer
    from finetune_engine.serve.registry import ModelRegistry
    from finetune_engine.train.local.device import use_threads

    use_threads()
    backend = ChoosingBackend(
        ModelRegistry(args.models).resolve, max_models=args.max_models, vllm=VllmSettings(command=args.vllm)
    )
    app = build_app(backend, max_in_flight=args.max_in_flight)
    run.emit("phase", phase="serving", uds=str(args.uds) if args.uds else None, port=args.port)
    # stdout carries events only; uvicorn's own words go to stderr and requests are logged by the site.
    config = uvicorn.Config(
        app,
        uds=str(args.uds) if args.uds else None,
        host="127.0.0.1",
        port=args.port or 0,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
    )
    server = DrainingServer(config, app.state.inference)
    try:
        server.run()
    finally:
        backend.close()
