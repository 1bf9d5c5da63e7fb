"""OMNeT++'s SQLite files: every schema, runs that were killed, and databases that mean harm."""

from __future__ import annotations

import io
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.formats import sqlite_file
from consumer.formats.omnetpp_sqlite import OmnetppSqlite
from consumer.formats.sqlite_file import Database, Unreadable, opened
from tests.support.formats import Remembered, read

COMMON = """
CREATE TABLE run (runId INTEGER PRIMARY KEY AUTOINCREMENT, runName TEXT NOT NULL, simtimeExp INTEGER NOT NULL);
CREATE TABLE runAttr (runId INTEGER, attrName TEXT, attrValue TEXT);
CREATE TABLE scalar (scalarId INTEGER PRIMARY KEY, runId INTEGER, moduleName TEXT, scalarName TEXT, scalarValue REAL);
CREATE TABLE scalarAttr (scalarId INTEGER, attrName TEXT, attrValue TEXT);
CREATE TABLE statistic (statId INTEGER PRIMARY KEY, runId INTEGER, moduleName TEXT, statName TEXT, {flags}
    statCount INTEGER, statMean REAL, statStddev REAL, statSum REAL, statSqrsum REAL, statMin REAL, statMax REAL,
    statWeights REAL, statWeightedSum REAL, statSqrSumWeights REAL, statWeightedSqrSum REAL);
CREATE TABLE statisticAttr (statId INTEGER, attrName TEXT, attrValue TEXT);
CREATE TABLE vector (vectorId INTEGER PRIMARY KEY, runId INTEGER, moduleName TEXT, vectorName TEXT, vectorCount INTEGER,
    vectorMin REAL, vectorMax REAL, vectorSum REAL, vectorSumSqr REAL, startEventNum INTEGER, endEventNum INTEGER,
    startSimtimeRaw INTEGER, endSimtimeRaw INTEGER);
CREATE TABLE vectorAttr (vectorId INTEGER, attrName TEXT, attrValue TEXT);
CREATE TABLE vectorData (vectorId INTEGER, eventNumber INTEGER, simtimeRaw INTEGER, value REAL);
INSERT INTO run VALUES (1, 'General-0-20260102-77', -12);
INSERT INTO runAttr VALUES (1, 'configname', 'General'), (1, 'seedset', '3');
INSERT INTO scalar VALUES (1, 1, 'Net.host[0]', 'sent', 17), (2, 1, 'Net.host[0]', 'delay:mean', NULL);
INSERT INTO scalarAttr VALUES (1, 'unit', 'pk'), (1, 'title', 'packets sent'), (2, 'unit', 's');
INSERT INTO vector (vectorId, runId, moduleName, vectorName, vectorCount)
    VALUES (5, 1, 'Net.q', 'len', 3), (9, 1, 'Net.q', 'drops', 2), (10, 1, 'Net.q', 'never', 0);
INSERT INTO vectorAttr VALUES (5, 'interpolationmode', 'sample-hold'), (9, 'unit', 'pk');
INSERT INTO vectorData VALUES (5, 1, 500000000000, 2), (9, 1, 500000000000, NULL), (5, 2, 1500000000000, 3),
    (9, 3, 1500000000001, 1e300), (5, 3, 123456789012345678, 0);
"""
VERSION_6 = (
    COMMON.format(flags="isHistogram INTEGER, isWeighted INTEGER,")
    + """
CREATE TABLE runItervar (runId INTEGER, itervarName TEXT, itervarValue TEXT);
CREATE TABLE runConfig (runId INTEGER, configKey TEXT, configValue TEXT, configOrder INTEGER);
CREATE TABLE parameter (paramId INTEGER PRIMARY KEY, runId INTEGER, moduleName TEXT, paramName TEXT, paramValue TEXT);
CREATE TABLE paramAttr (paramId INTEGER, attrName TEXT, attrValue TEXT);
CREATE TABLE histogramBin (statId INTEGER, lowerEdge REAL, binValue REAL);
INSERT INTO runItervar VALUES (1, 'load', '0.5');
INSERT INTO runConfig VALUES (1, 'sim-time-limit', '200s', 0), (1, 'warmup-period', '20s', 1),
    (1, 'sim-time-limit', '100h', 2);
INSERT INTO parameter VALUES (1, 1, 'Net', 'name', '"abc"');
INSERT INTO statistic VALUES
    (1, 1, 'Net.host[0]', 'delay:histogram', 1, 0, 3, 2, 1, 6, 14, 1, 3, NULL, NULL, NULL, NULL),
    (2, 1, 'Net.q', 'len:weighted', 0, 1, 3, NULL, NULL, NULL, NULL, 1, 3, 10, 25, 40, 70);
INSERT INTO statisticAttr VALUES (1, 'unit', 's');
INSERT INTO histogramBin VALUES (1, -9e999, 0), (1, 0, 1), (1, 2, 2), (1, 4, 0);
"""
)
VERSION_5_0 = (
    COMMON.format(flags="").replace("runAttr", "runattr").replace("vectorData", "vectordata")
    + """
CREATE TABLE runparam (runId INTEGER, parName TEXT, parValue TEXT);
CREATE TABLE histbin (statId INTEGER, baseValue NUMERIC, cellValue INTEGER);
INSERT INTO runparam VALUES (1, 'sim-time-limit', '200s'), (1, '**.x', '7');
INSERT INTO statistic VALUES (1, 1, 'Net.host[0]', 'delay:histogram', 3, 2, 1, 6, 14, 1, 3, NULL, NULL, NULL, NULL);
INSERT INTO histbin VALUES (1, 0, 1), (1, 2, 2), (1, 4, 0);
"""
)
SERIES = [(0.5, 2.0), (1.5, 3.0), (123456.789012345678, 0.0)]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "result.vec")) as connection:
        connection.executescript(VERSION_6)
        yield connection


