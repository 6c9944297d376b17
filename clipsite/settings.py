"""Every setting of the site. The environment is read here and nowhere else; `.env.example` lists it."""

import os
import re
import secrets
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured


class Env(environ.Env):
    """Takes an empty variable for one that isn't set, and names the one that can't be read."""

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        if self.ENVIRON.get(var) == "":
            return kwargs["default"]
        try:
            return super().get_value(var, *args, **kwargs)
        except ValueError as error:
            raise ImproperlyConfigured(f"{var} can't be read: {error}.") from error

    def list(self, *args: Any, **kwargs: Any) -> list[str]:
        return [item.strip() for item in super().list(*args, **kwargs)]


env = Env()
BASE_DIR = Path(__file__).resolve().parent.parent
env.read_env(BASE_DIR / ".env")

LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]


def private_folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def generated_secret(path: Path) -> str:
    """The secret of a site that only this machine reaches, made once and readable by its owner alone."""
    if not path.exists():
        # Whole or not at all, and where two processes make one, the first one's.
        with NamedTemporaryFile("w", dir=path.parent) as file, suppress(FileExistsError):
            file.write(secrets.token_urlsafe(64))
            file.flush()
            os.link(file.name, path)
    return path.read_text().strip()


# What examples and tutorials write where a secret belongs.
PLACEHOLDERS = ("change", "insecure", "replace", "example", "password", "secret")


def weakness(secret: str) -> str:
    """Why others could guess this secret; empty where they can't."""
    if len(secret) < 50:
        return f"it has {len(secret)} characters"
    if len(set(secret)) < 11 or secret in (secret * 2)[1:-1]:
        return "it repeats itself"
    found = [word for word in PLACEHOLDERS if word in secret.lower()]
    return f"it has the word “{found[0]}” in it, as examples do" if found else ""


# Where everything that must survive lives: database, media, model files, the generated secret.
DATA_DIR = private_folder(BASE_DIR / env.str("DATA_DIR", default="data"))
MODELS_DIR = DATA_DIR / "models"
# Derived from the database: a folder that is removed is made again. Its name begins with its project's id.
VECTORS_DIR = DATA_DIR / "vectors"

DEBUG = env.bool("DEBUG", default=False)
HOST = env.str("HOST", default="127.0.0.1")
PORT = env.int("PORT", default=8000)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=LOCAL_HOSTS)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
PUBLIC = any(host not in LOCAL_HOSTS for host in ALLOWED_HOSTS)
HTTPS = any(origin.lower().startswith("https://") for origin in CSRF_TRUSTED_ORIGINS)
# A proxy may name this machine as the host, and still bring others.
OPEN = PUBLIC or HTTPS
# Who reaches the port may call the site localhost, so the names alone keep nobody out.
REACHED = OPEN or HOST not in (*LOCAL_HOSTS, "::1")
if DEBUG and REACHED:
    raise ImproperlyConfigured(
        "DEBUG shows the inside: none of HOST, ALLOWED_HOSTS and CSRF_TRUSTED_ORIGINS may open the site."
    )

SECRET_KEY = env.str("SECRET_KEY", default="")
why = weakness(SECRET_KEY) if SECRET_KEY else "it is missing" if OPEN else ""
if REACHED and why:
    raise ImproperlyConfigured(
        "HOST, ALLOWED_HOSTS or CSRF_TRUSTED_ORIGINS opens this site to others, so SECRET_KEY must be set to "
        f"50 random characters or more, and {why}. "
        'Make one: python3 -c "import secrets; print(secrets.token_urlsafe(64))"'
    )
SECRET_KEY = SECRET_KEY or generated_secret(DATA_DIR / "secret_key")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "csp",
    "django_filters",
    "django_htmx",
    "django_q",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "knox",
    "rest_framework",
    "gallery",
    "labeling",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "clipsite.accounts.back_to_the_page",
    "clipsite.idempotency.once",
    "clipsite.conditional.conditional",
]

ROOT_URLCONF = "clipsite.urls"
WSGI_APPLICATION = "clipsite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "clipsite.accounts.signup_open",
            ]
        },
    }
]

# SQLite as it comes loses writes to "database is locked" under several processes; IMMEDIATE transactions
# and the write-ahead log with these pragmas lose none.
SQLITE_OPTIONS = {
    "timeout": 20,
    "transaction_mode": "IMMEDIATE",
    "init_command": (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA mmap_size=134217728; "
        "PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-20000;"
    ),
}
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'db.sqlite3'}")}
if "ENGINE" not in DATABASES["default"]:
    raise ImproperlyConfigured("DATABASE_URL can't be read: it begins with postgres:// or sqlite:///.")
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = SQLITE_OPTIONS
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", default="")
if REDIS_URL:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

# The queue only says "there is work": what work, and how often it was tried, stands in our own rows.
Q_CLUSTER = {
    "name": "clipsite",
    "workers": env.int("WORKERS", default=1),
    "timeout": 180,
    "retry": 240,
    "max_attempts": 1,
    "ack_failures": True,
    "catch_up": False,
    "recycle": 1_000_000,
    "queue_limit": 4,
    "poll": 0.2,
    "save_limit": 50,
    **({"redis": REDIS_URL} if REDIS_URL else {"orm": "default"}),
}

