"""The guides' commands, run as they stand there, and the examples they point at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from messaging.connect import connect
from messaging.messages import Lane, SimulationCompleted, parse_event
from messaging.topology import Topology
from tests.support.broker import delete_queues
from tests.support.host import ROOT, Host
from tests.support.pages import blocks, type_at

GUIDES = (ROOT / "docs" / "guides.md").read_text("utf-8")
EXAMPLES = ROOT / "examples"
STAND_INS = ROOT / "tests" / "support" / "standins"


class Desk(Host):
    """A folder in which somebody follows a guide.

    Args:
        own: stand-ins that are the user's own programs and lie in that folder.
        installed: stand-ins that are found in the path.
    """

    def __init__(self, folder: Path, own: tuple[str, ...] = (), installed: tuple[str, ...] = ()) -> None:
        super().__init__(folder)
        self.start_broker()
        self.folder = folder / "desk"
        self.folder.mkdir()
        programs = folder / "bin"
        programs.mkdir()
        for name in own:
            shutil.copy(STAND_INS / name, self.folder)
        for name in installed:
            (programs / name).symlink_to(STAND_INS / name)
        path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environ |= {"PATH": path, "PYTHONPATH": str(ROOT)}

    def follow(self, commands: list[str]) -> subprocess.CompletedProcess[str]:
        """Type what a guide says."""
        script = "\n".join(commands)
        return subprocess.run(
            ["sh", "-c", script],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


def test_omnetpp(tmp_path: Path) -> None:
    desk = Desk(tmp_path, installed=("opp_run",))
    (desk.folder / "omnetpp.ini").write_text("[Config Fifo1]\n")

    done = desk.follow(blocks("docs/guides.md", "OMNeT++"))

    assert done.returncode == 0, done.stderr
    assert "simcourier" not in done.stderr
    (single,) = desk.queued()
    assert (single.data.simulator, single.data.outcome) == ("opp_run", "succeeded")
    assert single.data.configuration == {
        "ui": "Cmdenv",
        "config": "Fifo1",
        "run": 3,
        "ini-file": "omnetpp.ini",
        "result-dir": "results",
        "**.rate": 0.8,
    }
    runs = desk.queued(Lane.CAMPAIGN)
    assert [run.data.configuration["run"] for run in runs] == [0, 1, 2]
    for run in (single, *runs):
        (scalars, *_) = Path(run.data.results.location.removeprefix("file://")).glob("*.sca")
        assert scalars.read_text().startswith("version 3\n")


def test_ns3(tmp_path: Path) -> None:
    desk = Desk(tmp_path, own=("ns3",))

    done = desk.follow(blocks("docs/guides.md", "ns-3"))

    assert (done.returncode, done.stderr) == (0, "")
    (event,) = desk.queued()
    assert event.data.simulator == "ns-3 wifi-simple"
    assert event.data.configuration == {"RngRun": 3, "distance": 50, "output": "results"}
    assert (desk.folder / "results" / "wifi-simple.flowmon.xml").exists()


def test_sumo(tmp_path: Path) -> None:
    real = shutil.which("sumo") and shutil.which("netgenerate")
    desk = Desk(tmp_path, installed=() if real else ("sumo",))
    (desk.folder / "highway.sumocfg").write_text(
        '<configuration><input><net-file value="highway.net.xml"/><route-files value="highway.rou.xml"/></input>'
        '<time><end value="50"/></time></configuration>'
    )
    if real:
        subprocess.run(
            ["netgenerate", "--grid", "--grid.number=2", "-o", "highway.net.xml"],
            cwd=desk.folder,
            check=True,
            capture_output=True,
        )
        (desk.folder / "highway.rou.xml").write_text(
            '<routes><trip id="1" depart="0" from="A0A1" to="A1B1"/></routes>', "utf-8"
        )

    done = desk.follow(blocks("docs/guides.md", "SUMO"))

    assert done.returncode == 0, done.stderr
    (event,) = desk.queued()
    assert (event.data.simulator, event.data.outcome) == ("sumo", "succeeded")
    assert event.data.configuration == {
        "configuration-file": "highway.sumocfg",
        "seed": 42,
        "tripinfo-output": "results/tripinfo.xml",
    }
    assert "<tripinfo " in (desk.folder / "results" / "tripinfo.xml").read_text("utf-8")


def test_a_shell_script(tmp_path: Path) -> None:
    desk = Desk(tmp_path, own=("simulate",))
    shutil.copy(EXAMPLES / "simulate.sh", desk.folder)

    done = desk.follow(blocks("docs/guides.md", "A shell script"))

    assert done.returncode == 0
    assert done.stderr == "rho = 0.5 ended with exit code 3\n"
    study = [(run.data.title, run.data.outcome, run.data.exit_code) for run in desk.queued(Lane.CAMPAIGN)]
    assert study == [("rho = 0.2", "succeeded", 0), ("rho = 0.5", "failed", 3), ("rho = 0.8", "succeeded", 0)]
    (single,) = desk.queued()
    assert (single.data.title, single.data.exit_code) == ("rho = 0.8", 0)


@pytest.mark.parametrize(
    ("ended", "outcome", "exit_code"), [("0:0", "succeeded", 0), ("7:0", "failed", 7), ("0:9", "aborted", 137)]
)
def test_slurm_epilog(tmp_path: Path, ended: str, outcome: str, exit_code: int) -> None:
    desk = Desk(tmp_path)
    results = tmp_path / "srv" / "anna" / "4711"
    results.mkdir(parents=True)

    done = run_epilog(desk, SLURM_JOB_EXIT_CODE2=ended)

    assert (done.returncode, done.stderr) == (0, "")
    (event,) = desk.queued()
    data = event.data
    assert (data.outcome, data.exit_code, data.recipients) == (outcome, exit_code, ("anna@example.org",))
    assert (data.title, data.simulation_id, data.results.location) == ("mm1", "4711", results.as_uri())
    assert data.labels == {"cluster": "bremen", "job": "4711"}


def test_slurm_epilog_of_a_job_whose_name_is_no_title(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    (tmp_path / "srv" / "anna" / "4711").mkdir(parents=True)

    done = run_epilog(desk, SLURM_JOB_EXIT_CODE2="0:0", SLURM_JOB_NAME=f"two\nlines {'ä' * 300}")

    assert (done.returncode, done.stderr) == (0, "")
    (event,) = desk.queued()
    assert event.data.title is not None
    assert event.data.title.startswith("two lines ääää")


def test_slurm_epilog_of_an_array_and_of_a_job_without_results_and_while_the_broker_is_away(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    without = run_epilog(desk)
    (tmp_path / "srv" / "anna" / "4711").mkdir(parents=True)
    array = run_epilog(desk, SLURM_ARRAY_JOB_ID="4700", SLURM_ARRAY_TASK_ID="11")
    away = run_epilog(desk, broker="amqp://user:word@127.0.0.1:1/")

    assert (without.returncode, array.returncode, away.returncode) == (0, 0, 0)
    (event,) = desk.queued(Lane.CAMPAIGN)
    assert event.data.campaign is not None
    assert (event.data.campaign.id, event.data.campaign.parameters) == ("4700", {"task": 11})
    assert len(desk.spool.entries()) == 1


def run_epilog(desk: Desk, broker: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """As slurmctld does: without the user's environment."""
    settings = desk.folder / "simulator.env"
    url = broker or f"sqlite:///{desk.data}/broker.db"
    settings.write_text(f"SIMCOURIER_DATA_DIR={desk.data}\nSIMCOURIER_BROKER_URL={url}\n")
    script = (EXAMPLES / "slurm-epilog.sh").read_text("utf-8")
    for ours, theirs in {
        "/opt/simcourier/bin": str(Path(sys.executable).parent),
        "/etc/simcourier/simulator.env": str(settings),
        "/srv/results": str(desk.folder.parent / "srv"),
    }.items():
        assert f"={ours}" in script
        script = script.replace(f"={ours}", f"={theirs}")
    job = {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NAME": "mm1",
        "SLURM_JOB_USER": "anna",
        "SLURM_CLUSTER_NAME": "bremen",
        "SLURM_JOB_EXIT_CODE2": "0:0",
    }
    return subprocess.run(
        ["sh", "-c", script], cwd="/", env=job | variables, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """examples/c/publish, built with the line in the guide."""
    if shutil.which("gcc") is None or not Path("/usr/include/amqp.h").exists():
        pytest.skip("gcc or librabbitmq-dev is not installed")
    program = tmp_path_factory.mktemp("c") / "publish"
    (commands,) = blocks("docs/guides.md", "A C program")
    build, _publish = commands.splitlines()
    type_at(os.environ, ROOT, build, {"-o publish": f"-Werror -o {program}"})
    return program


def publish(program: Path, url: str, topology: Topology, *words: str) -> subprocess.CompletedProcess[str]:
    address = url.rstrip("/") + "/%2F" if url.count("/") < 4 or url.endswith("/") else url
    environ = {"SIMCOURIER_BROKER_URL": address, "SIMCOURIER_BROKER_PREFIX": topology.prefix}
    return subprocess.run([program, *words], env=environ, capture_output=True, text=True, check=False, timeout=120)


WORDS = ("/srv/results/größe 100%", "anna@example.org", "local", 'rho = "0.8" \\ \t', "3")


@pytest.mark.rabbitmq
def test_a_c_program(c_program: Path, amqp_url: str, topology: Topology) -> None:
    early = publish(c_program, amqp_url, topology, *WORDS)
    queues = [topology.lane(Lane.SINGLE), topology.recorder]
    with connect(amqp_url, topology).consumer(queues, prefetch=2) as consumer:
        done = publish(c_program, amqp_url, topology, *WORDS)
        taken = [consumer.take(60), consumer.take(60)]
        for one in taken:
            assert one is not None
            consumer.ack(one)
    delete_queues(amqp_url, topology)

    assert early.returncode == 1
    assert "publish: the broker: NOT_FOUND - no exchange" in early.stderr
    assert (done.returncode, done.stderr) == (0, "")
    assert {one.queue for one in taken if one} == set(queues)
    assert taken[0] is not None
    assert taken[0].user_id is not None, "the broker vouches for who published"
    event: SimulationCompleted = parse_event(taken[0].body)
    assert str(event.id) == done.stdout.strip() == taken[0].message_id
    data = event.data
    assert (data.outcome, data.exit_code, data.recipients) == ("failed", 3, ("anna@example.org",))
    assert data.results.location == Path(WORDS[0]).as_uri()


@pytest.mark.rabbitmq
def test_a_c_program_is_called_as_the_guide_says(c_program: Path, amqp_url: str, topology: Topology) -> None:
    (commands,) = blocks("docs/guides.md", "A C program")
    _build, call = commands.splitlines()
    address = amqp_url.rstrip("/") + "/%2F" if amqp_url.count("/") < 4 or amqp_url.endswith("/") else amqp_url
    with connect(amqp_url, topology).consumer([topology.lane(Lane.SINGLE)]) as consumer:
        environ = os.environ | {"SIMCOURIER_BROKER_PREFIX": topology.prefix}
        told = type_at(environ, c_program.parent, call, {"amqp://USER:PASSWORD@HOST/VHOST": address}).stdout
        taken = consumer.take(60)
        assert taken is not None
        consumer.ack(taken)
    delete_queues(amqp_url, topology)

    event: SimulationCompleted = parse_event(taken.body)
    assert str(event.id) == told.strip()
    assert (event.data.title, event.data.results.location) == ("rho = 0.8", "file:///srv/results/run7")


@pytest.mark.rabbitmq
def test_a_c_program_says_what_is_wrong(c_program: Path, amqp_url: str, topology: Topology) -> None:
    wrong = publish(c_program, amqp_url.replace("//", "//x", 1), topology, *WORDS)
    away = publish(c_program, "amqp://user:word@127.0.0.1:1/", topology, *WORDS)
    misused = publish(c_program, amqp_url, topology)

    assert (wrong.returncode, away.returncode, misused.returncode) == (1, 1, 2)
    assert "the broker refuses the login" in wrong.stderr
    assert "the broker cannot be reached" in away.stderr
    assert misused.stderr.startswith("usage: ")
