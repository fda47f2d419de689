"""The settings of the product, but for what would only make the tests slow or let their processes meet."""

import os

os.environ.setdefault("SECRET_KEY", "the-tests-have-no-secrets, but a key must be long")
os.environ.setdefault("CINEBOOK_DATA_DIR", "/nonexistent")
os.environ.setdefault("PAYMENT_PROVIDERS", "demo")

from cinebook import service_urls

# Test processes that run side by side take four Redis databases each.
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
if "REDIS_URL" in os.environ and "CINEBOOK_TESTS_REDIS" not in os.environ:
    os.environ["CINEBOOK_TESTS_REDIS"] = os.environ["REDIS_URL"]
if "CINEBOOK_TESTS_REDIS" in os.environ:
    os.environ["REDIS_URL"] = service_urls.redis_beside(os.environ["CINEBOOK_TESTS_REDIS"], 4 * _PROCESS)

from cinebook.settings import *  # noqa: E402, F403

# Argon2 is slow on purpose.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    # Hashed names need collectstatic first; its own test builds them.
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_AUTOREFRESH = True
