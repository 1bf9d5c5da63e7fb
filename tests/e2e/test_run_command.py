"""``simcourier run`` around real programs: what comes out of it is what would without it, and an event besides."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from messaging.messages import SimulationCompleted
from tests.support.host import ROOT, Host
from tests.support.scratch import wait_until

OPTIONS = ("--to", "anna@example.org", "--backend", "local", "--title", "rho = 0.8")
# Fills its room on the disk, then crashes.
FILLS_THE_DISK = """
import os, sys
print("step\\n" * 2000, file=sys.stderr)
try:
    with open(sys.argv[1], "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 512)
except OSError as error:
    sys.exit(f"writing results: {error.strerror}")
"""


class RunHost(Host):
    """A host on which simulations are run."""

    def line(self, *command: str, options: tuple[str, ...] = ()) -> list[str]:
        """The words of ``simcourier run``."""
        words = [sys.executable, "-m", "simcourier", "run", *OPTIONS, "--results", str(self.results), *options]
        return [*words, "--", *command]

    def run(
        self,
        *command: str,
        options: tuple[str, ...] = (),
        kill_at: str = "",
        stdin: bytes = b"",
        merged: bool = False,
        **environ: str,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a simulation to its end."""
        words = self.line(*command, options=options)
        if kill_at:
            words[1:3] = ["-m", "tests.support.dies", kill_at]
        return subprocess.run(
            words,
            cwd=ROOT,
            env=self.environ | environ,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            check=False,
            timeout=120,
        )

    def start(self, *command: str, **more: object) -> subprocess.Popen[bytes]:
        """Start a simulation that goes on."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
        return subprocess.Popen(self.line(*command), cwd=ROOT, env=self.environ, **pipes)  # type: ignore[call-overload,no-any-return]

    def event(self) -> SimulationCompleted:
        """The one event that arrived."""
        (event,) = self.queued()
        return event


@pytest.fixture
def host(tmp_path: Path) -> RunHost:
    host = RunHost(tmp_path)
    host.start_broker()
    (host.results / "General-#0.sca").write_text("version 3\n")
    return host


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


# How it ends


def test_a_simulation_that_succeeds_is_told_with_all_that_is_known(host: RunHost) -> None:
    before = time.time()

    done = host.run("sh", "-c", "echo run 1; echo careful >&2", "sh", "--rho=0.8")

    assert (done.returncode, done.stdout, done.stderr) == (0, b"run 1\n", b"careful\n")
    event = host.event()
    data = event.data
    assert (data.outcome, data.exit_code, data.title) == ("succeeded", 0, "rho = 0.8")
    assert data.log_tail == "standard output:\nrun 1\n\nstandard error:\ncareful"
    assert data.results.location == host.results.as_uri()
    assert data.host
    assert data.started is not None
    assert data.finished is not None
    assert before - 1 < data.started.timestamp() <= data.finished.timestamp() < time.time() + 1
    assert (event.time, host.spool.entries(), list((host.data / "runs").iterdir())) == (data.finished, [], [])


def test_a_simulation_that_fails_hands_its_exit_code_on(host: RunHost) -> None:
    done = host.run(*python("import sys; sys.exit('no such parameter: rho')"))

    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"no such parameter: rho\n")
    data = host.event().data
    assert (data.outcome, data.exit_code, data.log_tail) == ("failed", 1, "no such parameter: rho")


@pytest.mark.parametrize("code", [2, 77, 126, 127, 255])
def test_every_exit_code_is_handed_on(host: RunHost, code: int) -> None:
    assert host.run("sh", "-c", f"exit {code}").returncode == code
    assert host.event().data.exit_code == code


def test_a_segmentation_fault_ends_us_in_the_same_way_and_leaves_no_core_dump_of_ours(host: RunHost) -> None:
    crash = "import ctypes, sys; print('step 7', flush=True); ctypes.string_at(0)"

    done = host.run(*python(crash), options=("--simulator", "opp 6"))

    assert (done.returncode, done.stdout) == (-signal.SIGSEGV, b"step 7\n")
    data = host.event().data
    assert (data.outcome, data.exit_code, data.simulator) == ("aborted", 139, "opp 6")
    assert data.log_tail == "step 7\n\nsimcourier: the simulation was ended by signal 11 (SIGSEGV)."
    assert list(ROOT.glob("core*")) == []


@pytest.mark.parametrize(("trap", "code", "outcome"), [("exit 5", 5, "failed"), ("", -signal.SIGTERM, "aborted")])
def test_sigterm_reaches_the_simulation_which_decides_what_comes_of_it(
    host: RunHost, trap: str, code: int, outcome: str
) -> None:
    handler = f"trap '{trap}' TERM; " if trap else ""
    running = host.start("sh", "-c", f"{handler}echo ready; while :; do sleep 0.05; done")
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"

    running.terminate()

    assert running.wait(120) == code
    running.communicate()
    assert host.event().data.outcome == outcome


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXCPU"])
def test_other_signals_are_forwarded_too(host: RunHost, name: str) -> None:
    code = f"""
import signal, time
signal.signal(signal.{name}, lambda *_: exit(9))
print(flush=True)
while True:
    time.sleep(0.01)
"""
    running = host.start(*python(code))
    assert running.stdout is not None
    running.stdout.readline()

    running.send_signal(getattr(signal, name))

    assert running.wait(120) == 9
    running.communicate()
    assert host.event().data.exit_code == 9


def test_a_signal_that_was_ignored_before_stays_ignored(host: RunHost) -> None:
    report = "import signal; print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, signal.pthread_sigmask(0, []))"

    done = subprocess.run(
        ["nohup", *host.line(*python(report))],
        cwd=ROOT,
        env=host.environ,
        capture_output=True,
        check=False,
        timeout=120,
    )

    assert done.stdout == b"True set()\n"


# We are killed


def test_sigkill_of_us_endangers_no_simulation_and_is_told_by_the_next_start_once_it_has_ended(
    host: RunHost, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    script = 'echo begun; while [ ! -e "$0" ]; do sleep 0.02; done; seq 100000; echo $$ >"$0.done"; echo last words'
    running = host.start("sh", "-c", script, str(go))
    assert running.stdout is not None
    assert running.stdout.readline() == b"begun\n"

    running.kill()
    running.wait()
    listed = host.command("spool", "list")
    early = host.command("spool", "flush")
    go.touch()
    rest, _ = running.communicate(timeout=120)

    assert "interrupted" in listed.stdout
    assert "the simulation still runs as process" in listed.stdout
    assert early.stdout == "The spool is empty.\n"
    assert rest.splitlines()[-2:] == [b"100000", b"last words"]
    assert rest.count(b"\n") == 100001
    wait_until(lambda: "simulation is gone" in host.command("spool", "list").stdout, "the simulation is gone")
    late = host.command("spool", "flush")
    assert "was interrupted: the simulation is gone, too. That is told now." in late.stdout
    assert "1 sent" in late.stdout
    data = host.event().data
    assert (data.outcome, data.exit_code, data.finished) == ("aborted", None, None)
    assert "last words" in data.log_tail
    assert "exit code, are not known" in data.log_tail
    assert list((host.data / "runs").iterdir()) == []


@pytest.mark.parametrize("how", ["publish", "run", "flush"])
def test_sigkill_of_both_is_told_by_the_next_start(host: RunHost, how: str) -> None:
    running = host.start("sh", "-c", "echo $$; exec sleep 600")
    assert running.stdout is not None
    pid = int(running.stdout.readline())
    for one in (running.pid, pid):
        os.kill(one, signal.SIGKILL)
    running.communicate()
    (row,) = json.loads(host.command("spool", "list", "--json").stdout)
    assert (row["state"], row["title"]) == ("interrupted", "rho = 0.8")

    if how == "publish":
        assert "was interrupted" in host.publish("next").stderr
    elif how == "run":
        assert b"was interrupted" in host.run("true").stderr
    else:
        assert "was interrupted" in host.command("spool", "flush").stdout

    first, *others = sorted(host.queued(), key=lambda event: event.data.outcome)
    assert (str(first.id), first.data.outcome) == (row["event_id"], "aborted")
    assert first.data.log_tail.startswith(str(pid))
    assert len(others) == (how != "flush")
    assert host.command("spool", "list").stdout == "The spool is empty.\n"


@pytest.mark.parametrize(
    ("point", "outcome"),
    [
        ("run.recorded", "aborted"),
        ("run.ended", "aborted"),
        ("run.overwritten", "succeeded"),
        ("run.adopted", "succeeded"),
        ("spool.published", "succeeded"),
    ],
)
def test_a_kill_of_us_at_any_step_gives_one_event(host: RunHost, point: str, outcome: str) -> None:
    killed = host.run("echo", "step 7", kill_at=point)
    flushed = host.command("spool", "flush")

    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout == (b"" if point == "run.recorded" else b"step 7\n")
    assert flushed.returncode == 0, flushed.stderr
    assert {event.data.outcome for event in host.queued()} == {outcome}
    assert host.command("spool", "list").stdout == "The spool is empty.\n"


def test_a_run_of_another_host_is_told_there_or_after_a_week(host: RunHost) -> None:
    running = host.start("sleep", "600")
    (folder,) = wait_for_record(host)
    record = folder / "record.json"
    running.kill()  # the one who watches first, who would tell of the other's end
    os.kill(json.loads(record.read_text())["process"]["pid"], signal.SIGKILL)
    running.communicate()
    other = json.loads(record.read_text())
    record.write_text(json.dumps(other | {"process": other["process"] | {"host": "node7"}}))

    early = host.command("spool", "flush")
    listed = host.command("spool", "list")
    week_ago = time.time() - 8 * 86400
    os.utime(record, (week_ago, week_ago))
    late = host.command("spool", "flush")

    assert early.stdout == "The spool is empty.\n"
    assert "it ran on node7" in listed.stdout
    assert "was interrupted" in late.stdout
    assert host.event().data.outcome == "aborted"


def test_a_damaged_record_is_set_aside_and_told(host: RunHost) -> None:
    host.run("true", kill_at="run.ended")
    (folder,) = (host.data / "runs").iterdir()
    (folder / "event.json").write_bytes(b"\x00" * 4096)

    flushed = host.command("spool", "flush")

    assert f"was set aside as {folder}.damaged" in flushed.stdout
    assert host.command("spool", "flush").stdout == "The spool is empty.\n"


def wait_for_record(host: RunHost) -> list[Path]:
    """The folders of runs that have begun."""
    runs = host.data / "runs"
    wait_until(lambda: any(path.stat().st_size for path in runs.glob("*/record.json")), "a run has begun")
    return list(runs.iterdir())


# Streams


def test_binary_output_and_input_pass_unchanged(host: RunHost) -> None:
    content = os.urandom(3 * 1024 * 1024 + 1)

    done = host.run("cat", stdin=content)

    assert (done.returncode, done.stdout == content, done.stderr) == (0, True, b"")


def test_output_and_errors_in_one_pipe_keep_their_order(host: RunHost) -> None:
    code = "import os\nfor n in range(2000): os.write(1 + n % 2, b'%d\\n' % n)"

    done = host.run(*python(code), merged=True)

    assert done.stdout == b"".join(b"%d\n" % number for number in range(2000))
    assert host.event().data.log_tail.endswith("1998\n1999")


def test_a_reader_that_goes_away_ends_the_simulation_as_it_would_without_us(host: RunHost) -> None:
    def ends(words: list[str]) -> tuple[bytes, int]:
        with subprocess.Popen(words, cwd=ROOT, env=host.environ, stdout=subprocess.PIPE) as running:
            assert running.stdout is not None
            first = running.stdout.readline()
            running.stdout.close()
            return first, running.wait(120)

    # `yes` with the disposition that a shell gives it; Python would let it inherit its own.
    without = ends(["sh", "-c", "exec yes"])

    assert ends(host.line("yes")) == without == (b"y\n", -signal.SIGPIPE)
    assert host.event().data.exit_code == 128 + signal.SIGPIPE


def test_a_log_file_is_written_by_the_simulation_itself_and_its_end_is_sent(host: RunHost, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier run\n")
    where = python("import os; print(os.readlink('/proc/self/fd/1'), 'x' * 9000)")

    with log.open("ab") as file:
        done = subprocess.run(host.line(*where), cwd=ROOT, env=host.environ, stdout=file, check=False, timeout=120)

    assert done.returncode == 0
    assert log.read_text().startswith(f"of an earlier run\n{log} xxx")
    assert host.event().data.log_tail == "x" * 4000


def test_a_log_file_that_was_renamed_meanwhile_is_read_all_the_same(host: RunHost, tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = host.line("sh", "-c", f"echo renamed; mv '{log}' '{log}.1'")

    with log.open("wb") as file:
        subprocess.run(words, cwd=ROOT, env=host.environ, stdout=file, check=True, timeout=120)

    assert host.event().data.log_tail == "renamed"


def test_what_was_in_a_log_file_before_is_not_sent(host: RunHost, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier run\n")

    with log.open("ab") as file:
        subprocess.run(host.line("echo", "new"), cwd=ROOT, env=host.environ, stdout=file, check=True, timeout=120)

    assert host.event().data.log_tail == "new"


def test_what_a_simulation_leaves_in_the_background_does_not_hold_us_up_and_its_output_still_comes(
    host: RunHost, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    script = '(while [ ! -e "$0" ]; do sleep 0.02; done; echo late) & echo early'

    running = host.start("sh", "-c", script, str(go), stderr=subprocess.DEVNULL)

    assert running.wait(120) == 0
    assert running.stdout is not None
    assert running.stdout.readline() == b"early\n"
    go.touch()
    assert running.stdout.read() == b"late\n"
    running.stdout.close()


def test_colours_and_progress_bars_are_left_out_of_the_log(host: RunHost) -> None:
    host.run("printf", r"\033[31mred\033[0m\r\n10%%\r50%%\r100%%\nend\000\n")

    assert host.event().data.log_tail == "red\n100%\nend"


# Terminals


class Terminal:
    """A terminal of 33 x 101 characters in which a command runs as it would for a person."""

    def __init__(self, words: list[str], environ: dict[str, str]) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execvpe(words[0], words, environ)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
        self.shown = b""

    def wait_for(self, text: bytes) -> None:
        """Read until something is shown."""
        while text not in self.shown:
            try:
                self.shown += os.read(self.descriptor, 65536)
            except OSError as error:
                raise AssertionError(f"{text!r} never came: {self.shown!r}") from error

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.descriptor, keys)

    def wait(self) -> int:
        """The exit code, or the negative number of the signal."""
        while True:
            try:
                self.shown += os.read(self.descriptor, 65536)
            except OSError:
                break
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.descriptor)
        return code


@pytest.fixture
def terminal(host: RunHost) -> Callable[..., Terminal]:
    return lambda *command: Terminal(host.line(*command), host.environ)


COUNTS_INTERRUPTS = """
import signal, sys, time
count = 0
def interrupted(*_):
    global count
    count += 1
signal.signal(signal.SIGINT, interrupted)
print("ready", flush=True)
while not count:
    time.sleep(0.01)
time.sleep(0.5)  # a second one would come in this time
print("interrupts:", count, flush=True)
sys.exit(4)
"""


def test_ctrl_c_reaches_the_simulation_once(host: RunHost, terminal: Callable[..., Terminal]) -> None:
    window = terminal(*python(COUNTS_INTERRUPTS))
    window.wait_for(b"ready")

    window.type(b"\x03")

    assert window.wait() == 4
    assert b"interrupts: 1\r\n" in window.shown
    assert "interrupts: 1" in host.event().data.log_tail


def test_ctrl_c_ends_a_simulation_and_us_by_the_same_signal(host: RunHost, terminal: Callable[..., Terminal]) -> None:
    window = terminal("sh", "-c", "echo ready; exec sleep 600")
    window.wait_for(b"ready")

    window.type(b"\x03")

    assert window.wait() == -signal.SIGINT
    data = host.event().data
    assert (data.outcome, data.exit_code) == ("aborted", 130)


def test_a_simulation_in_a_terminal_sees_one_of_the_same_size_and_is_told_of_another(
    host: RunHost, terminal: Callable[..., Terminal]
) -> None:
    code = """
import os, signal, time
print([os.isatty(n) for n in range(3)])
told = []
signal.signal(signal.SIGWINCH, lambda *_: told.append(True))
print("ready", flush=True)
while not told or os.get_terminal_size(1).lines != 40:
    time.sleep(0.01)
print(os.get_terminal_size(1), flush=True)
"""
    window = terminal(*python(code))
    window.wait_for(b"ready")

    fcntl.ioctl(window.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

    assert window.wait() == 0
    assert b"[True, True, True]\r\n" in window.shown
    assert b"\r\r\n" not in window.shown
    assert b"terminal_size(columns=120, lines=40)" in window.shown
    assert "[True, True, True]" in host.event().data.log_tail


def test_ctrl_z_stops_us_both_and_fg_continues(host: RunHost) -> None:
    script = "echo ready; read answer; echo got $answer"
    shell = Terminal(["bash", "--norc", "--noprofile", "-i"], host.environ | {"PS1": "shell> ", "HISTFILE": ""})
    shell.wait_for(b"shell> ")
    words = " ".join(f"'{word}'" for word in host.line("sh", "-c", script))
    shell.type(f"stty -echo; {words}\n".encode())
    shell.wait_for(b"ready\r\n")

    shell.type(b"\x1a")
    shell.wait_for(b"Stopped")
    shell.type(b"fg\n")
    shell.type(b"42\n")
    shell.wait_for(b"got 42")
    shell.type(b"exit\n")

    assert shell.wait() == 0
    assert host.event().data.outcome == "succeeded"


# Trouble of ours


def test_a_broker_that_is_dead_changes_nothing_but_is_told(host: RunHost) -> None:
    done = host.run("sh", "-c", "echo result; exit 3", SIMCOURIER_BROKER_URL="amqp://user:word@127.0.0.1:1/")

    assert (done.returncode, done.stdout) == (3, b"result\n")
    (entry,) = host.spool.entries()
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("simcourier: The broker is away: ")
    assert f"stays in the spool at {entry.path}" in line


def test_somebody_who_is_in_a_hurry_does_not_wait_for_a_broker_that_does_not_answer(host: RunHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"amqp://user:word@127.0.0.1:{silent.getsockname()[1]}/"
        words = host.line("sh", "-c", "exit 3")
        running = subprocess.Popen(words, cwd=ROOT, env=host.environ | {"SIMCOURIER_BROKER_URL": url})
        silent.settimeout(120)
        connection, _ = silent.accept()

        begun = time.monotonic()
        running.terminate()

        assert running.wait(120) == 3
        assert time.monotonic() - begun < 9, "a broker has ten seconds to answer"
        assert len(host.spool.entries()) == 1
        connection.close()


def test_a_broker_that_refuses_changes_nothing_but_is_told(host: RunHost) -> None:
    done = host.run("sh", "-c", "exit 3", SIMCOURIER_BROKER_PREFIX="nobody")

    assert done.returncode == 3
    (line,) = done.stderr.decode().splitlines()
    assert "no queue for" in line
    assert "stays in the spool" in line


def test_a_data_folder_that_cannot_be_written_changes_nothing_but_is_told(host: RunHost) -> None:
    broker = f"sqlite:///{host.data}/broker.db"

    done = host.run("sh", "-c", "echo result; exit 3", SIMCOURIER_DATA_DIR="/proc/no", SIMCOURIER_BROKER_URL=broker)

    assert (done.returncode, done.stdout) == (3, b"result\n")
    before, *_ = done.stderr.decode().splitlines()
    assert "/proc/no" in before
    assert "The simulation runs all the same; should this process be killed, nobody will be told." in before
    assert "Traceback" not in done.stderr.decode()
    assert host.event().data.exit_code == 3, "what cannot be kept here is given to the broker at once"


def within_a_small_disk(host: RunHost, script: str, *words: str) -> subprocess.CompletedProcess[bytes] | None:
    """Run with a data folder of 128 KiB; None where that is not allowed."""
    small = host.data.parent / "small"
    small.mkdir()
    mount = f'mount -t tmpfs -o size=128k none "{small}" && {script}'
    within = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*within, f'mount -t tmpfs none "{small}"'], capture_output=True, check=False).returncode:
        return None
    environ = host.environ | {
        "SIMCOURIER_DATA_DIR": f"{small}/data",
        "SIMCOURIER_BROKER_URL": f"sqlite:///{small}/broker.db",
    }
    return subprocess.run(
        [*within, mount, *words], cwd=ROOT, env=environ, capture_output=True, check=False, timeout=120
    )


def test_a_disk_that_was_full_before_changes_nothing_but_is_told(host: RunHost) -> None:
    fill = f'head -c 1M /dev/zero >"{host.data.parent}/small/fill" 2>/dev/null; "$0" "$@"'

    done = within_a_small_disk(host, fill, *host.line("sh", "-c", "echo result; exit 3"))

    if done is None:
        pytest.skip("needs a mount of its own")
    assert (done.returncode, done.stdout) == (3, b"result\n")
    text = done.stderr.decode()
    assert "No space left on device" in text
    assert "Nobody is told of this run" in text
    assert "Traceback" not in text


def test_a_simulation_that_fills_the_disk_is_told_all_the_same(host: RunHost) -> None:
    """The record has kept the room."""
    small = host.data.parent / "small"
    show = f'"$0" "$@"; echo "exit code $?"; cat {small}/data/spool/*.json; ls {small}/data/runs'

    done = within_a_small_disk(host, show, *host.line(*python(FILLS_THE_DISK, f"{small}/results")))

    if done is None:
        pytest.skip("needs a mount of its own")
    said, _, body = done.stdout.decode().partition("\n")
    assert said == "exit code 1"
    data = json.loads(body)["data"]
    assert (data["outcome"], data["exit_code"]) == ("failed", 1)
    assert data["log_tail"].endswith("step\n\nwriting results: No space left on device")
    assert len(data["log_tail"]) == 4000
    assert "Traceback" not in done.stderr.decode()


@pytest.mark.parametrize("content", [None, ""])
def test_a_results_folder_that_is_not_there_or_empty_at_the_end_is_told_and_the_event_goes(
    host: RunHost, content: str | None
) -> None:
    for file in host.results.iterdir():
        file.unlink()
    if content is None:
        host.results.rmdir()

    done = host.run("sh", "-c", "echo out of memory >&2; exit 1")

    assert done.returncode == 1
    told = done.stderr.decode().splitlines()[-1]
    assert f"The results folder {host.results} is {'empty' if content == '' else 'not there'}; " in told
    assert host.event().data.log_tail == "out of memory"


# Wrong use


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--to", "ben"), "--to: 'ben' is no email address."),
        (("--parameter", "rho=1"), "--parameter: belongs to a campaign"),
        (("--configuration", "rho"), "--configuration: NAME=VALUE is expected"),
        (("--event-id", "7"), "--event-id: '7' is no UUID."),
        (("--results", "s3://u:p@bucket/run"), "--results: the URL holds a password, which must not travel"),
        (("--nonsense",), "No such option"),
    ],
)
def test_wrong_use_is_told_and_nothing_is_started(
    host: RunHost, tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    started = tmp_path / "started"

    done = host.run("touch", str(started), options=options)

    assert done.returncode == 2
    assert sentence in done.stderr.decode().splitlines()[-1]
    assert not started.exists()
    assert not (host.data / "runs").exists()


def test_a_wrong_setting_is_told_and_nothing_is_started(host: RunHost, tmp_path: Path) -> None:
    done = host.run("touch", str(tmp_path / "started"), SIMCOURIER_BROKER_URL="http://x")

    assert done.returncode == 2
    assert done.stderr.decode().startswith("Error: SIMCOURIER_BROKER_URL must begin with")
    assert not (tmp_path / "started").exists()


def test_a_command_that_is_not_there_or_no_program_is_told_like_a_shell_does(host: RunHost, tmp_path: Path) -> None:
    data_file = tmp_path / "data.txt"
    data_file.touch()

    missing, no_program = host.run("no-such-simulator"), host.run(str(data_file))

    assert missing.returncode == 127
    assert missing.stderr.decode().splitlines() == [
        "Error: The command 'no-such-simulator' was not found; nothing was started, and there is nothing to tell."
    ]
    assert no_program.returncode == 126
    assert "cannot be executed (Permission denied)" in no_program.stderr.decode()
    assert (host.queued(), list((host.data / "runs").iterdir())) == ([], [])


def test_a_script_without_a_first_line_is_run_as_by_a_shell(host: RunHost, tmp_path: Path) -> None:
    script = tmp_path / "simulate"
    script.write_text("echo $1\n")
    script.chmod(0o755)

    assert host.run(str(script), "result").stdout == b"result\n"


def test_a_second_run_with_the_id_of_one_that_runs_is_refused(host: RunHost) -> None:
    options = ("--event-id", "6f2f5ac4-4f9b-4a1c-8a59-0f4d31a3f7a1")

    done = host.run(*host.line("true", options=options), options=options)

    assert done.returncode == 2
    assert "--event-id: there is a run with the id" in done.stderr.decode()
    assert host.event().data.exit_code == 2


def test_without_results_this_folder_is_meant_unless_that_is_all_somebody_has(host: RunHost, tmp_path: Path) -> None:
    here = tmp_path / "study"
    here.mkdir()
    words = [sys.executable, "-m", "simcourier", "run", *OPTIONS, "--", "touch", "result.csv"]

    done = subprocess.run(words, cwd=here, env=host.environ, capture_output=True, check=False, timeout=120)
    home = subprocess.run(
        words, cwd=here, env=host.environ | {"HOME": str(here)}, capture_output=True, check=False, timeout=120
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert host.event().data.results.location == here.as_uri()
    assert home.returncode == 2
    assert re.search(rb"--results: name the folder", home.stderr)
