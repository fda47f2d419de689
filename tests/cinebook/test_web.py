"""The process `web` is started with what the rest of the product relies on."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import uvicorn

from cinebook import web
from cinebook.core.sockets import SocketProtocol
from seating.consumers import MAX_FRAME


def test_what_uvicorn_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(uvicorn, "run", lambda *_application, **given: told.update(given))
    monkeypatch.setattr(web.logs, "configure", lambda _options: None)
    monkeypatch.setattr(sys, "argv", ["web", "--port", "8123", "--workers", "3"])

    web.main()
    config = uvicorn.Config("cinebook.asgi:application", **told)
    config.load()

    assert (config.host, config.port, config.workers) == ("127.0.0.1", 8123, 3)
    # What many viewers are sent is written past ASGI: without this all of it works, at twice the price.
    assert config.ws_protocol_class is SocketProtocol
    assert config.ws_per_message_deflate is False
    # A client's frame that is too long is answered; only one that is longer still ends its socket.
    assert config.ws_max_size > MAX_FRAME
