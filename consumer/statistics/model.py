"""The numbers of a summary, as they stand in ``summary.json``: plain data, without how they were computed.

NaN is "no value" everywhere; it is written as an empty cell or as null and never as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consumer.formats.contract import Floats, Run

PERCENTILES = (5, 25, 50, 75, 95, 99)


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the researcher should know before trusting a number.

    Args:
        file: the name within the results, or empty when it concerns no single file.
        line: its line, from 1; None when there is none.
        text: one sentence.
    """

    file: str
    line: int | None
    text: str


@dataclass(frozen=True, slots=True)
class FileRead:
    """One file of the results.

    Args:
        name: within the results, with ``/``.
        size: bytes.
        format: name of the format that read it; empty: not read.
        incomplete: it ended in the middle of something, as a killed simulation leaves it.
        reason: why no format read it, in some words; empty: one did.
    """

    name: str
    size: int
    format: str
    incomplete: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ScalarRow:
    """One number of one module; ``run`` is the run's place in `Summary.runs`, in this class and the next ones.

    Args:
        headline: one of the few numbers that say most, as the format knows.
    """

    run: int
    module: str
    name: str
    value: float
    unit: str = ""
    title: str = ""
    headline: bool = False


@dataclass(frozen=True, slots=True)
class StatisticRow:
    """What the simulator computed over many observations.

    Args:
        count: of observations; ``weights`` their sum of weights where it is a weighted one, else None.
        mean: and ``stddev`` (n - 1), ``minimum``, ``maximum`` as written or derived from the sums; the first two are
            NaN for an enumeration, whose values are symbols that happen to be numbers.
        percentiles: percent to an estimate by linear interpolation within the bin, or to the integer in whose bin it
            lies where all values are integers; empty without bins, and for an enumeration. They are estimates always:
            from the edges of the bins nobody knows more.
        bins: (lower edge, count or weight); ``-inf`` first is the underflow, the last is the overflow.
    """

    run: int
    module: str
    name: str
    count: float
    mean: float
    stddev: float
    minimum: float
    maximum: float
    weights: float | None = None
    percentiles: Mapping[int, float] = field(default_factory=dict)
    bins: tuple[tuple[float, float], ...] = ()
    unit: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A vector drawn small: equal spans of time, each with what happened in it.

    Args:
        start: time at which the first span begins, seconds; ``span`` the length of one, seconds.
        held: the value that holds at the beginning of each span (sample and hold); NaN before the first sample.
        low: and ``high``: smallest and largest sample within each span; NaN where there is none.
    """

    start: float
    span: float
    held: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class VectorRow:
    """Many samples over time, or observations in any order.

    Args:
        count: of samples with a value; ``missing``: of samples without one, which count nowhere else.
        mean: of the samples; ``stddev``: with n - 1; both NaN for an enumeration.
        percentiles: percent to value, per sample and not per time; none for an enumeration.
        rank_error: bound on the percentiles' rank error, as a share of the samples: 0.0 is exact.
        time_weighted_mean: each value weighted by how long it held, the last one until ``held_until``; None where the
            vector is no sample-hold one.
        held_until: end of the run in seconds, or the last time known where the end is not.
        enumeration: its values are symbols that happen to be numbers.
        shares: of an enumeration, symbol to its share of the time; empty also where no time passed. Of
            more than a thousand symbols, the time of those that came last is told together, as ``(others)``.
        trace: to draw it; None when it is empty or was not chosen.
        bins: (lower edge, count) of observations without time, to draw them; the last edge closes the one before it.
        headline: one of the few that say most, as the format knows.
    """

    run: int
    module: str
    name: str
    count: int
    missing: int
    mean: float
    stddev: float
    minimum: float
    maximum: float
    percentiles: Mapping[int, float]
    rank_error: float
    first_time: float
    last_time: float
    last_value: float
    time_weighted_mean: float | None = None
    held_until: float | None = None
    enumeration: bool = False
    shares: Mapping[str, float] = field(default_factory=dict)
    trace: Trace | None = None
    bins: tuple[tuple[float, float], ...] = ()
    timed: bool = True
    interpolation: str = ""
    unit: str = ""
    title: str = ""
    headline: bool = False


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One quantity over like modules (``host[*]``) of one run.

    Args:
        module: the common pattern; ``number``: of modules that have a value; ``missing``: of those that have none.
        kind: ``scalar``, or which number of a statistic or vector: ``statistic mean``, ``vector mean``.
        jain: Jain's fairness index, (sum x)^2 / (n sum x^2): R. Jain, D. Chiu, W. Hawe, DEC-TR-301, 1984. NaN where a
            value is negative or all are 0.
    """

    run: int
    module: str
    name: str
    kind: str
    number: int
    missing: int
    mean: float
    minimum: float
    maximum: float
    total: float
    jain: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Replicated:
    """One quantity over the replications of one configuration.

    Args:
        config: name of the configuration, ``itervars`` its iteration variables, repetition and seeds apart.
        number: of runs with a value; ``missing``: of those without.
        half_width: of the 95 % confidence interval, Student's t with n - 1 degrees of freedom; None for fewer than 2.
    """

    config: str
    itervars: Mapping[str, str]
    module: str
    name: str
    number: int
    missing: int
    mean: float
    stddev: float
    half_width: float | None
    minimum: float
    maximum: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """All that is said about the results of one folder.

    `scalars`, `statistics` and `vectors` hold at most as many rows as a page can show, the most telling ones: of
    scalars and statistics see `consumer.statistics.chosen`, in the order of the files; of vectors those that vary, the
    longest first. The counts say how many there were, and the CSV files beside the page hold all of them.
    """

    runs: tuple[Run, ...]
    files: tuple[FileRead, ...]
    scalars: tuple[ScalarRow, ...]
    statistics: tuple[StatisticRow, ...]
    vectors: tuple[VectorRow, ...]
    aggregates: tuple[Aggregate, ...]
    replications: tuple[Replicated, ...]
    warnings: tuple[Warned, ...]
    scalars_found: int = 0
    statistics_found: int = 0
    vectors_found: int = 0
    empty_vectors: int = 0
    missing_values: int = 0  # scalars and samples: NaN, or what stands for it, such as SUMO's -1
    warnings_found: int = 0
    missing_names: tuple[tuple[str, int], ...] = ()  # quantities without a value and how often, the most frequent ones
