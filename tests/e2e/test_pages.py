"""The commands of README and operator's guide, typed as they stand there on a machine with nothing on it.

Other tests type those of other pages; ``tests/unit/test_commands_shown.py`` sees that none is forgotten.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.installation import ROOT, Installation, answers, fetch, files_below, unpacked
from tests.support.pages import Desk, adapted, blocks, type_at, with_programs
from tests.support.scratch import free_ports, wait_until

GUIDE = "docs/operating.md"
TOGETHER = pytest.mark.xdist_group("pages")  # one `up` for all of them
STAND_INS = Path(__file__).parent.parent / "support" / "standins"
UP, USE = blocks("README.md", "Where to go next")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Where ``up`` runs, and one result has been delivered as README says."""
    desk = Desk(tmp_path_factory.mktemp("pages"))
    with desk.up(UP):
        desk.type(USE)
        shutil.copy(STAND_INS / "simulate", desk.folder)
        key = (desk.data / "local-cloud-key").read_text().strip()
        (desk.folder / "local.json").write_text(json.dumps({"key": key}))
        yield desk


def deliveries(desk: Desk) -> dict[str, dict[str, Any]]:
    """By simulation."""
    return {row["simulation_id"]: row for row in json.loads(desk.type("simcourier deliveries list --json").stdout)}


def delivery(desk: Desk, simulation: str, state: str) -> str:
    """The id of a delivery, once it is in this state."""
    wait_until(lambda: deliveries(desk).get(simulation, {}).get("state") == state, f"{simulation} is {state}", step=0.5)
    return str(deliveries(desk)[simulation]["id"])


@TOGETHER
def test_readme(desk: Desk) -> None:
    lines = desk.told[0].splitlines()
    (link,) = [line for line in lines if line.startswith("http://")]

    assert unpacked(fetch(link)) == files_below(desk.folder / "results")
    assert "rho = 0.8: DELIVERED" in lines
    assert f"  Link:         {link}" in lines


@pytest.mark.full
@TOGETHER
def test_publishing_from_a_simulator(desk: Desk) -> None:
    (run,) = blocks("docs/simulators.md", "simcourier run")
    single, study = blocks("docs/simulators.md", "The command")
    (spool,) = blocks("docs/simulators.md", "The spool")
    (simulator,) = blocks("docs/simulators.md", "The example simulator")
    library, *_ = blocks("docs/simulators.md", "The library", "python")

    desk.type(run.replace("--rho=0.8", "--rho=0.8 --output=results"))
    told = [desk.type(part).stdout for part in (simulator, single, study, spool)]
    (desk.folder / "publish.py").write_text(library)
    from_python = desk.type("python publish.py").stdout

    assert all("Accepted by the broker" in part for part in told[1:3])
    assert told[3] == "The spool is empty.\nThe spool is empty.\n"
    assert from_python.split()[1] == "sent"
    event = from_python.split()[0]
    wait_until(lambda: desk.type(f"simcourier where {event}", check=False).stdout.startswith("rho = 0.8: D"), "it came")


@TOGETHER
def test_packing_summary_and_previews(desk: Desk) -> None:
    pack, check = blocks("docs/packing.md", "On the command line")
    (summarise,) = blocks("docs/summary.md", "The summary of a run")
    (preview,) = blocks("docs/mail.md", "The mails")

    desk.type(pack + check)
    desk.type(summarise + preview)

    assert (desk.folder / "out" / "MANIFEST.sha256").exists()
    assert (desk.folder / "smaller.zip").exists()
    assert (desk.folder / "results-summary" / "report.html").exists()
    assert {"delivered.eml", "digest.html", "operator.txt"} <= {path.name for path in (desk.folder / "mails").iterdir()}


@pytest.mark.full
@TOGETHER
def test_storage_backends(desk: Desk) -> None:
    (commands,) = blocks("docs/storage.md", "On the command line")
    (expire,) = blocks("docs/storage.md", "Keep days")
    (again,) = blocks(GUIDE, "Storage backends")
    _, define = blocks("docs/local_cloud.md", "Set it up")
    (keys,) = blocks("docs/local_cloud.md", "Who may upload")

    told = desk.type(commands).stdout
    (desk.folder / "cloud").mkdir()
    desk.type(keys.replace("/srv/results", "cloud"))

    assert "delete: the file and its link are gone" in told
    assert "local  " in desk.type(again).stdout
    assert "delete: the file and its link are gone" in desk.type(define).stdout
    assert desk.type(expire).stdout == "Nothing is to be removed.\n" * 2


