"""What deploys us can be read by those who do it: compose.yaml, the Dockerfile, the systemd units, the secrets' script.

`tests/e2e/test_services.py` starts what they name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from messaging.settings import OTHERS, PREFIX, Settings
from messaging.topology import Topology
from simcourier.cli import COMMANDS
from tests.support.deployment import (
    BIN,
    DEPLOY,
    ROOT,
    Missing,
    compose,
    dockerfile,
    entry_point,
    image_environment,
    make_secrets,
    settings_lines,
    unit,
)
from tests.support.pages import adapted, blocks, type_at

FOLDER = {"RESULTS_FOLDER": "/srv/results"}
UNITS = sorted((DEPLOY / "systemd").rglob("*.service"))
TAG = re.compile(r"^[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9.-]+)?$")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deployment") / "secrets"
    done = make_secrets(folder)
    assert done.returncode == 0, done.stderr
    return folder


def ours() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, service in compose(FOLDER)["services"].items():
        if "build" in service:
            yield name, service


def test_compose_yaml_is_valid_by_the_compose_specification(tmp_path: Path) -> None:
    done = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout

    broken = tmp_path / "compose.yaml"
    broken.write_text((ROOT / "compose.yaml").read_text("utf-8").replace("command:", "comand:"))
    refused = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", broken], capture_output=True, check=False
    )
    assert refused.returncode == 1


def test_every_service_has_a_health_check_and_waits_for_what_it_needs() -> None:
    services = compose(FOLDER)["services"]

    assert {name for name, service in services.items() if "healthcheck" not in service} == {"migrate"}
    for name in ("worker", "email-sender"):
        assert services[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "rabbitmq": {"condition": "service_healthy"},
            "database": {"condition": "service_healthy"},
        }
    assert services["web"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert services["migrate"]["depends_on"] == {"database": {"condition": "service_healthy"}}


def test_whatever_a_service_names_is_declared_and_whatever_is_declared_is_used() -> None:
    file = compose(FOLDER)
    used: dict[str, set[str]] = {"volumes": set(), "secrets": set(), "configs": set()}
    for service in file["services"].values():
        used["volumes"] |= {one.split(":")[0] for one in service.get("volumes", []) if isinstance(one, str)}
        used["secrets"] |= set(service.get("secrets", []))
        used["configs"] |= {one["source"] for one in service.get("configs", [])}
        assert set(service.get("depends_on", {})) <= set(file["services"])

    for kind, names in used.items():
        assert names == set(file[kind]), kind


def test_a_service_is_given_the_secrets_it_reads_and_no_others_but_the_database_commands() -> None:
    for name, service in ours():
        read = {value.removeprefix("/run/secrets/") for value in service["environment"].values() if "/run/" in value}

        assert set(service["secrets"]) - read == ({"local_cloud_config"} if name == "migrate" else set()), name
        assert read <= set(service["secrets"]), name


def test_every_image_is_pinned_to_a_version() -> None:
    images = [one["image"] for one in compose(FOLDER)["services"].values() if "build" not in one]
    images += [stage.base for stage in dockerfile()]

    assert len(images) == 5
    assert [image for image in images if not TAG.match(image)] == []


def test_nothing_is_reached_from_other_machines_unless_it_is_asked_for() -> None:
    published = [port for one in compose(FOLDER)["services"].values() for port in one.get("ports", [])]

    assert len(published) == 4
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_results_are_read_only_and_lie_where_the_simulators_say() -> None:
    worker = compose({"RESULTS_FOLDER": "/scratch"})["services"]["worker"]

    assert worker["environment"]["SIMCOURIER_RESULTS_ROOTS"] == "/scratch"
    (mount,) = [one for one in worker["volumes"] if isinstance(one, dict)]
    assert (mount["source"], mount["target"], mount["read_only"]) == ("/scratch", "/scratch", True)


def test_without_a_results_folder_it_says_what_to_set() -> None:
    with pytest.raises(Missing, match=r"RESULTS_FOLDER: set it to the folder .* \.env"):
        compose({})


def test_what_compose_yaml_can_be_told_is_what_its_head_and_the_operators_guide_say() -> None:
    text = (ROOT / "compose.yaml").read_text("utf-8")
    head = text.partition("\nname:")[0]
    asked = set(re.findall(r"\$\{(\w+)", text))
    guide = (ROOT / "docs" / "operating.md").read_text("utf-8")

    assert asked == set(re.findall(r"\b[A-Z]+_[A-Z]+\b", head))
    assert {name for name in asked if name not in guide} == set()


def test_our_containers_run_commands_that_exist_with_settings_that_exist() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    for name, service in ours():
        variables = set(service["environment"]) | set(image_environment())

        assert service["command"][0] in COMMANDS, name
        assert {one for one in variables if one.startswith(PREFIX) and not one.startswith(OTHERS)} <= known, name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    assert entry_point() == ["simcourier"]


def test_a_container_has_longer_to_stop_than_work_in_hand_to_finish() -> None:
    grace = Settings.model_fields["grace_seconds"].default

    assert all(int(service["stop_grace_period"].removesuffix("s")) > grace for _, service in ours())
    for path in (DEPLOY / "systemd").glob("*.service"):
        assert int(unit(path)["Service"]["TimeoutStopSec"][0]) > grace


def test_the_dockerfile_copies_what_is_there_from_stages_that_are_there() -> None:
    stages = dockerfile()
    ignored = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert ignored[0] == "*"
    for number, stage in enumerate(stages):
        for line in stage.all("COPY"):
            *words, target = line.split()
            if words[0].startswith("--from="):
                assert words[0].removeprefix("--from=") in {earlier.name for earlier in stages[:number]}
                continue
            assert target
            for source in words:
                assert (ROOT / source).exists(), source
                assert any(fnmatch(source, pattern) for pattern in kept), f"{source} is ignored"


def test_every_folder_of_the_wheel_is_in_the_image() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    copied = {line.split()[0] for line in dockerfile()[0].all("COPY")}

    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= copied


def test_the_image_runs_as_a_user_of_its_own_and_builds_nothing() -> None:
    last = dockerfile()[-1]

    assert last.all("USER") == ["10001:10001"]
    assert not any("pip" in line or "apt" in line for line in last.all("RUN"))
    assert last.all("STOPSIGNAL") == ["SIGTERM"]
    assert last.all("VOLUME") == [image_environment()["SIMCOURIER_DATA_DIR"]]


@pytest.mark.full
def test_the_build_stage_makes_an_environment_that_runs_without_the_sources(tmp_path: Path) -> None:
    """Its commands, in a folder that holds what it copies, with this Python for the image's."""
    stage = dockerfile()[0]
    context, target, wheel = tmp_path / "source", tmp_path / "opt", tmp_path / "wheel"
    context.mkdir()
    for line in stage.all("COPY"):
        *sources, place = line.split()
        for source in sources:
            to = context / (source if place == "./" else place)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(ROOT / source, to) if (ROOT / source).is_dir() else shutil.copyfile(ROOT / source, to)
    environ = {"PATH": f"{Path(sys.base_prefix) / 'bin'}:{os.environ['PATH']}"}
    environ |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    for line in stage.all("RUN"):
        command = line.replace("/opt/simcourier", str(target)).replace("/wheel", str(wheel))
        command = re.sub(r"^python ", f"{sys.executable} ", command)
        subprocess.run(["/bin/sh", "-ec", command], cwd=context, env=environ, check=True)
    shutil.rmtree(context)

    help_page = subprocess.run([target / "bin" / "simcourier", "worker", "--help"], capture_output=True, check=False)
    left = subprocess.run([target / "bin" / "pip", "list"], capture_output=True, text=True, check=True).stdout

    assert help_page.returncode == 0
    assert "hatchling" not in left