def file_of(connection: sqlite3.Connection) -> Path:
    connection.commit()
    return Path(connection.execute("PRAGMA database_list").fetchone()[2])


def told_of(path: Path) -> Remembered:
    told = Remembered()
    with path.open("rb") as stream:
        OmnetppSqlite().read(stream, told)
    return told


def database(script: str) -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script)
        return bytes(connection.serialize())


def test_a_file_of_version_6_is_told_table_by_table(made: sqlite3.Connection) -> None:
    told = told_of(file_of(made))

    assert not told.warnings
    assert not told.cut_off
    run = told.runs[0]
    assert (run.id, run.simulator) == ("General-0-20260102-77", "OMNeT++ 6")
    assert run.attributes == {"configname": "General", "seedset": "3"}
    assert run.itervars == {"load": "0.5"}
    assert (run.warmup, run.end) == (20, 200), "of entries with one key the first counts"
    assert told.scalars[0] == ("Net.host[0]", "sent", 17.0, {"unit": "pk", "title": "packets sent"})
    assert math.isnan(told.scalars[1][2]), "NULL is no value, and no 0"
    assert told.parameters == [("Net", "name", '"abc"')]
    histogram, weighted = told.statistics
    assert list(histogram.bins) == [(-math.inf, 0), (0, 1), (2, 2), (4, 0)]
    assert histogram.fields == {"count": 3, "mean": 2, "stddev": 1, "min": 1, "max": 3, "sum": 6, "sqrsum": 14}
    assert histogram.attributes == {"unit": "s"}
    assert (weighted.fields["weights"], weighted.fields["weightedSum"]) == (10, 25)


def test_times_are_scaled_by_the_runs_own_exponent(made: sqlite3.Connection) -> None:
    assert told_of(file_of(made)).of("Net.q", "len") == SERIES

    made.execute("UPDATE run SET simtimeExp = -9")

    later = told_of(file_of(made)).of("Net.q", "len")
    assert [time for time, _ in later] == pytest.approx([1000 * time for time, _ in SERIES])


def test_vectors_keep_their_attributes_and_empty_ones_are_declared(made: sqlite3.Connection) -> None:
    told = told_of(file_of(made))

    assert told.vectors == [
        ("Net.q", "len", {"interpolationmode": "sample-hold"}),
        ("Net.q", "drops", {"unit": "pk"}),
        ("Net.q", "never", {}),
    ]
    (_, first), (time, second) = told.of("Net.q", "drops")
    assert math.isnan(first)
    assert (time, second) == (1.500000000001, 1e300)
    assert told.of("Net.q", "never") == []


