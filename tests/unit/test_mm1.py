"""The example simulator against queueing theory, and its files against their grammar, with a reader written here."""

from __future__ import annotations

import math
import re
import statistics
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from producer.mm1.omnetpp import PICOSECONDS, RunHeader, ScalarFile, VectorFile, seconds
from producer.mm1.queue import Queue, main, simulate
from producer.mm1.results import Results
from producer.mm1.tally import Histogram, Tally, TimeAverage

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
# Student's t for 19 degrees of freedom, two-sided 99.9 %.
T_19 = 3.8834
REPLICATIONS = 20
TOKENS = {
    "run": 2,
    "attr": 3,
    "itervar": 3,
    "config": 3,
    "scalar": 4,
    "par": 4,
    "statistic": 3,
    "field": 3,
    "bin": 3,
    "vector": 5,
}
TOKEN = re.compile(r'[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^ \t"\\]+))(?=[ \t]|$)')
UNESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))")


class Sample(NamedTuple):
    event: int
    time: str
    value: float


@dataclass
class Read:
    """What a result file holds; reading it checks its grammar line by line."""

    run: str = ""
    items: dict[tuple[str, ...], str] = field(default_factory=dict)
    attributes: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)
    bins: list[tuple[float, float]] = field(default_factory=list)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    blocks: list[list[str]] = field(default_factory=list)
    vectors: dict[str, str] = field(default_factory=dict)

    def number(self, module: str, name: str) -> float:
        return float(self.items["scalar", f"MM1.{module}".rstrip("."), name])


def tokens(line: str) -> list[str]:
    found, at = [], 0
    while line[at:].strip(" \t"):
        match = TOKEN.match(line, at)
        assert match, f"no token at {line[at:]!r}"
        quoted, plain = match.groups()
        found.append(plain if quoted is None else ESCAPE.sub(_unescape, quoted))
        at = match.end()
    return found


def _unescape(match: re.Match[str]) -> str:
    code, letter = match.groups()
    return chr(int(code, 16)) if code else UNESCAPED.get(letter, letter)


def read(path: Path) -> Read:
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n")
    lines = text.split("\n")
    if path.suffix == ".vci":
        assert re.fullmatch(r"file \d+ \d+ *", lines[0])
        assert len(lines.pop(0)) == 64
    assert lines.pop(0) == "version 3"
    result = Read()
    owner: tuple[str, ...] = ("run",)
    for line in filter(None, lines):
        parts = tokens(line)
        if parts[0].isdigit():
            add_data(result, parts, index=path.suffix == ".vci")
        elif parts[0] == "attr":
            assert len(parts) == TOKENS["attr"], line
            result.attributes.setdefault(owner, {})[parts[1]] = parts[2]
        else:
            assert len(parts) == TOKENS[parts[0]], line
            owner = add_item(result, owner, parts)
    return result


def add_data(result: Read, parts: list[str], *, index: bool) -> None:
    assert len(parts) == (12 if index else 4)
    if index:
        result.blocks.append(parts)
    else:
        result.samples[parts[0]].append(Sample(int(parts[1]), parts[2], float(parts[3])))


def add_item(result: Read, owner: tuple[str, ...], parts: list[str]) -> tuple[str, ...]:
    """Keep an item; what the attributes after it belong to."""
    match parts:
        case ["run", identifier]:
            result.run = identifier
        case ["scalar" | "par" as kind, module, name, value]:
            result.items[kind, module, name] = value
            return kind, module, name
        case ["statistic", module, name]:
            return "statistic", module, name
        case ["vector", identifier, module, name, columns]:
            assert columns == "ETV"
            result.vectors[f"{module} {name}"] = identifier
            result.samples[identifier] = []
            return "vector", module, name
        case ["bin", edge, count]:
            result.bins.append((float(edge), float(count)))
        case ["field" | "itervar" | "config" as kind, name, value]:
            result.items[kind, name] = value
        case _:
            pytest.fail(f"{parts} must not stand here")
    return owner


