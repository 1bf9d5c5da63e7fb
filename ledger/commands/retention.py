"""``simcourier retention``."""

from __future__ import annotations

import click

from ledger.commands.common import as_json_option, prepared, print_json, print_table


@click.command(short_help="What is kept how long.")
@as_json_option
@click.pass_context
def retention(ctx: click.Context, *, as_json: bool) -> None:
    """Tell what is kept how long, and how much of it is past that and goes with the workers' next sweeps.

    \b
    Example:
      simcourier retention
    """
    settings = prepared(ctx)
    from ledger.retention import Keep, due

    recipients, deliveries = settings.keep_recipients_days, settings.keep_deliveries_days
    counts = due(Keep(recipients, deliveries))
    told = [
        ("events", "events and recipients of ended deliveries", "keep_recipients_days"),
        ("notices and digests", "mails to operators, and digests of campaigns", "keep_recipients_days"),
        ("dead letters", "dead letters that are closed", "keep_recipients_days"),
        ("deliveries", "what ended deliveries were about", "keep_deliveries_days"),
        ("history", "history of the admin", "keep_deliveries_days"),
    ]
    rows = [
        {"what": what, "days": getattr(settings, name), "setting": f"SIMCOURIER_{name.upper()}", "due": counts[kind]}
        for kind, what, name in told
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["WHAT", "KEPT FOR", "SETTING", "DUE NOW"],
        (
            [str(row["what"]), f"{row['days']} days" if row["days"] else "ever", str(row["setting"]), str(row["due"])]
            for row in rows
        ),
        "",
    )
