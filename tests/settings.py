"""The product's settings in a folder of their own, with short leases and a queue that nobody listens to."""

import os
import tempfile
from pathlib import Path

_folder = Path(tempfile.mkdtemp(prefix="tunesmith-test-"))
os.environ["DATA_DIR"] = str(_folder)
os.environ.setdefault("HEARTBEAT_SECONDS", "0.5")
os.environ.setdefault("LEASE_SECONDS", "3")
os.environ.setdefault("LOG_LEVEL", "WARNING")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("KEY_REQUESTS_PER_MINUTE", "100000")
os.environ["HF_HUB_OFFLINE"] = "1"

from finetune_site.settings import *  # noqa: E402, F403
from finetune_site.settings import DATABASES  # noqa: E402

TESTING_FOLDER = _folder
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CELERY_BROKER_URL = "memory://"
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Threads of one test share the database, which an in-memory one cannot give them.
    DATABASES["default"]["TEST"] = {"NAME": str(_folder / "test.sqlite3")}