@pytest.mark.full
def test_the_secret_key_is_replaced(tmp_path: Path) -> None:
    (replace,) = blocks("docs/storage.md", "Replacing the secret key")
    old, new = ("in-use-for-years-" * 2, "not-seen-by-anybody-" * 2)
    desk = Desk(tmp_path)
    desk.environ["SIMCOURIER_SECRET_KEY"] = old
    (desk.folder / "local.json").write_text('{"key": "of the storage server"}')
    desk.type("echo 127.0.0.1:1 | simcourier backends add local --token-file - --config-file local.json")

    desk.type(replace.replace("=NEW", f"={new}").replace("=OLD", f"={old}"))

    export = "simcourier backends export --with-secrets -o backends.json"
    assert "SIMCOURIER_SECRET_KEY_FALLBACKS" in desk.type(export, check=False).stderr, "the old key can go"
    desk.environ["SIMCOURIER_SECRET_KEY"] = new
    desk.type(export)
    assert "of the storage server" in (desk.folder / "backends.json").read_text()


@pytest.mark.full
@TOGETHER
def test_a_simulators_host(desk: Desk, tmp_path: Path) -> None:
    install, publish, timer = blocks(GUIDE, "Simulators' hosts")
    settings = desk.home / ".config" / "simcourier.env"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(f"SIMCOURIER_BROKER_URL=sqlite:///{desk.data}/broker.db\n")

    here = {"/opt/simcourier": str(tmp_path / "opt")}
    type_at(os.environ, ROOT, install, here)
    told = type_at(desk.environ, desk.folder, publish, here).stdout

    assert "Accepted by the broker" in told
    assert not list((tmp_path / "opt").rglob("django")), "what workers and the site need is not installed with it"
    by_systemd = [line for line in timer.splitlines() if "ctl " in line]
    assert len(by_systemd) == 2
    type_at(desk.environ, ROOT, adapted(timer, dict.fromkeys(by_systemd, "")))
    units = settings.parent / "systemd" / "user"
    assert {unit.suffix for unit in units.iterdir()} == {".service", ".timer"}
    assert f"EnvironmentFile=%E/{settings.name}" in (units / "simcourier-spool-flush.service").read_text()


