"""``local-cloud``, also as ``simcourier local-cloud``."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import structlog
from aiohttp import web

from local_cloud import logs
from local_cloud.server import UPLOADS, make_app
from local_cloud.storage import Storage

log = structlog.get_logger()

KEY = "SIMCOURIER_LOCAL_CLOUD_KEY"
KEY_FILE = "SIMCOURIER_LOCAL_CLOUD_KEY_FILE"
GRACE_SECONDS = 20.0  # for uploads that are on their way when the server is stopped
CLOSE_SECONDS = 3.0  # for downloads, which can go on elsewhere


def _web_address(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if value and not (parts.scheme in {"http", "https"} and parts.netloc):
        raise click.BadParameter("an address with http:// or https:// is expected, e.g. https://files.example.org")
    return value


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", envvar="SIMCOURIER_LOCAL_CLOUD_HOST", default="127.0.0.1", show_default=True)
@click.option("--port", envvar="SIMCOURIER_LOCAL_CLOUD_PORT", type=click.IntRange(0, 65535), default=8976,
              show_default=True, help="0: a free one.")  # fmt: skip
@click.option("--folder", envvar="SIMCOURIER_LOCAL_CLOUD_FOLDER", type=click.Path(path_type=Path), required=True,
              help="Where the files are kept.")  # fmt: skip
@click.option("--key-file", type=click.Path(path_type=Path),
              help="File that holds the upload key; without one, uploads come from this machine only.")  # fmt: skip
@click.option("--public-url", envvar="SIMCOURIER_LOCAL_CLOUD_PUBLIC_URL", default="", callback=_web_address,
              help="How links begin [default: as clients address this server].")  # fmt: skip
@click.option("--address-file", type=click.Path(path_type=Path), help="Write the address here once it listens.")
def main(
    *, host: str, port: int, folder: Path, key_file: Path | None, public_url: str, address_file: Path | None
) -> None:
    """Store files and give links to them, until SIGTERM or Ctrl-C.

    Each option can be set by an environment variable instead: SIMCOURIER_LOCAL_CLOUD_HOST, _PORT, _FOLDER,
    _PUBLIC_URL, _KEY_FILE; and the upload key itself by SIMCOURIER_LOCAL_CLOUD_KEY.

    \b
    Example:
      local-cloud --host 10.10.160.10 --port 8976 --folder /srv/results --key-file /etc/local-cloud.key
    """
    logs.configure()
    key = _upload_key(key_file, os.environ)
    try:
        storage = Storage(folder)
    except BlockingIOError as error:
        raise click.ClickException(f"Another local-cloud runs on {folder}; choose another --folder.") from error
    except OSError as error:
        raise click.ClickException(f"The folder {folder} cannot be used: {error.strerror}.") from error
    if not key:
        log.warning("uploads.loopback_only", told="There is no upload key: uploads come from this machine only.")
    try:
        asyncio.run(_serve(make_app(storage, key=key, public_url=public_url), host, port, address_file))
    finally:
        storage.close()


async def _serve(app: web.Application, host: str, port: int, address_file: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # No request time-out: an upload may take hours. A client that vanished is noticed by TCP keep-alive.
    # No decompression: what is stored is what was sent.
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=CLOSE_SECONDS, tcp_keepalive=True, auto_decompress=False
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise click.ClickException(f"Nothing can listen on {host}:{port}: {error.strerror or error}.") from error
        listening = runner.addresses[0]
        address = f"http://{f'[{listening[0]}]' if ':' in listening[0] else listening[0]}:{listening[1]}"
        log.info("local_cloud.started", address=address)
        if address_file is not None:
            _write(address_file, address)
        await stop.wait()
        log.info("local_cloud.stopping")
        await site.stop()  # nobody new; aiohttp's own shutdown would throw away what is still sent to us
        uploads: set[asyncio.Task[Any]] = app[UPLOADS]
        if uploads:
            await asyncio.wait(uploads, timeout=GRACE_SECONDS)
    finally:
        await runner.cleanup()
    log.info("local_cloud.stopped")


def _write(address_file: Path, address: str) -> None:
    part = address_file.with_name(address_file.name + ".part")
    try:
        part.write_text(address, encoding="ascii")
        part.replace(address_file)
    except OSError as error:
        raise click.ClickException(f"The address file {address_file} cannot be written: {error.strerror}.") from error


def _upload_key(file: Path | None, environ: Mapping[str, str]) -> str:
    """From ``--key-file``, else from the environment; there is no option for the key, as options are seen by all."""
    key, named = environ.get(KEY, "").strip(), environ.get(KEY_FILE, "")
    if file is None and key and named:
        raise click.ClickException(f"{KEY} and {KEY_FILE} are both set; keep one of them.")
    if file is None and not named:
        return key
    return _read_key(file or Path(named))


def _read_key(file: Path) -> str:
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"The key file {file} cannot be read.") from error
    if not key:
        raise click.ClickException(f"The key file {file} is empty; put a long random word into it.")
    return key
