"""The modules of the pages that know no DOM, under Node's own test runner."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# The first that tells by itself that a file is an ES module.
OLDEST_NODE = (20, 19)


def node_version() -> tuple[int, ...]:
    """Return which Node is installed; nothing if none is."""
    if not shutil.which("node"):
        return ()
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    return tuple(int(number) for number in re.findall(r"\d+", said))


@pytest.mark.skipif(node_version() < OLDEST_NODE, reason="the modules of the pages are tested by Node 20.19 or newer")
def test_the_modules_of_the_pages() -> None:
    files = sorted(str(path) for path in HERE.glob("*.test.js"))
    ended = subprocess.run(["node", "--test", *files], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"^# pass [1-9]", ended.stdout, re.MULTILINE)
