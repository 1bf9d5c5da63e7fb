"""A live storage server: its own process, folder and port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from click.testing import CliRunner, Result

from local_cloud.commands import main
from tests.support import forked
from tests.support.scratch import Scratch, wait_until

KEY = "upload-key-canary-5f2c"
COMMAND = [sys.executable, "-c", "from local_cloud.commands import main; main(prog_name='local-cloud')"]
LOG = "server.log"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
MIB = 1024 * 1024
CONTENT = bytes(range(256)) * 40


def session() -> requests.Session:
    """A session that does not look for proxies or passwords in the environment."""
    http = requests.Session()
    http.trust_env = False
    return http


class LocalCloud:
    """Runs from the block's begin to its end, unless the test stops or kills it.

    Args:
        key: the upload key; empty: none.
        arguments: more of the command line's.
        within: a command that starts the server's.
        lean: its memory is looked at: it holds only what it has imported itself.
    """

    def __init__(
        self, *, key: str = KEY, arguments: tuple[str, ...] = (), within: tuple[str, ...] = (), lean: bool = False
    ) -> None:
        self._scratch = Scratch("local-cloud", signal.SIGKILL)
        self.key = key
        self.folder = self._scratch.path / "cloud"
        self.url = ""
        self.http = session()
        self._within = within
        self._lean = lean
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        if key:
            (self._scratch.path / "key").write_text(f"{key}\n")

    def start(self) -> None:
        """Start, or start again on the same folder; returns when it listens."""
        address = self._scratch.path / "address"
        address.unlink(missing_ok=True)
        options = ["--port", "0", "--folder", str(self.folder), "--address-file", str(address), *self._arguments]
        if self.key:
            options += ["--key-file", str(self._scratch.path / "key")]
        self._process = process = self._spawn(options)

        def listens() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"local-cloud ended on start:\n{self.log}")
            return address.exists()

        wait_until(listens, "the local cloud's start")
        self.url = address.read_text()

    def _spawn(self, options: list[str]) -> subprocess.Popen[bytes]:
        if self._within or self._lean:
            return self._scratch.spawn([*self._within, *COMMAND, *options], log=LOG)
        with (self._scratch.path / LOG).open("ab") as log:
            process = forked.start(["local-cloud", *options], os.environ, log, log)
        self._scratch.adopt(process)
        return process

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def port(self) -> int:
        """On which it listens."""
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        """All that it has written, on both outputs."""
        return (self._scratch.path / LOG).read_text()

    def stop(self) -> int:
        """End it as an operator does; its exit code."""
        return self._end(signal.SIGTERM)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        return self._process.wait(120)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.log[-6000:])
        self._close()

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """A request as a client with the key makes it; ``path`` below ``/api/v1/``."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        headers |= arguments.pop("headers", {})
        return self.http.request(method, f"{self.url}/api/v1/{path}", headers=headers, timeout=120, **arguments)

    def put(self, key: str, content: Any, **arguments: Any) -> requests.Response:
        """Upload."""
        params = {"key": key} | arguments.pop("params", {})
        return self.call("PUT", "files", params=params, data=content, **arguments)

    def link(self, key: str, expires: str | None = None, **more: str | None) -> str:
        """The address of an uploaded file; ``more`` is its title or password."""
        answer = self.call("POST", "links", params={"key": key}, json={"expires": expires, **more})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["url"])

    def get(self, url: str, **headers: str) -> requests.Response:
        """Download as a recipient does, without the key."""
        return self.http.get(url, headers=headers, timeout=120)

    def browse(self, url: str, **headers: str) -> requests.Response:
        """Follow a link as a browser does."""
        return self.get(url, Accept=BROWSER, **headers)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Lines of its log."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def fetch(self, url: str) -> bytes | None:
        """The bytes behind a link; None: there is nothing (any more)."""
        answer = self.get(url)
        return answer.content if answer.status_code == 200 else None

    def keys(self) -> list[str]:
        """Keys of the files that the server has, as its folder shows."""
        return sorted(json.loads(record.read_text())["key"] for record in self.folder.glob("files/*/record.json"))

    def data(self) -> list[bytes]:
        """What lies in its folder besides records, finished or not."""
        files = [*self.folder.glob("files/*/*"), *self.incoming()]
        return sorted(file.read_bytes() for file in files if file.name != "record.json")

    def incoming(self) -> list[Path]:
        """Files of uploads that are on their way."""
        return list(self.folder.glob("uploads/*/data"))

    def _end(self, how: signal.Signals) -> int:
        assert self._process is not None
        process, self._process = self._process, None
        self._scratch.end(process, how)
        return process.wait()

    def _close(self) -> None:
        self.http.close()
        self._scratch.remove()


def watched() -> Iterator[LocalCloud]:
    """For a fixture: a server that, whatever is asked of it, must not tell its key nor show a traceback."""
    with LocalCloud(lean=True) as running:
        yield running
        assert KEY not in running.log
        assert "Traceback" not in running.log


def begin_upload(server: LocalCloud, key: str, *lines: str, upload_key: str = "") -> socket.socket:
    """The head of an upload, by hand."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=120)
    head = [
        f"PUT /api/v1/files?key={urllib.parse.quote(key, safe='')} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {upload_key or server.key}",
        *lines,
    ]
    connection.sendall("".join(f"{line}\r\n" for line in head).encode() + b"\r\n")
    return connection


def raw(server: LocalCloud, request: bytes) -> bytes:
    """What comes back for exactly these bytes, until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def guesses(guess: Callable[[], int]) -> list[int]:
    """Answers to wrong passwords, until two in a row were not looked at.

    After the fifth, the next one has to wait for a second: on a busy machine it may come later than that.
    """
    answers = [guess() for _ in range(5)]
    while answers[-2:] != [429, 429] and len(answers) < 12:
        answers.append(guess())
    return answers


def command(*arguments: str, fails: bool = False) -> Result:
    """Run ``local-cloud`` within this process, which is quicker."""
    done = CliRunner().invoke(main, list(arguments), prog_name="local-cloud")
    assert (done.exit_code != 0) == fails, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done


def added(folder: Path, name: str, *options: str) -> str:
    """A new upload key."""
    return command("keys", "add", name, *options, "--folder", str(folder)).stdout.strip()


def as_(key: str) -> dict[str, Any]:
    """Arguments of a request with this upload key."""
    return {"headers": {"Authorization": f"Bearer {key}"}}
