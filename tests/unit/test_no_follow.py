"""Links on the way to results, put there before, between and during the steps that look, list and open."""

from __future__ import annotations

import ctypes
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from backends.errors import TransientError
from consumer import no_follow
from consumer.collect import collect, look
from consumer.errors import Undeliverable
from consumer.formats import sqlite_file
from consumer.packing.sources import content, opened
from messaging.messages import Results

SECRET = b"what Bob wrote"
RENAME_EXCHANGE = 2


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Anna's results, beside Bob's of the same form."""
    for owner, text in (("anna", b"what Anna wrote"), ("bob", SECRET)):
        folder = tmp_path / owner / "run" / "sub"
        folder.mkdir(parents=True)
        (folder / "a.csv").write_bytes(text)
    return tmp_path / "anna" / "run"


@pytest.fixture(params=["openat2", "step by step"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to open, also where the kernel offers the shorter one."""
    if request.param == "step by step":
        monkeypatch.setattr(no_follow, "_at_once", lambda: None)
    elif no_follow._at_once() is None:
        pytest.skip("this kernel, or the sandbox around the tests, has no openat2")


def bobs(folder: Path, results: Path) -> Path:
    """The folder of Bob's that corresponds to one of Anna's."""
    return results.parents[1] / "bob" / folder.relative_to(results.parent)


def swap(folder: Path, results: Path) -> None:
    """Anna puts a link to Bob's folder into the place of hers."""
    folder.rename(folder.with_name(f"{folder.name}.away"))
    folder.symlink_to(bobs(folder, results), target_is_directory=True)


def read(results: Path, roots: tuple[str, ...] = ()) -> list[bytes]:
    """What would be packed, and what a summary would be made of."""
    found = []
    for file in look(results, roots=roots).files:
        found.append(content(file))
        with opened(file) as stream:
            found.append(stream.read())
    return found


@pytest.mark.usefixtures("way")
def test_a_path_without_links_is_opened_however_long_it_is(tmp_path: Path) -> None:
    deep = tmp_path
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=here)
        further = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here, deep = further, deep / ("d" * 200)
    with os.fdopen(os.open("x", os.O_WRONLY | os.O_CREAT, dir_fd=here), "w") as stream:
        stream.write("here")
    os.close(here)

    with os.fdopen(no_follow.open_file(f"{deep}/x")) as stream:
        assert stream.read() == "here"
    assert no_follow.status(f"{deep}/x").st_size == 4


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("linked", ["run", "run/sub", "run/sub/a.csv"])
def test_a_link_anywhere_on_the_way_is_not_followed(results: Path, linked: str) -> None:
    place = results.parent / linked
    target = bobs(place, results)
    place.rename(place.with_name("away"))
    place.symlink_to(target)

    for open_one in (no_follow.open_file, no_follow.open_folder):
        with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
            open_one(str(results / "sub" / "a.csv"))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("part", ["", "sub"])
def test_a_folder_swapped_for_a_link_between_look_and_open_gives_nothing(results: Path, part: str) -> None:
    snapshot = look(results)

    swap(results / part, results)

    with pytest.raises(TransientError, match=r"(became a link|vanished) while it was read"):
        content(snapshot.files[0])


@pytest.mark.usefixtures("way")
def test_a_folder_swapped_for_a_link_just_before_it_is_listed_is_left_out(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (results / "own.csv").write_bytes(b"own")
    open_folder = no_follow.open_folder

    def late(path: str) -> int:
        if path.endswith("/sub"):
            swap(results / "sub", results)
        return open_folder(path)

    monkeypatch.setattr(no_follow, "open_folder", late)
    snapshot = look(results)

    assert [file.name for file in snapshot.files] == ["own.csv"]
    assert [told.partition(" (")[0] for told in snapshot.left_out] == ["sub/: the folder cannot be read"]


@pytest.mark.usefixtures("way")
def test_the_results_folder_itself_swapped_after_it_was_found_inside_its_root_is_refused(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_folder = no_follow.open_folder

    def late(path: str) -> int:
        swap(results, results)
        return open_folder(path)

    monkeypatch.setattr(no_follow, "open_folder", late)
    with pytest.raises(Undeliverable, match="the folder cannot be read"):
        collect(Results(location=results.as_uri()), [str(results.parent)])


@pytest.mark.usefixtures("way")
def test_a_link_whose_target_is_swapped_once_it_was_found_harmless_is_left_out(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (results / "link").symlink_to("sub/a.csv")
    status = no_follow.status

    def late(path: str) -> os.stat_result:
        swap(results / "sub", results)
        return status(path)

    monkeypatch.setattr(no_follow, "status", late)

    with pytest.raises(Undeliverable, match="link: cannot be read"):
        look(results)


@contextmanager
def swapping(folder: Path, results: Path) -> Iterator[None]:
    """As fast as the machine can: now Anna's folder, now a link to Bob's, without a moment between."""
    link = folder.with_name(".swap")
    link.symlink_to(bobs(folder, results), target_is_directory=True)
    exchange = ctypes.CDLL(None, use_errno=True).renameat2
    ended = threading.Event()

    def swap_on() -> None:
        while not ended.is_set():
            assert exchange(-100, os.fsencode(folder), -100, os.fsencode(link), RENAME_EXCHANGE) == 0

    thread = threading.Thread(target=swap_on)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.usefixtures("way")
def test_a_folder_that_is_swapped_for_a_link_all_the_time_never_gives_what_lies_behind_it(results: Path) -> None:
    seen: list[bytes] = []
    with swapping(results / "sub", results):
        for _ in range(400):
            with suppress(TransientError, Undeliverable):
                seen += read(results)

    assert seen, "Anna's own file was never read: the race was not one"
    assert SECRET not in seen


def test_a_database_that_is_swapped_while_it_is_opened_a_second_time_is_not_read(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner in (results, bobs(results, results)):
        with closing(sqlite3.connect(owner / "sub" / "a.sca")) as database:
            database.execute(f"CREATE TABLE of_{owner.parent.name} (value)")
            database.commit()
    connected: Callable[[str], sqlite3.Connection] = sqlite_file._connected

    def late(uri: str) -> sqlite3.Connection:
        if "/fd/" not in uri:
            return connected(uri)
        swap(results / "sub", results)
        # As if SQLite had just read the name that the descriptor leads to.
        return connected(f"file:{results / 'sub' / 'a.sca'}?mode=ro&immutable=1")

    monkeypatch.setattr(sqlite_file, "_connected", late)
    with (results / "sub" / "a.sca").open("rb") as stream, sqlite_file.opened(stream) as found:
        assert list(found.database.tables()) == ["of_anna"]
