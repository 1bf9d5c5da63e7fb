"""What a shell offers where an id is asked for. Whatever goes wrong, it offers nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr
from pathlib import Path
from shlex import quote

import click
from click.shell_completion import CompletionItem

from ledger.commands.common import prepared
from messaging.cli import settings_of
from messaging.terminal import printable

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
Found = Iterable[tuple[str, str]]
"""Values, and what each of them is."""

MOST = 500  # of the newest deliveries


def _offering(find: Callable[[], Found]) -> Complete:
    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del parameter
        try:
            if not settings_of(ctx).data_dir.is_dir():  # else it would be made
                return []
            with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
                prepared(ctx)
                found = list(find())
        except (Exception, SystemExit):  # noqa: BLE001 - nobody reads errors there
            return []
        return _items(found, incomplete)

    return complete


def _items(found: Found, incomplete: str) -> list[CompletionItem]:
    """What begins so, and is one word to a shell: click's scripts do not quote, and some names come from outside."""
    return [
        CompletionItem(value, help=printable(what))
        for value, what in found
        if value.startswith(incomplete) and quote(value) == value
    ]


def states(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Of deliveries."""
    del ctx, parameter
    from ledger.states import State

    return _items([(one.value, str(one.label)) for one in State], incomplete.upper())


def deliveries_in(*states: str) -> Complete:
    """Ids of deliveries in one of the states; no state: of all."""

    def find() -> Found:
        from ledger.lookup import names

        return [(str(one.id), one.told) for one in names(states, MOST)]

    return _offering(find)


def _wanted() -> Found:
    from ledger.lookup import names

    newest = names((), MOST)
    runs = {one.simulation_id: one.told for one in reversed(newest) if one.simulation_id}  # the newest of each
    return [*reversed(runs.items()), *((str(one.id), one.told) for one in newest)]


def _backends() -> Found:
    from ledger.definitions import definitions

    return [(one.identifier, one.name) for one in definitions()]


def _dead() -> Found:
    from ledger.dead_letters import dead_letters

    return [(str(one.id), one.reason) for one in dead_letters(limit=MOST)]


deliveries_or_simulations = _offering(_wanted)
backends = _offering(_backends)
dead_letters = _offering(_dead)
