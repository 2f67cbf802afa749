"""``python model_server.py MODELS.json SOCKET``: the engine's inference application, alone."""

import sys
from pathlib import Path

import uvicorn

from finetune_engine.serve.app import build_app
from finetune_engine.serve.backends.choosing import ChoosingBackend
from finetune_engine.serve.registry import ModelRegistry

if __name__ == "__main__":
    models, socket = sys.argv[1:]
    uvicorn.run(build_app(ChoosingBackend(ModelRegistry(Path(models)).resolve)), uds=socket, log_level="warning")
