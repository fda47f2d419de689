"""The one port.

HTTP goes to Django's WSGI application in a pool of threads, for Django's own ASGI handler costs a thread and several
hops per request (docs/adr/0003-http-runs-as-wsgi-beside-the-sockets.md).
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cinebook.settings")
# Only a web process keeps a pool of database connections; see DATABASE_POOL in the settings.
os.environ["CINEBOOK_PROCESS"] = "web"

from a2wsgi import WSGIMiddleware
from django.core.wsgi import get_wsgi_application

wsgi_application = get_wsgi_application()

from django.conf import settings  # noqa: E402

from cinebook.core.lifespan import Lifespan, Receive, Scope, Send  # noqa: E402
from seating.consumers import SeatsConsumer  # noqa: E402
from seating.live.hub import running_hub  # noqa: E402

# The two libraries spell the same protocol with types of their own.
http: Any = WSGIMiddleware(wsgi_application, workers=settings.WEB_THREADS)  # type: ignore[arg-type]
sockets = {"/ws/seats/": SeatsConsumer.serve}
lifespan = Lifespan(running_hub)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request, one socket, or the server's own life."""
    if scope["type"] == "http":
        await http(scope, receive, send)
    elif scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif serve := sockets.get(scope["path"]):
        await serve(scope, receive, send)
    else:
        await receive()
        # Before it is accepted this is a 403.
        await send({"type": "websocket.close", "code": 1008})