def test_the_older_schema_is_the_same_result() -> None:
    told = read(OmnetppSqlite(), database(VERSION_5_0))

    assert (told.warnings, told.cut_off) == ([], [])
    assert told.runs[0].simulator == "OMNeT++ 5"
    assert told.runs[0].end == 200
    assert told.runs[0].warmup is None
    assert told.of("Net.q", "len") == SERIES
    [histogram] = told.statistics
    assert list(histogram.bins) == [(0, 1), (2, 2), (4, 0)]
    assert histogram.fields["count"] == 3


def test_results_belong_to_their_run_though_runs_share_a_file(made: sqlite3.Connection) -> None:
    made.execute("INSERT INTO run VALUES (2, 'General-1', -3)")
    made.execute("INSERT INTO scalar VALUES (3, 2, 'Net.host[0]', 'sent', 18), (4, 1, 'Net', 'late', 1)")
    made.execute("INSERT INTO vector VALUES (11, 2, 'q', 'x', 1, 4, 4, 4, 16, 1, 1, 1500, 1500)")
    made.execute("INSERT INTO vectorData VALUES (11, 1, 1500, 4)")

    owners: list[tuple[str, str]] = []

    class Owned(Remembered):
        def scalar(self, module: str, name: str, value: float, attributes: Mapping[str, str]) -> None:
            super().scalar(module, name, value, attributes)
            owners.append((self.runs[-1].id, name))

    told = Owned()
    with file_of(made).open("rb") as stream:
        OmnetppSqlite().read(stream, told)

    first, second = "General-0-20260102-77", "General-1"
    assert owners == [(first, "sent"), (first, "delay:mean"), (second, "sent"), (first, "late")]
    assert told.of("q", "x") == [(1.5, 4)]


def test_a_run_that_was_killed_before_its_vectors_were_closed_is_incomplete(made: sqlite3.Connection) -> None:
    made.execute("UPDATE vector SET vectorCount = NULL")
    told = told_of(file_of(made))

    assert [text for text, _ in told.cut_off] == ["The simulation did not end as it should: vectors were never closed."]
    assert told.of("Net.q", "len") == SERIES


def test_a_vector_that_lacks_samples_is_told(made: sqlite3.Connection) -> None:
    made.execute("DELETE FROM vectorData WHERE rowid = 1")

    assert told_of(file_of(made)).warnings == [("1 vectors have not as many samples as the file says.", None)]


def test_reading_changes_nothing_and_leaves_nothing(made: sqlite3.Connection) -> None:
    path = file_of(made)
    made.close()
    before = path.read_bytes(), path.stat().st_mtime_ns
    path.chmod(0o444)

    told_of(path)

    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_was_renamed_or_replaced_after_it_was_opened_is_still_the_one_read(
    made: sqlite3.Connection,
) -> None:
    path = file_of(made)
    told = Remembered()
    with path.open("rb") as stream:
        path.rename(path.with_name("elsewhere.vec"))
        path.write_bytes(database("CREATE TABLE run (runId, runName, simtimeExp)"))
        OmnetppSqlite().read(stream, told)

    assert told.of("Net.q", "len") == SERIES


def test_a_file_that_was_deleted_is_still_the_one_read(made: sqlite3.Connection) -> None:
    path = file_of(made)
    told = Remembered()
    with path.open("rb") as stream:
        path.unlink()
        path.with_name(f"{path.name} (deleted)").write_bytes(database("CREATE TABLE run (runId, runName, simtimeExp)"))
        OmnetppSqlite().read(stream, told)

    assert told.of("Net.q", "len") == SERIES


def test_a_stream_that_is_no_file_is_read_from_a_copy() -> None:
    assert read(OmnetppSqlite(), database(VERSION_6)).of("Net.q", "len") == SERIES


