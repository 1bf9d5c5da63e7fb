"""``with run(...)`` in a Python simulation, as processes on the real embedded broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.host import ROOT, Host

FRAME = """
import os, sys
from simcourier import run
with run(sys.argv[1], to="anna@example.org", backend="local", title="rho = 0.8") as simulation:
    print(simulation.event_id, flush=True)
    {body}
print("after", simulation.published.state if simulation.published else None)
"""


class BlockHost(Host):
    """A host on which Python simulations run."""

    def run(self, body: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a simulation."""
        words = [sys.executable, "-c", FRAME.format(body=body), str(self.results)]
        return subprocess.run(
            words, cwd=ROOT, env=self.environ | environ, capture_output=True, text=True, check=False, timeout=120
        )


@pytest.fixture
def host(tmp_path: Path) -> BlockHost:
    host = BlockHost(tmp_path)
    host.start_broker()
    (host.results / "General-#0.sca").write_text("version 3\n")
    return host


def test_a_simulation_that_succeeds_is_told_with_what_it_says_of_itself(host: BlockHost) -> None:
    done = host.run("simulation.configuration['rho'] = 0.8; simulation.labels['group'] = 'queueing'")

    event_id, after = done.stdout.splitlines()
    assert (done.returncode, done.stderr, after) == (0, "", "after sent")
    (event,) = host.queued()
    assert str(event.id) == event_id
    data = event.data
    assert (data.outcome, data.exit_code, data.log_tail) == ("succeeded", None, "")
    assert (data.configuration, data.labels) == ({"rho": 0.8}, {"group": "queueing"})
    assert data.started is not None
    assert data.finished is not None
    assert list((host.data / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("body", "code", "outcome", "exit_code", "log"),
    [
        ("raise ValueError('no such parameter')", 1, "failed", None, "ValueError: no such parameter"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "aborted", None, "KeyboardInterrupt"),
        ("sys.exit()", 0, "succeeded", 0, ""),
        ("sys.exit(3)", 3, "failed", 3, ""),
        ("sys.exit('no such parameter')", 1, "failed", 1, "no such parameter"),
        ("simulation.log_tail = 'step 7'; sys.exit(3)", 3, "failed", 3, "step 7"),
    ],
)
def test_what_ends_the_block_is_told_and_goes_its_way(
    host: BlockHost, body: str, code: int, outcome: str, exit_code: int | None, log: str
) -> None:
    done = host.run(body)

    assert done.returncode == code
    assert "after" not in done.stdout
    (event,) = host.queued()
    assert (event.data.outcome, event.data.exit_code) == (outcome, exit_code)
    assert event.data.log_tail.splitlines()[-1:] == ([log] if log else [])


def test_a_process_that_is_killed_is_told_by_the_next_start(host: BlockHost) -> None:
    killed = host.run("os.kill(os.getpid(), 9)")
    done = host.run("pass")

    assert killed.returncode == -signal.SIGKILL
    assert "simcourier: The run 'rho = 0.8'" in done.stderr
    assert "was interrupted" in done.stderr
    first, second = host.queued()
    assert str(first.id) == killed.stdout.strip()
    assert (first.data.outcome, second.data.outcome) == ("aborted", "succeeded")


def test_what_a_simulation_says_of_itself_and_is_wrong_costs_no_event(host: BlockHost) -> None:
    done = host.run("simulation.configuration['rho'] = object()")

    assert done.returncode == 0
    assert "What the simulation has said of itself is left out: configuration.rho" in done.stderr
    (event,) = host.queued()
    assert event.data.configuration == {}


def test_a_data_folder_that_cannot_be_written_does_not_touch_the_simulation(host: BlockHost) -> None:
    done = host.run("print('result')", SIMCOURIER_DATA_DIR="/proc/no")

    assert done.returncode == 0
    assert "result\n" in done.stdout
    assert done.stdout.endswith("after None\n")
    assert "The simulation runs all the same" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_process_that_is_forked_inside_and_leaves_the_block_tells_nothing(host: BlockHost) -> None:
    done = host.run("os.wait() if os.fork() else sys.exit(7)")

    assert done.returncode == 0
    (event,) = host.queued()
    assert event.data.outcome == "succeeded"


def test_a_wrong_argument_is_raised_before_the_simulation_begins(host: BlockHost) -> None:
    code = FRAME.format(body="print('begun')").replace("anna@example.org", "anna")

    done = subprocess.run(
        [sys.executable, "-c", code, str(host.results)],
        cwd=ROOT,
        env=os.environ | host.environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "producer.event.InvalidEvent: to: 'anna' is no email address."
