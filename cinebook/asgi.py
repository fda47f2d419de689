"""The one port.

HTTP goes to Django's WSGI application in a pool of threads, for Django's own ASGI handler costs a thread and several
hops per request (docs/adr/0003-http-runs-as-wsgi-beside-the-sockets.md). The ticker lives as long as the process.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cinebook.settings")
# Only a web process keeps a pool of database connections; see DATABASE_POOL in the settings.
os.environ["CINEBOOK_PROCESS"] = "web"

from django.core.wsgi import get_wsgi_application

wsgi_application = get_wsgi_application()

from django.conf import settings  # noqa: E402

from cinebook.lifespan import Lifespan  # noqa: E402
from cinebook.wsgi_in_threads import WsgiInThreads  # noqa: E402
from seating.consumers import SeatsConsumer  # noqa: E402
from seating.live.hub import LiveUpdates  # noqa: E402

http = WsgiInThreads(wsgi_application, threads=settings.WEB_THREADS)
sockets = {"/ws/seats/": SeatsConsumer.serve}
lifespan = Lifespan(LiveUpdates())


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer one request, one socket, or the server itself."""
    if scope["type"] == "http":
        await http(scope, receive, send)
    elif scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif serve := sockets.get(scope["path"]):
        await serve(scope, receive, send)
    else:
        await receive()
        # Before it was accepted this is a 403.
        await send({"type": "websocket.close"})
