"""Every block of commands in the pages is typed by a test, or named here with the reason why none does.

``blocks(page, heading)`` of `tests.support.pages` takes a block as it stands in the page. Its calls are read here: what
they are unpacked into says which blocks below a heading are typed; one in a name that begins with ``_`` is not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.installation import ROOT
from tests.support.pages import blocks, every_block, headings, only_settings

PAGES = [
    str(page.relative_to(ROOT))
    for page in sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
    if page != ROOT / "docs" / "commands.md"  # written from the commands themselves
]
MEASUREMENTS = "docs/benchmarks.md"  # minutes of both processors each; how they are called is looked at below

# A block that no test types, by its page, heading and first line, and why.
NOT_TYPED: dict[tuple[str, str, str], str] = {
    ("CONTRIBUTING.md", "Set up, run, test", "scripts/demo"):
        "These are the tests themselves; `scripts/demo` is typed from README.",
    ("CONTRIBUTING.md", "Set up, run, test", ".venv/bin/simcourier up"):
        "These are the tests themselves; `up` is typed from README.",
    ("CONTRIBUTING.md", "Set up, run, test",
     "SIMCOURIER_TEST_SCREENSHOTS=/tmp/screenshots .venv/bin/pytest --full tests/e2e/test_walk_browser.py"):
        "It is one of the tests.",
    ("docs/cluster.md", "Shown by", ".venv/bin/pytest --full -s tests/e2e/test_cluster.py"):
        "It is one of the tests.",
    ("docs/security.md", "Packages", "scripts/audit"):
        "It needs the advisories, which are elsewhere on the internet.",
}  # fmt: skip

# What is left out of a block that a test types, likewise, and why.
LEFT_OUT: dict[tuple[str, str, str], str] = {
    ("README.md", "Two commands", "scripts/demo"):
        "`scripts/test` is the tests themselves.",
    ("docs/local_cloud.md", "Set it up",
     "useradd --system --home-dir /srv/results --shell /usr/sbin/nologin simcourier"):
        "`useradd`, `chown` and `sudo -u` would change the machine: the server runs as whoever tests.",
    ("docs/local_cloud.md", "What is logged", "journalctl -u simcourier-local-cloud -o cat | grep '\"audit\\.'"):
        "`journalctl` needs systemd: the lines come from a file.",
    ("docs/operating.md", "With containers", "deploy/make-secrets"):
        "Docker's engine does not run where the tests run: tests/support/deployment.py starts what compose.yaml says. "
        "The account is made with the lines for systemd.",
    ("docs/operating.md", "With systemd", "systemctl enable --now simcourier-worker@1 simcourier-worker@2"):
        "`systemctl` needs systemd as the machine's init: tests/support/deployment.py starts what the units say.",
    ("docs/operating.md", "With systemd", "python3 -m venv /opt/simcourier"):
        "`useradd` would change the machine, `systemctl` needs systemd as its init.",
    ("docs/operating.md", "Simulators' hosts", "mkdir -p ~/.config/systemd/user"):
        "`systemctl` and `loginctl` need systemd.",
}  # fmt: skip


def first_line(block: str) -> str:
    return block.strip().splitlines()[0].partition("#")[0].strip()


def shown() -> Iterator[tuple[str, str, int, str]]:
    """Page, heading, number below the heading, and first line, of each block of commands."""
    for page in PAGES:
        for heading in headings(page):
            for number, block in enumerate(blocks(page, heading)):
                if not only_settings(block) and page != MEASUREMENTS:
                    yield page, heading, number, first_line(block)


@cache
def typed() -> set[tuple[str, str, int]]:
    """Page, heading and number of each block that a test takes."""
    found = set()
    for file in sorted((ROOT / "tests").rglob("*.py")):
        text = file.read_text("utf-8")
        if "support.pages import" in text and file != Path(__file__):
            found |= taken_by(ast.parse(text), str(file.relative_to(ROOT)))
    return found


def taken_by(module: ast.Module, name: str) -> set[tuple[str, str, int]]:
    texts = {
        target.id: node.value.value
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    targets = {
        id(node.value): node.targets[0].elts
        for node in ast.walk(module)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)
    }
    found = set()
    for call in ast.walk(module):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            continue
        if call.func.id not in {"blocks", "every_block"}:
            continue
        words = [texts.get(word.id) if isinstance(word, ast.Name) else _text(word) for word in call.args]
        assert None not in words, f"{name}, line {call.lineno}: write page and heading out"
        page, *rest = [str(word) for word in words]
        if call.func.id == "every_block":
            found |= {(page, heading, number) for heading in headings(page) for number in _numbers(page, heading)}
        elif rest[1:] in ([], ["sh"]):
            names = targets.get(id(call))
            found |= {(page, rest[0], number) for number in used(names, len(_numbers(page, rest[0])))}
    return found


def _text(word: ast.expr) -> str | None:
    return word.value if isinstance(word, ast.Constant) and isinstance(word.value, str) else None


def _numbers(page: str, heading: str) -> range:
    return range(len(blocks(page, heading)))


def used(names: list[ast.expr] | None, count: int) -> set[int]:
    """The numbers of the blocks that go into a name; without names all are used."""
    if names is None:
        return set(range(count))
    kept = set()
    number = 0
    for name in names:
        starred = isinstance(name, ast.Starred)
        width = count - len(names) + 1 if starred else 1
        inner = name.value if isinstance(name, ast.Starred) else name
        assert isinstance(inner, ast.Name)
        if not inner.id.startswith("_"):
            kept |= set(range(number, number + width))
        number += width
    return kept


def test_every_block_of_commands_is_typed_by_a_test_or_named_with_the_reason_why_not() -> None:
    taken = typed()

    missing = [
        f"{page}, below {heading!r}: no test types the block that begins {line!r}. Let one type it, with "
        f"blocks({page!r}, {heading!r}), as tests/e2e/test_pages.py does; where none can, name it in NOT_TYPED here, "
        "with the reason."
        for page, heading, number, line in shown()
        if (page, heading, number) not in taken and (page, heading, line) not in NOT_TYPED
    ]
    assert not missing, "\n".join(missing)


def test_every_reason_is_of_a_block_that_no_test_types_and_every_omission_of_one_that_a_test_types() -> None:
    taken = typed()
    missing = {(page, heading, line) for page, heading, number, line in shown() if (page, heading, number) not in taken}
    there = {(page, heading, line) for page, heading, number, line in shown() if (page, heading, number) in taken}

    assert set(NOT_TYPED) - missing == set()
    assert set(LEFT_OUT) - there == set()
    assert all(reason.endswith(".") for reason in [*NOT_TYPED.values(), *LEFT_OUT.values()])


def test_a_name_that_begins_with_an_underline_takes_no_block() -> None:
    source = """
