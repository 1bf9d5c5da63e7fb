"""``simcourier pack``, as somebody types it."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import strict_zip
from tests.support.commands import ROOT, environ, sentence, simcourier
from tests.support.scratch import wait_until
from tests.support.terminal import at_terminal

MIB = 1024 * 1024


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.sca").write_text("scalar " * 1000)
    (folder / "sub" / "b ä.vec").write_text("vector " * 1000)
    (folder / "link").symlink_to("/etc/passwd")
    return folder


def names(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        return opened.namelist()


def inside(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


def pack(*arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
    return simcourier("pack", *map(str, arguments), env=environ(**settings))


def test_a_folder_becomes_an_archive_with_its_manifest(results: Path, tmp_path: Path) -> None:
    done = pack(results, "-o", tmp_path / "x.zip")

    assert (done.returncode, done.stderr) == (0, "")
    assert names(tmp_path / "x.zip") == ["a.sca", "sub/b ä.vec", "MANIFEST.sha256"]
    assert "2 files of 14 kB" in done.stdout
    assert "link: a link that leads out of the results folder." in done.stdout
    told = re.search(r"SHA-256 (\w+)", done.stdout)
    assert told is not None
    assert told[1] in subprocess.run(
        ["sha256sum", str(tmp_path / "x.zip")], capture_output=True, text=True, check=True
    ).stdout  # fmt: skip


def test_json_says_the_same(results: Path, tmp_path: Path) -> None:
    done = pack(results, "-o", tmp_path / "x.zip", "--json")

    told = json.loads(done.stdout)
    assert told["file"] == str(tmp_path / "x.zip")
    assert told["size"] == (tmp_path / "x.zip").stat().st_size
    assert (told["files"], told["bytes"]) == (2, 14_000)
    assert told["left_out"] == ["link: a link that leads out of the results folder."]


def test_patterns_choose(results: Path, tmp_path: Path) -> None:
    assert pack(results, "-o", tmp_path / "x.zip", "--include", "*.sca").returncode == 0
    assert pack(results, "-o", tmp_path / "y.zip", "--exclude", "*.sca").returncode == 0

    assert names(tmp_path / "x.zip") == ["a.sca", "MANIFEST.sha256"]
    assert names(tmp_path / "y.zip") == ["sub/b ä.vec", "MANIFEST.sha256"]


def test_the_setting_and_the_option_choose_the_compression(results: Path, tmp_path: Path) -> None:
    lines = (b"%d\t%d\n" % (number, number * 7919 % 10_000) for number in range(30_000))
    (results / "a.vec").write_bytes(b"".join(lines))
    (tmp_path / "settings").write_text("SIMCOURIER_COMPRESSION=small\n")
    sizes = {}
    for name, arguments, variables in (
        ("default", (), {}),
        ("fast", ("--compression", "fast"), {"compression": "small"}),
        ("small", ("--compression", "small"), {}),
        ("variable", (), {"compression": "small"}),
    ):
        assert pack(results, "-o", tmp_path / name, *arguments, **variables).returncode == 0
        sizes[name] = (tmp_path / name).stat().st_size
    file = ("--env-file", str(tmp_path / "settings"))
    done = simcourier(*file, "pack", str(results), "-o", str(tmp_path / "file"), env=environ())
    sizes["file"] = (tmp_path / "file").stat().st_size

    assert done.returncode == 0
    assert sizes["default"] == sizes["fast"] > sizes["small"] == sizes["variable"] == sizes["file"]
    assert "SIMCOURIER_COMPRESSION" in pack(results, "-o", tmp_path / "z.zip", compression="tiny").stderr


def test_a_file_that_exists_is_replaced_only_by_force(results: Path, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("precious")

    assert "--force" in sentence(pack(results, "-o", tmp_path / "x.zip"))
    assert (tmp_path / "x.zip").read_text() == "precious"
    assert pack(results, "-o", tmp_path / "x.zip", "--force").returncode == 0
    assert "a.sca" in names(tmp_path / "x.zip")


def test_the_archive_is_not_packed_into_itself(results: Path) -> None:
    for _ in range(2):
        done = pack(results, "-o", results / "x.zip", "--force")

        assert done.returncode == 0
        assert names(results / "x.zip") == ["a.sca", "sub/b ä.vec", "MANIFEST.sha256"]
    assert "x.zip: the archive itself." in done.stdout
    assert sorted(inside(results)) == ["a.sca", "link", "sub", "x.zip"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{results}/empty", "-o", "{tmp}/x.zip"], "holds no file"),
        (["{results}", "-o", "{tmp}/x.zip", "--include", "*.xml"], "matches the patterns"),
        (["{results}", "-o", "{tmp}/none/x.zip"], "{tmp}/none/x.zip: No such file or directory."),
        (["{results}", "-o", "/proc/x.zip"], "/proc/x.zip: No such file or directory."),
    ],
)
def test_what_cannot_be_done_is_one_sentence(results: Path, tmp_path: Path, arguments: list[str], told: str) -> None:
    (results / "empty").mkdir()
    places = {"results": results, "tmp": tmp_path}

    done = pack(*(argument.format(**places) for argument in arguments))

    assert done.returncode == 1
    assert told.format(**places) in sentence(done)
    assert inside(tmp_path) == ["results"]


def test_what_is_no_file_is_not_replaced(results: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert "is no file" in sentence(pack(results, "-o", tmp_path / "pipe", "--force"))
    assert (tmp_path / "pipe").is_fifo()


def test_a_full_disk_is_one_sentence_and_leaves_nothing(results: Path, tmp_path: Path) -> None:
    (results / "random").write_bytes(random.Random(1).randbytes(3 * MIB))
    limit = ("sh", "-c", 'ulimit -f 4096; exec "$@"', "sh")  # in halves of a kilobyte

    done = simcourier("pack", str(results), "-o", str(tmp_path / "x.zip"), env=environ(), before=limit)

    assert sentence(done) == f"Error: {tmp_path / 'x.zip'}: File too large."
    assert inside(tmp_path) == ["results"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_leaves_nothing(results: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    """The command reads a folder so large that it cannot have ended when its first bytes are on the disk."""
    for count in range(20):
        with (results / f"{count}.vec").open("wb") as stream:
            stream.truncate(1024 * MIB)
    process = subprocess.Popen(
        [sys.executable, "-m", "simcourier", "pack", str(results), "-o", str(tmp_path / "x.zip")],
        cwd=ROOT, env=environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_until(lambda: any(file.stat().st_size for file in tmp_path.glob(".simcourier-*")), "the first bytes")
    process.send_signal(number)
    told, errors = process.communicate(timeout=120)

    assert process.returncode == code
    assert told + errors == b""
    assert inside(tmp_path) == ["results"]


@pytest.mark.full
def test_progress_is_shown_on_a_terminal_once_it_takes_longer(results: Path, tmp_path: Path) -> None:
    for count in range(4):
        with (results / f"{count}.vec").open("wb") as stream:
            stream.truncate(1024 * MIB)
    arguments = ("pack", str(results), "-o", str(tmp_path / "x.zip"))
    terminal = at_terminal("simcourier.cli:main", "simcourier", *arguments, environment={"TERM": "xterm"})
    terminal.read_until(lambda: False)
    code, told = terminal.end()

    assert code == 0, terminal.shown
    assert re.search(r"\d+ MB of 4\.3 GB, \d+(\.\d)? [MG]B/s, \d+ s left", terminal.shown), terminal.shown
    assert terminal.shown.endswith("\r\x1b[K")
    assert str(tmp_path / "x.zip") in told


def test_it_needs_neither_django_nor_pydantic(results: Path, tmp_path: Path) -> None:
    refuse = "import sys; sys.modules.update(dict.fromkeys(['django', 'pydantic', 'pika', 'structlog', 'requests']))"
    code = f"{refuse}; from simcourier.cli import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", code, "pack", str(results), "-o", str(tmp_path / "x.zip")],
        cwd=ROOT, env=environ(), capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")


def test_names_that_are_not_utf_8_are_told(results: Path, tmp_path: Path) -> None:
    folder = results.rename(tmp_path / os.fsdecode(b"r\xffs"))
    (folder / os.fsdecode(b"b\xff.sca")).touch()
    target = tmp_path / os.fsdecode(b"x\xff.zip")

    done = pack(folder, "-o", target)

    assert (done.returncode, done.stderr) == (0, "")
    assert names(target) == ["a.sca", "sub/b ä.vec", "MANIFEST.sha256"]
    assert "the name is not UTF-8" in done.stdout


def test_names_cannot_steer_the_terminal(results: Path, tmp_path: Path) -> None:
    (results / "\x1b[2J").symlink_to("/etc/passwd")

    done = pack(results, "-o", tmp_path / "x.zip")

    assert "\x1b" not in done.stdout
    assert "\\x1b[2J: a link that leads out" in done.stdout


# Large ones


def peak_mib(*arguments: object) -> float:
    """Peak memory of a whole `simcourier pack`."""
    code = (
        "import atexit, re, sys; from pathlib import Path\n"
        "atexit.register(lambda: print(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1],"
        " file=sys.stderr))\n"
        "from simcourier.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "pack", *map(str, arguments)],
        cwd=ROOT, env=environ(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-1]) / 1024


@pytest.mark.full
@pytest.mark.parametrize("compression", ["fast", "small"])
def test_gigabytes_take_little_memory(tmp_path: Path, compression: str) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    text = b"".join(b"%d\t%d.%06d\n" % (n, n // 9, n * 7919 % 1_000_000) for n in range(200_000))
    noise = random.Random(1).randbytes(64 * MIB)
    for number in range(2):
        with (folder / f"{number}.vec").open("wb") as stream:
            for _ in range(1024 * MIB // len(text)):
                stream.write(text)
        with (folder / f"{number}.bin").open("wb") as stream:
            for _ in range(4):
                stream.write(noise)

    peak = peak_mib(folder, "-o", tmp_path / "x.zip", "--compression", compression, "--threads", 2)

    print(f"peak: {peak:.0f} MiB")
    assert peak < 64


@pytest.mark.full
def test_a_hundred_thousand_files_take_little_memory(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    for number in range(100_000):
        (folder / f"General-numHosts=10,rho=0.{number:06}-#0.sca").write_bytes(b"scalar Net.queue mean %d\n" % number)

    peak = peak_mib(folder, "-o", tmp_path / "x.zip", "--threads", 2)

    print(f"peak: {peak:.0f} MiB")
    assert peak < 64
    assert len(names(tmp_path / "x.zip")) == 100_001


@pytest.mark.full
def test_a_file_of_five_gibibytes_and_one_behind_it(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    with (folder / "a.vec").open("wb") as stream:
        stream.truncate(5 * 1024 * MIB)
    (folder / "b.bin").write_bytes(random.Random(1).randbytes(64 * MIB))
    for number in range(70):
        (folder / f"c{number}.bin").hardlink_to(folder / "b.bin")

    assert pack(folder, "-o", tmp_path / "x.zip").returncode == 0

    entries = strict_zip.read(tmp_path / "x.zip")
    assert entries[0].size == 5 * 1024 * MIB
    assert entries[0].zip64
    assert entries[-1].offset > 4 * 1024 * MIB
    for program in (["unzip", "-tq"], ["7z", "t"]):
        done = subprocess.run([*program, str(tmp_path / "x.zip")], capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
