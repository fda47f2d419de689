"""The process `web`: uvicorn, as CineBook wants it.

    python -m cinebook.web --host 0.0.0.0 --port 8000 --workers 2

What else it needs to know is said by the settings (.env.example).
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cinebook.settings")
# As in `cinebook.asgi`, for here the settings are read before that is imported.
os.environ["CINEBOOK_PROCESS"] = "web"

import uvicorn
from django.conf import settings

from cinebook.core import logs

# What a request that was begun, or a socket, is given to come to its end after SIGTERM.
GRACE_SECONDS = 8
# The longest frame of a client, in bytes. Those above `MAX_FRAME` of the consumers are answered, those above this one
# end their socket.
LONGEST_FRAME = 256 * 1024


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="Serve CineBook's pages, its API and its sockets on one port.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    asked = parser.parse_args()
    logs.configure(settings.LOGGING)
    uvicorn.run(
        "cinebook.asgi:application",
        host=asked.host,
        port=asked.port,
        workers=asked.workers,
        lifespan="on",
        ws="cinebook.core.sockets:SocketProtocol",
        # It would be paid with memory and CPU for each socket, and our frames are small.
        ws_per_message_deflate=False,
        ws_max_size=LONGEST_FRAME,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        # Each request has its own line already; and all lines have one shape.
        access_log=False,
        log_config=None,
    )


if __name__ == "__main__":
    main()
