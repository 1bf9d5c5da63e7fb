"""A coverage-guided fuzz loop of a page, for code in Python.

An input that reaches a line of ours that none has reached, or is answered in words that none was, joins those that are
changed next. The words count because the models are checked in compiled code, of which no line is seen.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OURS = tuple(f"{ROOT / folder}/" for folder in ("messaging", "consumer", "ledger", "backends"))
LARGEST = 6_000
SMALL = 1500  # bytes of an input that `keep` writes

MOST = 1024 * 1024  # bytes of any input, as of any message: changes of changes may grow beyond measure
HALF = 0.5

Change = Callable[[bytes, random.Random], bytes]
Lines = set[tuple[CodeType, int]]


@dataclass
class Run:
    """What came of it.

    Args:
        kept: inputs that reached something new, the seeds among them, by the first word of the answer.
        answers: how often each word came.
        findings: what must not be, by where it happened, with the first input that showed it.
    """

    inputs: int = 0
    seconds: float = 0.0
    lines: int = 0
    kept: dict[str, list[bytes]] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    findings: dict[str, bytes] = field(default_factory=dict)

    def __str__(self) -> str:
        answers = ", ".join(f"{word} {count:,}" for word, count in sorted(self.answers.items()))
        new = sum(map(len, self.kept.values()))
        head = f"{self.inputs:,} inputs in {self.seconds:.0f} s; {new:,} reached something new, "
        head += f"{self.lines:,} lines of ours in all; {len(self.findings)} findings\n{answers}"
        return "\n".join([head, *(f"FINDING {where}\n  {body[:300]!r}" for where, body in self.findings.items())])


def fuzz(
    target: Callable[[bytes], str],
    seeds: Sequence[bytes],
    change: Change,
    *,
    count: int,
    seed: int,
    largest: int = LARGEST,
) -> Run:
    """Give ``target`` the seeds and then changed ones, ``count`` inputs in all.

    Args:
        target: raises where something must not be, else says what became of the input: one word, then more.
        largest: bytes of an input that is kept to be changed again.
    """
    chance, run, started = random.Random(seed), Run(), time.monotonic()
    lines: Lines = set()
    heard: set[str] = set()
    for number in range(count):
        body = seeds[number] if number < len(seeds) else change(_chosen(run.kept, chance), chance)[:MOST]
        known = len(lines), len(heard)
        with _traced(lines):
            try:
                answer = target(body)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
                where = traceback.extract_tb(error.__traceback__)[-1]
                answer = "finding"
                what = re.sub(r"[0-9]+", "N", f"{type(error).__name__} at {where.name}: {str(error)[:300]}")
                run.findings.setdefault(what, body)
        heard.add(answer)
        word = answer.partition(" ")[0]
        run.answers[word] = run.answers.get(word, 0) + 1
        if (len(lines), len(heard)) != known and len(body) <= largest:
            run.kept.setdefault(word, []).append(body)
    run.inputs, run.seconds, run.lines = count, time.monotonic() - started, len(lines)
    return run


def keep(run: Run, folder: Path) -> None:
    """Write small inputs that reached something new, each under the name of its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    for body in (one for bodies in run.kept.values() for one in bodies):
        if len(body) < SMALL:
            (folder / hashlib.sha256(body).hexdigest()[:16]).write_bytes(body)


def _chosen(kept: dict[str, list[bytes]], chance: random.Random) -> bytes:
    """Of each kind of answer as often, so that what is refused early does not crowd out the rest."""
    bodies = kept[chance.choice(list(kept))]
    return chance.choice(bodies[-20:] if chance.random() < HALF else bodies)  # the last ones are the furthest


