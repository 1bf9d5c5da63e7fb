"""What a command line tells about a run."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from producer.runs.facts import facts


@pytest.mark.parametrize(
    ("command", "simulator", "configuration"),
    [
        ("./simulate", "simulate", {}),
        ("./simulate --rho=0.8 --fast=true -v out.csv --seed 3", "simulate", {"rho": 0.8, "fast": True}),
        ("python3.12 -u study/mm1.py --rho=0.8", "mm1.py", {"rho": 0.8}),
        ("python -c 'print(1)' --rho=0.8", "", {}),
        ("bash run.sh", "run.sh", {}),
        (
            "opp_run -u Cmdenv -c Fifo1 -r 3 -n .:../queueinglib fifo.ini --sim-time-limit=100s '--**.rho=0.8'",
            "opp_run",
            {"ui": "Cmdenv", "config": "Fifo1", "run": 3, "ned-path": ".:../queueinglib", "sim-time-limit": "100s"}
            | {"**.rho": 0.8},
        ),
        ("./fifo -uCmdenv -cFifo2 omnetpp.ini", "fifo", {"ui": "Cmdenv", "config": "Fifo2"}),
        ("./ns3 run 'wifi-simple --RngRun=3 --distance=50'", "ns-3 wifi-simple", {"RngRun": 3, "distance": 50}),
        ("./ns3 run scratch/wifi -- --RngRun=3", "ns-3 wifi", {"RngRun": 3}),
        ("build/scratch/ns3.40-wifi-default --RngRun=3", "ns3.40-wifi-default", {"RngRun": 3}),
        (
            "sumo -c highway.sumocfg --seed 42 --end=1600 --no-step-log --duration-log.statistics",
            "sumo",
            {"configuration-file": "highway.sumocfg", "seed": 42, "end": 1600},
        ),
    ],
)
def test_a_command_line_is_understood(command: str, simulator: str, configuration: dict[str, Any]) -> None:
    found = facts(shlex.split(command))

    assert (found.simulator, found.configuration) == (simulator, configuration)


@pytest.mark.parametrize(
    "word",
    [
        "--password=x",
        "--db-passwd=x",
        "--api-token=x",
        "--SECRET=x",
        "--licence-key=x",
        "--database=postgresql://anna:x@db/runs",
        "--two=a\nb",
        f"--long={'x' * 10_000}",
        f"--{'x' * 1000}=1",
    ],
)
def test_secrets_and_what_is_no_fact_are_left_out(word: str) -> None:
    assert facts(["./simulate", word, "--rho=0.8"]).configuration == {"rho": 0.8}
