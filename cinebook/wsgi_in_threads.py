"""Django's WSGI application inside an ASGI server, in a pool of threads.

a2wsgi knows how to say a request in WSGI's words. Its own responder hands every piece of an answer from the thread to
the event loop and waits for it; ours hands over the whole request and the whole answer, for none of them is long.
That spared about a third of what a request cost in Python (docs/adr/0003).
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import io
import json
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from a2wsgi.wsgi import build_environ

from cinebook.core.error_responses import error_body
from cinebook.core.errors import ErrorCode, Refusal
from cinebook.core.redis import limited_patience

# The longest body that is read into memory, in bytes; Django's own limit for what is not a file.
MAX_BODY = 2_621_440
# A load balancer and an operator may ask at the same time.
THREADS_APART = 2


class Answer(NamedTuple):
    """A whole response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    content: bytes


def _too_large() -> Answer:
    refusal = Refusal(ErrorCode.PAYLOAD_TOO_LARGE)
    content = json.dumps(error_body(refusal)).encode()
    return Answer(413, [(b"content-type", b"application/json"), (b"connection", b"close")], content)


class WsgiInThreads:
    """The ASGI application that answers HTTP with a WSGI one.

    Args:
        application: WSGI's.
        threads: how many requests are answered at a time; further ones wait.
        apart: paths that wait for none of the others, but for each other: they have threads of their own.
    """

    def __init__(
        self, application: Callable[..., Iterable[bytes]], *, threads: int, apart: Collection[str] = ()
    ) -> None:
        self._application = application
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="wsgi")
        self._apart = dict.fromkeys(apart, ThreadPoolExecutor(THREADS_APART, thread_name_prefix="wsgi-apart"))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request of ASGI's type `http`."""
        body = await _whole_body(receive)
        if body is None:
            answer = _too_large()
        else:
            environ: dict[str, Any] = dict(build_environ(scope, io.BytesIO(body)))  # type: ignore[arg-type]
            # Also for a body that came in chunks: what has no length counts as no body in Django.
            environ["CONTENT_LENGTH"] = str(len(body))
            run = functools.partial(contextvars.copy_context().run, self._run, environ)
            threads = self._apart.get(scope["path"], self._threads)
            answer = await asyncio.get_running_loop().run_in_executor(threads, run)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.content})

    def _run(self, environ: dict[str, Any]) -> Answer:
        started: list[Any] = []
        written: list[bytes] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[..., None]:
            started[:] = [int(status[:3]), headers]
            return written.append

        with limited_patience():
            chunks = self._application(environ, start_response)
            try:
                content = b"".join([*written, *chunks])
            finally:
                # Django gives its database connection back here, so it must happen in this thread.
                getattr(chunks, "close", lambda: None)()
        status, headers = started
        return Answer(
            status, [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers], content
        )


async def _whole_body(receive: Any) -> bytes | None:
    """Return the body; None if it is longer than `MAX_BODY`, or if the client left before it was there."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY or message["type"] == "http.disconnect":
            return None
        if not message.get("more_body", False):
            return bytes(body)