@pytest.mark.full
@TOGETHER
def test_what_is_missing_and_what_is_kept(desk: Desk) -> None:
    for program in ("bash", "jq"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    (doctor, *_) = blocks("docs/doctor.md", "When something is wrong: simcourier doctor")
    again, _drill = blocks(GUIDE, "What is missing")
    (retention,) = blocks("docs/retention.md", "What is kept how long")
    (health,) = blocks(GUIDE, "Health")
    (lines,) = blocks("docs/monitoring.md", "One line per try")
    (completion,) = blocks(GUIDE, "In the shell")

    assert "trouble" not in desk.type(doctor).stdout.partition("[")[0]
    assert "data folder" in desk.type(again).stdout
    assert "SIMCOURIER_KEEP_RECIPIENTS_DAYS" in desk.type(retention).stdout
    assert desk.type(health).stdout.startswith("worker: process ")
    assert "simcourier" in desk.type(f"{completion}\ncomplete -p simcourier", shell="bash").stdout
    desk.type("simcourier publish results --to anna@example.org --backend nowhere --simulation-id lost")
    failed = delivery(desk, "lost", "FAILED")
    assert failed in desk.type(f"cd {desk.data / 'logs'}\n{lines}").stdout


@pytest.mark.full
@TOGETHER
def test_when_something_does_not_arrive(desk: Desk) -> None:
    (commands,) = blocks(GUIDE, "When something does not arrive")
    where, failed, retry, cancel, resend, dead, spool = commands.splitlines()
    publish = "simcourier publish results --to anna@example.org --simulation-id"
    desk.type(
        "echo 127.0.0.1:1 | simcourier backends add local-away --token-file - --config-file local.json\n"
        f"{publish} wrong --backend nowhere\n{publish} waits --backend local-away"
    )
    wrong, waits = delivery(desk, "wrong", "FAILED"), delivery(desk, "waits", "WAITING")

    assert "DELIVERED" in desk.type(where.replace("SIMULATION-ID", "results")).stdout
    assert wrong in desk.type(failed).stdout
    assert "will be tried again" in desk.type(retry.replace("ID", wrong)).stdout
    assert waits in desk.type(cancel.replace("ID", waits)).stdout
    assert "the mail goes to" in desk.type(resend.replace("ID", delivery(desk, "results", "DELIVERED"))).stdout
    assert desk.type(f"{dead}\n{spool}").stdout.endswith("The spool is empty.\n")
    assert delivery(desk, "waits", "CANCELLED") == waits


@pytest.mark.full
@TOGETHER
def test_dead_letters(desk: Desk) -> None:
    (commands,) = blocks(GUIDE, "Dead letters")
    bodies = [b"no event 3", b"no event 4", b"no event 5"]
    for body in bodies:
        desk.send(body)

    def numbers() -> list[int]:
        return sorted(row["id"] for row in json.loads(desk.type("simcourier dead list --json").stdout))

    wait_until(lambda: len(numbers()) == len(bodies), "they are set aside", step=0.5)
    for shown, number in zip(("3", "4", "5"), numbers(), strict=True):
        commands = re.sub(rf"(?<= ){shown}\b", f"n{number}", commands)
    told = desk.type(commands.replace(" n", " "))

    assert (desk.folder / "letter.json").read_bytes() in bodies
    assert "Traceback" not in told.stderr


@pytest.mark.full
def test_backup_and_restore_on_one_machine(tmp_path: Path) -> None:
    if shutil.which("sqlite3") is None:
        pytest.skip("sqlite3 is not installed")
    backup, restore, *_ = blocks(GUIDE, "Backup and restore")
    desk = Desk(tmp_path)
    with desk.up():
        desk.type(USE)
        key = (desk.data / "local-cloud-key").read_text().strip()
        (desk.folder / "local.json").write_text(json.dumps({"key": key}))
        desk.type(
            "echo 127.0.0.1:1 | simcourier backends add local-away --token-file - --config-file local.json\n"
            "simcourier publish results --to anna@example.org --simulation-id waits --backend local-away"
        )
        waits, results = delivery(desk, "waits", "WAITING"), files_below(desk.folder / "results")
        desk.type(backup)
    shutil.rmtree(desk.data)  # the disk is gone

    again, start = restore.rsplit("simcourier up", 1)[0], "simcourier up"
    desk.type(again)
    with desk.up(start):
        link = json.loads(desk.type("simcourier where results --json").stdout)[0]["link"]
        assert unpacked(fetch(link)) == results, "what was mailed leads to the results still"
        desk.type("echo 10.10.160.10:8976 | simcourier backends add local-away --token-file -")
        assert delivery(desk, "waits", "DELIVERED") == waits
        wait_until(lambda: len(list((desk.data / "mail").glob("*.eml"))) == 1, "the mail, once")


@pytest.mark.full
@pytest.mark.postgresql
def test_backup_and_restore_of_servers(tmp_path: Path, database_url: str, new_database_url: Any) -> None:
    if shutil.which("pg_dump") is None or shutil.which("pg_restore") is None:
        pytest.skip("the clients of PostgreSQL are not installed")
    _, _, backup, restore = blocks(GUIDE, "Backup and restore")
    shown = "postgresql://simcourier:PASSWORD@db.example.org/simcourier"
    desk, fresh = Desk(tmp_path / "desk"), new_database_url()
    results = tmp_path / "results"
    results.mkdir()
    (results / "result.csv").write_text("utilisation,0.8\n")
    with Installation(tmp_path / "data", database_url=database_url) as one:
        one.start_cloud()
        one.start("worker")
        one.wait_ready()
        event = one.publish(results)
        wait_until(lambda: (one.where(event) or {}).get("state") == "DELIVERED", "it is delivered")
        desk.type(backup.replace(shown, database_url))
        one.processes[-1].kill()

        desk.type(restore.replace(shown, fresh))

        one.environ["SIMCOURIER_DATABASE_URL"] = fresh
        told = json.loads(one.simcourier("where", event, "--json").stdout)
        assert unpacked(fetch(told[0]["link"])) == files_below(results)
        assert one.simcourier("backends", "check", "local").returncode == 0, "the key decrypts the definitions"


@pytest.mark.full
def test_a_clone_shows_one_real_run_and_is_upgraded(tmp_path: Path) -> None:
    (commands,) = blocks("README.md", "Two commands")
    demo, _all_tests = commands.splitlines()
    (upgrade,) = blocks(GUIDE, "Upgrade")
    *install, start = upgrade.splitlines()
    site, cloud = free_ports(2)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SIMCOURIER_")}
    environ = with_programs(clean) | {
        "SIMCOURIER_DATA_DIR": str(tmp_path / "data"),
        "SIMCOURIER_WEB_PORT": str(site),
        "SIMCOURIER_LOCAL_CLOUD_PORT": str(cloud),
    }
    commit = "git add --all && git -c user.name=anna -c user.email=anna@example.org commit --quiet -m"
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    ours = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "node_modules", "secrets")
    shutil.copytree(ROOT, origin, ignore=ours)
    type_at(environ, origin, f"git init --quiet && {commit} one && git clone --quiet . {clone}")

    first = type_at(environ, clone, demo).stdout
    type_at(environ, origin, f"echo later >later && {commit} two")
    second = type_at(environ, clone, "\n".join(install)).stdout
    up = subprocess.Popen(["sh", "-ec", f"exec {start}"], cwd=clone, env=environ)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{site}/healthz"), "up is up")
    finally:
        up.terminate()
        assert up.wait(120) == 0

    assert all("That was the whole way." in told for told in (first, second))
    assert "installing" in first
    assert "installing" not in second, "what is needed is there"
    assert (clone / "later").exists()