# CLIP: a hub name that `manage.py fetch_model` has brought, or a folder. The starter model stands in for
# the default until that is brought.
DEFAULT_CLIP_MODEL = "openai/clip-vit-base-patch32"
CLIP_MODEL = env.str("CLIP_MODEL", default=DEFAULT_CLIP_MODEL)
CLIP_PRECISION = env.str("CLIP_PRECISION", default="auto")
if CLIP_PRECISION not in ("auto", "fp32", "bf16"):
    raise ImproperlyConfigured(f"CLIP_PRECISION is {CLIP_PRECISION!r}: it must be auto, fp32 or bf16.")
BEST_MATCH_PUBLIC = env.bool("BEST_MATCH_PUBLIC", default=False)
# No request and no task reaches for the network, whatever a library would like to look up.
os.environ["HF_HUB_OFFLINE"] = "1"

# Uploads: what a file, a picture, a ZIP and a project may be at most.
UPLOAD_MAX_BYTES = env.int("UPLOAD_MAX_BYTES", default=50 * 1024**2)
UPLOAD_MAX_PIXELS = env.int("UPLOAD_MAX_PIXELS", default=50_000_000)
UPLOAD_MAX_SIDE = env.int("UPLOAD_MAX_SIDE", default=16_384)
UPLOAD_MAX_ZIP_BYTES = env.int("UPLOAD_MAX_ZIP_BYTES", default=4 * 1024**3)
UPLOAD_MAX_ZIP_ENTRIES = env.int("UPLOAD_MAX_ZIP_ENTRIES", default=100_000)
IMPORT_MAX_BYTES = env.int("IMPORT_MAX_BYTES", default=512 * 1024**2)
PROJECT_MAX_IMAGES = env.int("PROJECT_MAX_IMAGES", default=1_000_000)
PROJECT_MAX_BYTES = env.int("PROJECT_MAX_BYTES", default=1024**4)
# Pictures are taken in only while so much is free: what people decide must find room to the last.
DISK_RESERVE_BYTES = env.int("DISK_RESERVE_BYTES", default=500 * 1024**2)
DATA_UPLOAD_MAX_NUMBER_FILES = 100
FILE_UPLOAD_HANDLERS = [
    "gallery.intake.CappedUploads",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]
FILE_UPLOAD_TEMP_DIR = private_folder(DATA_DIR / "tmp")

# Whether webhooks may call addresses that only this machine or its own network reaches.
WEBHOOKS_PRIVATE = env.bool("WEBHOOKS_PRIVATE", default=False)

MEDIA_ROOT = DATA_DIR / "media"
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
FILE_UPLOAD_PERMISSIONS = 0o600

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "projects"
SIGNUP_OPEN = env.bool("SIGNUP_OPEN", default=False)
ADMIN_USERNAME = env.str("ADMIN_USERNAME", default="")
ADMIN_PASSWORD = env.str("ADMIN_PASSWORD", default="")
ACCOUNT_ADAPTER = "clipsite.accounts.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
# Behind a TLS proxy everybody would share its address: failed log-ins are counted by the one that it names.
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if HTTPS else 0
# In seconds.
LOGIN_WAIT = 300
ACCOUNT_RATE_LIMITS = {"login_failed": f"10/{LOGIN_WAIT}s/ip,10/{LOGIN_WAIT}s/key"}
# Mail is needed for password resets alone; without EMAIL_URL it is printed on the terminal.
EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)

# How many calls of the API each user may make: `600/m`. Empty: as many as they like.
API_RATE = env.str("API_RATE", default="")
if API_RATE and not re.fullmatch("[1-9][0-9]*/[smhd]", API_RATE):
    raise ImproperlyConfigured(
        f"API_RATE is {API_RATE!r}: it must be a number a second, minute, hour or day: 600/m."
    )

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "knox.auth.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["gallery.rest.CallsOfOneUser"],
    # Who has no account is counted by their address, as failed log-ins are.
    "NUM_PROXIES": ALLAUTH_TRUSTED_PROXY_COUNT,
    "DEFAULT_PARSER_CLASSES": ["gallery.rest.CappedJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["gallery.rest.JSON"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "gallery.rest.AlwaysJSON",
    "DEFAULT_PAGINATION_CLASS": "gallery.rest.CursorPages",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "clipsite.errors.api_exception",
    # `format` names an export format here, never a renderer.
    "URL_FORMAT_OVERRIDE": None,
}
REST_KNOX = {"TOKEN_TTL": timedelta(days=90)}
KNOX_TOKEN_MODEL = "gallery.ApiToken"
SPECTACULAR_SETTINGS = {
    "TITLE": "clipsite",
    "DESCRIPTION": "Pictures in, labels proposed by CLIP, corrected by people, out by REST.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "gallery.openapi.summarize",
        "gallery.openapi.describe_unchanged",
        "gallery.openapi.describe_keys",
        "gallery.openapi.describe_problems",
        "gallery.openapi.show_examples",
    ],
    "ENUM_NAME_OVERRIDES": {
        "RunState": "labeling.models.ScoringRun.State",
        "UploadState": "gallery.models.Upload.State",
        "DeliveryState": "gallery.models.WebhookDelivery.State",
        "Verdict": ["accepted", "corrected", "none", "skipped"],
        "Answer": ["accepted", "corrected", "none"],
    },
}

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_ENGINE = "clipsite.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
# Probes ask this process, not the TLS proxy.
SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
# What Django says of plain http doesn't hold for a site that only this machine reaches.
SILENCED_SYSTEM_CHECKS = [] if OPEN else ["security.W004", "security.W008", "security.W012", "security.W016"]
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "django-q": {"level": env.str("QUEUE_LOG_LEVEL", default="WARNING")},
        "labeling": {"level": "INFO"},
    },
}
