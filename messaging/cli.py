"""What the command-line modules of all folders share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from messaging.errors import UserError
from messaging.secrecy import hide, hide_password
from messaging.terminal import say

if TYPE_CHECKING:  # a command that needs neither settings nor engine starts three times as fast
    from messaging.engine import Engine
    from messaging.settings import Settings

# What a shell reports for a process that SIGINT has ended: 128 and the signal's number.
INTERRUPTED = 130
LONGEST = 1000  # characters of a sentence in a list of commands


class Group(click.Group):
    """A group whose help says of each command a whole sentence, on more lines where it is long."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(LONGEST)) for name, one in sorted(self.commands.items())])


class SpokenGroup(click.Group):
    """A group of commands whose `UserError`s become one sentence on standard error and an exit code.

    Ctrl-C becomes an exit code alone.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            say(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


def interruptible() -> None:
    """From now on Ctrl-C and SIGTERM raise an exception: for a command that has something to put in order."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: object) -> None:
    del frame
    signal.signal(number, signal.SIG_DFL)  # the second one ends at once
    raise SystemExit(128 + number)


@contextmanager
def interrupted_when_asked() -> Iterator[Callable[[], None]]:
    """For work on threads, after `interruptible`: Ctrl-C and SIGTERM wait until the function is called that this gives.

    An exception out of a signal's handler may come between taking a lock and noting that it is taken; whoever waits for
    that lock afterwards, such as a pool that ends its threads, waits for ever.
    """
    came: list[int] = []

    def keep(number: int, frame: object) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)  # the second one ends at once
        came.append(number)

    def ask() -> None:
        if came:
            raise KeyboardInterrupt if came[0] == signal.SIGINT else SystemExit(128 + came[0])

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in handlers.items():
        if callable(handler):  # neither ignored nor left to the system
            signal.signal(number, keep)
    try:
        yield ask
        ask()
    finally:
        for number, handler in handlers.items():
            if number not in came:
                signal.signal(number, handler)


def settings_of(ctx: click.Context) -> Settings:
    """The settings of this process, read on first use (so that ``--help`` works with wrong ones)."""
    root = ctx.find_root()
    state = cast("dict[str, Any]", root.ensure_object(dict))
    if "settings" not in state:
        from messaging.settings import load

        env_file = root.params.get("env_file")
        state["settings"] = settings = load(os.environ, Path(env_file) if env_file else None)
        _hide(settings)
    return cast("Settings", state["settings"])


def _hide(settings: Settings) -> None:
    """Keep what is secret in them out of logs and of what is told."""
    for url in (settings.broker_url, settings.database_url, settings.email_url):
        hide_password(url.get_secret_value())
    for secret in (settings.secret_key, settings.metrics_token):
        if secret is not None:
            hide(secret.get_secret_value())
    if settings.secret_key_fallbacks is not None:
        hide(*settings.secret_key_fallbacks.get_secret_value().split(","))


def engine_of(settings: Settings) -> Engine:
    """The engine that the settings name."""
    from messaging.connect import connect

    return connect(settings.broker_url.get_secret_value(), settings.topology)
