"""Settings. Everything comes from the environment; `.env.example` says what each variable means.

Nonsense is refused here, at the start, with the name of the variable and the reason.
"""

from __future__ import annotations

import datetime as dt
import hmac
import os
import re
import zoneinfo
from pathlib import Path

import dotenv
from celery.schedules import crontab
from corsheaders.defaults import default_headers
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from cinebook import service_urls

BASE_DIR = Path(__file__).resolve().parent.parent

# Variables of the environment win over those of the file .env, which `make run` reads in the same way.
_in_file = dotenv.dotenv_values(BASE_DIR / ".env", interpolate=False)


def text(name: str, default: str = "") -> str:
    """Return a setting; one that is empty or blank counts as not set."""
    given = (os.environ.get(name, ""), _in_file.get(name) or "")
    return next((value for value in given if value.strip()), default)


def whole_number(name: str, default: int, *, at_least: int, at_most: int) -> int:
    """Return a setting that is a whole number within its bounds.

    Raises:
        ImproperlyConfigured: it is something else.
    """
    given = text(name, str(default)).strip()
    if not (given.isascii() and given.isdigit() and at_least <= int(given) <= at_most):
        raise ImproperlyConfigured(f"{name} must be a whole number from {at_least} to {at_most}, not {given!r}.")
    return int(given)


def switch(name: str, *, default: bool) -> bool:
    """Return a setting that is on or off.

    Raises:
        ImproperlyConfigured: it is something else.
    """
    given = text(name, "on" if default else "off").strip().lower()
    if given not in {"on", "off", "true", "false", "1", "0", "yes", "no"}:
        raise ImproperlyConfigured(f"{name} must be on or off, not {given!r}.")
    return given in {"on", "true", "1", "yes"}


def words(name: str) -> list[str]:
    """Return a setting that is a list, separated by commas."""
    return [word.strip() for word in text(name).split(",") if word.strip()]


def made_secret_key() -> str:
    """Return the key that `make run` made for its own engines and keeps in the data folder.

    Raises:
        ImproperlyConfigured: there is none, or the database is another, so the environment must name one.
    """
    key = DATA_DIR / "secret_key"
    if text("DATABASE_URL") or not key.exists():
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. Set it to a long random text that stays the same on every machine of this "
            "installation. (Only `make run` with engines of its own makes one by itself.)"
        )
    return key.read_text().strip()


DATA_DIR = (BASE_DIR / text("CINEBOOK_DATA_DIR", "var")).resolve()
# `make run` leaves the addresses of its engines here, so that `manage.py` in another terminal finds them.
_running = dotenv.dotenv_values(DATA_DIR / "run.env", interpolate=False)


# --- The house -------------------------------------------------------------------------------------------------------

CINEMA_NAME = text("CINEMA_NAME", "CineBook")
CURRENCY = text("CURRENCY", "EUR").upper()
if not re.fullmatch("[A-Z]{3}", CURRENCY):
    raise ImproperlyConfigured(f"CURRENCY must be an ISO 4217 code such as EUR, not {CURRENCY!r}.")

# The cinema's own clock: the one that its pages show.
TIME_ZONE = text("TIME_ZONE", "Europe/Berlin")
if TIME_ZONE not in zoneinfo.available_timezones():
    raise ImproperlyConfigured(f"TIME_ZONE must be a name such as Europe/Berlin, not {TIME_ZONE!r}.")

SEAT_HOLD_SECONDS = whole_number("SEAT_HOLD_SECONDS", 900, at_least=2, at_most=86_400)
SEAT_HOLD_MAX_SECONDS = whole_number("SEAT_HOLD_MAX_SECONDS", 2700, at_least=2, at_most=86_400)
if SEAT_HOLD_MAX_SECONDS < SEAT_HOLD_SECONDS:
    raise ImproperlyConfigured(
        f"SEAT_HOLD_MAX_SECONDS ({SEAT_HOLD_MAX_SECONDS}) must not be below SEAT_HOLD_SECONDS ({SEAT_HOLD_SECONDS})."
    )
PAYMENT_SECONDS = whole_number("PAYMENT_SECONDS", 600, at_least=2, at_most=86_400)
# Until how long before the film a booking can be cancelled.
CANCELLATION_CUTOFF_MINUTES = whole_number("CANCELLATION_CUTOFF_MINUTES", 60, at_least=0, at_most=525_600)
MAX_SEATS_PER_HOLD = whole_number("MAX_SEATS_PER_HOLD", 10, at_least=1, at_most=100)
RATE_LIMITS = switch("RATE_LIMITS", default=True)

