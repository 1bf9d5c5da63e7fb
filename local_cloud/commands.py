"""``local-cloud``, also as ``simcourier local-cloud``."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from functools import partial
from pathlib import Path

import click
import structlog

from local_cloud import logs
from local_cloud.access import Access
from local_cloud.clients import LOOPBACK, Clients, Network
from local_cloud.key_commands import keys
from local_cloud.keys import Keys, Unreadable, from_settings
from local_cloud.limits import Limits
from local_cloud.options import joined, networks, size, web_address
from local_cloud.server import make_app
from local_cloud.serving import Listening, Tls, allow_many_files, serve
from local_cloud.storage import Storage
from local_cloud.sweep import sweeping
from local_cloud.uploads import Uploads

log = structlog.get_logger()

PREFIX = "SIMCOURIER_LOCAL_CLOUD"
KEY = f"{PREFIX}_KEY"
KEY_FILE = f"{PREFIX}_KEY_FILE"
FILE = click.Path(path_type=Path)


@click.group(
    invoke_without_command=True,
    subcommand_metavar="[keys ...]",
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": PREFIX},
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8976, show_default=True, help="Port to listen on; 0: a free one."
)
@click.option("--folder", type=FILE, help="Where the files are kept. It must be named.")
@click.option(
    "--public-url",
    type=web_address,
    metavar="URL",
    default="",
    help="How links begin [default: as the upload addressed the server].",
)
@click.option("--key-file", type=FILE, help="File that holds one upload key, called default.")
@click.option(
    "--trust-network",
    type=networks,
    metavar="CIDR",
    multiple=True,
    help="Uploads from there need no key, e.g. 10.10.160.0/24; may be given several times.",
)
@click.option(
    "--behind-proxy",
    is_flag=True,
    help="Believe what a proxy on this machine, or one of --proxy-network, says of its clients (X-Forwarded-For, "
    "-Proto, -Host).",
)
@click.option(
    "--proxy-network",
    type=networks,
    metavar="CIDR",
    multiple=True,
    help="Network of other proxies to believe, e.g. 10.10.160.0/24; may be given several times.",
)
@click.option("--max-file", type=size, help="Largest file, e.g. 50GiB.")
@click.option("--quota", type=size, help="Room that all files may take together, e.g. 5TiB.")
@click.option("--keep-free", type=size, help="What stays free on the disk [default: a twentieth of it, at most 1 GiB].")
@click.option(
    "--upload-hours",
    type=click.FloatRange(0.01),
    default=48.0,
    show_default=True,
    help="For how long an upload that was broken off can be gone on with.",
)
@click.option(
    "--remove-after-days",
    type=click.FloatRange(0),
    default=7.0,
    show_default=True,
    help="Days after the end of its link on which a file is removed from the disk.",
)
@click.option(
    "--read-timeout",
    type=click.FloatRange(0.1),
    default=60.0,
    show_default=True,
    help="Seconds after which an upload from which nothing comes is ended; what came is kept.",
)
@click.option(
    "--idle-timeout",
    type=click.FloatRange(0.1),
    default=75.0,
    show_default=True,
    help="Seconds that a connection may go without a complete request.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=20.0,
    show_default=True,
    help="Seconds that uploads may still take when the server is stopped; then they are cut, and can be gone on with.",
)
@click.option("--tls-cert", type=FILE, help="Certificate with its chain (PEM); read again when it changes.")
@click.option("--tls-key", type=FILE, help="The certificate's key (PEM, without a password).")
@click.option("--address-file", type=FILE, help="Write the address here once it listens.")
@click.pass_context
def main(
    ctx: click.Context,
    *,
    host: str,
    port: int,
    folder: Path | None,
    public_url: str,
    key_file: Path | None,
    trust_network: tuple[tuple[Network, ...], ...],
    behind_proxy: bool,
    proxy_network: tuple[tuple[Network, ...], ...],
    max_file: int | None,
    quota: int | None,
    keep_free: int | None,
    upload_hours: float,
    remove_after_days: float,
    read_timeout: float,
    idle_timeout: float,
    grace: float,
    tls_cert: Path | None,
    tls_key: Path | None,
    address_file: Path | None,
) -> None:
    """Store files and give links to them, until SIGTERM or Ctrl-C.

    Uploads need a key: one made by `local-cloud keys add`, or the one of --key-file or SIMCOURIER_LOCAL_CLOUD_KEY.
    Without any, they are taken from this machine and from the networks of --trust-network only.

    Each option can be set by an environment variable instead: SIMCOURIER_LOCAL_CLOUD_ and its name, e.g.
    SIMCOURIER_LOCAL_CLOUD_MAX_FILE. docs/local_cloud.md says how to run it on a server.

    \b
    Example:
      local-cloud --host 10.10.160.10 --port 8976 --folder /srv/results --quota 5TiB
    """
    if ctx.invoked_subcommand is not None:
        return
    _refuse_unknown(os.environ)
    if folder is None:
        raise click.UsageError("Name the folder for the files: --folder, or SIMCOURIER_LOCAL_CLOUD_FOLDER.")
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together; give both.")
    if proxy_network and not behind_proxy:
        raise click.UsageError("--proxy-network means something together with --behind-proxy only.")
    tls = Tls(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    logs.configure()
    allow_many_files()
    key = _upload_key(key_file, os.environ)
    storage = _open(folder)
    try:
        known = Keys(folder, from_settings(key) if key else None)
        clients = Clients((*LOOPBACK, *joined(proxy_network)) if behind_proxy else ())
        access = Access(known, joined(trust_network), clients)
        limits = Limits(storage, max_file=max_file, quota=quota, keep_free=keep_free)
        uploads = Uploads(folder, storage, timedelta(hours=upload_hours))
        app = make_app(storage, uploads, access=access, limits=limits, public_url=public_url, read_seconds=read_timeout)
        where = Listening(host, port, idle_timeout, grace, tls, address_file)
        app.cleanup_ctx.append(partial(sweeping, storage, uploads, timedelta(days=remove_after_days)))
        asyncio.run(serve(app, where, lambda address: _say(address, access, known)))
    except Unreadable as error:
        raise click.ClickException(str(error)) from error
    finally:
        storage.close()


main.add_command(keys)


def variable(option: click.Parameter) -> str:
    """The environment variable that can be set instead of an option."""
    return f"{PREFIX}_{(option.name or '').upper()}"


def _say(address: str, access: Access, known: Keys) -> None:
    log.info("local_cloud.started", address=address, keys=known.names)
    log.info("uploads.allowed", told=access.told)
    if sys.stderr.isatty() and not sys.stdout.isatty():
        click.echo(access.told, err=True)


def _open(folder: Path) -> Storage:
    try:
        return Storage(folder)
    except BlockingIOError as error:
        raise click.ClickException(f"Another local-cloud runs on {folder}; choose another --folder.") from error
    except OSError as error:
        raise click.ClickException(f"The folder {folder} cannot be used: {error.strerror}.") from error


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    """A mistyped name would else silently mean that there is no limit, or no key."""
    known = {variable(option) for option in main.params} | {KEY}
    others = {f"{PREFIX}_{name}_FILE" for name in ("HOST", "PORT", "PUBLIC_URL")}  # which other roles read
    for name in sorted(name for name, value in environ.items() if value):
        if name.startswith(f"{PREFIX}_") and name not in known | others:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "docs/settings.md lists the settings."
            raise click.UsageError(f"{name} is no setting; {hint}")


def _upload_key(file: Path | None, environ: Mapping[str, str]) -> str:
    """From ``--key-file``, else from the environment; there is no option for the key, as options are seen by all."""
    key, named = environ.get(KEY, "").strip(), environ.get(KEY_FILE, "")
    if key and named:
        raise click.ClickException(f"{KEY} and {KEY_FILE} are both set; keep one of them.")
    return _read_key(file) if file is not None else key


def _read_key(file: Path) -> str:
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"The key file {file} cannot be read.") from error
    if not key:
        raise click.ClickException(f"The key file {file} is empty; put a long random word into it.")
    return key