@contextmanager
def _traced(lines: Lines) -> Iterator[None]:
    def local(frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            lines.add((frame.f_code, frame.f_lineno))
        return local

    def calls(frame: FrameType, _: str, __: object) -> Any:
        return local if frame.f_code.co_filename.startswith(OURS) else None

    before = sys.gettrace()
    sys.settrace(calls)
    try:
        yield
    finally:
        sys.settrace(before)


# Changes of JSON

TEXTS = [
    "", " ", "\x00", "a\x00b", "a\nb", "a\r\nBcc: b@example.org", "\u2028", "\u202e", "\ud800", "\ufeff", "x" * 201,
    "x" * 5000, "\U0001f600" * 70, "../../etc/passwd", "file:///etc", "file://host/x", "file:///%00", "s3://a/b",
    "file:", "http://user:pass@host/", "a@example.org", '"a b"@example.org', "a@\u00fc.example", "a" * 300 + "@x.org",
    "{}", "null", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+23:59", "1e400",
    "2026-11-29T01:02:03", "urn:uuid:00000000-0000-4000-8000-000000000001", "00000000000040008000000000000001",
    "encrypted:x", "{{ 7 * 7 }}", "*", "<script>", "**/*.sca", "[", "!", "%s%n", "1.0", "-0", "memory",
    "simcourier.link.ready.v1", "simcourier.simulation.completed.v2", "=?utf-8?q?ok=0D=0ABcc:_b@x.org=0D=0A=0D=0Ax?=",
    "=?utf-8?b?DQpCY2M6IGI=?=", "9999-12-31T23:59:59-14:00",
]  # fmt: skip
NUMBERS: list[Any] = [
    0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.1, -0.0, 1e308, float("inf"), float("nan"), True, False, None,
]  # fmt: skip


def change_json(body: bytes, chance: random.Random) -> bytes:
    """The document with one to three places changed, now and then the bytes as well."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return change_bytes(body, chance)
    for _ in range(chance.choice([1, 1, 2, 3])):
        document = _changed(document, chance)
    try:
        text = json.dumps(document, ensure_ascii=chance.random() < 0.7)
    except RecursionError:
        text = "[" * 2000 + "]" * 2000
    written = text.encode("utf-8", "surrogatepass")
    return change_bytes(written, chance) if chance.random() < 0.12 else written


def change_bytes(body: bytes, chance: random.Random) -> bytes:
    """Some bytes flipped, a piece cut, doubled or put elsewhere, or another encoding."""
    if not body:
        return chance.randbytes(chance.randrange(40))
    begin = chance.randrange(len(body))
    end = min(len(body), begin + chance.randrange(1, 60))
    match chance.randrange(7):
        case 0:
            return body[:begin] + bytes([chance.randrange(256)]) + body[begin + 1 :]
        case 1:
            return body[:begin] + body[end:]
        case 2:
            return body[:end] + body[begin:end] * chance.choice([1, 2, 50]) + body[end:]
        case 3:
            return body[:begin]
        case 4:
            return (
                body[:begin] + chance.choice([b"\xff", b"NaN", b"[" * 3000, b"\\ud800", b'"', b"9" * 5000]) + body[end:]
            )
        case 5:
            return body.decode("utf-8", "replace").encode(chance.choice(["utf-16", "utf-32", "utf-8-sig"]))
        case _:
            return body[end:] + body[:end]


def _changed(document: Any, chance: random.Random) -> Any:
    places = list(_places(document))
    if not places or chance.random() < 0.03:
        return _odd(chance, document)
    holder, key = chance.choice(places)
    match chance.randrange(9):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[chance.choice(TEXTS)] = holder.pop(key)
        case 2:
            other, name = chance.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
        case 3 if isinstance(holder[key], dict):
            for number in range(chance.choice([1, 1, 49, 51, 201])):
                holder[key][f"{chance.choice(TEXTS)[:30]}{number}"] = _odd(chance, "x")
        case 4 if isinstance(holder[key], list) and holder[key]:
            holder[key] = holder[key] * chance.choice([2, 2, 11, 101])
        case 5 if isinstance(holder[key], str):
            at = chance.randrange(len(holder[key]) + 1)
            holder[key] = holder[key][:at] + chance.choice(TEXTS) + holder[key][at:]
        case 6 if isinstance(holder, dict):
            name = chance.choice(["data", "id", "results", "campaign", "labels", "x", chance.choice(TEXTS)])
            holder[name] = _odd(chance, holder[key])
        case _:
            holder[key] = _odd(chance, holder[key])
    return document


def _odd(chance: random.Random, was: Any) -> Any:
    match chance.randrange(8):
        case 0 | 1 | 2:
            return chance.choice(TEXTS)
        case 3 | 4:
            return chance.choice(NUMBERS)
        case 5:
            return [was] * chance.choice([0, 1, 2, 150])
        case 6:
            return {chance.choice(TEXTS): was}
        case _:
            deep: Any = was
            for _ in range(chance.choice([1, 3, 150, 400])):
                deep = [deep]
            return deep


def _places(document: Any, most: int = 400) -> Iterator[tuple[Any, Any]]:
    """Every entry of every list and object, with what holds it; of large ones the first."""
    waiting, told = [document], 0
    while waiting and told < most:
        holder = waiting.pop()
        if isinstance(holder, dict | list):
            for key in list(holder)[:50] if isinstance(holder, dict) else range(min(len(holder), 20)):
                told += 1
                yield holder, key
                waiting.append(holder[key])
