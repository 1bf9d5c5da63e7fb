"""Trying a definition out: what its plugin finds is kept as the definition's health."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from backends.check import Step, check
from backends.errors import PermanentError, unexpected
from backends.http import session
from backends.registry import WrongConfig, build, secret_values
from ledger.definitions import Definition, mark_healthy, mark_unhealthy, try_at_once
from ledger.notifications import MAIL_PATIENCE_SECONDS
from messaging.secrecy import hidden, hide


def check_definition(chosen: Definition, site: Mapping[str, Any]) -> Iterator[Step]:
    """Check a definition step by step (see `backends.check`); afterwards it is marked healthy, or unhealthy.

    Args:
        chosen: the definition.
        site: site-wide values for plugins.
    """
    steps: list[Step] = []
    with session() as http:
        try:
            hide(*secret_values(chosen.identifier, chosen.token.get_secret_value(), chosen.config_values()))
            backend = build(chosen.identifier, chosen.token.get_secret_value(), chosen.config_values(), http, site)
        except WrongConfig as error:
            steps.append(Step("read the definition", str(error), PermanentError(str(error), scope="backend")))
            yield steps[0]
        except Exception as error:  # noqa: BLE001 - a plugin of anybody's; whoever checks it is told
            steps.append(Step("read the definition", str(unexpected(error)), unexpected(error)))
            yield steps[0]
        else:
            for step in check(backend, http, _link_time(chosen)):
                steps.append(replace(step, text=hidden(step.text)))  # services repeat what they were sent
                yield steps[-1]
    _keep_health(chosen, steps)


def _link_time(chosen: Definition) -> timedelta | None:
    """What a delivery's link would be asked for: some services refuse a link that ends too early, or too late."""
    if not chosen.keep_days:
        return None
    return timedelta(days=chosen.keep_days, seconds=MAIL_PATIENCE_SECONDS)


def _keep_health(chosen: Definition, steps: list[Step]) -> None:
    errors = [step.error for step in steps if step.error is not None]
    broken = [error for error in errors if isinstance(error, PermanentError)]
    if broken:
        mark_unhealthy(chosen.identifier, broken[0].reason, operator="")  # who checks it sees it
    elif not errors and chosen.unhealthy_reason:
        mark_healthy(chosen.identifier)
        try_at_once(chosen.identifier)