# The demo cinema: films and showtimes, and its two users with their well-known passwords.
DEMO_CINEMA = switch("DEMO_CINEMA", default=False)
DEMO_USERS = switch("DEMO_USERS", default=False)

# --- Secrets and who may ask -----------------------------------------------------------------------------------------

DEBUG = switch("DEBUG", default=False)
SECRET_KEY = text("SECRET_KEY") or made_secret_key()
JWT_SECRET = text("JWT_SECRET", SECRET_KEY)
# Signs the notices of the payment provider `demo`. Derived, so that whoever learns it has not learned SECRET_KEY.
DEMO_WEBHOOK_SECRET = text("DEMO_WEBHOOK_SECRET") or hmac.digest(SECRET_KEY.encode(), b"demo webhook", "sha256").hex()
# The machine may always ask itself (health checks do), and at the address that the server listens on.
ALLOWED_HOSTS = [*words("ALLOWED_HOSTS"), "localhost", "127.0.0.1", "[::1]", text("HOST", "127.0.0.1")]
CSRF_TRUSTED_ORIGINS = words("CSRF_TRUSTED_ORIGINS")
CORS_ORIGINS = words("CORS_ORIGINS")
for _name, _origins in {"CSRF_TRUSTED_ORIGINS": CSRF_TRUSTED_ORIGINS, "CORS_ORIGINS": CORS_ORIGINS}.items():
    for _origin in _origins:
        if not _origin.startswith(("http://", "https://")):
            raise ImproperlyConfigured(f"{_name} holds origins such as https://tickets.example, not {_origin!r}.")

# The address that visitors know, for links in mails. Who listens everywhere is found here, at least.
_host = {"0.0.0.0": "localhost", "::": "localhost"}.get(text("HOST", "127.0.0.1"), text("HOST", "127.0.0.1"))  # noqa: S104
SITE_URL = text("SITE_URL", f"http://{f'[{_host}]' if ':' in _host else _host}:{text('PORT', '8000')}").rstrip("/")
if not re.fullmatch(r"https?://[^/\s]+", SITE_URL):
    raise ImproperlyConfigured(f"SITE_URL must be an address such as https://tickets.example, not {SITE_URL!r}.")

