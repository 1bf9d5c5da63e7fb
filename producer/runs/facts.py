"""What a command line tells about a run: simulator and configuration.

Sources of the options: https://doc.omnetpp.org/omnetpp/manual/#cha:run-sim,
https://www.nsnam.org/docs/manual/html/attributes.html and random-variables.html, https://sumo.dlr.de/docs/sumo.html
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from messaging.messages import Scalar
from producer.options import scalar

SECRETS = re.compile(r"pass|pwd|secret|token|key|credential|auth|://[^/@]*:[^/@]*@", re.IGNORECASE)
LONG = re.compile(r"--([^=\s]+)=(.*)", re.DOTALL)
INTERPRETERS = re.compile(r"python[\d.]*|bash|dash|sh|zsh|perl|ruby|node|julia|octave|Rscript")
OMNETPP = re.compile(r"opp_run(_release|_dbg)?")
SUMO = re.compile(r"(sumo|sumo-gui|duarouter|netconvert|marouter|activitygen|jtrrouter)(D?|64)")
OMNETPP_SHORT = {"-c": "config", "-r": "run", "-f": "ini-file", "-u": "ui", "-n": "ned-path", "-l": "library"}
SUMO_SHORT = {
    "-c": "configuration-file",
    "-n": "net-file",
    "-r": "route-files",
    "-a": "additional-files",
    "-b": "begin",
    "-e": "end",
}
LONGEST_NAME, LONGEST_VALUE, MOST = 100, 200, 100


@dataclass(slots=True)
class Facts:
    """What could be told; secrets are left out."""

    simulator: str = ""
    configuration: dict[str, Scalar] = field(default_factory=dict)

    def add(self, name: str, value: str) -> None:
        """Take a fact, if it is one."""
        telling = 0 < len(name) <= LONGEST_NAME and len(value) <= LONGEST_VALUE and (name + value).isprintable()
        if telling and not SECRETS.search(f"{name}={value}") and len(self.configuration) < MOST:
            self.configuration[name.strip()] = scalar(value)


def facts(command: Sequence[str]) -> Facts:
    """Read a command line."""
    program, arguments = PurePath(command[0]).name, list(command[1:])
    if INTERPRETERS.fullmatch(program):
        scripts = [number for number, word in enumerate(arguments) if not word.startswith("-")]
        if "-c" in arguments[: scripts[0] + 1 if scripts else None] or not scripts:
            return Facts()
        program, arguments = PurePath(arguments[scripts[0]]).name, arguments[scripts[0] + 1 :]
    found = Facts(simulator=program if program.isprintable() else "")
    # An OMNeT++ simulation that was built as a program takes the same options as opp_run.
    if OMNETPP.fullmatch(program) or "-u" in arguments or any(word.endswith(".ini") for word in arguments):
        _options(found, arguments, OMNETPP_SHORT)
    elif SUMO.fullmatch(program):
        _options(found, arguments, SUMO_SHORT, long_with_value=True)
    elif program in {"ns3", "waf"} and "run" in " ".join(arguments[:1]):
        _ns3(found, arguments[1:])
    else:
        _options(found, arguments, {})
    return found


def _options(found: Facts, words: list[str], short: dict[str, str], *, long_with_value: bool = False) -> None:
    for number, word in enumerate(words):
        following = words[number + 1] if number + 1 < len(words) else ""
        if match := LONG.fullmatch(word):
            found.add(match[1], match[2])
        elif word in short and following:
            found.add(short[word], following)
        elif word[:2] in short and len(word) > 2 and word[1] != "-":  # noqa: PLR2004 - "-cFifo1"
            found.add(short[word[:2]], word[2:])
        elif long_with_value and word.startswith("--") and following and not following.startswith("-"):
            found.add(word[2:], following)


def _ns3(found: Facts, words: list[str]) -> None:
    """``ns3 run "wifi --RngRun=3"`` or ``ns3 run wifi -- --RngRun=3``."""
    try:
        parts = [part for word in words for part in shlex.split(word)]
    except ValueError:
        parts = words
    if programs := [part for part in parts if not part.startswith("-")]:
        found.simulator = f"ns-3 {PurePath(programs[0]).name}"
    _options(found, parts, {})
