"""Odd requests and damaged archives against a running local cloud, with what must hold looked at from outside.

    python benchmarks/fuzz_local_cloud.py [--requests 20000] [--archives 2000] [--seed 1]

First come requests over raw sockets: those that clients send, changed at one or several places (methods, paths,
headers, numbers, base64, lengths, chunks, JSON, pure noise). Then archives: valid ones, changed likewise, are uploaded,
and every address that their pages name is fetched. What is sent follows from the seed alone, except for what the server
makes up itself: ids, links, offsets.

What must hold: the server lives, answers nothing with 500 and has no defect in its log; it answers or closes in time;
its memory stays under its goal; its quotas count what is there; no file appears but its own, in its folder; nobody gets
bytes that are not his; what was stored before is there afterwards. Ends with 1 if something did not.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import html
import io
import json
import random
import re
import socket
import struct
import sys
import threading
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import requests

from benchmarks.memory import peak
from tests.support.archives import CENTRAL, END, LOCAL, PNG, Forged, of_overlapping_files, zipped
from tests.support.local_cloud import BROWSER, LocalCloud, added, session

END_64, LOCATOR = "<4sQ2H2L4Q", "<4sLQL"
MEMORY_GOAL = 120  # MiB
BOUND = 15.0  # seconds for an answer or the connection's end; the server gives up after 2 (READ) or 3 (IDLE)
READ, IDLE = "2", "3"
WORKERS = 8
MOST_ADDRESSES = 60  # of one archive
FINISHED = 20
CANARY = b"canary-outside-8d1f"
FOREIGN = b"canary-of-another-key-47ac"
OURS = re.compile(
    r"server\.lock|keys\.json|files|uploads"
    r"|files/[0-9a-f]{32}(/([0-9a-f]{64}|record\.json))?|uploads/[0-9a-f]{32}(/(data|upload\.json))?"
)
NUMBERS = [
    b"0", b"1", b"-1", b"+5", b"007", b" 9", b"", b"5 ", b"1e3", b"0x10", b"5,5", b"NaN", b"1.5", b"\xd9\xa1",
    b"4294967296", b"9223372036854775807", b"18446744073709551616", b"9" * 400, b"\xb2", b"1_000",
]  # fmt: skip
WORDS = [
    b"", b" ", b"\xff\xfe", b"a\x00b", b"a\r\nX-Injected: 1", b"a\nX-Injected: 1", b"\r", b"%0d%0aX-Injected: 1",
    b"A" * 7000, b"A" * 200_000, b"\xf0\x9f\x98\x80", b"../../../../etc/passwd", b"\t", b"*", b"\xed\xa0\x80", b"=",
    b"a b, c d,,", b";q=",
]  # fmt: skip
METHODS = [
    b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PROPFIND", b"get", b"",
    b"M" * 300, b"P\xffST", b"GE T",
]  # fmt: skip
TRICKS = [
    b"/../", b"/%2e%2e/", b"//", b"/./", b"%00", b"%", b"%zz", b"%ff", b"\\..\\", b"?", b"#", b"/..%2f..%2fkeys.json",
    b"\xff", b"%0d%0aX-Injected:%201", b"a" * 9000, b"%25", b";", b"@", b"/../outside.txt",
    b"/%2e%2e%2f%2e%2e%2foutside.txt",
]  # fmt: skip
HEADERS = [
    b"Upload-Length", b"Upload-Offset", b"Upload-Metadata", b"Upload-Defer-Length", b"Upload-Checksum",
    b"Upload-Concat", b"Tus-Resumable", b"X-HTTP-Method-Override", b"Content-Type", b"Content-Length",
    b"Transfer-Encoding", b"Expect", b"Authorization", b"Range", b"If-Range", b"If-Match", b"If-None-Match",
    b"If-Modified-Since", b"If-Unmodified-Since", b"Accept", b"Cookie", b"Host", b"Origin", b"X-Forwarded-For",
    b"X-Content-SHA256", b"Connection", b"Content-Encoding", b"X-Forwarded-Host", b"Forwarded", b"Upgrade", b"TE",
    b"Trailer",
]  # fmt: skip
VALUES = [
    b"bytes=0-", b"bytes=-1", b"bytes=5-2", b"bytes=0-0,2-3", b"bytes=" + b"9" * 30 + b"-", b"bytes=\xd9\xa1-", b'"x"',
    b'W/"', b"*", b"Mon, 99 Foo 99999 99:99:99 GMT", b"Mon, 01 Jan 0001 00:00:00 +2359", b"chunked", b"gzip, chunked",
    b"chunked, chunked", b"identity", b"100-continue", b"200-maybe", b"Bearer", b"Bearer \xff", b"Basic Og==",
    b"Basic \xff", b"close", b"keep-alive, Upgrade", b"h2c", b"websocket", b"sha1 AAAA", b"sha256 \xff", b"md5 AAAA",
    b"partial", b"final;/files/a", b"PATCH", b"DELETE", b"1.0.0", b"0.2.2", b"application/offset+octet-stream",
    b"multipart/form-data; boundary=x", b"text/html;q=\xff", b"simcourier-link=9.\xff", b"127.0.0.1", b"::1%lo",
    b"f" * 64,
]  # fmt: skip
BODIES = [
    b"[" * 100_000, b'{"expires": null, "title": "\\ud800"}', b'{"expires": null, "password": "\\udfff"}',
    b'{"expires": "2099-12-31\\ud80000:00:00+00:00"}', b'{"expires": "9999-12-31T23:59:59-01:00"}',
    b'{"expires": "0001-01-01T00:00:00+23:59"}', b'{"expires": 5}', b'{"expires": ["x"]}', b"[]", b"null", b"\xff\xfe",
    b'{"expires": null, "title": {"a": 1}}', b'{"expires": null, "title": "<script>alert(1)</script>"}', b"1" * 5000,
    b'{"expires": "2099-W01-1T00:00:00.123456789+00:00:59"}', b'{"expires": null, "title": "' + b"x" * 400 + b'"}',
    b"",
]  # fmt: skip
PATHS = [
    b"../../outside.txt", b"/etc/passwd", b"C:\\x", b"a//b", b"./a", b"..", b".", b"", b"\x00", b"a\xffb",
    b"\xe2\x80\xaegpj.exe", b"<script>alert(1)</script>.html", b'"><img src=x onerror=alert(1)>.svg', b"a" * 3000,
    b"d/" * 400 + b"x", b"\n", b"a/", b"/", "é\u0301.csv".encode(), b"x.json", b"x.csv", b"\xf0\x9f\x98\x80.txt",
]  # fmt: skip


@dataclass(slots=True)
class Report:
    """What came back, and what should not have been; from several threads."""

    answers: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=dict)
    slowest: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, kind: str, seconds: float) -> None:
        """One answer."""
        with self.lock:
            self.answers[kind] += 1
            self.slowest = max(self.slowest, seconds)

    def fault(self, what: str, where: str = "") -> None:
        """Something that must not be."""
        with self.lock:
            self.faults.setdefault(what, []).append(where)


def main() -> None:
    """Run both parts, look at what is left, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--archives", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")  # of names that come twice in an archive
    report = Report()
    limits = ("--read-timeout", READ, "--idle-timeout", IDLE, "--keep-free", "0", "--quota", "2GB", "--max-file", "1GB")
    with LocalCloud(arguments=limits, lean=True) as server:
        around = server.folder.parent
        (around / "outside.txt").write_bytes(CANARY)
        before = {path.name for path in around.iterdir()}
        foreign = added(server.folder, "another")
        put = server.call("PUT", "files?key=k", data=FOREIGN, headers={"Authorization": f"Bearer {foreign}"})
        assert put.status_code == requests.codes.created, put.text
        kept = finished(server, asked.seed)
        print(f"seed {asked.seed}; the server takes {peak(server.pid):.0f} MiB at the start")
        parts: list[tuple[str, int, Callable[[LocalCloud, Report, int, int, int], None]]] = [
            ("requests", asked.requests, some_requests),
            ("archives", asked.archives, some_archives),
        ]
        for name, wanted, work in parts:
            run(server, report, name, wanted, partial(work, server, report, asked.seed))
        look(server, report, kept, before)
    print(f"\n{sum(map(len, report.faults.values())):,} faults")
    for what, places in report.faults.items():
        print(f"FAULT {what}, {len(places):,} times, first: {places[0]}")
    sys.exit(1 if report.faults else 0)


