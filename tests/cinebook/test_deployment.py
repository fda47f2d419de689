"""The files that start CineBook elsewhere say the same as the ones that start it here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cinebook import settings

ROOT = Path(settings.__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
DOCUMENTED = set(re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


@pytest.mark.parametrize("process", ["release", "web", "worker", "beat"])
def test_a_container_runs_what_make_run_runs(process: str) -> None:
    here = (
        PROCFILE[process]
        .replace("${HOST}", "0.0.0.0")  # noqa: S104 - inside its container
        .replace("${PORT}", "8000")
        .replace("${WEB_WORKERS}", "${WEB_WORKERS:-2}")
        .replace("${CINEBOOK_DATA_DIR}", "/data")
    )

    assert COMPOSE["services"][process]["command"] == here


def test_containers_take_every_documented_setting() -> None:
    assert set(COMPOSE["x-app"]["environment"]) == DOCUMENTED


def test_every_setting_that_is_read_is_documented() -> None:
    source = (ROOT / "cinebook" / "settings.py").read_text()
    read = set(re.findall(r'(?:text|whole_number|switch|words)\("([A-Z_]+)"', source))

    assert read <= DOCUMENTED


def test_every_part_has_a_health_check() -> None:
    parts = {name for name, service in COMPOSE["services"].items() if "healthcheck" in service}

    assert parts == {"web", "worker", "beat", "postgres", "redis"}


def test_the_image_runs_as_nobody_special() -> None:
    users = re.findall(r"^USER (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert users == ["cinebook"]


def test_requirements_are_pinned() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text().splitlines():
            requirement = line.split("#")[0].strip()
            assert not requirement or "==" in requirement or requirement.startswith("-r "), line
