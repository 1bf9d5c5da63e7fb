"""The ``simcourier`` command of a version whose tables have changed once more.

python -m tests.support.newer worker
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from ledger import site
from messaging.settings import Settings

NAME = "9999_of_a_newer_simcourier"
PACKAGE = "migrations_of_a_newer_simcourier"
_MIGRATION = """
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("simcourier", "{last}")]
    operations = [migrations.RunSQL("CREATE TABLE of_a_newer_simcourier (id integer)")]
"""


def main(arguments: list[str]) -> None:
    """Let Django find our migrations and one more in a package of its own, and run the command."""
    known = Path(site.__file__).parent / "migrations"
    last = max(file.stem for file in known.glob("[0-9]*.py"))
    ours = site.site_settings

    def newer(settings: Settings, patience: int = 30) -> dict[str, Any]:
        return {**ours(settings, patience), "MIGRATION_MODULES": {"simcourier": PACKAGE}}

    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / PACKAGE
        package.mkdir()
        (package / "__init__.py").write_text(f"__path__.append({str(known)!r})")
        (package / f"{NAME}.py").write_text(_MIGRATION.format(last=last))
        sys.path.append(folder)
        site.site_settings = newer
        from simcourier.cli import main as simcourier

        simcourier(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
