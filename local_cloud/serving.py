"""Listening, TLS, and an end that lets uploads finish."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import resource
import signal
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import structlog
from aiohttp import hdrs, web

from local_cloud.server import STATE, TUS, UPLOADS

log = structlog.get_logger()

CLOSE_SECONDS = 3.0  # for downloads, which can go on elsewhere
LOOK_AT_FILES_SECONDS = 10.0
GIVE_BACK_SECONDS = 0.25
BACKLOG = 1024
READ_BUFFER = 64 * 1024  # of each connection; one read from the network may add four times as much


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and how.

    Args:
        idle_seconds: how long a connection may go without a whole request.
        grace_seconds: for uploads that are on their way when the server is stopped.
        address_file: where the address is written once it listens.
    """

    host: str
    port: int
    idle_seconds: float
    grace_seconds: float
    tls: Tls | None = None
    address_file: Path | None = None


class Tls:
    """A certificate and its key, read again when the files change.

    Args:
        certificate: PEM, with the chain.
        key: PEM, without a password.

    Raises:
        click.ClickException: they cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._seen = self._dates()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            self._load(self.context)
        except (OSError, ValueError) as error:
            raise click.ClickException(
                f"The certificate {certificate} and the key {key} cannot be used: {_reason(error)}."
            ) from error

    def renew(self) -> None:
        """Take new files for the connections to come; if they cannot be used, the old ones stay in use."""
        self._seen = self._dates()
        try:
            self._load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))  # whether they fit together
            self._load(self.context)
        except (OSError, ValueError) as error:
            log.error("tls.not_renewed", told=_reason(error))
            return
        log.info("tls.renewed")

    def renew_if_changed(self) -> None:
        """Look at the files' dates."""
        if self._dates() != self._seen:
            self.renew()

    def _load(self, context: ssl.SSLContext) -> None:
        # A key with a password would be asked for on the terminal.
        context.load_cert_chain(*self._files, password=_no_password)

    def _dates(self) -> list[int | None]:
        return [_date(file) for file in self._files]


def allow_many_files() -> None:
    """As many connections as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(app: web.Application, where: Listening, started: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        started: told the address.

    Raises:
        click.ClickException: nothing can listen there.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Also where there is nothing to read again: else it would end the server.
    loop.add_signal_handler(signal.SIGHUP, where.tls.renew if where.tls else _nothing)
    # No request time-out: an upload may take hours. A client that vanished is noticed by TCP keep-alive, one that sends
    # nothing any more by whoever reads the body; keepalive_timeout also ends connections on which no request is
    # complete, however slowly its head arrives. No decompression: what is stored is what was sent.
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=CLOSE_SECONDS,
        tcp_keepalive=True,
        keepalive_timeout=where.idle_seconds,
        auto_decompress=False,
        read_bufsize=READ_BUFFER,
    )
    await runner.setup()
    _refuse_odd_expectations(runner)
    watching = loop.create_task(_watch(app, where.tls))
    try:
        site = await _listen(runner, where)
        address = _address(runner, where)
        started(address)
        if where.address_file is not None:
            _write(where.address_file, address)
        await stop.wait()
        log.info("local_cloud.stopping")
        app[STATE].stopping = True
        await site.stop()  # nobody new; aiohttp's own shutdown would throw away what is still sent to us
        uploads: set[asyncio.Task[Any]] = app[UPLOADS]
        if uploads:
            await asyncio.wait(uploads, timeout=where.grace_seconds)
        app[TUS].turns.stop_all()  # what came is kept, and can be gone on with
        if uploads:
            await asyncio.wait(uploads, timeout=CLOSE_SECONDS)
    finally:
        watching.cancel()
        await runner.cleanup()
    log.info("local_cloud.stopped")


def _refuse_odd_expectations(runner: web.AppRunner) -> None:
    """Before aiohttp answers them, where no address of ours is meant: it quotes them, and fails where it cannot."""
    server = runner.server
    assert server is not None
    handle = server.request_handler

    async def handle_sane(request: web.BaseRequest) -> web.StreamResponse:
        if not request.headers.get(hdrs.EXPECT, "").isascii():
            raise web.HTTPExpectationFailed
        return await handle(request)

    server.request_handler = handle_sane


async def _listen(runner: web.AppRunner, where: Listening) -> web.TCPSite:
    context = where.tls.context if where.tls is not None else None
    site = web.TCPSite(runner, where.host, where.port, ssl_context=context, backlog=BACKLOG)
    try:
        await site.start()
    except OSError as error:
        raise click.ClickException(
            f"Nothing can listen on {where.host}:{where.port}: {error.strerror or error}."
        ) from error
    return site


def _address(runner: web.AppRunner, where: Listening) -> str:
    host, port = runner.addresses[0][:2]
    return f"{'https' if where.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


async def _watch(app: web.Application, tls: Tls | None) -> None:
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc; others keep less
    while True:
        for _ in range(int(LOOK_AT_FILES_SECONDS / GIVE_BACK_SECONDS)):
            await asyncio.sleep(GIVE_BACK_SECONDS)
            if give_back is not None and app[UPLOADS]:
                give_back(0)  # else what hundreds of uploads have once used stays with us
        if tls is not None:
            tls.renew_if_changed()


def _write(address_file: Path, address: str) -> None:
    part = address_file.with_name(address_file.name + ".part")
    try:
        part.write_text(address, encoding="ascii")
        part.replace(address_file)
    except OSError as error:
        raise click.ClickException(f"The address file {address_file} cannot be written: {error.strerror}.") from error


def _nothing() -> None:
    pass


def _no_password() -> bytes:
    raise ValueError("the key has a password")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "they do not belong together" if "MISMATCH" in str(error.reason) else "they are no PEM files"
    return str(getattr(error, "strerror", None) or error)


def _date(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None
