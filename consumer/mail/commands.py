"""``simcourier email``: the mails, to be looked at."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from pathlib import Path
from secrets import token_urlsafe

import click
from pydantic import SecretStr

from ledger import setup
from messaging.cli import Group, settings_of

KINDS = (
    "delivered",
    "delivered-failed",
    "failed",
    "reminder",
    "digest",
    "digest-reminder",
    "operator",
    "operator-mails",
    "operator-letters",
)
NO_SITE = (
    "These mails name no delivery's page, as yours do not: SIMCOURIER_PUBLIC_URL is not set. (Those of 'simcourier up' "
    "name the pages of its own site.)"
)


@click.group(cls=Group, short_help="Look at the mails that are sent.")
def email() -> None:
    """Look at the mails that are sent.

    \b
    Example:
      simcourier email preview delivered -o mails
    """


@email.command()
@click.argument("kinds", metavar="[KIND]...", type=click.Choice(KINDS), nargs=-1)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("mail-preview"),
    show_default=True,
    help="Folder to write to.",
)
@click.option("--list", "list_kinds", is_flag=True, help="Only list the kinds.")
@click.pass_context
def preview(ctx: click.Context, kinds: tuple[str, ...], *, output: Path, list_kinds: bool) -> None:
    """Write mails about made-up deliveries, each as .eml, .html and .txt; without a KIND, one of every kind.

    Nothing is sent, and neither broker nor ledger is needed. Sender and site are those of your settings.

    \b
    Example:
      simcourier email preview delivered -o mails
    """
    if list_kinds:
        for kind in KINDS:
            click.echo(kind)
        return
    settings = settings_of(ctx)
    setup(settings.model_copy(update={"secret_key": SecretStr(token_urlsafe(48))}))  # none is made or asked for
    from consumer.mail.render import Renderer
    from consumer.mail.samples import sample

    if not settings.told_url:
        click.echo(NO_SITE, err=True)
    renderer = Renderer(settings.email_from, settings.told_url, keep_longer_days=settings.keep_longer_days)
    try:
        output.mkdir(parents=True, exist_ok=True)
        for kind in kinds or KINDS:
            mail = renderer.render(sample(kind, "anna@example.org"), datetime.now(UTC))
            _write(output / kind, mail)
            click.echo(f"{kind}: {output / kind}.eml, .html, .txt")
    except OSError as error:
        raise click.ClickException(f"{error.filename or output} cannot be written ({error.strerror}).") from error


def _write(stem: Path, mail: EmailMessage) -> None:
    """The mail as it is sent, and its parts; a browser that shows the HTML finds the picture beside it."""
    stem.with_name(f"{stem.name}.eml").write_bytes(mail.as_bytes(policy=SMTP_POLICY))
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    page = str(html.get_content())
    for part in mail.walk():
        if part.get_content_maintype() == "image":
            stem.with_name(f"{stem.name}.png").write_bytes(bytes(part.get_content()))
            page = page.replace(f"cid:{part['Content-ID'].strip('<>')}", f"{stem.name}.png")
        if part.get_content_subtype() == "csv":
            stem.with_name(f"{stem.name}.csv").write_bytes(str(part.get_content()).encode())
    stem.with_name(f"{stem.name}.html").write_text(page, "utf-8")
    stem.with_name(f"{stem.name}.txt").write_text(str(text.get_content()), "utf-8")
