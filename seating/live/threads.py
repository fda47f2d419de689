"""Threads in which an event loop may ask PostgreSQL. They keep no connection between two calls."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import close_old_connections

from cinebook.core.redis import limited_patience

Given = ParamSpec("Given")
Result = TypeVar("Result")


class DatabaseThreads:
    """A bounded pool of threads.

    Args:
        count: how many calls run at a time; the others wait in line.
        name: what the threads are called.
    """

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix=name)

    async def run(self, work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
        """Call `work` in one of the threads, and return what it returns."""
        context = contextvars.copy_context()
        call = functools.partial(context.run, _then_let_go, functools.partial(work, *given, **named))
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)


def _then_let_go(work: Callable[[], Result]) -> Result:
    try:
        with limited_patience():
            return work()
    finally:
        # As Django does after each request: the connection goes back to the pool.
        close_old_connections()


@functools.cache
def service_threads() -> DatabaseThreads:
    """Return the threads for what sockets ask for: a few, so that one that waits for a lock stalls no other."""
    return DatabaseThreads(settings.SOCKET_THREADS, "socket")


@functools.cache
def hub_thread() -> DatabaseThreads:
    """Return the thread for what the hub reads by itself; nobody who waits for a lock is before it in line."""
    return DatabaseThreads(1, "hub")
