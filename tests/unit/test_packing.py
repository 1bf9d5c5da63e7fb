"""The packer's archives: complete, strict, the same for any number of threads, and read by everybody's programs."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import TransientError
from consumer.collect import look
from consumer.packing import space
from consumer.packing.archive import ArchiveWriter
from consumer.packing.deflate import BLOCK, COMPRESSIONS, Compression, deflate, most_bytes
from consumer.packing.manifest import free_name
from consumer.packing.names import member_name
from consumer.packing.output import Sink
from consumer.snapshot import SourceFiles
from local_cloud.zip_entry import Unpacking
from local_cloud.zip_index import Indexes
from tests.support import strict_zip
from tests.support.packing import pack

ROOT = Path(__file__).resolve().parents[2]
TEXT = b"".join(b"%d\t%d\t%d.%06d\t%d\n" % (n % 7, n, n // 9, n * 7919 % 1_000_000, n % 31) for n in range(140_000))
RANDOM = random.Random(1).randbytes(3 * BLOCK)
ODD_NAMES = [
    "-leading dash",
    "a space",
    "back\\slash",
    "line\nfeed",
    "quo\"te's",
    "sub/folder/ä ö № 💾",
    "sub.folder",
    "return\r",
    "percent%20",
    "x" * 200,
]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Files of all kinds: empty, small, of several blocks, of whole blocks, incompressible, with odd names."""
    folder = tmp_path / "results"
    for name in ODD_NAMES:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode() * 20)
    (folder / "empty").touch()
    (folder / "large.vec").write_bytes(TEXT)
    (folder / "two blocks").write_bytes(TEXT[: 2 * BLOCK])
    (folder / "one block").write_bytes(TEXT[:BLOCK])
    (folder / "random").write_bytes(RANDOM)
    (folder / "small random").write_bytes(RANDOM[:300_000])
    for number, file in enumerate(sorted(folder.rglob("*"))):
        os.utime(file, ns=(0, 1_700_000_001_234_567_890 + number * 10**9))
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def members_of(folder: Path) -> dict[str, bytes]:
    """The same by the names that they have in an archive."""
    return {member_name(name): content for name, content in files_of(folder).items()}


def test_the_example_has_large_files() -> None:
    """Or the tests below would show little."""
    assert len(TEXT) > 3 * BLOCK
    assert len(TEXT) % BLOCK


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_strict_reader_and_python_read_it(results: Path, tmp_path: Path, compression: Compression) -> None:
    written = pack(results, tmp_path / "x.zip", compression)

    entries = strict_zip.read(tmp_path / "x.zip")
    assert [entry.name for entry in entries] == sorted(members_of(results))
    assert written.members == len(entries)
    assert written.size == (tmp_path / "x.zip").stat().st_size
    assert written.sha256 == hashlib.sha256((tmp_path / "x.zip").read_bytes()).hexdigest()
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == members_of(results)


def test_our_own_pages_show_it(results: Path, tmp_path: Path) -> None:
    pack(results, tmp_path / "x.zip")

    with Indexes().open(tmp_path / "x.zip", "any") as archive:
        for name in ("large.vec", "random", "sub/folder/ä ö № 💾", "empty"):
            entry = archive.find(name, 1)
            assert entry is not None
            unpacking = Unpacking(archive.handle, entry, archive.index.directory)
            assert b"".join(iter(unpacking.read, b"")) == members_of(results)[name]


def test_a_text_is_deflated_and_what_cannot_be_compressed_is_stored(results: Path, tmp_path: Path) -> None:
    pack(results, tmp_path / "x.zip")

    methods = {entry.name: entry.method for entry in strict_zip.read(tmp_path / "x.zip")}
    assert methods["large.vec"] == methods["one block"] == 8
    assert methods["random"] == methods["small random"] == methods["empty"] == 0


def test_random_data_do_not_grow(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "random").write_bytes(RANDOM)

    written = pack(folder, tmp_path / "x.zip")

    assert written.size < len(RANDOM) + 200


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("size", [1, 65535, 65536, BLOCK])
def test_a_block_of_random_data_in_a_text_does_not_grow(compression: Compression, size: int, last: bool) -> None:
    packed = deflate(RANDOM[:size], compression, 0, last=last)

    assert sum(map(len, packed)) <= most_bytes(size)
    inflater = zlib.decompressobj(-15)
    assert inflater.decompress(b"".join(packed)) == RANDOM[:size]
    assert inflater.eof == last


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_bytes_are_the_same_for_any_number_of_threads(
    results: Path, tmp_path: Path, compression: Compression
) -> None:
    made = {pack(results, tmp_path / "x.zip", compression, threads, manifest=True) for threads in (1, 2, 3, 7)}

    assert len(made) == 1