def run(server: LocalCloud, report: Report, name: str, count: int, work: Callable[[int, int], None]) -> None:
    """One part in several threads, and its lines of the table."""
    report.answers, report.slowest, started = Counter(), 0.0, time.monotonic()
    shares = [count // WORKERS + (number < count % WORKERS) for number in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as threads:
        for done in [threads.submit(work, number, share) for number, share in enumerate(shares)]:
            done.result()
    memory = peak(server.pid)
    if memory > MEMORY_GOAL:
        report.fault(f"after the {name}, the server has taken {memory:.0f} MiB")
    seconds = time.monotonic() - started
    print(f"\n{count:,} {name} in {seconds:.0f} s; slowest answer {report.slowest:.1f} s; peak {memory:.0f} MiB")
    for kind, number in sorted(report.answers.items()):
        print(f"{number:>10,}  {kind}")


def finished(server: LocalCloud, seed: int) -> dict[str, bytes]:
    """Files that must not change, by their links."""
    kept = {}
    for number in range(FINISHED):
        content = random.Random(f"{seed}.kept.{number}").randbytes(20_000 * (number + 1))
        server.put(f"kept/{number}", content)
        kept[server.link(f"kept/{number}")] = content
    return kept


def look(server: LocalCloud, report: Report, kept: dict[str, bytes], before: set[str]) -> None:
    """What is there after all of it."""
    for link, content in kept.items():
        if server.fetch(link) != content:
            report.fault("a file that was stored before has other bytes, or is gone")
    for name in {path.name for path in server.folder.parent.iterdir()} - before:
        report.fault("something new beside the folder", name)
    look_at_folder(server.folder, report)
    told, there = counted(server), held(server.folder)
    if told != there:
        report.fault("the quotas count other bytes than there are", f"{told:,} instead of {there:,}")
    for line in server.log.splitlines():
        if '"request.bug"' in line or "Traceback" in line or '"level": "error"' in line:
            report.fault("a defect in the log", line)
    if CANARY.decode() in server.log or server.key in server.log:
        report.fault("the log tells what is secret")
    code = server.stop()
    if code:
        report.fault(f"the server ended with {code}")


def look_at_folder(folder: Path, report: Report) -> None:
    """Nothing but what is named as the server names it, and has the bytes that its name says."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if not OURS.fullmatch(name):
            report.fault("a name in the folder that is not ours", name)
        if len(path.name) == hashlib.sha256().digest_size * 2 and digest(path) != path.name:
            report.fault("a file has another digest", name)
    for upload in (folder / "uploads").iterdir():
        if not (upload / "upload.json").exists():
            report.fault("an upload that nobody can go on with", upload.name)


def counted(server: LocalCloud) -> int:
    """Bytes that count towards quotas, as the server tells."""
    told = re.findall(r"(?m)^local_cloud_held_bytes\{.*\} (\d+)$", server.get(f"{server.url}/metrics").text)
    return sum(map(int, told))


def held(folder: Path) -> int:
    """The same by what lies there: files, and uploads on their way with the length that they will have."""
    size = sum(path.stat().st_size for path in folder.glob("files/*/*") if path.name != "record.json")
    for path in folder.glob("uploads/*/upload.json"):
        upload = json.loads(path.read_text(encoding="utf-8"))
        if not upload["done"]:
            size += max(upload["length"] or 0, path.with_name("data").stat().st_size)
    return size


def digest(path: Path) -> str:
    """SHA-256 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hits(chance: random.Random, percent: int) -> bool:
    """True so often."""
    return chance.randrange(100) < percent


# Requests


@dataclass(slots=True)
class Request:
    """What is sent, in parts that can be changed; ``sizes``: chunks, or None where Content-Length says it."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    sizes: list[int] | None = None
    version: bytes = b"HTTP/1.1"

    def written(self) -> bytes:
        """The bytes."""
        body = self.body
        if self.sizes is not None:
            body, at = b"", 0
            for size in self.sizes:
                piece = self.body[at : at + size]
                body, at = body + b"%x\r\n%b\r\n" % (len(piece), piece), at + size
            body += b"0\r\n\r\n"
        head = [b"%b %b %b" % (self.method, self.target, self.version)]
        head += [b"%b: %b" % pair for pair in self.headers]
        return b"\r\n".join(head) + b"\r\n\r\n" + body


class Sender:
    """One client: it knows the upload and the link that it has made, and what it may never see."""

    def __init__(self, server: LocalCloud, report: Report, worker: int) -> None:
        self._server = server
        self._report = report
        self._http = session()
        self._mine = f"fuzz/{worker}"
        server.put(self._mine, b"mine " * 1000)
        self._link = server.link(self._mine).removeprefix(server.url).encode()
        self._upload, self._offset = b"/files/" + b"0" * 32, 0

    def again(self) -> None:
        """What the last requests may have removed."""
        if self._server.put(self._mine, b"mine " * 1000).status_code == requests.codes.created:
            self._link = self._server.link(self._mine, title="", password="").removeprefix(self._server.url).encode()

    def request(self, chance: random.Random) -> Request:
        """One as clients send it."""
        tus = [
            (b"Host", b"x"),
            (b"Authorization", b"Bearer " + self._server.key.encode()),
            (b"Tus-Resumable", b"1.0.0"),
        ]
        body = chance.randbytes(chance.choice([0, 1, 100, 5000]))
        key = quote(f"{self._mine}/{chance.randrange(5)}", safe="").encode()
        metadata = b"key " + base64.b64encode(b"tus/%d" % chance.randrange(50)) + b",filename YS56aXA=,flag"
        octets, length = (b"Content-Type", b"application/offset+octet-stream"), (b"Content-Length", b"%d" % len(body))
        create = [
            *tus,
            (b"Upload-Length", b"%d" % chance.choice([0, 100, 5000, 10_000])),
            (b"Upload-Metadata", metadata),
        ]
        patch = [*tus, octets, (b"Upload-Offset", b"%d" % self._offset)]
        answer = json.dumps({"expires": None, "title": "t"}).encode()
        query = chance.choice(
            [b"", b"?download=1", b"?folder=", b"?show=a", b"?file=a&copy=2", b"?after=%00&folder=a/"]
        )
        put = b"/api/v1/files?key=" + key
        told = (b"Content-Length", b"%d" % len(answer))
        link = b"/api/v1/links?key=" + quote(self._mine, safe="").encode()
        form = b"password=%b" % chance.choice(WORDS[:6])
        accept = (b"Accept", chance.choice([b"*/*", BROWSER.encode()]))
        where = chance.choice([put, b"/api/v1/status", b"/metrics", b"/healthz"])
        asks = chance.choice([b"HEAD", b"HEAD", b"DELETE", b"OPTIONS"])
        known = [
            Request(b"POST", b"/files/", [*create, octets, length], body),
            Request(b"POST", b"/files/", [*create, octets, length], body),
            Request(b"POST", b"/files/", [*tus, (b"Upload-Defer-Length", b"1"), (b"Upload-Metadata", metadata)]),
            Request(b"PATCH", self._upload, [*patch, length], body),
            Request(b"PATCH", self._upload, [*patch, length], body),
            Request(b"PATCH", self._upload, [*patch, (b"Transfer-Encoding", b"chunked")], body, [1, 70, 4000]),
            Request(asks, self._upload, tus),
            Request(b"PUT", put, [*tus, length], body),
            Request(chance.choice([b"GET", b"GET", b"DELETE"]), where, tus),
            Request(b"POST", link, [*tus, told], answer),
            Request(b"POST", self._link + query, [tus[0], (b"Content-Length", b"%d" % len(form))], form),
            Request(b"GET", self._link + query, [tus[0], accept]),
        ]
        return chance.choice(known)

    def send(self, content: bytes, number: int) -> None:
        """Send and look at what comes back."""
        started = time.monotonic()
        answer, ended = b"", "cut"
        try:
            with socket.create_connection(("127.0.0.1", self._server.port), timeout=BOUND) as connection:
                connection.settimeout(BOUND)
                try:
                    connection.sendall(content)
                    while (
                        not (ended := complete(answer, content.startswith(b"HEAD ")))
                        and time.monotonic() - started < BOUND
                    ):
                        piece = connection.recv(65536)
                        if not piece:
                            ended = "closed"
                            break
                        answer += piece
                except (ConnectionError, BrokenPipeError):
                    ended = "cut"
        except TimeoutError:
            ended = ""
        except OSError as error:
            self._report.fault("nobody answers any more", f"request {number}: {error}")
            return
        self._judge(content, answer, ended, number, time.monotonic() - started)

    def _judge(self, content: bytes, answer: bytes, ended: str, number: int, seconds: float) -> None:
        answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        found = re.match(rb"HTTP/\d\.\d (\d\d\d)", answer)
        status = found[1].decode() if found else "no answer"
        code = re.search(rb'"code": "(\w+)"', body)
        kind = status + (f" {code[1].decode()}" if code else "")
        self._report.count(kind if found else f"no answer, {ended or 'nothing'}", seconds)
        sent = f"request {number}: {content[:300]!r}"
        if not ended or seconds > BOUND:
            self._report.fault(f"neither answer nor end within {BOUND:g} s", sent)
        if status == "500" and kind != "500 cut":
            self._report.fault(f"an answer {kind}", sent)
        if b"\nx-injected:" in head.lower():
            self._report.fault("a header was injected", sent)
        if any(secret in answer for secret in (CANARY, FOREIGN, b"root:x:0:")):
            self._report.fault("a request is shown what it may not see", sent)
        if status == "201" and (location := re.search(rb"(?mi)^location: \w+://[^/]*(/files/[0-9a-f]{32})\r?$", head)):
            self._upload, self._offset = location[1], 0
        if status in {"200", "201", "204", "409"} and (told := re.search(rb"(?mi)^upload-offset: (\d+)\r?$", head)):
            self._offset = int(told[1])


def complete(answer: bytes, bodiless: bool) -> str:
    """Why no more is expected; empty: more is."""
    head, mark, body = answer.partition(b"\r\n\r\n")
    if not mark:
        return ""
    status = head[9:12]
    if status == b"100":
        return complete(body, bodiless)
    if bodiless or status in {b"204", b"304"}:
        return "whole"
    if b"transfer-encoding: chunked" in head.lower():
        return "whole" if body.endswith(b"0\r\n\r\n") else ""
    length = re.search(rb"(?mi)^content-length: (\d+)\r?$", head)
    return "whole" if length and len(body) >= int(length[1]) else ""


def some_requests(server: LocalCloud, report: Report, seed: int, worker: int, count: int) -> None:
    """One thread's share."""
    sender = Sender(server, report, worker)
    for number in range(count):
        chance = random.Random(f"{seed}.{worker}.{number}")
        if number % 200 == 0:
            sender.again()
        request = sender.request(chance)
        for _ in range(chance.choice([0, 1, 1, 1, 2, 4])):
            chance.choice(CHANGES)(request, chance)
        sender.send(noise(request.written(), chance), number * WORKERS + worker)


def change_method(request: Request, chance: random.Random) -> None:
    """Another one, or another version of the protocol."""
    if hits(chance, 80):
        request.method = chance.choice(METHODS)
    else:
        request.version = chance.choice(
            [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"", b"HTTX/1.1", b"HTTP/1.1 x"]
        )


def change_target(request: Request, chance: random.Random) -> None:
    """A trick somewhere in the path or query."""
    at = chance.randrange(len(request.target) + 1)
    trick = chance.choice(TRICKS)
    cut = at if hits(chance, 60) else chance.randrange(at, len(request.target) + 1)
    request.target = request.target[:at] + trick + request.target[cut:]


def change_header(request: Request, chance: random.Random) -> None:
    """Another value for one that is there, or away with it, or twice."""
    at = chance.randrange(len(request.headers))
    name, value = request.headers[at]
    match chance.randrange(10):
        case 0 | 1:
            del request.headers[at]
        case 2 | 3:
            request.headers.insert(at, (name, chance.choice([value, *NUMBERS])))
        case 4 | 5 | 6 | 7:
            request.headers[at] = (name, chance.choice(NUMBERS + VALUES))
        case 8:
            request.headers[at] = (name, value + chance.choice(WORDS))
        case _:
            odd = [name.upper(), name + b" ", b" " + name, name.replace(b"-", b"_"), b"\xff" + name, name[:-1], b""]
            request.headers[at] = (chance.choice(odd), value)
    if not request.headers:
        request.headers.append((b"Host", b"x"))


def add_header(request: Request, chance: random.Random) -> None:
    """One that does not belong there, or a hundred of them."""
    name = chance.choice(HEADERS)
    value = chance.choice(VALUES + NUMBERS if hits(chance, 90) else WORDS)
    request.headers += [(name, value)] * chance.choice([1, 1, 1, 1, 1, 1, 2, 100])


def change_metadata(request: Request, chance: random.Random) -> None:
    """Odd base64 and odd pairs."""
    texts = [*WORDS, b"k", "é".encode(), b"a" * 2000]
    pairs = []
    for _ in range(chance.choice([1, 1, 2, 40])):
        coded = base64.b64encode(chance.choice(texts)[:3000])
        value = chance.choice([coded, coded[:-1], coded + b"=", b"!!!!", b"\xff", coded.replace(b"A", b"-"), b""])
        pairs.append(chance.choice([b"key", b"filename", b"sha256", b"", b"\xff", b"key key"]) + b" " + value)
    headers = [pair for pair in request.headers if pair[0] != b"Upload-Metadata"]
    request.headers = [*headers, (b"Upload-Metadata", b",".join(pairs))]


def change_body(request: Request, chance: random.Random) -> None:
    """Other bytes, sometimes of another length than is said."""
    request.body = chance.choice([*BODIES, chance.randbytes(20_000), request.body * 2, request.body[:1]])
    if hits(chance, 90):
        said = b"%d" % len(request.body)
        request.headers = [(name, said if name == b"Content-Length" else value) for name, value in request.headers]


def change_framing(request: Request, chance: random.Random) -> None:
    """In chunks, with or without a length beside them."""
    request.sizes = [chance.randrange(1, 3000) for _ in range(chance.randrange(1, 30))]
    if hits(chance, 70):
        request.headers = [pair for pair in request.headers if pair[0] != b"Content-Length"]
    request.headers.append(
        (b"Transfer-Encoding", chance.choice([b"chunked", b"chunked", b"Chunked", b"xchunked", b"chunked "]))
    )


CHANGES = [
    change_method, change_target, change_target, change_header, change_header, add_header, add_header, change_metadata,
    change_metadata, change_body, change_body, change_body, change_framing,
]  # fmt: skip


def noise(content: bytes, chance: random.Random) -> bytes:
    """The bytes themselves, rarely changed: other chunk sizes, cut, doubled, flipped."""
    match chance.randrange(40):
        case 0:
            return content[: chance.randrange(len(content))] if hits(chance, 40) else content * 2
        case 1:
            odd = chance.choice([b"-1", b"ffffffffffffffff", b"0x5", b"5;a=b", b"zz", b"", b"5\n", b"f" * 3000])
            return re.sub(rb"\r\n[0-9a-f]{1,4}\r\n", b"\r\n" + odd + b"\r\n", content, count=1)
        case 2:
            changed = bytearray(content)
            for _ in range(chance.choice([1, 3, 20])):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            return bytes(changed)
        case 3:
            return content.replace(b"\r\n", chance.choice([b"\n", b"\r", b"\r\n "]), chance.choice([1, 3, -1]))
        case _:
            return content


# Archives


def some_archives(server: LocalCloud, report: Report, seed: int, worker: int, count: int) -> None:
    """One thread's share: upload one, fetch all that its page names."""
    with session() as http:
        for number in range(count):
            chance = random.Random(f"{seed}.archive.{worker}.{number}")
            name = f"archive {number * WORKERS + worker}"
            archive = changed_archive(chance)
            stored = server.put(f"zip/{worker}", archive, params={"name": "x.zip"})
            if stored.status_code != requests.codes.created:
                report.fault(f"an archive is not taken: {stored.status_code}", f"{name}: {stored.text}")
                continue
            fetch_all(http, server.link(f"zip/{worker}"), archive, report, name)


def fetch_all(http: requests.Session, link: str, archive: bytes, report: Report, name: str) -> None:
    """The page, and whatever it leads to."""
    waiting = ["", "?folder=", "?file=x.json", "?show=../../outside.txt", "?folder=../&after=.."]
    seen: set[str] = set()
    while waiting and len(seen) < MOST_ADDRESSES:
        query = waiting.pop()
        if query in seen:
            continue
        seen.add(query)
        started, body, headers, status = time.monotonic(), b"", requests.structures.CaseInsensitiveDict[str](), "cut"
        try:
            with http.get(link + query, headers={"Accept": BROWSER}, timeout=BOUND, stream=True) as answer:
                headers, kind = answer.headers, answer.headers.get("Content-Type", "")
                for piece in answer.iter_content(65536):
                    body += piece
                status = str(answer.status_code)
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError):
            kind = "cut"  # in the middle of a damaged file
        except requests.exceptions.Timeout:
            report.fault(f"no answer within {BOUND:g} s", f"{name}: {query[:200]}")
            continue
        what = "one file" if "file=" in query else "page"
        report.count(f"{status} {what}", time.monotonic() - started)
        judge_entry(report, f"{name}: {query[:200]}", status, headers, body, archive)
        if kind.startswith("text/html"):
            links = re.findall(r'(?:href|src)="(\?[^"]*)"', body.decode())
            waiting += [html.unescape(one).partition("#")[0] for one in links if "download" not in one]


