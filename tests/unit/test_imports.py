"""The directions of imports between the folders, and what a bare simulator host must not need."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.python import environment

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("messaging", "producer", "backends", "consumer", "ledger", "local_cloud", "simcourier")

# Which modules of ours a folder may import: a folder means all of it.
ALLOWED = {
    "messaging": (),
    "producer": ("messaging",),
    "backends": (),
    "consumer": ("messaging", "backends", "ledger.api"),
    "ledger": ("messaging", "backends"),
    "local_cloud": (),
    "simcourier": FOLDERS,
}
# What a folder's command-line module may import besides: settings, logs, the front door's way of speaking; and for the
# consumer, what must happen before the ledger's one module can be imported.
ALLOWED_TO_COMMANDS = {
    "backends": ("messaging",),
    "local_cloud": ("messaging",),
    "consumer": ("ledger.setup", "ledger.prepare", "ledger.prepare_in_time", "ledger.make_data_dir"),
}
# What a plugin, one file of backends/, may import of ours: the contract, the errors with their default for HTTP, and
# what the service's own answers mean, where that is long enough for a file of its own.
ALLOWED_TO_PLUGINS = ("backends.contract", "backends.errors", "backends.http")
# What the front door may import before a command runs; the rest comes inside functions.
ALLOWED_AT_ONCE_TO_THE_FACE = {
    "simcourier": ("messaging", "simcourier"),
    "simcourier.plugins": ("backends.contract", "backends.errors"),
    "simcourier.formats": ("consumer.formats.contract",),
}
# Third-party packages that a simulator host lacks.
HEAVY = ("django", "requests", "aiohttp", "jinja2", "cryptography", "psycopg", "gunicorn", "dropbox")


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST, module: str) -> Iterator[str]:
    """Full names that are imported anywhere below ``tree``; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = node.module or ""
            if node.level:
                stem = ".".join([*module.split(".")[: -node.level], *filter(None, [stem])])
            yield from (f"{stem}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and named_import(node):
            yield named_import(node)


def named_import(call: ast.Call) -> str:
    """The module in ``import_module("...")``, where it is written out."""
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    first = call.args[0] if call.args else None
    if function == "import_module" and isinstance(first, ast.Constant) and isinstance(first.value, str):
        return first.value
    return ""


def at_once(tree: ast.Module) -> ast.Module:
    """The part that runs when the module is imported: no functions, nothing for type checkers only."""

    class Cut(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            del node

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            del node

        def visit_If(self, node: ast.If) -> ast.AST:
            if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                return ast.Pass()
            self.generic_visit(node)
            return node

    cut = Cut().visit(tree)
    assert isinstance(cut, ast.Module)
    return cut


def within(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in allowed)


def wrong_directions(file: Path, source: str) -> list[str]:
    folder, module = file.relative_to(ROOT).parts[0], name_of(file)
    allowed = (folder, *ALLOWED[folder])
    if file.name == "commands.py":
        allowed += ALLOWED_TO_COMMANDS.get(folder, ())
    return [
        f"{module} imports {name}"
        for name in imports(ast.parse(source), module)
        if within(name, FOLDERS) and not within(name, allowed)
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_only_what_the_design_allows(folder: str) -> None:
    found = [line for file in modules(folder) for line in wrong_directions(file, file.read_text("utf-8"))]

    assert modules(folder)
    assert found == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("messaging/new.py", "import producer"),
        ("producer/new.py", "def f():\n    from ledger.models import Delivery"),
        ("consumer/new.py", "from ledger.models import Delivery"),
        ("consumer/new.py", "from ledger import models"),
        ("consumer/deep/new.py", "from ...ledger import models"),
        ("backends/new.py", "from messaging.settings import Settings"),
        ("local_cloud/new.py", "from messaging.logs import configure"),
        ("ledger/new.py", "from importlib import import_module\nimport_module('consumer.loop')"),
    ],
)
def test_a_wrong_direction_is_found(file: str, source: str) -> None:
    assert wrong_directions(ROOT / file, source)


def test_the_consumer_may_use_the_one_module_of_the_ledger() -> None:
    assert wrong_directions(ROOT / "consumer" / "new.py", "from ledger import api\nfrom ledger.api import claim") == []


def test_a_plugin_imports_only_the_contract_and_what_maps_answers_to_errors() -> None:
    found = []
    for file in modules("backends"):
        tree = ast.parse(file.read_text("utf-8"))
        if not any(isinstance(node, ast.ClassDef) and is_plugin(node) for node in tree.body):
            continue
        found += [
            f"{name_of(file)} imports {name}"
            for name in imports(tree, name_of(file))
            if within(name, FOLDERS) and not within(name, (*ALLOWED_TO_PLUGINS, f"{name_of(file)}_errors"))
        ]

    assert found == []


def is_plugin(node: ast.ClassDef) -> bool:
    return any("Backend" in ast.unparse(base).split("[")[0].rsplit(".", 1)[-1] for base in node.bases)


def test_the_front_door_imports_a_folder_only_when_its_command_runs() -> None:
    found = []
    for name, allowed in (
        ("cli", "simcourier"),
        ("__init__", "simcourier"),
        ("plugins", "simcourier.plugins"),
        ("formats", "simcourier.formats"),
    ):
        tree = at_once(ast.parse((ROOT / "simcourier" / f"{name}.py").read_text("utf-8")))
        found += [
            f"simcourier.{name} imports {module}"
            for module in imports(tree, f"simcourier.{name}")
            if within(module, FOLDERS) and not within(module, ALLOWED_AT_ONCE_TO_THE_FACE[allowed])
        ]

    assert found == []


def test_only_the_shipped_contract_suite_imports_pytest() -> None:
    found = [
        name_of(file)
        for folder in FOLDERS
        for file in modules(folder)
        if any(
            within(name, ("pytest", "_pytest", "tests"))
            for name in imports(ast.parse(file.read_text("utf-8")), name_of(file))
        )
    ]

    assert [name for name in found if name != "backends.suite"] == []


@pytest.mark.parametrize(
    "code",
    [
        "import simcourier; simcourier.publish; simcourier.Producer",
        "import messaging.settings, messaging.connect, messaging.logs, messaging.commands",
        "import producer.commands",
        "from simcourier.cli import main; main(['--help'], standalone_mode=False)",
        "from simcourier.cli import main; main(['schema'], standalone_mode=False)",
        "from simcourier.cli import main; main(['publish', '--help'], standalone_mode=False)",
    ],
)
def test_a_simulator_host_needs_none_of_the_workers_dependencies(code: str) -> None:
    """The heavy packages cannot be imported in this process, as on a host that lacks them."""
    refuse = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}))"

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{refuse}\n{code}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.stderr == ""
    assert done.returncode == 0


def test_an_email_sender_loads_nothing_that_reads_results(tmp_path: Path) -> None:
    program = """
import os, sys
from ledger.site import prepare
from messaging.settings import load
prepare(load({"SIMCOURIER_DATA_DIR": os.getcwd()}), "test")
import consumer.email_program
print(sorted({"numpy", "isal", "zlib_ng", "PIL"} & set(sys.modules)))
"""

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )

    assert (done.stderr, done.stdout) == ("", "[]\n")