DEFLATED = """
import hashlib, random
from consumer.packing.deflate import COMPRESSIONS, deflate
letters = random.Random(5)
for compression in COMPRESSIONS:
    for count in range(1, 400):
        data = letters.randbytes(count % 12 + 1) * (count % 40 + 1)
        for last in (True, False):
            print(hashlib.sha256(b"".join(deflate(data, compression, 0, last=last))).hexdigest())
"""


def test_the_bytes_do_not_depend_on_what_the_memory_held_before() -> None:
    """glibc fills memory with this byte before it hands it out; other C libraries do not know the variable."""
    told = {
        subprocess.run(
            [sys.executable, "-c", DEFLATED], env=os.environ | {"MALLOC_PERTURB_": fill}, cwd=ROOT, check=True,
            capture_output=True,
        ).stdout
        for fill in ("0", "1", "85", "165")
    }  # fmt: skip

    assert len(told) == 1


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(
        st.one_of(
            st.integers(0, 3000),
            st.sampled_from([BLOCK // 2, 65535, 65536]),
            st.builds(lambda blocks, more: blocks * BLOCK + more, st.integers(1, 2), st.integers(-2, 2)),
        ),
        max_size=6,
    ),
    incompressible=st.booleans(),
)
def test_any_sizes_around_the_borders_of_blocks_come_back(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], incompressible: bool
) -> None:
    folder = tmp_path_factory.mktemp("results")
    content = RANDOM if incompressible else TEXT
    for number, size in enumerate(sizes or [0]):
        (folder / f"{number}").write_bytes(content[:size])
    target = folder.with_suffix(".zip")

    made = {pack(folder, target, "fast", threads) for threads in (3, 1)}

    assert len(made) == 1
    assert [entry.size for entry in strict_zip.read(target)] == (sizes or [0])
    assert target.stat().st_size <= space.of_archive(look(folder).files)
    target.unlink()
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("seconds", "dos", "stamp"),
    [
        (0, (1980, 1, 1, 0, 0, 0), 0),
        (-86_400, (1980, 1, 1, 0, 0, 0), -86_400),
        (1_700_000_001, (2023, 11, 14, 22, 13, 20), 1_700_000_001),
        (2**31 + 7, (2038, 1, 19, 3, 14, 14), None),
        (5_000_000_000, (2107, 12, 31, 23, 59, 58), None),
    ],
)
def test_time_stamps_are_kept_as_far_as_a_zip_knows_them(
    tmp_path: Path, seconds: int, dos: tuple[int, ...], stamp: int | None
) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "a").touch()
    os.utime(folder / "a", (seconds, seconds))

    pack(folder, tmp_path / "x.zip")

    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.getinfo("a").date_time == dos
    assert [entry.mtime for entry in strict_zip.read(tmp_path / "x.zip")] == [stamp]


