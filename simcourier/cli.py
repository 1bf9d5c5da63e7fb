"""The front door: mounts each folder's commands by dotted name and imports a folder only when its command runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module

import click
from click.shell_completion import CompletionItem

from messaging.cli import SpokenGroup
from simcourier import lifeline
from simcourier._version import __version__

# Name, in the order of a result's way, to "module:command" and the line shown by --help.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("simcourier.demo:demo", "One sample run, from event to mail, on this machine."),
    "up": ("simcourier.up:up", "Run everything on this machine until Ctrl-C."),
    "publish": ("producer.commands:publish", "Tell that a simulation has ended and where its results lie."),
    "run": ("producer.runs.commands:run", "Run a simulation, and tell how it has ended."),
    "pack": ("consumer.packing.commands:pack", "Pack a results folder into a zip, on all cores."),
    "spool": ("producer.commands:spool", "Events that wait on this machine for the broker."),
    "summarise": ("consumer.summarise:summarise", "Statistics and plots of a results folder, here and now."),
    "worker": ("consumer.commands:worker", "Results worker, recorder and sweep."),
    "email-sender": ("consumer.commands:email_sender", "Mail the links."),
    "email": ("consumer.mail.commands:email", "Look at the mails that are sent."),
    "local-cloud": ("local_cloud.commands:main", "The storage server."),
    "web": ("ledger.commands.serve:web", "The site: deliveries' pages, Django admin, JSON API."),
    "manage": ("ledger.commands.serve:manage", "Django's own commands (migrate, createsuperuser, ...)."),
    "where": ("ledger.commands.deliveries:where", "Where is my result?"),
    "deliveries": ("ledger.commands.deliveries:deliveries", "List, show, retry and cancel deliveries; resend mails."),
    "dead": ("ledger.commands.dead:dead", "Messages that were set aside."),
    "backends": ("ledger.commands.backends:backends", "Definitions of storage backends."),
    "expire": ("consumer.commands:expire", "Remove archives whose keep days are over."),
    "retention": ("ledger.commands.retention:retention", "What is kept how long."),
    "carry-over": ("simcourier.carry_over:carry_over", "From the embedded default to RabbitMQ and PostgreSQL."),
    "health": ("simcourier.health:health", "Does a role on this machine do its work?"),
    "doctor": ("simcourier.doctor.commands:doctor", "What is missing, and what to do."),
    "drill": ("simcourier.drill.commands:drill", "Rehearse faults: is anything lost, does anything come twice?"),
    "completion": ("simcourier.completion:completion", "Print what makes a shell complete simcourier's words."),
    "schema": ("messaging.commands:schema", "Print the JSON Schemas of the messages."),
}


class FrontDoor(SpokenGroup):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of a result's way."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command.

        Raises:
            click.ClickException: its folder's dependencies are not installed.
        """
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        try:
            command = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"'simcourier {cmd_name}' needs the Python package {error.name}; "
                "install it, in a clone of the repository, with: pip install '.[all]'"
            ) from error
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say which command may be meant, where none is called so."""
        close = [] if args[0] in COMMANDS else get_close_matches(args[0], COMMANDS, n=1)
        if close and not ctx.resilient_parsing:
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{close[0]}'?")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer commands without importing them, or options."""
        if incomplete[:1] and not incomplete[0].isalnum():
            return click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=line) for name, (_, line) in COMMANDS.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=FrontDoor, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="simcourier")
@click.option("--env-file", type=click.Path(dir_okay=False), help="Read settings (NAME=value lines) from this file.")
def main(env_file: str | None) -> None:
    """Carries simulation results from the end of a run to the researcher's inbox.

    \b
    Example:
      simcourier publish results/ --to anna@example.org --backend local --title "rho = 0.8"
    """
    del env_file  # read by messaging.cli.settings_of
    lifeline.watch(os.environ)
