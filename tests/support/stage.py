"""The drill's stage, for tests and benchmarks: its roles are forked, so that hundreds can be killed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from django.core.management import call_command
from django.db import connections

from messaging.settings import Settings
from simcourier.drill import role
from simcourier.drill.services import Services
from simcourier.drill.stage import Stage
from simcourier.roles import Child
from tests.support import forked
from tests.support.ledger import SECRET, migrated_copy, use_database


def new_stage(
    folder: Path,
    services: Services,
    *,
    template: Path | None = None,
    changes: Mapping[str, str] | None = None,
    **more: Any,
) -> Stage:
    """A stage in ``folder``; ``template``: where a migrated ledger is kept, of which it gets a copy."""

    def prepare(settings: Settings) -> None:
        if services.embedded and template is not None:
            migrated_copy(template, settings.data_dir / "simcourier.db")
        use_database(settings)
        call_command("migrate", verbosity=0)
        connections.close_all()

    return Stage(
        folder, services, prepare=prepare, start=_start, changes={"secret_key": SECRET, **(changes or {})}, **more
    )


def _start(arguments: Sequence[str], environ: Mapping[str, str], output: IO[bytes], lifeline: int) -> Child:
    del lifeline  # what is forked ends with this process
    return forked.start(arguments, environ, output, output, module=role.__name__)