# Other programs


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install unzip p7zip-full)")
    return found


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_unzip_takes_out_the_same_files_with_their_time_stamps(
    results: Path, tmp_path: Path, compression: Compression
) -> None:
    unzip = program("unzip")
    pack(results, tmp_path / "x.zip", compression)

    done = subprocess.run(
        [unzip, "-q", str(tmp_path / "x.zip"), "-d", str(tmp_path / "out")],
        capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo"},
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert files_of(tmp_path / "out") == members_of(results)
    for name in files_of(results):
        assert (tmp_path / "out" / member_name(name)).stat().st_mtime == (results / name).stat().st_mtime_ns // 10**9


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_7z_takes_out_the_same_files(results: Path, tmp_path: Path, compression: Compression) -> None:
    seven = program("7z")
    pack(results, tmp_path / "x.zip", compression)

    done = subprocess.run(
        [seven, "x", "-y", f"-o{tmp_path / 'out'}", str(tmp_path / "x.zip")],
        capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert files_of(tmp_path / "out") == members_of(results)


def test_sha256sum_accepts_the_manifest_whatever_the_names(results: Path, tmp_path: Path) -> None:
    pack(results, tmp_path / "x.zip", manifest=True)
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.namelist()[-1] == "MANIFEST.sha256"
        archive.extractall(tmp_path / "out")

    done = subprocess.run(
        [program("sha256sum"), "--check", "--strict", "MANIFEST.sha256"],
        cwd=tmp_path / "out", capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": OK\n") == len(files_of(results))


def test_a_manifest_among_the_results_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "manifest.SHA256").write_text("mine")

    pack(folder, tmp_path / "x.zip", manifest=True)

    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.namelist() == ["manifest.SHA256", "MANIFEST-2.sha256"]
        assert archive.read("manifest.SHA256") == b"mine"
    assert free_name("INFO.txt", ["info.txt", "INFO-2.TXT"]) == "INFO-3.txt"


# Large ones


def test_more_members_than_a_zip_without_zip64_may_have(tmp_path: Path) -> None:
    count = 65_600
    with (tmp_path / "x.zip").open("wb") as sink, ArchiveWriter(sink) as writer:
        for number in range(count):
            writer.add_chunks(f"{number:06}", [b"%d" % number], 10**18)
        written = writer.close()

    assert written.members == count == len(strict_zip.read(tmp_path / "x.zip"))
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.read("065599") == b"65599"
    done = subprocess.run([program("unzip"), "-tq", str(tmp_path / "x.zip")], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# Members that are made


def test_members_that_are_made_come_after_the_files(results: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_bytes(TEXT)
    with (tmp_path / "x.zip").open("wb") as sink, ArchiveWriter(sink) as writer:
        writer.add_file(look(results).files[0])
        writer.add_path("summary/report.html", tmp_path / "report.html", 10**18)
        writer.add_chunks("summary/ä.json", [b"{}"], 10**18)
        writer.add_chunks("summary/all.csv", (TEXT[at : at + 999_999] for at in range(0, len(TEXT), 999_999)), 10**18)
        writer.add_chunks("summary/empty", [b""], 10**18)
        digests = dict(writer.digests())
        writer.close()

    strict_zip.read(tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.namelist()[1:] == [
            "summary/report.html",
            "summary/ä.json",
            "summary/all.csv",
            "summary/empty",
        ]
        assert archive.read("summary/report.html") == archive.read("summary/all.csv") == TEXT
        assert digests == {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def test_progress_goes_from_nothing_to_all(results: Path) -> None:
    told: list[tuple[int, int]] = []
    files = look(results).files
    with ArchiveWriter(io.BytesIO(), progress=lambda done, total: told.append((done, total))) as writer:
        writer.expect(files.size)
        for file in files:
            writer.add_file(file)
        writer.close()

    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (files.size, files.size)
    assert len(told) > 8


# What goes wrong


@pytest.mark.parametrize("name", ["large.vec", "one block", "a space"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: os.truncate(file, 100), "became shorter"),
        (lambda file: file.open("ab").write(b"more"), "became longer"),
        (lambda file: file.unlink(), "vanished"),
        (lambda file: (file.rename(f"{file}~"), file.write_bytes(b"other")), "was replaced"),
        (os.utime, "was written to"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_file_that_changes_after_the_snapshot_stops_it_and_nothing_stays_open(
    results: Path, name: str, change: Callable[[Path], object], told: str
) -> None:
    files = look(results).files
    change(results / name)

    with pytest.raises(TransientError, match=f"The file {name} {told}"):
        write(files, io.BytesIO())

    assert not [link for link in map(linked, Path("/proc/self/fd").iterdir()) if str(results) in link]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("packing")]


def write(files: SourceFiles, sink: Sink) -> None:
    with ArchiveWriter(sink) as writer:
        for file in files:
            writer.add_file(file)
        writer.close()


def linked(handle: Path) -> str:
    try:
        return str(handle.readlink())
    except FileNotFoundError:  # the one by which the folder was listed
        return ""


class Full:
    def write(self, _: bytes, /) -> None:
        raise OSError(28, "No space left on device")


def test_a_disk_that_is_full_is_told(results: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        write(look(results).files, Full())


def test_room_on_the_disk_and_what_may_be_needed_are_told(results: Path, tmp_path: Path) -> None:
    written = pack(results, tmp_path / "x.zip")

    assert written.size <= space.of_archive(look(results).files) <= look(results).files.size + 10_000
    assert space.free_bytes(tmp_path) <= shutil.disk_usage(tmp_path).total