def test_the_secrets_are_closed_to_others_and_never_made_twice(secrets: Path) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets.iterdir()} == {0o444}
    before = {file.name: file.read_bytes() for file in secrets.iterdir()}

    again = make_secrets(secrets)

    assert again.returncode == 1
    assert "nothing was changed" in again.stderr
    assert {file.name: file.read_bytes() for file in secrets.iterdir()} == before
    assert [file.name for file in secrets.parent.iterdir()] == ["secrets"]


def test_the_secrets_are_made_beside_compose_yaml_as_the_operators_guide_says(secrets: Path, tmp_path: Path) -> None:
    (make,) = blocks("docs/operating.md", "From one machine to servers")
    shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets"))

    type_at(os.environ, tmp_path, make)

    assert {file.name for file in (tmp_path / "deploy" / "secrets").iterdir()} == {
        file.name for file in secrets.iterdir()
    }


@pytest.mark.full
def test_a_server_is_installed_as_the_operators_guide_says(secrets: Path, tmp_path: Path) -> None:
    """But for the account, and what only a running systemd can do."""
    install, _define, _enable = blocks("docs/operating.md", "With systemd")
    etc, opt = tmp_path / "etc", tmp_path / "opt"
    (etc / "systemd" / "system").mkdir(parents=True)
    left_out = [line for line in install.splitlines() if line.startswith(("useradd", "systemctl"))]
    assert len(left_out) == 2

    script = adapted(install, dict.fromkeys(left_out, ""))
    type_at(os.environ, ROOT, script, {"/etc/": f"{etc}/", "/opt/simcourier": str(opt)})

    assert {file.name for file in (etc / "simcourier" / "secrets").iterdir()} == {
        file.name for file in secrets.iterdir()
    }
    assert {file.name for file in (etc / "simcourier").iterdir()} == {"secrets", "admin.env", "simcourier.env"}
    assert {file.name for file in (etc / "systemd" / "system").iterdir()} == {
        path.name for path in UNITS if path.parent.name == "systemd"
    }
    help_page = subprocess.run([opt / "bin" / "simcourier", "worker", "--help"], cwd=tmp_path, check=False)
    assert help_page.returncode == 0


