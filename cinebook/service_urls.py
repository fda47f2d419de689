"""What the URLs of the environment mean: PostgreSQL's for Django, Redis's for each of its uses.

Used by the settings alone.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

from cinebook.patient_connection import PatientConnection

LOCK_TIMEOUT_MS = 2000


def database(url: str, *, pool_size: int | None, direct: bool = True) -> dict[str, Any]:
    """Return Django's entry in DATABASES for a PostgreSQL URL, read as libpq itself reads it.

    Args:
        url: a libpq URI; every parameter of libpq is allowed, several hosts too.
        pool_size: the most connections that this process keeps open; None for a connection per thread and no pool.
        direct: nothing that shares connections, such as PgBouncer, stands between, so statements may be prepared.

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
    # Whoever waits longer than this for a row gives up and says so, rather than queue up behind a stuck neighbour.
    options["options"] = f"-c lock_timeout={LOCK_TIMEOUT_MS} {options.get('options', '')}".strip()
    if direct:
        # The few statements of a sale are the same all day: parsed and planned once per connection, a hold took a
        # quarter less time in PostgreSQL.
        options.update(server_side_binding=True, prepare_threshold=5)
    if pool_size is not None:
        options["pool"] = {
            "min_size": 1,
            "max_size": pool_size,
            # A request that finds no free connection within 2 s fails rather than wait behind all the others.
            "timeout": 2,
            # While PostgreSQL is away the pool waits twice as long after each failure. Who soon gives up begins anew
            # with the next request; otherwise the house would stay shut for as long again as the outage was.
            "reconnect_timeout": 1,
            "connection_class": PatientConnection,
        }
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
        url: `redis://`, `rediss://` or `unix://`, with the database as redis-py reads it: `?db=`, else the path of a
            network address, else 0.
        offset: how many numbers after the database that `url` names.

    Raises:
        ImproperlyConfigured: it is not such a URL, or its database is no number.
    """
    parts, query, number = _read_redis(url)
    if parts.scheme == "unix":
        # Not urlunsplit: it drops an empty host, and redis-py wants to see it.
        return f"unix://{parts.netloc}{parts.path}?{urlencode({**query, 'db': number + offset})}"
    return urlunsplit(parts._replace(path=f"/{number + offset}", query=urlencode(query)))


def redis_database(url: str) -> int:
    """Return the number of the database that a Redis URL names.

    Args:
        url: as for `redis_beside`.
    """
    return _read_redis(url)[2]


def celery_broker(url: str) -> str:
    """Return the same Redis database as kombu spells it: a Unix socket has a scheme of its own there.

    Args:
        url: as for `redis_beside`.
    """
    parts, query, number = _read_redis(url)
    if parts.scheme != "unix":
        return redis_beside(url, 0)
    return f"redis+socket://{parts.netloc}{parts.path}?{urlencode({**query, 'virtual_host': number})}"


def _read_redis(url: str) -> tuple[SplitResult, dict[str, str], int]:
    """Return a URL's parts, its query without the database, and the database."""
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ImproperlyConfigured("REDIS_URL must begin with redis://, rediss:// or unix://.")
    query = dict(parse_qsl(parts.query))
    in_path = "" if parts.scheme == "unix" else parts.path.strip("/")
    database = query.pop("db", "") or in_path or "0"
    if not database.isdigit():
        raise ImproperlyConfigured(f"REDIS_URL names the database {database!r}; it must be a number.")
    return parts, query, int(database)