def judge_entry(
    report: Report,
    where: str,
    status: str,
    headers: requests.structures.CaseInsensitiveDict[str],
    body: bytes,
    archive: bytes,
) -> None:
    """What must hold for each answer."""
    kind, policy = headers.get("Content-Type", ""), headers.get("Content-Security-Policy", "")
    if status.startswith("5"):
        report.fault(f"an answer {status}", where)
    if any(secret in body for secret in (CANARY, FOREIGN, b"root:x:0:")):
        report.fault("an archive shows what is not in it", where)
    if status != "200":
        return
    if headers.get("X-Content-Type-Options") != "nosniff" or "default-src 'none'" not in policy:
        report.fault("an answer without its protecting headers", where)
    if kind.startswith("text/html"):
        if body.count(b"<script") != 1 or b"<img src=x" in body:
            report.fault("a name has become a part of the page", where)
    elif "sandbox" not in policy:
        report.fault("a file from inside may do what a page may", where)
    elif body not in archive and not any(body == one for one in inflated(archive, len(body) + 1)):
        report.fault("bytes that are not in the archive", where)


def inflated(archive: bytes, most: int) -> Iterator[bytes]:
    """What can be unpacked, up to so many bytes, behind each thing that looks like a file's own header."""
    for mark in re.finditer(rb"PK\x03\x04", archive):
        header = archive[mark.start() : mark.start() + struct.calcsize(LOCAL)]
        if len(header) == struct.calcsize(LOCAL):
            begin = mark.start() + len(header) + sum(struct.unpack(LOCAL, header)[-2:])
            with contextlib.suppress(zlib.error):
                yield zlib.decompressobj(-zlib.MAX_WBITS).decompress(archive[begin:], most)


