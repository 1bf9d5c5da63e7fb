"""What to call each run, where one has to be told from another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from consumer.formats.contract import Run
from consumer.report.plain import one_line
from messaging.digits import count
from messaging.visible import shortened

LONGEST = 80  # characters of a label


def labels(runs: Sequence[Run]) -> tuple[str, ...]:
    """A short name for each run, in order, all different: what differs between the runs, and the repetition."""
    configs = {config(run) for run in runs}
    varying = _varying(runs)
    texts = []
    for run in runs:
        parts = [config(run)] if len(configs) > 1 else []
        parts += [] if run.id else [run.attributes.get("file", "")]  # without an id, the file is the run
        parts += [f"{name}={run.itervars[name]}" for name in varying if name in run.itervars]
        repetition = run.attributes.get("repetition", "")
        parts += [f"rep {repetition}"] if repetition else []
        texts.append(shortened(one_line(" ".join(part for part in parts if part)), LONGEST))
    often = Counter(texts)
    return tuple(
        text if text and often[text] == 1 else f"{text} (run {number})".strip() if text else f"run {number}"
        for number, text in enumerate(texts, 1)
    )


def identified(runs: Sequence[Run]) -> int:
    """How many runs have an id. What has none is one file of a run, and nobody knows which ones belong together."""
    return sum(bool(run.id) for run in runs)


def config(run: Run) -> str:
    """Name of the configuration; empty where there is none."""
    return run.attributes.get("configname", "")


def settings(itervars: Mapping[str, str]) -> str:
    """Iteration variables on one line."""
    return ", ".join(f"{name}={value}" for name, value in itervars.items())


def title(runs: Sequence[Run]) -> str:
    """What the whole is called: the configuration where there is one, else the simulator."""
    configs = list(dict.fromkeys(config(run) for run in runs if config(run)))
    simulators = list(dict.fromkeys(run.simulator for run in runs if run.simulator))
    number = identified(runs)
    many = count(number, "run") if number > 1 else ""
    match configs, simulators:
        case [name], _:
            name = shortened(name, LONGEST)
            return f"{name}, {many}" if many else name
        case [_, _, *_], _:
            return f"{count(number or len(runs), 'run')} of {len(configs)} configurations"
        case [], [name]:
            name = shortened(name, LONGEST)
            return f"{name}, {many}" if many else f"{name} run"
        case _:
            return many or "Simulation results"


def end(run: Run) -> str:
    """How it is known when a run ended, in words."""
    if run.end is None:
        return "the results do not tell; the last known time counts as the end"
    return "a limit in the configuration: the run may have ended before" if run.end_is_bound else "told by the results"


def _varying(runs: Sequence[Run]) -> list[str]:
    values: dict[str, set[str]] = {}
    for run in runs:
        for name, value in run.itervars.items():
            values.setdefault(name, set()).add(value)
    return [name for name, seen in values.items() if len(seen) > 1]
