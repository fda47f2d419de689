"""What the URLs of the environment mean: PostgreSQL's for Django, Redis's for each of its uses.

Used by the settings alone, and so free of Django.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit, urlunsplit

import psycopg
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

SECRET_KEY_FILE = "secret_key"  # noqa: S105 - the name of a file, not a secret


def generated_secret_key(data_dir: Path) -> str:
    """Return the key that `make run` made and keeps in its data folder.

    Raises:
        ImproperlyConfigured: there is none, so the environment must name one.
    """
    try:
        return (data_dir / SECRET_KEY_FILE).read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set, and no key was made by `make run` in the data folder. Set SECRET_KEY to a long "
            "random text that stays the same on every machine of this installation."
        ) from error


def database(url: str, *, pool_size: int | None) -> dict[str, Any]:
    """Return Django's entry in DATABASES for a PostgreSQL URL, read as libpq itself reads it.

    Args:
        url: a libpq URI; every parameter of libpq is allowed, several hosts too.
        pool_size: the most connections that this process keeps open; None for a connection per thread and no pool.

    Raises:
        ImproperlyConfigured: it is not such a URL.
    """
    if urlsplit(url).scheme not in {"postgresql", "postgres"}:
        raise ImproperlyConfigured("DATABASE_URL must begin with postgresql:// – CineBook runs on PostgreSQL alone.")
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ImproperlyConfigured(f"DATABASE_URL cannot be read: {error}") from error
    options: dict[str, Any] = {
        key: value for key, value in parameters.items() if key not in {"dbname", "user", "password", "host", "port"}
    }
    options.setdefault("connect_timeout", 5)
    if pool_size is not None:
        # A request that finds no free connection within 2 s is answered 503 rather than kept waiting.
        options["pool"] = {"min_size": 1, "max_size": pool_size, "timeout": 2}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parameters.get("dbname") or "cinebook",
        "USER": parameters.get("user", ""),
        "PASSWORD": parameters.get("password", ""),
        "HOST": parameters.get("host", ""),
        "PORT": parameters.get("port", ""),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


def redis_beside(url: str, offset: int) -> str:
    """Return the URL of another database of the same Redis.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        offset: how many numbers after the database that `url` names.

    Raises:
        ImproperlyConfigured: it is not such a URL, or its database is no number.
    """
    parts = urlsplit(url)
    number = _redis_database(url) + offset
    if parts.scheme == "unix":
        query = {**{key: values[0] for key, values in parse_qs(parts.query).items()}, "db": str(number)}
        # Not urlunsplit: it drops the empty host, and redis-py wants to see it.
        return f"unix://{parts.path}?{urlencode(query)}"
    return urlunsplit(parts._replace(path=f"/{number}"))


def celery_broker(url: str) -> str:
    """Return the same Redis database as kombu spells it: a Unix socket has a scheme of its own there.

    Args:
        url: as for `redis_beside`.
    """
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    return f"redis+socket://{quote(unquote(parts.path))}?virtual_host={_redis_database(url)}"


def _redis_database(url: str) -> int:
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ImproperlyConfigured("REDIS_URL must begin with redis://, rediss:// or unix://.")
    text = parse_qs(parts.query).get("db", ["0"])[0] if parts.scheme == "unix" else parts.path.strip("/") or "0"
    if not text.isdigit():
        raise ImproperlyConfigured(f"REDIS_URL names the database {text!r}; it must be a number.")
    return int(text)