GUIDE = "docs/operating.md"
backup, *_ = blocks(GUIDE, "Backup and restore")
_doctor, drill = blocks(GUIDE, "What is missing")
"""

    assert taken_by(ast.parse(source), "here") == {
        ("docs/operating.md", "Backup and restore", 0),
        ("docs/operating.md", "What is missing", 1),
    }


@pytest.mark.parametrize("page", PAGES)
def test_a_block_that_says_nothing_of_itself_holds_no_commands(page: str) -> None:
    """It would not be looked at here."""
    lines = [first_line(block) for kind, block in every_block(page) if not kind]

    commands = [line for line in lines if re.match(r"[\w./-]+ .*-\w|(\.venv/bin/)?simcourier ", line)]
    assert commands == [], "let it begin with ```sh"


def measurements() -> list[str]:
    """The lines of the page on benchmarks that start one."""
    return [
        line.partition("#")[0].strip()
        for kind, block in every_block(MEASUREMENTS)
        if kind == "sh"
        for line in block.splitlines()
        if "pip install" not in line
    ]


@pytest.mark.parametrize("line", measurements())
def test_a_measurement_that_the_page_shows_is_there_with_its_options(line: str) -> None:
    python, script, *words = line.split()
    source = (ROOT / script).read_text("utf-8")

    assert python == ".venv/bin/python"
    assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == []
    assert all(f'"{word}"' in source for word in words[:1] if not word.startswith("--"))