def changed_archive(chance: random.Random) -> bytes:
    """A valid one with some fields, names or bytes changed."""
    content = bytearray(chance.choice(MAKERS)(chance))
    for _ in range(chance.choice([0, 1, 1, 2, 5])):
        chance.choice([change_field, change_field, change_name, change_bytes, change_length])(content, chance)
    return bytes(content)


def file_of(chance: random.Random) -> tuple[str, bytes]:
    """A name and what is in it."""
    deep = chance.choice([3, 200, 900])
    files = [
        ("x.json", b"[" * deep + b"0," * chance.choice([10, 30_000]) + b"0" + b"]" * deep),
        ("x.csv", b"a,b\n" + b"1,2\n" * chance.randrange(9000)),
        ("wide.csv", b'"' * chance.randrange(70_000) + b"," * chance.randrange(70_000)),
        ("x.txt", chance.choice(WORDS) * chance.randrange(20)),
        ("x.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
        ("x.html", b"<script>alert(1)</script>"),
        ("x.png", PNG),
        ("zeros.bin", bytes(chance.randrange(2_000_000))),
        ("folder/", b""),
        (f"d/{chance.randrange(9)}/{chance.randrange(9)}.log", chance.randbytes(chance.randrange(300))),
        (chance.choice(PATHS).decode("latin-1"), b"odd name"),
    ]
    return chance.choice(files)


def plain(chance: random.Random) -> bytes:
    """As Python makes them."""
    method = chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED])
    whole = zipped([file_of(chance) for _ in range(chance.choice([1, 1, 5, 12, 300]))], method=method)
    return chance.choice([b"", b"", b"#!/bin/sh\n" * 9]) + whole


