"""The engine's front door with one more command, ``toy``."""

import sys

from finetune_engine import __main__ as engine

engine.COMMANDS["toy"] = "tests.chaos.toy"

if __name__ == "__main__":
    sys.exit(engine.main())