def killed_in_a_transaction(folder: Path, mode: str) -> Path:
    """A database as a killed writer leaves it: changed pages on the disk, and the journal that can undo them."""
    live, left = folder / "live.vec", folder / "killed.vec"
    with closing(sqlite3.connect(live, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.executescript(VERSION_6)
        connection.execute("PRAGMA cache_size = 5")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE vectorData SET value = 77, simtimeRaw = simtimeRaw + 1")
        connection.executemany("INSERT INTO vectorData VALUES (5, ?, ?, 99)", ((n, n) for n in range(5000)))
        if mode == "WAL":
            connection.execute("COMMIT")
        left.write_bytes(live.read_bytes())
        suffix = "-wal" if mode == "WAL" else "-journal"
        Path(f"{left}{suffix}").write_bytes(Path(f"{live}{suffix}").read_bytes())
        if mode != "WAL":
            connection.execute("ROLLBACK")
    return left


def test_what_a_killed_simulation_had_not_completed_is_undone(tmp_path: Path) -> None:
    left = killed_in_a_transaction(tmp_path, "DELETE")
    before = sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir())

    told = told_of(left)

    assert told.of("Net.q", "len") == SERIES
    assert "killed" in told.cut_off[0][0]
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir()) == before, "the originals stay"


def test_what_stands_in_a_write_ahead_log_is_read(tmp_path: Path) -> None:
    told = told_of(killed_in_a_transaction(tmp_path, "WAL"))

    assert len(told.of("Net.q", "len")) == 5003
    assert told.cut_off


def test_a_journal_that_names_another_file_has_it_neither_read_nor_deleted(tmp_path: Path) -> None:
    """SQLite deletes the "super-journal" that a journal names."""
    left = killed_in_a_transaction(tmp_path, "DELETE")
    victim = tmp_path / "victim"
    victim.write_text("dear")
    name = os.fsencode(victim)
    journal = Path(f"{left}-journal")
    page = (1).to_bytes(4, "big")
    checksum = (sum(name) & 0xFFFFFFFF).to_bytes(4, "big")
    magic = bytes.fromhex("d9d505f920a163d7")
    journal.write_bytes(journal.read_bytes() + page + name + len(name).to_bytes(4, "big") + checksum + magic)

    told = told_of(left)

    assert victim.read_text() == "dear"
    assert "could not be used" in told.cut_off[0][0]


def test_a_journal_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    left = tmp_path / "result.vec"
    left.write_bytes(database(VERSION_6))
    Path(f"{left}-journal").symlink_to("/etc/hostname")

    told = told_of(left)

    assert told.of("Net.q", "len") == SERIES
    assert told.cut_off == []


def test_without_room_for_a_copy_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "_SPARE", 2**62)

    told = read(OmnetppSqlite(), database(VERSION_6))

    assert "no room" in told.warnings[0][0]


def test_views_and_computed_columns_are_not_evaluated() -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    script = VERSION_6.replace("CREATE TABLE vectorData", "CREATE TABLE hidden").replace(
        "INSERT INTO vectorData", "INSERT INTO hidden"
    )
    script += f"""
    CREATE VIEW vectorData AS SELECT 5 AS vectorId, i AS eventNumber, i AS simtimeRaw, i AS value FROM ({endless});
    DROP TABLE scalarAttr;
    CREATE TABLE scalarAttr (scalarId INTEGER, attrName TEXT, attrValue TEXT AS (hex(zeroblob(100000))));
    INSERT INTO scalarAttr VALUES (1, 'unit');
    """

    told = read(OmnetppSqlite(), database(script))

    assert told.series == {}
    assert told.scalars[0][3] == {"unit": ""}
    assert ("Other tables are not read: hidden.", None) in told.warnings


def test_a_query_without_end_is_stopped() -> None:
    with opened(io.BytesIO(database("CREATE TABLE t (x); INSERT INTO t VALUES (1)"))) as (open_database, _):
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        with pytest.raises(Unreadable, match="too long"):
            list(open_database._rows(endless))