def large(chance: random.Random) -> bytes:
    """In the form for archives over 4 GiB, without being one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(chance.randrange(1, 5)):
            with archive.open(f"{number}.txt", "w", force_zip64=True) as stream:
                stream.write(chance.randbytes(300))
    content = bytearray(buffer.getvalue())
    end = content.rfind(b"PK\x05\x06")
    *_, count, length, offset, _ = struct.unpack_from(END, content, end)
    record = struct.pack(END_64, b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, offset)
    locator = struct.pack(LOCATOR, b"PK\x06\x07", 0, end, 1)
    content[end:] = record + locator + struct.pack(END, b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return bytes(content)


def forged(chance: random.Random) -> bytes:
    """With names that no packer would write, and files that share their bytes."""
    made = Forged()
    for _ in range(chance.randrange(1, 9)):
        name, content = chance.choice(PATHS), file_of(chance)[1]
        begin = None if hits(chance, 70) else chance.randrange(len(made.body) + 1)
        method, flags = chance.choice([0, 8, 8, 8, 12, 99]), chance.choice([0, 0, 0, 1, 8, 0x800])
        made.add(name, content, method=method, flags=flags, begin=begin, mode=chance.choice([0, 0o120777]))
    return made.whole()


def overlapping(chance: random.Random) -> bytes:
    """The bomb."""
    return of_overlapping_files(chance.randrange(2, 30))


MAKERS = [plain, plain, large, forged, forged, overlapping]
FORMS = [
    (b"PK\x01\x02", CENTRAL),
    (b"PK\x03\x04", LOCAL),
    (b"PK\x05\x06", END),
    (b"PK\x06\x06", END_64),
    (b"PK\x06\x07", LOCATOR),
]


def change_field(content: bytearray, chance: random.Random) -> None:
    """A number in one of the records."""
    mark, form = chance.choice(FORMS)
    places = [found.start() for found in re.finditer(re.escape(mark), content)]
    if not places:
        return
    at = chance.choice(places)
    if at + struct.calcsize(form) > len(content):
        return
    _, *values = struct.unpack_from(form, content, at)
    kinds = "".join(kind * int(count or 1) for count, kind in re.findall(r"(\d*)([HLQ])", form))
    which = chance.randrange(len(values))
    most, old = 256 ** struct.calcsize(f"<{kinds[which]}") - 1, values[which]
    odd = [
        0,
        1,
        most,
        most - 1,
        old + 1,
        old - 1,
        old * 2,
        old ^ 1,
        len(content),
        chance.randrange(most),
        chance.choice(places),
    ]
    values[which] = chance.choice(odd) & most
    struct.pack_into(form, content, at, mark, *values)


def change_name(content: bytearray, chance: random.Random) -> None:
    """Another name of the same length, in one of its two places."""
    found = list(re.finditer(rb"[A-Za-z0-9./<>]{5,}", content))
    if found:
        place = chance.choice(found)
        length = place.end() - place.start()
        content[place.start() : place.end()] = (chance.choice(PATHS) * length + b"x" * length)[:length]


def change_bytes(content: bytearray, chance: random.Random) -> None:
    """Some bytes anywhere, more often near the end, where the list is."""
    for _ in range(chance.choice([1, 3, 20])):
        at = chance.randrange(len(content)) if hits(chance, 30) else max(0, len(content) - 1 - chance.randrange(400))
        content[at] = chance.choice([0, 255, chance.randrange(256)])


def change_length(content: bytearray, chance: random.Random) -> None:
    """Cut, doubled, with a hole, or with more behind it."""
    at = chance.randrange(len(content))
    end = chance.randrange(at, len(content))
    match chance.randrange(4):
        case 0 if at:
            del content[at:]
        case 1:
            content[end:end] = content[at:end]
        case 2:
            del content[at:end]
        case _:
            content += chance.choice([b"x", b"PK\x05\x06", bytes(30), bytes(content)])


if __name__ == "__main__":
    main()