# Behind a proxy that ends TLS: cookies only travel encrypted, and the proxy's word on the scheme is taken.
HTTPS = switch("HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

# --- Who takes the money ---------------------------------------------------------------------------------------------

STRIPE_SECRET_KEY = text("STRIPE_SECRET_KEY").strip()
# Several are good at a time, while one is being changed.
STRIPE_WEBHOOK_SECRETS = words("STRIPE_WEBHOOK_SECRETS")
STRIPE_API_BASE = text("STRIPE_API_BASE", "https://api.stripe.com").rstrip("/")
if not re.fullmatch(r"https?://[^/\s]+", STRIPE_API_BASE):
    raise ImproperlyConfigured(f"STRIPE_API_BASE must be an address such as https://host, not {STRIPE_API_BASE!r}.")
# Where the pages are on which buyers pay.
STRIPE_PAGES = "https://checkout.stripe.com" if STRIPE_API_BASE == "https://api.stripe.com" else STRIPE_API_BASE
_moves_money = re.match("(sk|rk)_live_", STRIPE_SECRET_KEY) is not None

# Those that buyers may choose, the first one unless they do. `demo` gives tickets away: so it is there with the demo
# cinema, or because somebody has said so, and never beside money.
PAYMENT_PROVIDERS = words("PAYMENT_PROVIDERS") or [
    *(["stripe"] if STRIPE_SECRET_KEY else []),
    *(["demo"] if DEMO_CINEMA and not _moves_money else []),
]
if not set(PAYMENT_PROVIDERS) <= {"demo", "stripe"} or len(set(PAYMENT_PROVIDERS)) < len(PAYMENT_PROVIDERS):
    raise ImproperlyConfigured(f"PAYMENT_PROVIDERS may name demo and stripe, not {text('PAYMENT_PROVIDERS')!r}.")
if "stripe" in PAYMENT_PROVIDERS and not STRIPE_SECRET_KEY:
    raise ImproperlyConfigured("PAYMENT_PROVIDERS names stripe, so STRIPE_SECRET_KEY must be set.")
if "demo" in PAYMENT_PROVIDERS and _moves_money:
    raise ImproperlyConfigured("PAYMENT_PROVIDERS names demo, which gives tickets away, beside a live key of Stripe.")
if STRIPE_SECRET_KEY and not re.match("(sk|rk)_(test|live)_", STRIPE_SECRET_KEY):
    raise ImproperlyConfigured("STRIPE_SECRET_KEY must be a secret key, which begins with sk_test_ or sk_live_.")
if STRIPE_SECRET_KEY and not STRIPE_WEBHOOK_SECRETS:
    raise ImproperlyConfigured("STRIPE_SECRET_KEY is set, so STRIPE_WEBHOOK_SECRETS must say by what Stripe signs.")
if _moves_money and not SITE_URL.startswith("https://"):
    raise ImproperlyConfigured("Stripe's live key wants SITE_URL to be where buyers come back, with https://.")
if STRIPE_SECRET_KEY and PAYMENT_SECONDS > 82_800:  # noqa: PLR2004 - an hour less than a session of Stripe may live
    raise ImproperlyConfigured(f"With Stripe, PAYMENT_SECONDS must be at most 82800, not {PAYMENT_SECONDS}.")
if "stripe" in PAYMENT_PROVIDERS:
    # The checkout's form leads on to there, and a browser minds where a form leads in the end.
    CONTENT_SECURITY_POLICY["DIRECTIVES"]["form-action"].append(STRIPE_PAGES)

# --- PostgreSQL and Redis --------------------------------------------------------------------------------------------

DATABASE_URL = text("DATABASE_URL", _running.get("DATABASE_URL") or "postgresql://cinebook@localhost/cinebook")
REDIS_URL = text("REDIS_URL", _running.get("REDIS_URL") or "redis://localhost:6379/0")

# How many requests one web process serves at a time, and how many calls of its sockets run beside them. Each may need
# a connection of the process's pool, and so may its tickers and the hub of its sockets.
WEB_THREADS = whole_number("WEB_THREADS", 4, at_least=1, at_most=200)
SOCKET_THREADS = whole_number("SOCKET_THREADS", 4, at_least=1, at_most=200)
# How many sockets an address may have open at a web process. A hall full of phones, or a company, may share one.
SOCKETS_PER_ADDRESS = whole_number("SOCKETS_PER_ADDRESS", 1000, at_least=1, at_most=1_000_000)
# Only web processes (asgi.py says so) pool their connections: Celery closes them after each task, and behind PgBouncer
# a second pool would only add waiting.
DATABASE_POOL = switch("DATABASE_POOL", default=True)
_pooled = DATABASE_POOL and os.environ.get("CINEBOOK_PROCESS") == "web"

_TICKERS_AND_HUB = 5

DATABASES = {
    "default": service_urls.database(
        DATABASE_URL,
        pool_size=WEB_THREADS + SOCKET_THREADS + _TICKERS_AND_HUB if _pooled else None,
        direct=DATABASE_POOL,
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Seat locks live in the database that REDIS_URL names. What can be flushed, and what Celery and the sockets send each
# other, is kept apart from them; each may also have a server of its own.
CACHE_REDIS_URL = text("CACHE_REDIS_URL", service_urls.redis_beside(REDIS_URL, 1))
LIVE_REDIS_URL = text("LIVE_REDIS_URL", service_urls.redis_beside(REDIS_URL, 2))
BROKER_REDIS_URL = text("BROKER_REDIS_URL", service_urls.redis_beside(REDIS_URL, 3))

CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": CACHE_REDIS_URL,
        "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 0.25, "SOCKET_TIMEOUT": 0.25, "IGNORE_EXCEPTIONS": True},
    }
}
DJANGO_REDIS_LOG_IGNORED_EXCEPTIONS = True
# A flushed Redis must not sign anybody out, nor part a guest from their seats.
SESSION_ENGINE = "django.contrib.sessions.backends.db"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # redis-py 8 gives up on a silent socket after 5 s by default, and a channel layer's sockets are silent
        # whenever nothing is sold.
        "CONFIG": {
            "hosts": [{"address": LIVE_REDIS_URL, "socket_timeout": 30, "socket_connect_timeout": 0.25}],
            # A message is heard in all of Redis's databases, so the names must keep two installations apart.
            "prefix": f"live-{service_urls.redis_database(LIVE_REDIS_URL)}-",
        },
    }
}

