"""What we let others put into our processes: bytes that become objects, and packages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("backends", "consumer", "ledger", "local_cloud", "messaging", "producer", "simcourier")
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
LOCKS = ("all.lock", "dev.lock")
# What turns bytes into objects or code; yaml alone has a safe way, and nothing here needs it.
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "jsonpickle",
           "code", "codeop", "imp", "xmlrpc", "telnetlib"}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__"}
METHODS = {"literal_eval", "read_pickle", "loads_pickle", "system", "popen", "getoutput", "getstatusoutput", "mktemp"}


def objections(source: str) -> list[str]:
    """What of the list a module uses."""
    return list(_objections(ast.parse(source)))


def _objections(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (f"import {one.name}" for one in names if one.name.partition(".")[0] in MODULES)
            case ast.ImportFrom(module=str(module), names=names):
                if module.partition(".")[0] in MODULES:
                    yield f"from {module}"
                yield from (f"from {module} import {one.name}" for one in names if one.name in METHODS)
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                yield f"{name}()"
            case ast.Call(func=ast.Attribute(attr=name), keywords=keywords):
                if name in METHODS:
                    yield f".{name}()"
                yield from _keywords(name, keywords)


def _keywords(name: str, keywords: list[ast.keyword]) -> Iterator[str]:
    for one in keywords:
        value = getattr(one.value, "value", None)
        if one.arg == "shell" and value is not False:
            yield f".{name}(shell=...)"
        if one.arg == "allow_pickle" and value is not False:
            yield f".{name}(allow_pickle=...)"
        if one.arg == "verify" and value is False:
            yield f".{name}(verify=False)"


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from yaml import load", "x = eval('1')", "exec('1')", "import ast\nast.literal_eval(x)",
     "import os\nos.system('ls')", "subprocess.run(x, shell=True)", "np.load(x, allow_pickle=True)",
     "requests.get(x, verify=False)", "import marshal"],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert objections(source)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_bytes_of_others_become_objects_as_json_only(file: Path) -> None:
    assert objections(file.read_text("utf-8")) == []


def locked(name: str) -> set[tuple[str, str]]:
    """Packages of a lock with their versions; one may have several, for several versions of Python."""
    text = (ROOT / "requirements" / name).read_text("utf-8")
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE)
    return {(_plain(package), version) for package, version in found}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_has_one_version_and_hashes(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]

    assert lines
    assert [
        line[:60] for line in lines if not re.match(r"^[A-Za-z0-9._-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)
    ] == []
    assert "://" not in "".join(line.partition("--hash")[0] for line in lines)


def test_what_is_installed_is_what_is_locked() -> None:
    """But for ourselves and what the virtual environment comes with."""
    installed = {(_plain(one.metadata["Name"]), one.version) for one in distributions() if one.metadata["Name"]}
    ours = {"simcourier", "pip", "setuptools", "wheel"}

    assert [one for one in installed - locked("dev.lock") if one[0] not in ours] == []


def test_the_lock_of_an_installation_is_a_part_of_the_one_that_was_tested() -> None:
    assert locked("all.lock") <= locked("dev.lock")


def test_installations_by_our_files_ask_for_hashes() -> None:
    for file, order in (
        ("Dockerfile", "install"),
        ("docs/operating.md", "install"),
        ("scripts/lib/prepare.sh", "pip -r"),
    ):
        orders = [line for line in (ROOT / file).read_text("utf-8").splitlines() if order in line and "lock" in line]
        assert orders, file
        assert [line for line in orders if "--require-hashes" not in line] == []