def test_every_secret_that_a_file_of_ours_names_is_made_and_none_is_in_the_repository(secrets: Path) -> None:
    named = {Path(one["file"]) for one in compose(FOLDER)["secrets"].values()}
    loaded = {line.partition(":")[0] for path in UNITS for line in unit(path)["Service"].get("LoadCredential", [])}

    assert {path.parent for path in named} == {Path("deploy/secrets")}
    assert {path.name for path in named} | loaded == {file.name for file in secrets.iterdir()} - {
        "simulator_broker_url"
    }
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    values = [word for file in secrets.iterdir() for word in re.findall(r"[0-9a-f]{32,}", file.read_text("ascii"))]
    assert len(set(values)) == 5  # three passwords and two keys, all different


def test_the_definitions_hold_the_hashes_of_the_passwords_in_the_addresses(secrets: Path) -> None:
    definitions = json.loads((secrets / "rabbitmq_definitions.json").read_text("ascii"))
    for user, file in (("simcourier", "broker_url"), ("simulator", "simulator_broker_url")):
        password = (secrets / file).read_text("ascii").split("@")[0].rpartition(":")[2]
        (kept,) = [one["password_hash"] for one in definitions["users"] if one["name"] == user]
        raw = base64.b64decode(kept, validate=True)

        assert hashlib.sha256(raw[:4] + password.encode()).digest() == raw[4:]


def test_the_rights_name_the_exchange_and_the_keys_of_a_simulators_events(secrets: Path) -> None:
    definitions = json.loads((secrets / "rabbitmq_definitions.json").read_text("ascii"))
    (topic,) = definitions["topic_permissions"]
    keys = [key for key in Topology().bindings if re.search(topic["write"], key)]

    assert topic["exchange"] == Topology().exchange
    assert keys == ["simulation.completed.single", "simulation.completed.campaign"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_runs_a_command_that_exists_with_settings_that_exist(path: Path) -> None:
    service = unit(path)["Service"]
    (command,) = service["ExecStart"]
    program, name, *_ = command.split()
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    variables = {line.split("=")[0] for line in service.get("Environment", [])}
    variables |= set(settings_lines(DEPLOY / "systemd" / "simcourier.env"))

    assert program == "/opt/simcourier/bin/simcourier"
    assert name in COMMANDS
    assert {one for one in variables if not one.startswith(OTHERS)} <= known


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("manager", ["--system", "--user"])
def test_systemd_understands_every_unit(manager: str, tmp_path: Path) -> None:
    """With the command where it is here, since systemd looks whether it is there."""
    folder = DEPLOY / "systemd" / ("user" if manager == "--user" else "")
    units = [path for path in folder.iterdir() if path.suffix in {".service", ".timer"}]
    for path in units:
        text = path.read_text("utf-8").replace("/opt/simcourier/bin", str(BIN))
        (tmp_path / path.name.replace("@.", "@1.")).write_text(text)
    (tmp_path / "run").mkdir()
    environ = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "XDG_CONFIG_HOME": str(tmp_path / "config")}

    done = subprocess.run(
        ["systemd-analyze", manager, "--man=no", "verify", *tmp_path.glob("simcourier-*")],
        env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(units) == (2 if manager == "--user" else 4)
