"""How a mistake is planted into the product, in this process: a function is replaced, or a clause of passing SQL.

What is to be replaced must be found when it is planted, and met before it is taken out again: else a refactoring would
disarm the mutant, and whatever is proved with it, without anybody noticing.
"""

from __future__ import annotations

import importlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import structlog
from django.db.backends.utils import CursorWrapper

from seating import locks

log = structlog.get_logger(__name__)

# Where names are looked for that mean the same function.
PACKAGES = ("bookings", "cinebook", "seating", "tests")

Meet = Callable[[], None]


class MutantLost(AssertionError):  # noqa: N818 - a turn of events
    """What a mutant changes is not there any more, or nothing came by it: name it anew."""


class Part(Protocol):
    """One change of which a mutant is made."""

    def planted(self, meet: Meet) -> AbstractContextManager[None]:
        """Make the change for a while; `meet` is called each time when something comes by it."""


class Statement:
    """A change of a clause in the SQL that goes by, whoever sends it."""

    def __init__(self, statement: str, clause: str, instead: str) -> None:
        """Take what is to be changed.

        Args:
            statement: a pattern that finds the statement.
            clause: a pattern that finds what is changed in it. Where it is missing the mutant is lost.
            instead: what stands there from now on, as `re.sub` takes it.
        """
        self._statement = re.compile(statement, re.DOTALL)
        self._clause = re.compile(clause, re.DOTALL)
        self._instead = instead

    @contextmanager
    def planted(self, meet: Meet) -> Iterator[None]:
        execute = CursorWrapper.execute

        def mutated(cursor: CursorWrapper, sql: Any, params: Any = None) -> Any:
            if isinstance(sql, str) and self._statement.search(sql):
                sql, count = self._clause.subn(self._instead, sql, count=1)
                if not count:
                    raise MutantLost(f"{self._clause.pattern!r} is not in {sql}")
                meet()
            return execute(cursor, sql, params)

        with mock.patch.object(CursorWrapper, "execute", mutated):
            yield


class Function:
    """A replacement of a function, in every module that knows it by name."""

    def __init__(self, where: str, instead: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Take what is to be replaced.

        Args:
            where: its module and its name, with dots between.
            instead: takes the function, and returns what is called in its place.
        """
        self._where = where
        self._instead = instead

    @contextmanager
    def planted(self, meet: Meet) -> Iterator[None]:
        original = _named(self._where)
        mutated = self._instead(original)

        def called(*args: Any, **kwargs: Any) -> Any:
            meet()
            return mutated(*args, **kwargs)

        with _in_its_place(original, called):
            yield


class Value:
    """A replacement of a constant. That it was met is for the other parts of the mutant to say."""

    def __init__(self, where: str, instead: Any) -> None:
        self._where = where
        self._instead = instead

    @contextmanager
    def planted(self, meet: Meet) -> Iterator[None]:
        meet()
        with _in_its_place(_named(self._where), self._instead):
            yield


class Script:
    """A change of a clause in one of the Lua scripts of the seat locks."""

    def __init__(self, name: str, clause: str, instead: str) -> None:
        """Take what is to be changed.

        Args:
            name: of the script's file.
            clause: a pattern that finds what is changed in it.
            instead: what stands there from now on, as `re.sub` takes it.
        """
        self._path = locks.LUA / name
        self._clause = re.compile(clause, re.DOTALL)
        self._instead = instead

    @contextmanager
    def planted(self, meet: Meet) -> Iterator[None]:
        text, count = self._clause.subn(self._instead, self._path.read_text())
        if not count:
            raise MutantLost(f"{self._clause.pattern!r} is not in {self._path.name}")
        run_script = _named("cinebook.core.redis.run_script")
        # Scripts are read once for each path, so each mutated one has a path of its own.
        with tempfile.TemporaryDirectory() as folder:
            mutated = Path(folder) / self._path.name
            mutated.write_text(text)

            def called(path: Path, *args: Any, **kwargs: Any) -> Any:
                if path == self._path:
                    meet()
                    path = mutated
                return run_script(path, *args, **kwargs)

            with _in_its_place(run_script, called):
                yield


@contextmanager
def planted(name: str, parts: tuple[Part, ...]) -> Iterator[None]:
    """Plant all the parts of a mutant.

    Raises:
        MutantLost: something of it was not found, or nobody came by it until the end.
    """
    met: set[int] = set()

    def meet(place: int) -> None:
        if place not in met:
            met.add(place)
            log.warning("mutant.met", mutant=name, part=place)

    with ExitStack() as stack:
        for place, part in enumerate(parts):
            stack.enter_context(part.planted(lambda place=place: meet(place)))
        yield
    missed = sorted(set(range(len(parts))) - met)
    if missed:
        raise MutantLost(f"{name}: nothing came by part {missed}")


def _named(where: str) -> Any:
    module, _dot, name = where.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise MutantLost(f"there is no {where}") from error


@contextmanager
def _in_its_place(original: object, instead: object) -> Iterator[None]:
    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] in PACKAGES:
                for attribute in [known for known, value in vars(module).items() if value is original]:
                    stack.enter_context(mock.patch.object(module, attribute, instead))
        yield
