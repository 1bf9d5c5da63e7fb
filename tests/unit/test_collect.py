"""Which files are meant, and which are refused."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from consumer.collect import collect, locate
from consumer.errors import NotNow, Undeliverable
from consumer.no_follow import without_links
from messaging.messages import Results


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.sca").write_text("a")
    (folder / "sub" / "b ä.vec").write_text("b")
    return folder


def of(folder: Path, **patterns: tuple[str, ...]) -> Results:
    return Results.model_validate({"location": folder.as_uri(), **patterns})


def names(folder: Path, roots: tuple[str, ...] = (), **patterns: tuple[str, ...]) -> list[str]:
    return [file.name for file in collect(of(folder, **patterns), roots).files]


def test_every_file_is_collected_under_its_name(results: Path) -> None:
    assert names(results) == ["a.sca", "sub/b ä.vec"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ({"include": ("*.vec",)}, ["sub/b ä.vec"]),
        ({"exclude": ("*.vec",)}, ["a.sca"]),
        ({"include": ("sub/*",)}, ["sub/b ä.vec"]),
        ({"include": ("*.sca", "*.vec"), "exclude": ("sub/*",)}, ["a.sca"]),
    ],
)
def test_patterns_choose(results: Path, patterns: dict[str, tuple[str, ...]], expected: list[str]) -> None:
    assert names(results, **patterns) == expected


def test_a_link_inside_is_followed_and_one_that_leads_out_is_refused_and_told(results: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (results / "out").symlink_to(tmp_path / "secret")
    (results / "in").symlink_to("a.sca")
    (results / "circle").symlink_to("circle")
    (results / "folder").symlink_to(tmp_path, target_is_directory=True)

    snapshot = collect(of(results), ())

    assert [file.name for file in snapshot.files] == ["a.sca", "in", "sub/b ä.vec"]
    assert [entry.partition(":")[0] for entry in snapshot.left_out] == ["circle", "folder", "out"]
    assert "leads out" in snapshot.left_out[2]


def test_a_link_into_another_root_is_followed(results: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("x")
    (results / "x").symlink_to(tmp_path / "other" / "x")

    assert "x" in names(results, roots=(str(tmp_path),))
    assert "x" not in names(results, roots=(str(results),))


def test_devices_pipes_and_sockets_are_refused_without_waiting_for_them(results: Path) -> None:
    os.mkfifo(results / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(results / "socket"))
    (results / "device").symlink_to("/dev/zero")

    snapshot = collect(of(results), ())

    assert [file.name for file in snapshot.files] == ["a.sca", "sub/b ä.vec"]
    assert len(snapshot.left_out) == 3


def test_a_folder_outside_the_roots_is_refused(results: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(Undeliverable, match="outside"):
        collect(of(results), (str(tmp_path / "root"),))


def test_a_link_that_leads_out_of_the_root_is_refused(results: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "run").symlink_to(results, target_is_directory=True)

    with pytest.raises(Undeliverable, match="outside"):
        collect(of(root / "run"), (str(root),))


@pytest.mark.parametrize("to", ["bob/results", "."])
def test_a_root_that_its_owner_has_replaced_by_a_link_reaches_nothing(
    to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With roots such as /home/{user}/results everybody owns the folder in which their root lies."""
    for folder in ("anna", "bob/results/run"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bob" / "results" / "run" / "secret.sca").write_text("what Bob wrote")
    (tmp_path / "anna" / "results").symlink_to(tmp_path / to, target_is_directory=True)
    asked = tmp_path / "anna" / "results" / Path("bob/results/run").relative_to(to if to != "." else "")
    root = (str(tmp_path / "anna" / "results"),)
    assert names(asked, root) == ["secret.sca"], "a link of root or of the worker's own user is the operator's"

    owner = os.lstat(tmp_path / "anna" / "results").st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    if owner == 0:
        os.lchown(tmp_path / "anna" / "results", 12345, 12345)

    with pytest.raises(Undeliverable, match=r"is below a link, .*/anna/results, of somebody"):
        collect(of(asked), root)


def test_a_root_that_the_worker_may_not_reach_is_in_nobody_elses_way(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    lstat = os.lstat

    def guarded(path: str | Path) -> os.stat_result:
        if Path(path).is_relative_to(closed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return lstat(path)

    monkeypatch.setattr("consumer.no_follow.os.lstat", guarded)
    (tmp_path / "elsewhere").mkdir()

    assert locate(results.as_uri(), (str(closed / "root"), str(results))) == results.resolve()
    with pytest.raises(Undeliverable, match="outside"):
        locate(results.as_uri(), (str(closed / "root"), str(tmp_path / "elsewhere")))


def test_links_on_the_way_to_a_root_are_followed_as_the_system_does(results: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "two").symlink_to("../three")
    (tmp_path / "three").symlink_to(tmp_path / "one" / ".." / "results" / "..")
    (tmp_path / "round").symlink_to("round")

    assert without_links(tmp_path / "one" / "two" / "results" / "sub") == (results / "sub").resolve()
    assert without_links(tmp_path / "not" / "there") == tmp_path.resolve() / "not" / "there"
    assert without_links(Path("/")) == Path("/")
    with pytest.raises(OSError, match="Too many levels"):
        without_links(tmp_path / "round" / "x")


@pytest.mark.parametrize("location", ["file:///a/../etc", "file://elsewhere/a", "s3://bucket/a", "file:relative"])
def test_odd_locations_are_refused(location: str) -> None:
    with pytest.raises(Undeliverable):
        locate(location, ())


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///tmp/%00x", "%00, which no name can hold"),
        ("sftp://host.example.org/results/%00x", "%00, which no name can hold"),
        (f"file:///tmp/{'x' * 300}", "(File name too long)"),
        ("file://[::1/x", "no address that can be read"),
        ("sftp://host.example.org:99999/x", "no address that can be read"),
    ],
)
def test_a_name_that_no_folder_can_have_is_told_at_once(location: str, reason: str) -> None:
    with pytest.raises(Undeliverable) as told:
        collect(Results(location=location), ())

    assert reason in str(told.value)
    assert "\0" not in str(told.value)


def test_a_missing_folder_a_file_and_an_empty_folder_are_told_apart(results: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, told in [
        (tmp_path / "none", "does not exist"),
        (results / "a.sca", "is not a folder"),
        (tmp_path / "empty", "holds no file"),
    ]:
        with pytest.raises(Undeliverable, match=told):
            collect(of(folder), ())


def test_where_nothing_can_be_packed_the_reason_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).symlink_to("/nowhere")

    with pytest.raises(Undeliverable, match=r"holds no file that can be read: a: .*And 1 more\.$"):
        collect(of(folder), ())


def test_a_root_that_this_worker_cannot_see_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(NotNow, match="not visible"):
        collect(of(tmp_path / "unmounted" / "run"), (str(tmp_path / "unmounted"),))


def test_a_location_with_spaces_and_percent_signs_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "run #1 50% ä"
    folder.mkdir()
    (folder / "x").write_text("x")

    assert names(folder) == ["x"]


def test_an_empty_mount_point_is_waited_for_and_a_missing_folder_in_a_mounted_root_is_told(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(NotNow, match="not visible"):
        collect(of(root / "run"), (str(root),))

    (root / "other").mkdir()
    with pytest.raises(Undeliverable, match="does not exist"):
        collect(of(root / "run"), (str(root),))


def test_a_file_system_that_fails_is_tried_again_rather_than_left_out(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("consumer.collect.os.scandir", fails)

    with pytest.raises(OSError, match="Input/output"):
        collect(of(results), ())
