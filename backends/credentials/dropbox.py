"""``dropbox-authorize``."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from backends.credentials.common import packages_of_a_worker

# What the plugin needs, and nothing else.
SCOPES = ["account_info.read", "files.content.write", "files.metadata.read", "sharing.read", "sharing.write"]
TIMEOUT = (30.0, 60.0)
REFUSED = 400


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--app-key", help="The app's key, from its page in Dropbox's app console [default: asked for].")
def main(app_key: str | None) -> None:
    """Let an app store into a Dropbox account, and print the config of a storage backend.

    Whoever owns the account opens the address that is shown, allows the access, and gives you the code. Only the config
    (JSON, with secrets) goes to standard output, so that it can be sent into a file. The app's secret may be left
    empty: such a config works too.

    \b
    Example:
      (umask 077; dropbox-authorize --app-key 6l0yfzz4pwimdn8 > dropbox.json)
      simcourier backends add dropbox --config-file dropbox.json
    """
    with packages_of_a_worker("dropbox-authorize"):
        from dropbox import DropboxOAuth2FlowNoRedirect
    key = _word("app key", app_key or click.prompt("App key", err=True))
    asked = click.prompt("App secret (may be empty)", hide_input=True, default="", show_default=False, err=True)
    secret = _word("app secret", asked) if asked.strip() else ""
    flow = DropboxOAuth2FlowNoRedirect(
        key,
        use_pkce=True,
        token_access_type="offline",  # noqa: S106 - no secret
        scope=SCOPES,
        timeout=TIMEOUT,
    )
    click.echo(f"\nOpen this address, allow the access, and copy the code:\n\n  {flow.start()}\n", err=True)
    code = click.prompt("Code", err=True).strip()
    config = {"app_key": key, "app_secret": secret, "refresh_token": _refresh_token(flow, code)}
    config = {name: value for name, value in config.items() if value}
    account = _account(config)
    click.echo(json.dumps(config))
    click.echo(f"\nIt works: {account}.", err=True)


def _word(name: str, value: str) -> str:
    word = value.strip()
    if not re.fullmatch("[!-~]+", word):
        raise click.UsageError(f"The {name} is one word of letters and digits; copy it from the app console.")
    return word


def _refresh_token(flow: Any, code: str) -> str:
    import requests

    with flow.requests_session:
        try:
            token = flow.finish(code).refresh_token
        except requests.HTTPError as error:
            raise click.ClickException(_refusal(error)) from None
        except requests.JSONDecodeError:
            token = ""
        except requests.RequestException as error:
            raise click.ClickException(f"Dropbox cannot be reached ({type(error).__name__}).") from None
        except (KeyError, ValueError, TypeError):
            token = ""
    if not token:
        raise click.ClickException("Dropbox gave no refresh token; its answer is not that of the sign-in service.")
    return str(token)


def _refusal(error: Any) -> str:
    """What a sign-in's error means (RFC 6749, section 5.2)."""
    try:
        reason = str(error.response.json()["error"])
    except (ValueError, KeyError, TypeError):
        reason = ""
    match reason:
        case "invalid_grant":
            return "Dropbox does not accept the code: it is wrong, too old, or was used; start again for a new one."
        case "invalid_client" | "unauthorized_client":
            return "Dropbox does not know this app key; copy it from the app's page in the app console."
        case _ if error.response.status_code == REFUSED:
            return "Dropbox refused the code; check the app key, and start again for a new code."
        case _:
            return f"Dropbox answered {error.response.status_code}; try again later."


def _account(config: dict[str, str]) -> str:
    """Sign in with the config as the plugin will; a wrong secret comes out here."""
    import requests

    from backends.dropbox import Config, Dropbox
    from backends.errors import BackendError

    with requests.Session() as http:
        try:
            return Dropbox(Config.model_validate(config), http).check().account
        except BackendError as error:
            raise click.ClickException(f"The access was given, but it does not work: {error}") from None
