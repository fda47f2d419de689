"""Static files are named by their content, modules that import each other too."""

from __future__ import annotations

import json
from pathlib import Path

from django.core.management import call_command
from pytest_django import Settings


def test_a_module_imports_the_hashed_name_of_another(tmp_path: Path, settings: Settings) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "page.js").write_text('import { seats } from "./store.js";\nseats();\n')
    (source / "store.js").write_text("export function seats() {}\n")
    settings.STATICFILES_DIRS = [source]
    settings.STATIC_ROOT = tmp_path / "built"
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "cinebook.core.staticfiles.HashedStaticFilesStorage"},
    }

    call_command("collectstatic", interactive=False, verbosity=0)

    names = json.loads((settings.STATIC_ROOT / "staticfiles.json").read_text())["paths"]
    assert names["store.js"] in (settings.STATIC_ROOT / names["page.js"]).read_text()
