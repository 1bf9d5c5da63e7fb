"""The commands of docs/local_cloud.md, typed as they stand there, from the set-up to the copy of all files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.support.authority import Authority
from tests.support.local_cloud import CONTENT, session
from tests.support.pages import adapted, blocks, type_at, with_programs
from tests.support.scratch import free_ports, wait_until


class Server:
    """A machine with the files of the page in a folder of the test's own.

    Args:
        folder: for all of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        self.log = folder / "server.log"
        self.key = ""
        self.http = session()

    @contextmanager
    def runs(self, script: str, here: Mapping[str, str]) -> Iterator[None]:
        """Type the line that starts the server; Ctrl-C comes when the block ends."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {adapted(script, here)}"],
                cwd=self.folder,
                env=with_programs(os.environ) | {"SIMCOURIER_LOCAL_CLOUD_PORT": str(self.port)},
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(lambda: process.poll() is not None or self.answers(), "the local cloud answers")
            yield
        finally:
            process.terminate()
            process.wait(120)
        assert process.returncode == 0

    def answers(self) -> bool:
        for scheme in ("http", "https"):
            try:
                return self.http.get(f"{scheme}://127.0.0.1:{self.port}/healthz", timeout=120).ok
            except requests.ConnectionError:
                continue
        return False

    def link(self, base: str, name: str = "run-17", **headers: str) -> str:
        """Upload a file, and ask for its link."""
        headers |= {"Authorization": f"Bearer {self.key}"}
        api, key = f"{base}/api/v1", {"key": name}
        assert self.http.put(f"{api}/files", CONTENT, params=key, headers=headers, timeout=120).ok
        answer = self.http.post(f"{api}/links", params=key, json={"expires": None}, headers=headers, timeout=120)
        return str(answer.json()["url"])


def test_it_is_set_up_speaks_tls_stands_behind_a_proxy_is_looked_at_and_copied(tmp_path: Path) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed")
    set_up, _define = blocks("docs/local_cloud.md", "Set it up")
    tls, behind_proxy = blocks("docs/local_cloud.md", "TLS")
    (audit,) = blocks("docs/local_cloud.md", "What is logged")
    (copy,) = blocks("docs/local_cloud.md", "Stopping, backup, moving")
    server = Server(tmp_path)
    files = {"/srv/results": str(tmp_path / "results")}
    address = {"10.10.160.10 --port 8976": f"127.0.0.1 --port {server.port}"}
    base = f"127.0.0.1:{server.port}"

    lines = [line for line in set_up.splitlines() if not line.startswith(("useradd", "chown"))]
    *made, serve = [line.removeprefix("sudo -u simcourier ") for line in lines]
    server.key = type_at(os.environ, tmp_path, "\n".join(made), files).stdout.strip()
    assert (tmp_path / "results").stat().st_mode & 0o777 == 0o700
    with server.runs(serve, files | address):
        link = server.link(f"http://{base}")
        assert server.http.get(link, timeout=120).content == CONTENT

    authority = Authority(tmp_path / "authority")
    certificate = authority.certificate("127.0.0.1")
    chain, key = (f"/etc/letsencrypt/live/files.example.org/{name}.pem" for name in ("fullchain", "privkey"))
    here = files | address | {"files.example.org:8976": base, chain: str(certificate.file), key: str(certificate.key)}
    server.http.verify = str(authority.file)
    with server.runs(tls, here):
        link = server.link(f"https://{base}")
        assert link.startswith(f"https://{base}/f/")
        assert server.http.get(link, timeout=120).content == CONTENT

    copied = tmp_path / "backup" / "results-backup"
    copied.parent.mkdir()
    type_at(os.environ, tmp_path, copy, {"backup.example.org:/srv": str(copied.parent)} | files)
    shutil.rmtree(tmp_path / "results")
    with server.runs(behind_proxy, {"/srv/results": str(copied)}):
        assert server.http.get(link.replace("https:", "http:"), timeout=120).content == CONTENT, "the copy has it"
        link = server.link(
            f"http://{base}", "run-18", **{"X-Forwarded-For": "10.10.160.99", "X-Forwarded-Proto": "https"}
        )
        assert link.startswith("https://files.example.org/f/")

    told = type_at(os.environ, tmp_path, audit, {"journalctl -u simcourier-local-cloud -o cat": f"cat {server.log}"})
    assert told.stdout.count('"audit.downloaded"') == 3
    *_, last = [json.loads(line) for line in told.stdout.splitlines()]
    assert (last["event"], last["peer"]) == ("audit.uploaded", "10.10.160.99")
    assert '"uploads.allowed"' not in told.stdout
