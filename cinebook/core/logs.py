"""One shape for every log line, ours and the libraries': structured, with the request's or the task's id."""

from __future__ import annotations

import logging.config
import re
from typing import Any

import structlog


def without_request_starts(logger: Any, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Drop the line that a request has begun: the one that it has ended says all of it, and how it went."""
    if event["event"] == "request_started":
        raise structlog.DropEvent
    return event


# The address of a link for a new password holds what is as good as the password, that of a mailed booking a key to it.
SECRET_PATH = re.compile(r"(/accounts/password/reset/[^/\s]+/|/bookings/[^/\s]+/opened/)[^/\s]+")


def without_secrets(logger: Any, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Take the secret out of the addresses that a line tells."""
    return {key: SECRET_PATH.sub(r"\1…", value) if isinstance(value, str) else value for key, value in event.items()}


SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    without_secrets,
]


def configure(options: dict[str, Any]) -> None:
    """Set up structlog and Python's logging alike; Django calls it with the setting LOGGING.

    Args:
        options: `level`, a name of a log level, and `json`, whether lines are JSON or for a terminal.
    """
    renderer: Any = structlog.processors.JSONRenderer() if options["json"] else structlog.dev.ConsoleRenderer()
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "lines": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        structlog.processors.format_exc_info,
                        renderer,
                    ],
                    "foreign_pre_chain": SHARED,
                }
            },
            "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "lines"}},
            "loggers": {
                # The layer tells of an outage once a second with a traceback; `core.live` says when it begins and ends.
                "channels_redis.pubsub": {"level": "CRITICAL"},
                # It says of each socket that it was opened and closed; so do we, with who it is and for how long.
                "uvicorn.error": {"level": max(logging.WARNING, logging.getLevelNamesMapping()[options["level"]])},
            },
            "root": {"handlers": ["console"], "level": options["level"]},
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            without_request_starts,
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
