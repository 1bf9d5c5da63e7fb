"""``simcourier up`` and ``simcourier demo``, as a newcomer runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import psutil

from messaging.settings import load
from producer import publish
from tests.support.installation import ROOT, fetch, files_below, text_of, unpacked
from tests.support.scratch import free_ports, wait_until


def environ(folder: Path) -> dict[str, str]:
    site, cloud = free_ports(2)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SIMCOURIER_")}
    return clean | {
        "SIMCOURIER_DATA_DIR": str(folder),
        "SIMCOURIER_WEB_PORT": str(site),
        "SIMCOURIER_LOCAL_CLOUD_PORT": str(cloud),
        "SIMCOURIER_GRACE_SECONDS": "2",
    }


@contextmanager
def running(env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``up``, with what it said until it was ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simcourier", "up"], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
    )
    said = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if line.startswith("Stop with"):
                break
        yield process, said
    finally:
        process.terminate()
        process.communicate(timeout=120)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Whatever runs with this data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SIMCOURIER_DATA_DIR") == str(folder) and process.pid != os.getpid():
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def test_up_delivers_tells_where_everything_is_and_stops_cleanly(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    env = environ(folder)
    results = ROOT / "tests" / "data" / "tokenring"
    with running(env) as (process, said):
        assert said.startswith(f"Starting all roles on the data folder {folder};")
        assert "embedded broker (SQLite)" in said
        assert f"http://127.0.0.1:{env['SIMCOURIER_WEB_PORT']}" in said
        assert str(folder) in said
        assert (folder / "admin-password").read_text().strip() in said
        published = publish(results, to="anna@example.org", backend="local", settings=load(env))
        address = f"{load(env).site_url}/api/deliveries/{published.event_id}"

        def link() -> str:
            with urllib.request.urlopen(address) as answer:
                return str(json.load(answer)["link"] or "")

        wait_until(lambda: (folder / "mail").is_dir() and any((folder / "mail").glob("*.eml")), "the mail")
        assert unpacked(fetch(link())) == files_below(results)
        (mail,) = (folder / "mail").glob("*.eml")
        page = re.search(
            rf"{load(env).site_url}/d/\S+/", text_of(message_from_bytes(mail.read_bytes(), policy=default))
        )
        assert page, "on one machine the site is where the mail says"
        assert b"Delivered" in fetch(page[0])

        second = subprocess.run(
            [sys.executable, "-m", "simcourier", "up"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert "already running" in second.stderr
        assert "Traceback" not in second.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0

    assert processes_of(folder) == []


def test_up_on_a_free_port_and_later_on_another_one_keeps_the_storage_backend_local_working(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    env = environ(folder)
    results = ROOT / "tests" / "data" / "tokenring"
    arguments = [str(results), "--to", "anna@example.org", "--backend", "local", "--wait", "--json"]
    links: list[str] = []
    for port in ("0", env["SIMCOURIER_LOCAL_CLOUD_PORT"]):
        env["SIMCOURIER_LOCAL_CLOUD_PORT"] = port
        with running(env):
            done = subprocess.run(
                [sys.executable, "-m", "simcourier", "publish", *arguments],
                cwd=ROOT, env=env, capture_output=True, text=True, check=True,
            )  # fmt: skip
            links.append(json.loads(done.stdout)["delivery"]["link"])
            assert unpacked(fetch(links[-1])) == files_below(results)

    assert f":{port}/" in links[1]
    assert f":{port}/" not in links[0]


def test_a_role_that_is_killed_is_started_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with running(environ(folder)) as (process, _):
        first = workers_of(process.pid)
        assert len(first) == 1
        first[0].kill()

        wait_until(lambda: [one.pid for one in workers_of(process.pid)] not in ([], [first[0].pid]), "another worker")


def workers_of(pid: int) -> list[psutil.Process]:
    """The workers that ``up`` has started and that are alive."""
    return [child for child in psutil.Process(pid).children() if _works(child)]


def _works(child: psutil.Process) -> bool:
    try:
        return child.status() != psutil.STATUS_ZOMBIE and "worker" in child.cmdline()
    except psutil.NoSuchProcess:  # it has just ended
        return False


def test_no_role_survives_up_being_killed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with running(environ(folder)) as (process, _):
        assert len(processes_of(folder)) >= 5
        process.kill()

        wait_until(lambda: processes_of(folder) == [], "all roles have ended")


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    import socket

    env = environ(tmp_path / "data")
    with socket.create_server(("127.0.0.1", int(env["SIMCOURIER_LOCAL_CLOUD_PORT"]))):
        done = subprocess.run(
            [sys.executable, "-m", "simcourier", "up"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )

    assert done.returncode == 1
    assert "SIMCOURIER_LOCAL_CLOUD_HOST" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_of_two_that_start_at_once_on_the_same_ports_one_runs_and_the_other_says_why_not(tmp_path: Path) -> None:
    ports = environ(tmp_path)
    both = [ports | {"SIMCOURIER_DATA_DIR": str(tmp_path / name)} for name in ("a", "b")]
    command = [sys.executable, "-m", "simcourier", "up"]
    started = [
        subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for env in both
    ]
    try:
        wait_until(lambda: any(one.poll() is not None for one in started), "one of them gives up")
        second, first = sorted(started, key=lambda one: one.poll() is None)
        assert second.wait() == 1
        assert second.stderr is not None
        (line,) = second.stderr.read().splitlines()
        assert f"127.0.0.1:{ports['SIMCOURIER_WEB_PORT']} is in use by another 'simcourier up'" in line
        assert first.stdout is not None
        assert any(line.startswith("Stop with") for line in first.stdout), "the other one comes up"
    finally:
        for one in started:
            one.terminate()
            one.communicate(timeout=120)


def test_the_demo_keeps_its_data_in_a_new_folder_only(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", "simcourier", "demo", "--keep", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert "name a new folder" in done.stderr


def test_the_demo_shows_the_whole_way_and_leaves_nothing_behind(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    before = set(tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "simcourier", "demo"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    for told in ("Simulating", "Publishing", "DELIVERED", "Mail sent", "SHA-256", "Subject: Results ready", ".sca"):
        assert told in done.stdout
    links = set(re.findall(r"http://\S+\.zip", done.stdout))
    assert len(links) == 1
    assert set(tmp_path.iterdir()) == before
    commands = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert not [command for command in commands if str(tmp_path) in command]