def test_more_rows_than_the_file_has_room_for_are_not_taken() -> None:
    """A damaged tree may lead to the same page again and again."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(
            "CREATE TABLE t AS WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) SELECT i FROM n"
        )
        small = Database(connection, 4096)

        with pytest.raises(Unreadable, match="more than the file has room for"):
            list(small.rows("t", ["i"]))
        with pytest.raises(Unreadable, match="more than the file has room for"):
            list(small.numbers("t", ["i"]))


def test_a_page_that_leads_to_itself_is_no_endless_loop(tmp_path: Path) -> None:
    path = tmp_path / "loop.vec"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA page_size = 512;" + VERSION_6)
        connection.executemany("INSERT INTO vectorData VALUES (5, ?, ?, 1)", ((n, n) for n in range(5000)))
        connection.commit()
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'vectorData'").fetchone()[0]
    data = bytearray(path.read_bytes())
    start = 512 * (root - 1)
    cells = int.from_bytes(data[start + 3 : start + 5], "big")
    first = int.from_bytes(data[start + 12 : start + 14], "big")
    for cell in range(cells):  # every child is the first one's
        place = start + int.from_bytes(data[start + 12 + 2 * cell : start + 14 + 2 * cell], "big")
        data[place : place + 4] = data[start + first : start + first + 4]
    path.write_bytes(data)

    told = told_of(path)

    assert told.warnings


@pytest.mark.parametrize("name", [b"s\xff\xfelar", b"s\n\x07lar", b"CREATE"])
def test_a_damaged_schema_is_told_in_one_plain_line(name: bytes) -> None:
    data = database(VERSION_6).replace(b"TABLE scalar ", b"TABL! scalar ").replace(b"scalar", name)

    [(text, _)] = read(OmnetppSqlite(), data).warnings

    assert text.startswith("The database was not read: ")
    assert text.isprintable()


def test_values_of_another_kind_are_told_and_the_others_read(made: sqlite3.Connection) -> None:
    made.execute("INSERT INTO vectorData VALUES (5, 4, 123456789012345679, x'00'), (77, 1, 1, 1), (5, 5, 'soon', 1)")
    made.execute("INSERT INTO scalar VALUES (9, 1, 'Net', 'odd', 'many'), (10, 44, 'Net', 'nobodys', 1)")
    made.execute("INSERT INTO scalarAttr VALUES (1, 'too', 'late')")

    told = told_of(file_of(made))

    texts = {text for text, _ in told.warnings}
    assert texts == {
        "A value is no number: taken as no value.",
        "A sample has no time: not read.",
        "1 samples belong to no declared vector: not read.",
        "A result belongs to no run of the database.",
        "1 vectors have not as many samples as the file says.",
        "1 attributes of scalars belong to nothing, or are not in order: not read.",
    }
    assert told.of("Net.q", "len")[:3] == SERIES


def test_attributes_of_what_is_gone_do_not_hide_those_of_others(made: sqlite3.Connection) -> None:
    made.execute("DELETE FROM scalar WHERE scalarId = 1")

    told = told_of(file_of(made))

    [(_, name, _, attributes)] = told.scalars
    assert (name, attributes) == ("delay:mean", {"unit": "s"})
    assert told.warnings == [
        ("2 attributes of scalars belong to nothing, or are not in order: not read.", None),
    ]


def test_an_exponent_without_sense_means_that_times_are_not_known(made: sqlite3.Connection) -> None:
    made.execute("UPDATE run SET simtimeExp = 4000000")

    told = told_of(file_of(made))

    assert not any(told.timed)
    assert len(told.warnings) == 1


def test_only_databases_with_runs_are_recognised() -> None:
    assert OmnetppSqlite().recognises(database(VERSION_6)[:65_536])
    assert OmnetppSqlite().recognises(database(VERSION_5_0)[:65_536])
    assert not OmnetppSqlite().recognises(database("CREATE TABLE runners (x)"))
    assert not OmnetppSqlite().recognises(b"SQLite format 3")
    assert not OmnetppSqlite().recognises(b"version 3\nrun CREATE TABLE run\n")


BYTES = database("PRAGMA page_size = 512;" + VERSION_6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cut=st.integers(0, len(BYTES)),
    changes=st.lists(st.tuples(st.integers(0, len(BYTES) - 1), st.integers(0, 255)), max_size=20),
)
def test_whatever_has_happened_to_a_database_is_only_worth_a_warning(cut: int, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(BYTES)
    for place, byte in changes:
        damaged[place] = byte

    told = read(OmnetppSqlite(), bytes(damaged[:cut]))

    assert sum(map(len, told.series.values())) < len(BYTES)
    assert told.runs or told.warnings
