"""The one port.

HTTP goes to Django's WSGI application in a pool of threads, for Django's own ASGI handler costs a thread and several
hops per request (docs/adr/0003-http-runs-as-wsgi-beside-the-sockets.md). The tickers and the hub of the sockets live
as long as the process.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cinebook.settings")
# Only a web process keeps a pool of database connections; see DATABASE_POOL in the settings.
os.environ["CINEBOOK_PROCESS"] = "web"

from django.core.wsgi import get_wsgi_application

wsgi_application = get_wsgi_application()

from django.urls import resolve  # noqa: E402

# Every view is imported now, and not while somebody waits for the first answer.
resolve("/api/v1/health")

from channels.routing import ProtocolTypeRouter  # noqa: E402
from django.conf import settings  # noqa: E402

from bookings.consumers import BookingConsumer  # noqa: E402
from bookings.ticker import OutboxTicker, PaymentTicker  # noqa: E402
from cinebook.lifespan import Lifespan  # noqa: E402
from cinebook.wsgi_in_threads import WsgiInThreads  # noqa: E402
from seating.api.quick_status import QuickStatus  # noqa: E402
from seating.live.hub import LiveUpdates  # noqa: E402
from seating.ticker import HoldTicker, LockTicker  # noqa: E402

sockets: dict[str, Callable[[Any, Any, Any], Awaitable[None]]] = {"/ws/seats/": BookingConsumer.serve}


async def socket(scope: Any, receive: Any, send: Any) -> None:
    """Serve a socket, or close it before it opens: a 403."""
    await sockets.get(scope["path"], refuse)(scope, receive, send)


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    """Close a socket before it opens."""
    await receive()
    await send({"type": "websocket.close"})


live = LiveUpdates()

application = ProtocolTypeRouter(
    {
        # While PostgreSQL is frozen every thread may wait for it; whoever asks for health is to be told so in time.
        "http": QuickStatus(WsgiInThreads(wsgi_application, threads=settings.WEB_THREADS, apart={"/api/v1/health"})),
        "websocket": socket,
        # What ticks asks who is present, so it begins later and ends earlier.
        "lifespan": Lifespan(live, HoldTicker(present=live.present), LockTicker(), PaymentTicker(), OutboxTicker()),
    }
)
