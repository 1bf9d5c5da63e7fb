"""The Dropbox plugin, with the SDK in this process pointed at a stand-in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest

import backends
from tests.standins.dropbox.client import DropboxStandin

OURS = ("backends.dropbox", "backends.dropbox_errors")


def _is_sdk(name: str) -> bool:
    return name in OURS or name.partition(".")[0] == "dropbox"


@contextmanager
def plugin_at(standin: DropboxStandin) -> Iterator[Any]:
    """The plugin's class, from a fresh import: the SDK reads its hosts when it is imported, and never again."""
    before = {name: module for name, module in sys.modules.items() if _is_sdk(name)}
    attribute = getattr(backends, "dropbox", None)
    for name in before:
        del sys.modules[name]
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in standin.environment.items():
                if name.startswith("DROPBOX_"):
                    patch.setenv(name, value)
            module = import_module("backends.dropbox")
        yield module.Dropbox
    finally:
        for name in [name for name in sys.modules if _is_sdk(name)]:
            del sys.modules[name]
        sys.modules.update(before)
        if attribute is not None:
            setattr(backends, "dropbox", attribute)  # noqa: B010 - imported or not, as far as mypy knows
