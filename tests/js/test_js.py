"""The modules of the pages that know no DOM, under Node's own test runner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed: the page's modules are not tested")
def test_the_modules_of_the_pages() -> None:
    files = sorted(str(path) for path in HERE.glob("*.test.js"))
    ended = subprocess.run(["node", "--test", *files], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "# pass" in ended.stdout