def run(folder: Path, **options: float) -> dict[str, Path]:
    """Run the program; its files by ending."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    done = CliRunner().invoke(main, [*arguments, "--output", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "100 %" in done.stderr
    return {path.suffix: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return run(tmp_path_factory.mktemp("mm1"), arrival_rate=0.8, service_rate=1, customers=4000, seed=7, repetition=3)


@pytest.fixture(scope="module")
def scalars(files: dict[str, Path]) -> Read:
    return read(files[".sca"])


@pytest.fixture(scope="module")
def vectors(files: dict[str, Path]) -> Read:
    return read(files[".vec"])


class Sums:
    """Observes a run for the mean number in the system and the mean time there."""

    def __init__(self) -> None:
        self.population, self.busy, self.life, self.waiting = TimeAverage(), TimeAverage(), Tally(), Tally()
        self.arrivals = 0

    def arrived(self, event: int, now: int, population: int) -> None:
        assert event > 0
        self.arrivals += 1
        self.population.change(now, population)
        self.busy.change(now, 1)

    def served(self, event: int, now: int, population: int, life_time: int) -> None:
        assert event > 0
        self.population.change(now, population)
        self.busy.change(now, min(population, 1))
        self.life.add(life_time / PICOSECONDS)

    def began(self, event: int, now: int, waited: int) -> None:
        assert now >= event
        self.waiting.add(waited / PICOSECONDS)


@pytest.mark.parametrize(("arrival_rate", "service_rate", "customers"), [(0.5, 1.0, 4000), (2.1, 3.0, 10_000)])
def test_independent_replications_agree_with_queueing_theory(
    arrival_rate: float, service_rate: float, customers: int
) -> None:
    """Confidence intervals of independent replications (never of samples inside one run, which are correlated)."""
    means: dict[str, list[float]] = {"number": [], "time": [], "waiting": [], "busy": []}
    for seed_set in range(REPLICATIONS):
        sums = Sums()
        queue = Queue(arrival_rate, service_rate, customers, None, seed_set)
        end = simulate(queue, sums, lambda *_: None)
        means["number"].append(sums.population.mean(end))
        means["busy"].append(sums.busy.mean(end))
        means["time"].append(sums.life.mean)
        means["waiting"].append(sums.waiting.mean)

    rho = arrival_rate / service_rate
    theory = {
        "number": rho / (1 - rho),
        "time": 1 / (service_rate - arrival_rate),
        "waiting": rho / (service_rate - arrival_rate),
        "busy": rho,
    }
    for name, samples in means.items():
        mean = statistics.fmean(samples)
        half_width = T_19 * statistics.stdev(samples) / math.sqrt(REPLICATIONS)
        assert half_width < 0.1 * mean, f"{name}: the interval is too wide to show anything"
        assert abs(mean - theory[name]) < half_width, f"{name}: {mean} +- {half_width}, theory {theory[name]}"


def test_littles_law_holds_exactly_in_a_run_that_ends_empty() -> None:
    """The area under the number in the system is the sum of the times in the system: N T = sum of W."""
    sums = Sums()
    queue = Queue(0.5, 1.0, None, 10_000 * PICOSECONDS, 1)
    end = simulate(queue, sums, lambda *_: None)
    area = sums.population.mean(end) * end / PICOSECONDS
    still_there = sums.arrivals - sums.life.count
    assert still_there == 0, "take another seed: somebody is still there"

    assert area == pytest.approx(sums.life.sum, rel=1e-12)
    arrival_rate = sums.arrivals / (end / PICOSECONDS)
    assert sums.population.mean(end) == pytest.approx(arrival_rate * sums.life.mean, rel=1e-12)


def test_the_files_bear_the_names_of_the_real_simulator(files: dict[str, Path]) -> None:
    assert {path.stem for path in files.values()} == {"MM1-arrivalRate=0.8,serviceRate=1-#3"}
    assert set(files) == {".sca", ".vec", ".vci"}


def test_all_three_files_tell_the_same_run(files: dict[str, Path], scalars: Read) -> None:
    others = [read(files[".vec"]), read(files[".vci"])]

    assert all(other.run == scalars.run for other in others)
    assert all(other.attributes["run",] == scalars.attributes["run",] for other in others)
    about = scalars.attributes["run",]
    assert (about["configname"], about["repetition"], about["replication"], about["seedset"]) == (
        "MM1",
        "3",
        "#3",
        "10",
    )
    assert about["iterationvars"] == "$arrivalRate=0.8, $serviceRate=1"
    assert scalars.items["itervar", "arrivalRate"] == "0.8"
    assert scalars.items["config", "MM1.source.interarrivalTime"] == "exponential(1.25s)"
    assert scalars.items["par", "MM1.queue", "serviceTime"] == "exponential(1s)"
    assert scalars.items["par", "MM1", "typename"] == '"MM1"'
    assert scalars.attributes["scalar", "MM1.queue", "queueingTime:mean"]["unit"] == "s"
    assert scalars.attributes["scalar", "MM1.queue", "queueLength:timeavg"]["interpolationmode"] == "sample-hold"


@pytest.mark.parametrize("name", ["queueLength", "population"])
def test_time_weighted_means_of_the_vectors_are_the_scalars(scalars: Read, vectors: Read, name: str) -> None:
    samples = vectors.samples[vectors.vectors[f"MM1.queue {name}:vector"]]
    end = scalars.number("", "simulatedTime")
    times = [float(sample.time) for sample in samples] + [end]
    area = sum(sample.value * (times[i + 1] - times[i]) for i, sample in enumerate(samples))

    assert (samples[0].time, samples[0].value) == ("0", 0)
    assert scalars.number("queue", f"{name}:timeavg") == pytest.approx(area / end, rel=1e-9)
    assert scalars.number("queue", f"{name}:max") == max(sample.value for sample in samples)


@pytest.mark.parametrize(("module", "name"), [("queue", "queueingTime"), ("sink", "lifeTime")])
def test_means_of_the_vectors_are_the_scalars(scalars: Read, vectors: Read, module: str, name: str) -> None:
    values = [sample.value for sample in vectors.samples[vectors.vectors[f"MM1.{module} {name}:vector"]]]

    assert scalars.number(module, f"{name}:mean") == pytest.approx(statistics.fmean(values), rel=1e-9)
    assert scalars.number(module, f"{name}:max") == pytest.approx(max(values), rel=1e-12)


def test_the_statistic_agrees_with_its_vector(scalars: Read, vectors: Read) -> None:
    values = [sample.value for sample in vectors.samples[vectors.vectors["MM1.sink lifeTime:vector"]]]

    fields = {key[1]: float(value) for key, value in scalars.items.items() if key[0] == "field"}
    assert fields == {
        "count": len(values) == 4000 and 4000,
        "mean": pytest.approx(statistics.fmean(values), rel=1e-9),
        "stddev": pytest.approx(statistics.stdev(values), rel=1e-9),
        "min": pytest.approx(min(values), rel=1e-12),
        "max": pytest.approx(max(values), rel=1e-12),
        "sum": pytest.approx(sum(values), rel=1e-9),
        "sqrsum": pytest.approx(sum(value * value for value in values), rel=1e-9),
    }
    edges = [edge for edge, _ in scalars.bins]
    assert edges[0] == -math.inf
    assert edges == sorted(set(edges))
    for (low, count), high in zip(scalars.bins, [*edges[1:], math.inf], strict=True):
        assert count == sum(low <= value < high for value in values)


def test_vectors_are_ordered_and_of_one_event_and_time(vectors: Read) -> None:
    clock: dict[int, str] = {}
    for samples in vectors.samples.values():
        events = [sample.event for sample in samples]
        assert events == sorted(events)
        times = [float(sample.time) for sample in samples]
        assert times == sorted(times)
        for sample in samples:
            assert clock.setdefault(sample.event, sample.time) == sample.time


def test_the_index_tells_where_and_what_the_blocks_are(files: dict[str, Path], vectors: Read) -> None:
    data = files[".vec"].read_bytes()
    index = read(files[".vci"])
    status = files[".vec"].stat()
    head = files[".vci"].read_text().splitlines()[0]
    assert head.split() == ["file", str(status.st_size), str(int(status.st_mtime))]

    indexed: dict[str, list[Sample]] = {name: [] for name in vectors.samples}
    for name, offset, length, *rest in index.blocks:
        lines = data[int(offset) : int(offset) + int(length)].decode().splitlines()
        block = [Sample(int(e), t, float(v)) for n, e, t, v in map(str.split, lines) if n == name]
        assert len(block) == len(lines)
        values = [sample.value for sample in block]
        assert rest[:5] == [*(str(block[i].event) for i in (0, -1)), *(block[i].time for i in (0, -1)), str(len(block))]
        assert [float(text) for text in rest[5:]] == pytest.approx(
            [min(values), max(values), sum(values), sum(value * value for value in values)], rel=1e-9
        )
        indexed[name] += block
    assert indexed == vectors.samples


def test_a_run_until_a_time_ends_there(tmp_path: Path) -> None:
    files = run(tmp_path, arrival_rate=0.5, until=1000.5, seed=2)

    scalars = read(files[".sca"])
    assert scalars.number("", "simulatedTime") == 1000.5
    assert scalars.items["config", "sim-time-limit"] == "1000.5s"
    last = [float(samples[-1].time) for samples in read(files[".vec"]).samples.values()]
    assert 990 < max(last) <= 1000.5


def test_a_run_too_short_for_any_customer_says_nan_and_not_zero(tmp_path: Path) -> None:
    scalars = read(run(tmp_path, arrival_rate=0.001, until=0.001, seed=2)[".sca"])

    assert math.isnan(scalars.number("queue", "queueingTime:mean"))
    assert scalars.items["field", "min"] == scalars.items["field", "stddev"] == "nan"
    assert scalars.number("queue", "population:timeavg") == 0
    assert scalars.number("sink", "customers:count") == 0


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(tmp_path: Path) -> None:
    contents = []
    for name, seed_set in (("a", 1), ("b", 1), ("c", 2)):
        folder = tmp_path / name / "results"
        folder.mkdir(parents=True)
        queue = Queue(0.8, 1.0, 500, None, seed_set)
        with Results(folder, queue, 0, NOON, 4711) as results:
            results.ended(simulate(queue, results, lambda *_: None))
        contents.append([path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".vci"])

    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_an_unfinished_run_looks_like_one_of_the_real_simulator(tmp_path: Path) -> None:
    """Vectors as far as they came, an index with a blank head, and no scalars, not even those of an earlier run."""
    queue = Queue(0.8, 1.0, 5000, None, 1)
    with Results(tmp_path, queue, 0, NOON, 4711) as results:
        results.ended(simulate(queue, results, lambda *_: None))

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Results(tmp_path, queue, 0, NOON, 4711) as results:
        simulate(queue, results, stop)

    assert {path.suffix for path in tmp_path.iterdir()} == {".vec", ".vci"}
    (index,) = tmp_path.glob("*.vci")
    assert index.read_text().startswith(" " * 64 + "\nversion 3\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--arrival-rate", "0"], "above 0"),
        (["--service-rate", "nan"], "above 0"),
        (["--until", "inf"], "above 0"),
        (["--customers", "0"], "x>=1"),
        (["--customers", "5", "--until", "5"], "not both"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    done = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "out")])

    assert done.exit_code == 2
    assert sentence in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    done = CliRunner().invoke(main, ["--customers", "5", "--output", str(tmp_path / "file" / "out")])

    assert done.exit_code == 1
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize("text", ["", "plain", "two words", 'a "quote"', "back\\slash", "tab\tline\nend\r\x01", "ü €"])
def test_any_text_survives_quoting(tmp_path: Path, text: str) -> None:
    header = RunHeader("id", {"inifile": text}, {"v": text}, [("key", text)])
    file = ScalarFile(header)
    file.par("m", "p", text, title=text)
    file.write(tmp_path / "x.sca")
    with VectorFile(tmp_path / "x.vec", header) as vectors:
        vectors.record(vectors.vector("m", "v", title=text), 1, 1, math.inf)

    found = read(tmp_path / "x.sca")
    assert found.items["par", "m", "p"] == found.items["itervar", "v"] == found.items["config", "key"] == text
    assert found.attributes["par", "m", "p"]["title"] == text
    again = read(tmp_path / "x.vec")
    assert again.attributes["vector", "m", "v"]["title"] == text
    assert again.samples["0"] == [Sample(1, "0.000000000001", math.inf)]


@pytest.mark.parametrize(
    ("picoseconds", "text"),
    [(0, "0"), (10**12, "1"), (1, "0.000000000001"), (10**18 + 5 * 10**11, "1000000.5"), (100 * 10**12, "100")],
)
def test_times_are_exact_decimals(picoseconds: int, text: str) -> None:
    assert seconds(picoseconds) == text


def test_a_histogram_widens_without_losing_a_sample() -> None:
    histogram = Histogram(width=1.0)
    values = [0.0, 0.5, 1.0, 63.999, 64.0, 1000.0]
    for value in values:
        histogram.add(value)

    bins = histogram.bins()
    assert sum(count for _, count in bins) == len(values)
    assert histogram.width == 16.0
    assert dict(bins)[0.0] == 3
    assert dict(bins)[992.0] == 1
