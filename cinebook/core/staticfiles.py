"""How static files are named and served."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Names carry the hash of the content, also inside `import` lines of ES modules.

    Without the switch below Django leaves the imports of modules alone, and a browser would mix old and new ones.
    It skips an import that does not end with a semicolon.
    """

    support_js_module_import_aggregation = True