CELERY_BROKER_URL = service_urls.celery_broker(BROKER_REDIS_URL)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Nothing that a moviegoer does may wait for a broker that is away.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
    "socket_connect_timeout": 1,
    # A broker that hangs is noticed, by whoever sends and by the worker that waits for work.
    "socket_timeout": 5,
    "visibility_timeout": 3600,
}
# How often what a crash or a flush left behind is put right. Health complains when that stays away for three times.
RECONCILE_EVERY = dt.timedelta(minutes=5)
CELERY_BEAT_SCHEDULE = {
    "reconcile": {
        "task": "bookings.tasks.reconcile",
        "schedule": RECONCILE_EVERY,
        # While no worker runs, messages wait in the queue: all but the newest are then out of date.
        "options": {"expires": RECONCILE_EVERY.total_seconds()},
    },
    "top up the demo cinema's programme": {
        "task": "bookings.tasks.top_up_demo_showtimes",
        "schedule": crontab(hour="4", minute="30"),
    },
}
CELERY_TIMEZONE = TIME_ZONE
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_TIME_LIMIT = 600
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False

# --- Django ----------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "cinebook.core",
    "seating",
    "bookings",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "channels",
    "corsheaders",
    "csp",
    "django_filters",
    "django_structlog",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "cinebook.core.failures.OutageMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "cinebook.core.failures.RefusalMiddleware",
]

CSRF_FAILURE_VIEW = "cinebook.core.failures.csrf_failed"
ROOT_URLCONF = "cinebook.urls"
ASGI_APPLICATION = "cinebook.asgi.application"
AUTH_USER_MODEL = "core.User"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{validator}"}
    for validator in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "home"

# Without a mail server, mail is kept in a folder, where the demo's is read.
EMAIL_HOST = text("EMAIL_HOST")
EMAIL_PORT = whole_number("EMAIL_PORT", 587, at_least=1, at_most=65_535)
EMAIL_HOST_USER = text("EMAIL_USER")
EMAIL_HOST_PASSWORD = text("EMAIL_PASSWORD")
EMAIL_USE_TLS = switch("EMAIL_TLS", default=True)
EMAIL_TIMEOUT = 5
EMAIL_FILE_PATH = DATA_DIR / "mail"
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'filebased'}.EmailBackend"
DEFAULT_FROM_EMAIL = text("EMAIL_FROM", f"{CINEMA_NAME} <tickets@localhost>")

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
                "cinebook.core.pages.cinema",
            ],
        },
    }
]

LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "cinebook.core.staticfiles.HashedStaticFilesStorage"},
}
# Of files without a hash in their names, such as the icon, in seconds; the others are kept for ever.
WHITENOISE_MAX_AGE = 3600

# --- The REST API ----------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["seating.api.authentication.HolderAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticatedOrReadOnly"],
    "DEFAULT_PARSER_CLASSES": ["cinebook.core.rest.BoundedJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "cinebook.core.rest.Pages",
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "cinebook.core.rest.OneRenderer",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "cinebook.core.schema.Schema",
    "EXCEPTION_HANDLER": "cinebook.core.rest.exception_response",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
SIMPLE_JWT = {
    "SIGNING_KEY": JWT_SECRET,
    "ACCESS_TOKEN_LIFETIME": dt.timedelta(hours=1),
    "REFRESH_TOKEN_LIFETIME": dt.timedelta(days=14),
}
SPECTACULAR_SETTINGS = {
    "TITLE": "CineBook",
    "DESCRIPTION": "Cinema seats: hold them, pay for them, never sold twice.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "ErrorCode": "cinebook.core.errors.ErrorCode",
        "HealthStatus": ["ok", "degraded", "down"],
        "SeatKind": ["seat", "wheelchair", "companion", "loveseat"],
        "UpOrDown": ["up", "down"],
    },
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    # The id of a row, as seating.api.urls spells it.
    "PATH_CONVERTER_OVERRIDES": {"id": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}},
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False},
}
# Other front ends bring a token, never the session cookie.
CORS_ALLOWED_ORIGINS = CORS_ORIGINS
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_HEADERS = [*default_headers, "idempotency-key", "if-none-match", "x-hold-token"]
CORS_EXPOSE_HEADERS = ["ETag", "Retry-After"]

# --- Logs ------------------------------------------------------------------------------------------------------------

LOG_LEVEL = text("LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
    raise ImproperlyConfigured(f"LOG_LEVEL must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not {LOG_LEVEL!r}.")
LOGGING_CONFIG = "cinebook.core.logs.configure"
LOGGING = {"level": LOG_LEVEL, "json": not DEBUG}
DJANGO_STRUCTLOG_CELERY_ENABLED = True
# It would load session and user for every request, also for those that need neither.
DJANGO_STRUCTLOG_USER_ID_FIELD = None
