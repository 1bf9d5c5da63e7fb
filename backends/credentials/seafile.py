"""``seafile-get-token`` and ``seafile-list-repo-ids``."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import click

from backends.credentials.common import packages_of_a_worker, visible

BAD_REQUEST = 400  # also the answer to a wrong password
NOT_AN_ACCOUNT = {401, 403}
T = TypeVar("T")

ONE_TIME = "X-Seafile-OTP"  # in an answer: an app's code is wanted; in a request: the code

_server = click.option(
    "--server",
    envvar="SIMCOURIER_SEAFILE_SERVER",
    required=True,
    help="Its address, e.g. https://seafile.example.org [also: SIMCOURIER_SEAFILE_SERVER].",
)
_username = click.option("--username", help="Whom to sign in, an e-mail address mostly [default: asked for].")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@_server
@_username
@click.option(
    "--repoid",
    type=click.UUID,
    help="Print the config of a storage backend for this library instead of the bare token.",
)
def get_token(server: str, username: str | None, repoid: UUID | None) -> None:
    """Sign in to a Seafile, and print the account's token.

    The password, and the code where the account has a second factor, are asked for. Only the token, or the config
    (JSON, with the token), goes to standard output, so that it can be sent into a file.

    \b
    Example:
      (umask 077; seafile-get-token --server https://seafile.example.org \\
          --repoid 4bf08b7c-0e1e-4f58-8d2a-3d4e7a2a9a01 > seafile.json)
      simcourier backends add seafile --config-file seafile.json
    """
    with packages_of_a_worker("seafile-get-token"):
        from backends.http import session
    address = _address(server)
    with session() as http:
        token = _sign_in(http, address, username)
        if repoid is None:
            click.echo(token)
            return
        config = {"token": token, "repoid": str(repoid), "server": address}
        told = _checked(http, config)
    click.echo(json.dumps(config))
    click.echo(f"It works: {told}.", err=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@_server
@_username
@click.option("--token-file", type=click.File("r"), help="File that holds a token; - for standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_repo_ids(*, server: str, username: str | None, token_file: Any, as_json: bool) -> None:
    """List the libraries of a Seafile with their identifiers, the "repoid" of a storage backend.

    Without a token, whom to sign in and the password are asked for.

    \b
    Example:
      seafile-list-repo-ids --server https://seafile.example.org --username anna@example.org
    """
    with packages_of_a_worker("seafile-list-repo-ids"):
        from backends.http import session
    address = _address(server)
    with session() as http:
        token = token_file.read().strip() if token_file else _sign_in(http, address, username)
        rows = _libraries(http, address, token)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        click.echo("There are no libraries; make one in Seafile first.", err=True)
    for row in [] if as_json else rows:
        trouble = f"  ({row['trouble']})" if row["trouble"] else ""
        click.echo(visible(f"{row['repoid']}  {row['name']}{trouble}"))


def _address(server: str) -> str:
    from backends.seafile import server_address

    try:
        address = server_address(server)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="'--server'") from None
    if address is None:
        raise click.BadParameter("the server's address is expected.", param_hint="'--server'")
    if urlsplit(address).scheme == "http":
        click.echo(f"{address} is not encrypted: passwords and tokens can be read on the way.", err=True)
    return address


def _sign_in(http: Any, address: str, username: str | None) -> str:
    """The account's token (``POST /api2/auth-token/``)."""
    name = (username or click.prompt("User name", err=True)).strip()
    form = {"username": name, "password": click.prompt("Password", hide_input=True, err=True)}
    send = partial(_answer, http, "POST", f"{address}/api2/auth-token/", data=form)
    answer = send()
    if answer.status_code == BAD_REQUEST and ONE_TIME in answer.headers:
        code = click.prompt("Code of the second factor", err=True).strip()
        answer = send(headers={ONE_TIME: code} if code.isascii() else {})
        if answer.status_code == BAD_REQUEST:
            raise click.ClickException("Seafile does not accept the code; start again with a fresh one.")
    if answer.status_code == BAD_REQUEST:
        raise click.ClickException(
            "Seafile does not accept user name and password. An account of a single sign-on has no password here: "
            "make a token on its profile page, or use a library's own token (API token)."
        )
    token: str = _json(answer, lambda told: str(told["token"]))
    if not (token.isascii() and token.isalnum()):
        raise click.ClickException("What answers there is no Seafile; is the address right?")
    return token


def _libraries(http: Any, address: str, token: str) -> list[dict[str, str]]:
    """Each library once, with what keeps it from being used."""
    if not (token.isascii() and token.isalnum()):
        raise click.ClickException("The token is one word of letters and digits; seafile-get-token prints one.")
    headers = {"Authorization": f"Token {token}", "Accept": "application/json"}
    answer = _answer(http, "GET", f"{address}/api2/repos/", headers=headers)
    if answer.status_code in NOT_AN_ACCOUNT:
        own = _answer(http, "GET", f"{address}/api/v2.1/via-repo-token/repo-info/", headers=headers)
        if own.status_code in NOT_AN_ACCOUNT:
            raise click.ClickException("Seafile does not accept the token; make a new one with seafile-get-token.")
        return _json(own, lambda told: [_row(told["repo_id"], told["repo_name"])])
    found: dict[str, Any] = _json(answer, lambda told: {one["id"]: one for one in told if not one.get("virtual")})
    return [
        _row(
            one["id"],
            one.get("name", ""),
            "encrypted: cannot be used, as Seafile makes no links into it" if one.get("encrypted")
            else "read-only: cannot be used" if one.get("permission") != "rw" else "",
        )
        for one in found.values()
    ]  # fmt: skip


def _row(repoid: str, name: str, trouble: str = "") -> dict[str, str]:
    return {"repoid": repoid, "name": name, "trouble": trouble}


def _checked(http: Any, config: dict[str, str]) -> str:
    """Where the config leads to, as the plugin sees it."""
    from backends.errors import BackendError
    from backends.seafile import Config, Seafile

    try:
        return Seafile(Config.model_validate(config), http).check().account
    except BackendError as error:
        raise click.ClickException(f"The token was given, but it does not work: {error}") from None


def _answer(http: Any, method: str, url: str, **arguments: Any) -> Any:
    """The answer, where it is one that the caller can decide upon; anything else is told."""
    import requests

    from backends.http import TIMEOUT, retry_after

    try:
        answer = http.request(method, url, timeout=TIMEOUT, allow_redirects=False, **arguments)
    except requests.RequestException as error:
        raise click.ClickException(f"{url} cannot be reached ({type(error).__name__}).") from None
    if answer.is_redirect:
        raise click.ClickException(f"{url} leads to {answer.headers['Location']}; use that address as --server.")
    if answer.status_code == requests.codes.too_many_requests:
        seconds = retry_after(answer)
        raise click.ClickException(f"Seafile asks to wait{f' for {seconds:.0f} s' if seconds else ''}; try again then.")
    if answer.status_code == requests.codes.not_found:
        raise click.ClickException("What answers there is no Seafile; is the address right?")
    if answer.status_code >= requests.codes.server_error:
        raise click.ClickException(f"Seafile answered {answer.status_code}; try again later.")
    return answer


def _json(answer: Any, read: Callable[[Any], T]) -> T:
    try:
        return read(answer.json())
    except (ValueError, KeyError, TypeError):
        raise click.ClickException("What answers there is no Seafile; is the address right?") from None
