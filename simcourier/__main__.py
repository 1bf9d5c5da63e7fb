"""``simcourier`` and ``python -m simcourier``."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line.

    Ctrl-C ends the process without a word, as it does `cat`: Python's own exception would show a traceback or be
    swallowed while modules are imported. A command that has something to put in order asks for more.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored, as behind `nohup`
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from simcourier.cli import main as front_door

    front_door()


if __name__ == "__main__":
    main()
