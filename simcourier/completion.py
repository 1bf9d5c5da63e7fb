"""``simcourier completion``."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

PROGRAM = "simcourier"
VARIABLE = f"_{PROGRAM.upper()}_COMPLETE"  # what click looks for when a shell asks


class _Bash(BashComplete):
    """As click's, for whatever shell it is written from."""

    @staticmethod
    def _check_version() -> None:
        """The bash that reads it may be another than the one that is installed here."""


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": ZshComplete, "fish": FishComplete}


@click.command(short_help="Print what makes a shell complete simcourier's words.")
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script with which a shell completes commands, options, and the ids that the ledger knows.

    \b
    Example:
      eval "$(simcourier completion bash)"                     # in ~/.bashrc; bash 4.4 or newer
      eval "$(simcourier completion zsh)"                      # in ~/.zshrc, after compinit
      simcourier completion fish > ~/.config/fish/completions/simcourier.fish
    """
    click.echo(SHELLS[shell](ctx.find_root().command, {}, PROGRAM, VARIABLE).source())
