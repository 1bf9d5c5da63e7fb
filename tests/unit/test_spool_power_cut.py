"""What of a spooled event is on the disk when the power fails, at any moment.

The disk of these tests loses whatever was not synced: a file's bytes that were written since its last fsync, and a
name that was made, moved or removed since the last fsync of its folder. It is told each step by the calls themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from messaging.engine import Outgoing
from messaging.messages import SimulationCompleted, parse_event
from producer.flush import flush
from producer.spool import Spool
from tests.support.events import event


class Disk:
    """Follows what the program asks of the file system below ``root``."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.steps: list[str] = []
        self.left: list[dict[str, bytes]] = []
        self._bytes: dict[int, bytes] = {}  # by inode, as synced
        self._names: dict[Path, dict[str, int]] = {root: {}}  # by folder, as synced
        for name in ("fsync", "rename", "unlink", "mkdir"):
            monkeypatch.setattr(os, name, self._followed(name, getattr(os, name)))

    def _followed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def followed(*arguments: Any, **more: Any) -> Any:
            answer = call(*arguments, **more)
            if name == "fsync":
                self._synced(Path(f"/proc/self/fd/{arguments[0]}").readlink())
            self.steps.append(name)
            self.left.append(self.after_a_cut())
            return answer

        return followed

    def _synced(self, path: Path) -> None:
        if path.is_dir():
            self._names[path] = {one.name: one.stat().st_ino for one in path.iterdir()}
        else:
            self._bytes[path.stat().st_ino] = path.read_bytes()

    def after_a_cut(self) -> dict[str, bytes]:
        """The files that somebody finds after the power came back, by their names in the root's subfolders."""
        found: dict[str, bytes] = {}
        folders = [self.root]
        for folder in folders:
            for name, inode in self._names.get(folder, {}).items():
                if (folder / name).is_dir():
                    folders.append(folder / name)
                else:
                    found[name] = self._bytes.get(inode, b"")
        return found


def whole_events(found: dict[str, bytes]) -> list[SimulationCompleted]:
    """Those that a flush would send; a name that is seen with half of its bytes is no event but a broken promise."""
    return [parse_event(body) for name, body in found.items() if not name.startswith(".")]


def test_an_event_is_on_the_disk_before_its_publisher_is_told_and_is_never_seen_in_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "data" / "spool")
    disk = Disk(tmp_path, monkeypatch)

    first, second = event(title="first"), event(title="second")
    spool.put(first)
    assert whole_events(disk.after_a_cut()) == [first]
    spool.put(second)
    assert sorted(one.data.title for one in whole_events(disk.after_a_cut())) == ["first", "second"]

    for found in disk.left:  # after each single step
        assert all(one in (first, second) for one in whole_events(found))


def test_an_event_leaves_the_disk_only_after_the_broker_has_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "data" / "spool")
    disk = Disk(tmp_path, monkeypatch)
    one = event()
    spool.put(one)
    steps = len(disk.steps)

    def send(message: Outgoing) -> None:
        assert message.body == one.to_bytes()
        assert disk.steps[steps:] == [], "nothing was removed yet"
        assert whole_events(disk.after_a_cut()) == [one]

    assert flush(spool, send).sent == [one.id]

    assert disk.steps[steps:] == ["unlink"]


def test_an_event_that_a_power_cut_brings_back_is_sent_again_under_its_old_id(tmp_path: Path) -> None:
    """The folder is not synced after an event was removed."""
    spool = Spool(tmp_path / "spool")
    entry = spool.put(event())
    body = entry.path.read_bytes()
    sent: list[Outgoing] = []
    flush(spool, sent.append)
    entry.path.write_bytes(body)

    flush(spool, sent.append)

    assert [message.message_id for message in sent] == [str(entry.event_id)] * 2
    assert sent[0].body == sent[1].body
