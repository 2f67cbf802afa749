"""Settings, all from the environment; with none set, one machine and one folder are enough.

``docs/operators.md`` lists every variable.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONE, SELF

from finetune_site import environment

BASE_DIR = Path(__file__).resolve().parent.parent
environ.Env.read_env(BASE_DIR / ".env")

DEBUG = environment.flag("DEBUG")
PRODUCTION = environment.flag("PRODUCTION")
DATA_DIR = Path(os.environ.get("DATA_DIR") or BASE_DIR / "data").resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)
WORK_DIR = DATA_DIR / "work"
CACHE_DIR = DATA_DIR / "cache"
RUN_DIR = environment.socket_folder(DATA_DIR)

SECRET_KEY = os.environ.get("SECRET_KEY") or environment.kept_secret(DATA_DIR / "keys" / "secret_key")
SECRET_KEY_FALLBACKS = environment.words("SECRET_KEY_FALLBACKS")  # former ones, until `rotate_secrets` has run
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = environment.words("CSRF_TRUSTED_ORIGINS")
SITE_URL = os.environ.get("SITE_URL", "").rstrip("/")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "template_partials.apps.SimpleAppConfig",
    "axes",
    "csp",
    "storages",
    "web_kit",
    "accounts_app.apps.AccountsConfig",
    "work_kit.apps.WorkConfig",
    "datasets_app.apps.DatasetsConfig",
    "jobs_app.apps.JobsConfig",
    "evaluation_app.apps.EvaluationConfig",
    "serving_app.apps.ServingConfig",
    "finetune_site.apps.SiteConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "finetune_site.middleware.PrivatePagesMiddleware",
    "web_kit.errors.UserErrorMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "finetune_site.urls"
ASGI_APPLICATION = "finetune_site.asgi.application"

_loaders: list[Any] = [
    "django.template.loaders.filesystem.Loader",
    "django.template.loaders.app_directories.Loader",
]
_partials: list[Any] = ["template_partials.loader.Loader", _loaders]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "loaders": [_partials]
            if DEBUG
            else [("template_partials.loader.Loader", [("django.template.loaders.cached.Loader", _loaders)])],
            "builtins": ["template_partials.templatetags.partials", "web_kit.templatetags.web_kit"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "finetune_site.navigation.navigation",
            ],
        },
    }
]
FORM_RENDERER = "web_kit.forms.TunesmithRenderer"

DATABASES = {"default": environment.database(os.environ.get("DATABASE_URL", ""), DATA_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "accounts:sign_in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "accounts:sign_in"
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_USERNAME_FORM_FIELD = "username"
AXES_LOCKOUT_TEMPLATE = "accounts_app/locked_out.html"
AXES_VERBOSE = False
AXES_RESET_ON_SUCCESS = True

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = Path(os.environ.get("STATIC_ROOT") or BASE_DIR / "staticfiles")
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES: dict[str, dict[str, Any]] = {
    "default": environment.storage(os.environ.get("STORAGE_URL", ""), DATA_DIR),
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not PRODUCTION
FILE_UPLOAD_TEMP_DIR = str(DATA_DIR / "incoming")
Path(FILE_UPLOAD_TEMP_DIR).mkdir(exist_ok=True)
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 2**20
MAX_UPLOAD_BYTES = int(os.environ.get("MAX_UPLOAD_BYTES") or 2 * 2**30)

# Without REDIS_URL, `manage.py start` runs a small Valkey of our own behind this socket.
EMBEDDED_REDIS_SOCKET = RUN_DIR / "valkey.sock"
REDIS_URL = os.environ.get("REDIS_URL") or f"unix://{EMBEDDED_REDIS_SOCKET}"
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # for as long as it takes
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 5}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

HEARTBEAT_SECONDS = float(os.environ.get("HEARTBEAT_SECONDS") or 5)
LEASE_SECONDS = float(os.environ.get("LEASE_SECONDS") or 30)
REAP_AFTER_SECONDS = float(os.environ.get("REAP_AFTER_SECONDS") or 5)  # past the lease's end
BACKOFF_SECONDS = float(os.environ.get("BACKOFF_SECONDS") or 10)  # the first pause; it doubles up to 36 times this
MINIMUM_FREE_DISK_BYTES = int(os.environ.get("MINIMUM_FREE_DISK_BYTES") or 512 * 2**20)
MINIMUM_FREE_MEMORY_BYTES = int(os.environ.get("MINIMUM_FREE_MEMORY_BYTES") or 128 * 2**20)
REMOTE_JOBS_AT_ONCE = int(os.environ.get("REMOTE_JOBS_AT_ONCE") or 8)  # that one worker watches at providers
PROVIDER_POLL_SECONDS = float(os.environ.get("PROVIDER_POLL_SECONDS") or 30)  # between two looks at a provider's job
INFERENCE_BIND = os.environ.get("INFERENCE_BIND") or f"unix:{RUN_DIR / 'inference.sock'}"
# How much a key may ask; its owner may set other limits for it.
KEY_REQUESTS_PER_MINUTE = environment.limit("KEY_REQUESTS_PER_MINUTE", default=600)
KEY_TOKENS_PER_MINUTE = environment.limit("KEY_TOKENS_PER_MINUTE")
KEY_TOKENS_PER_MONTH = environment.limit("KEY_TOKENS_PER_MONTH")
INFERENCE_REPLICAS = int(os.environ.get("INFERENCE_REPLICAS") or 0)  # 0: one per graphics card, else one
INFERENCE_ADDRESS = os.environ.get("INFERENCE_ADDRESS", "")  # what other machines call this one
MAX_REQUESTS_AT_ONCE = int(os.environ.get("MAX_REQUESTS_AT_ONCE") or 256)  # questions in one web process
MAX_REQUESTS_PER_PROJECT = int(os.environ.get("MAX_REQUESTS_PER_PROJECT") or 64)
ANSWER_CACHE = os.environ.get("ANSWER_CACHE", "")  # "redis": shared by all web processes; else each keeps its own
ANSWER_CACHE_ENTRIES = int(os.environ.get("ANSWER_CACHE_ENTRIES") or 1_000)  # of each project
ANSWER_CACHE_SECONDS = float(os.environ.get("ANSWER_CACHE_SECONDS") or 3_600)
SEMANTIC_CACHE_ENTRIES = int(os.environ.get("SEMANTIC_CACHE_ENTRIES") or 10_000)  # of each model in a project
SEMANTIC_CACHE_DAYS = float(os.environ.get("SEMANTIC_CACHE_DAYS") or 7)
VLLM_COMMAND = os.environ.get("TUNESMITH_VLLM", "")  # the program `vllm`, where it is installed
GGUF_CONVERTER = os.environ.get("GGUF_CONVERTER", "")  # llama.cpp's convert_hf_to_gguf.py
METRICS_TOKEN = os.environ.get("METRICS_TOKEN", "")
OUTBOUND_ALLOWED_HOSTS = environment.words("OUTBOUND_ALLOWED_HOSTS")

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if PRODUCTION:
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = environment.flag("SECURE_SSL_REDIRECT", default=True)
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SECURE_REDIRECT_EXEMPT = [r"^health"]
    if environment.flag("BEHIND_PROXY"):
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
EMAIL_URL = os.environ.get("EMAIL_URL", "")
MAIL_IS_SENT = bool(EMAIL_URL)  # without a mail server nobody is offered letters
_email = environment.email(EMAIL_URL)
EMAIL_BACKEND, EMAIL_HOST, EMAIL_PORT = _email.backend, _email.host, _email.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _email.user, _email.password
EMAIL_USE_TLS, EMAIL_USE_SSL = _email.uses_starttls, _email.uses_tls
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = os.environ.get("DEFAULT_FROM_EMAIL") or "tunesmith@localhost"

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s", "datefmt": "%H:%M:%S"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain", "stream": sys.stderr}},
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "INFO")},
    "loggers": {
        "axes": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
        "celery.app.trace": {"level": "WARNING"},
    },
}
