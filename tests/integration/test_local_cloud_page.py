"""The page behind a link: what it tells, what it shows of an archive, and that nothing in one does harm."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import psutil
import pytest
import requests

from tests.support.archives import PNG, Forged, of_overlapping_files, zipped
from tests.support.local_cloud import MIB, LocalCloud, guesses, watched
from tests.support.scratch import wait_until

server = pytest.fixture(scope="module")(watched)

SCRIPT = b"<script>document.title = 'run'</script>"
FILES = {
    "README.txt": "Arrivals 0.8 per second.\nGrößere Läufe: später.\n".encode(),
    "summary.csv": b"name,mean\n" + b"".join(b"queue-%d,%d.5\n" % (n, n) for n in range(80)),
    "statistics.json": b'{"seed": 1, "warnings": []}',
    "plots/queue.png": PNG,
    "plots/load.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'>" + SCRIPT + b"</svg>",
    "report.html": b"<h1>Report</h1>" + SCRIPT,
    "raw/General-#0.vec": b"0 1 2.5\n" * 5000,
    "raw/empty.sca": b"",
    "raw/data.bin": bytes(range(256)) * 4,
    "old.txt": "Länge".encode("latin-1"),
}


class Page(HTMLParser):
    """What a test asks of a page; addresses are whole."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._base = answer.url
        self._skip = False
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._skip = tag in {"style", "script"}

    def handle_endtag(self, tag: str) -> None:
        self._skip &= tag not in {"style", "script"}

    def handle_data(self, data: str) -> None:
        if not self._skip:
            self.text += data

    def links(self, part: str = "") -> list[str]:
        found = [attrs["href"] for tag, attrs in self.tags if tag == "a" and part in attrs["href"]]
        return [urllib.parse.urljoin(self._base, href) for href in found]

    def images(self) -> list[str]:
        return [urllib.parse.urljoin(self._base, attrs["src"]) for tag, attrs in self.tags if tag == "img"]


@pytest.fixture(scope="module")
def link(server: LocalCloud) -> str:
    server.put("page/mm1.zip", zipped(FILES))
    return server.link("page/mm1.zip", title="M/M/1 & <friends>")


def page(server: LocalCloud, address: str) -> Page:
    answer = server.browse(address)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return Page(answer)


def shown(server: LocalCloud, link: str, path: str) -> Page:
    return page(server, page(server, link).links(f"?{urllib.parse.urlencode({'show': path})}#")[0])


# What it tells


def test_the_page_tells_what_is_there(server: LocalCloud) -> None:
    content = zipped(FILES)
    server.put("told.zip", content)
    expires = datetime.now(UTC) + timedelta(days=30)
    answer = server.browse(server.link("told.zip", expires.isoformat(), title="M/M/1 & <friends>"))

    text = Page(answer).text
    for told in (
        "M/M/1 & <friends>",
        "told.zip",
        hashlib.sha256(content).hexdigest(),
        f"{expires:%-d %B %Y, %H:%M} UTC, at the latest",
        "the date in the mail is the one that counts",
        f"{datetime.now(UTC):%-d %B %Y}",
        f"{len(content) / 1024:.1f} KiB",
        "10 files",
    ):
        assert told in text
    assert "vailable until" not in text, "the mail promises that, and an earlier date"
    assert f'datetime="{expires:%Y-%m-%dT%H:%M:%S}Z"' in answer.text
    assert server.get(Page(answer).links("?download=1")[0]).content == content


def test_a_link_that_never_ends_and_a_file_that_is_no_archive_have_a_page_too(server: LocalCloud) -> None:
    server.put("notes.txt", b"text")

    found = page(server, server.link("notes.txt"))

    assert "notes.txt" in found.text
    assert "when the file is removed" in found.text
    assert "inside" not in found.text


def test_a_link_that_has_ended_or_leads_nowhere_says_so_in_a_friendly_way(server: LocalCloud, link: str) -> None:
    server.put("ended.zip", zipped(FILES))
    yesterday = datetime.now(UTC) - timedelta(days=1)
    ended = server.link("ended.zip", yesterday.isoformat())

    gone, nowhere = server.browse(ended), server.browse(link.replace("/f/", "/f/0"))

    assert (gone.status_code, nowhere.status_code) == (410, 404)
    assert f"until {yesterday:%-d %B %Y}" in Page(gone).text
    assert "deliver them again" in Page(gone).text
    assert "Links are long" in Page(nowhere).text
    for answer in (gone, nowhere, server.get(ended), server.get(link.replace("/f/", "/f/0"))):
        assert answer.headers["Vary"] == "Accept", "a cache must not give one's answer to the other"
        assert answer.headers["Cache-Control"].startswith("private")
    assert [server.browse(f"{ended}?{query}").status_code for query in ("file=README.txt", "show=x", "download=1")] == [
        410
    ] * 3


def test_a_link_that_was_cut_off_and_the_bare_address_say_so_too(server: LocalCloud, link: str) -> None:
    without_name = link.rpartition("/")[0]

    for address in (without_name, f"{without_name}/", without_name[:-9], f"{server.url}/f/", f"{server.url}/"):
        answer = server.browse(address)
        assert answer.status_code == 404
        assert "Links are long" in Page(answer).text, address
        assert server.get(address).json()["code"] == "not_found"


def test_a_title_is_kept_until_it_is_taken_away(server: LocalCloud) -> None:
    server.put("titled.zip", zipped(FILES))
    link = server.link("titled.zip", title="A study")
    server.put("titled.zip", zipped({"a": b"other"}))
    server.link("titled.zip")
    before = page(server, link).text

    server.link("titled.zip", title=None)

    assert "A study" in before
    assert "A study" not in page(server, link).text


@pytest.mark.parametrize("more", [{"title": 5}, {"title": "x" * 301}, {"password": ["x"]}, {"password": "x" * 1025}])
def test_a_title_or_password_that_is_none_is_refused(server: LocalCloud, more: dict[str, object]) -> None:
    server.put("refused.zip", b"x")

    answer = server.call("POST", "links", params={"key": "refused.zip"}, json={"expires": None, **more})

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


# What is inside


def test_every_file_is_listed_and_can_be_downloaded_alone(server: LocalCloud, link: str) -> None:
    listed = page(server, link).links("?file=")

    paths = {urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)["file"][0]: address for address in listed}
    assert {path: server.get(address).content for path, address in paths.items()} == FILES


def test_text_is_shown_in_place(server: LocalCloud, link: str) -> None:
    assert "Größere Läufe: später." in shown(server, link, "README.txt").text
    assert "Länge" in shown(server, link, "old.txt").text
    long = shown(server, link, "raw/General-#0.vec").text
    assert "The first 1,000 lines." in long
    assert long.count("0 1 2.5") == 1000
    assert '"seed": 1,\n  "warnings": []' in shown(server, link, "statistics.json").text
    assert SCRIPT.decode() in shown(server, link, "report.html").text


def test_a_table_is_shown_with_its_first_rows(server: LocalCloud, link: str) -> None:
    found = shown(server, link, "summary.csv")

    assert "The first 50 rows." in found.text
    assert "queue-49" in found.text
    assert "queue-50" not in found.text
    assert [tag for tag, _ in found.tags].count("th") == 2
    assert sum(tag == "td" and attrs == {"class": "number"} for tag, attrs in found.tags) == 50


def test_pictures_are_shown_in_place(server: LocalCloud, link: str) -> None:
    pictures = page(server, link).images()

    answers = [server.get(address) for address in pictures]
    assert [answer.headers["Content-Type"] for answer in answers] == ["image/svg+xml", "image/png"]
    assert answers[1].content == PNG
    assert shown(server, link, "plots/queue.png").images() == [pictures[1]]


def test_what_cannot_be_shown_says_why(server: LocalCloud, link: str) -> None:
    assert "This is no text" in shown(server, link, "raw/data.bin").text
    assert "It is empty" in page(server, f"{link}?show=raw/empty.sca").text
    assert server.browse(f"{link}?show=nothing").status_code == 404
    assert server.browse(f"{link}?folder=nothing/").status_code == 404
    assert server.browse(f"{link}?folder=plots").status_code == 404
    assert page(server, f"{link}?folder=plots/&show=README.txt").text.count("Arrivals 0.8") == 1


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b'"unclosed, quote\n1,2\n', "unclosed"),
        ("a.csv", b"a;b\n1;2\n", "a"),
        ("a.csv", b"x" * 500_000, "xxx"),
        ("a.csv", b"a," * 5000 + b"\n", "The first 30 columns"),
        ("a.csv", b"\n\n\n", ""),
        ("a.csv", b"# note\na,b\n1,2\n", "b"),
        ("a.tsv", b"a\tb\n1\t2\n", "b"),
        ("a.json", b"[" * 100_000, "[[["),
        ("a.json", b"9" * 10_000, "999"),
        ("a.json", b"{no json", "{no json"),
        ("a.txt", b"\xff\xfeH\x00i\x00", "Hi"),
        ("a.txt", b"\xef\xbb\xbfwith a mark", "with a mark"),
        ("a.txt", "é".encode() * 40_000, "ééé"),
        ("a.txt", b"\x1b[31mred\x07\n", "\ufffd[31mred"),
        ("a", b"\x01\x02\x03\x04" * 100 + b"\xff", "This is no text"),
        ("a.txt", b"x" * 10_000_000, "The first 1 lines"),
        ("</pre><script>alert(1)</script>.txt", SCRIPT, SCRIPT.decode()),
    ],
)
def test_content_of_any_kind_is_shown_or_told(server: LocalCloud, name: str, content: bytes, told: str) -> None:
    server.put("content.zip", zipped({name: content}))

    found = page(server, f"{server.link('content.zip')}?{urllib.parse.urlencode({'show': name})}")

    assert told in found.text
    assert [tag for tag, _ in found.tags].count("script") == 1


def test_a_long_list_is_shown_page_by_page(server: LocalCloud) -> None:
    files = {f"run-{n}.csv": b"1" for n in range(450)} | {"zoo/b": b"y"}
    server.put("long.zip", zipped(files | {"folder/a": b"x"}))
    address, found, pages = server.link("long.zip"), set(), 0
    (folder,) = page(server, address).links("?folder=folder")
    while address:
        part = page(server, address)
        found |= {urllib.parse.unquote(one.partition("?file=")[2]) for one in part.links("?file=")}
        address = next(iter(part.links("&after=")), "")
        pages += 1

    assert (found, pages) == ({urllib.parse.quote_plus(name).replace("%2F", "/") for name in files}, 3)
    assert page(server, folder).links("?file=folder")


def test_an_archive_of_100_000_files_has_small_pages(server: LocalCloud) -> None:
    lines = [Forged().add(b"study/run-%d/file-%d.csv" % (n // 1000, n), b"").list for n in range(100_000)]
    server.put("many.zip", with_end_64(lines))
    link = server.link("many.zip")

    top, study, run = (
        server.browse(f"{link}{query}")
        for query in ("", "?folder=study/", "?folder=study/run-7/&after=study/run-7/file-7500.csv")
    )

    assert "100,000 files" in top.text
    assert "run-99" in study.text
    assert "run-99" in top.text, "a folder that is alone is passed over"
    assert "file-7501.csv" in run.text
    assert max(len(answer.content) for answer in (top, study, run)) < 150_000
    assert max(answer.elapsed.total_seconds() for answer in (study, run)) < 20
    assert psutil.Process(server.pid).memory_info().rss < 120 * MIB


def with_end_64(lines: list[bytes]) -> bytes:
    """A list of so many files that only zip64 can tell how many."""
    listed = b"".join(lines)
    count, length, end = (number.to_bytes(8, "little") for number in (len(lines), len(listed), len(listed)))
    record = b"PK\x06\x06" + (44).to_bytes(8, "little") + bytes(12) + count + count + length + bytes(8)
    locator = b"PK\x06\x07" + bytes(4) + end + bytes(4)
    return listed + record + locator + Forged().whole(count=0xFFFF, length=0xFFFFFFFF, offset=0xFFFFFFFF)


# Hostile archives

HOSTILE = {
    "cut": (zipped(FILES)[:-30], "its list of files is missing"),
    "no archive": (b"hello", "its list of files is missing"),
    "list damaged": (Forged().add(b"a").whole(offset=10**9), "ends before its list of files"),
    "overlapping": (of_overlapping_files(), "share the same bytes"),
    "out of the folder": (Forged().add(b"../../../etc/cron.d/x", b"x").whole(), "leads out of the folder"),
    "absolute": (Forged().add(b"/etc/passwd", b"x").whole(), "leads out of the folder"),
    "name twice": (zipped([("a.txt", b"1"), ("a.txt", b"2")]), "Another file with the same name"),
    "name no UTF-8": (Forged().add(b"gr\x94\xe1e", b"x").whole(), "größe"),
    "controls in a name": (Forged().add(b"a\r\nSet-Cookie: x\x00", b"x").whole(), "cannot be shown"),
    "encrypted": (Forged().add(b"a.txt", b"x", flags=1).whole(), "It is encrypted"),
    "method": (Forged().add(b"a.txt", b"x", method=93).whole(), "Zstandard"),
    "symbolic link": (Forged().add(b"a", b"/etc/passwd", mode=0o120777).whole(), "symbolic link"),
    "deep": (Forged().add(b"d/" * 400 + b"x", b"x").whole(), "1 file"),
    "file and folder of one name": (zipped({"a": b"1", "a/b": b"2"}), "2 files"),
    "empty": (zipped({}), "0 files"),
    "sizes beyond all sense": (
        Forged().add(b"a", b"", size=2**32 - 2).add(b"b", b"", size=2**32 - 2).whole(),
        "8.0 GiB",
    ),
}


@pytest.mark.parametrize(("content", "told"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_archive_has_a_page_that_says_what_is_wrong(server: LocalCloud, content: bytes, told: str) -> None:
    server.put("hostile.zip", content, params={"name": "hostile.zip"})

    found = page(server, server.link("hostile.zip"))

    assert told in found.text
    assert found.links("?download=1")
    for address in [*found.links("?show="), *found.links("?folder="), *found.links("?file=")]:
        answer = server.browse(address)
        assert answer.status_code in {200, 404, 422}
        assert "Set-Cookie" not in answer.headers


def test_names_and_titles_are_text_in_the_page_whatever_they_are(server: LocalCloud) -> None:
    evil = "\"'><img src=x onerror=alert(1)><script>alert(1)</script>{{987654321*987654321}}"
    server.put("evil", zipped({f"{evil}.txt": b"x", f"{evil}/b.png": PNG}), params={"name": f"{evil}.zip"})
    link = server.link("evil", title=evil)

    for address in (link, *page(server, link).links("?show="), *page(server, link).links("?folder=")):
        found = page(server, address)
        assert [tag for tag, _ in found.tags].count("script") == 1
        assert not any(attribute.startswith("on") for _, attrs in found.tags for attribute in attrs)
        assert evil.partition("/")[0] in found.text
        assert str(987654321**2) not in found.text


# Headers


def test_nothing_of_an_archive_may_run_in_the_browser(server: LocalCloud, link: str) -> None:
    answers = {path: server.browse(f"{link}?file={urllib.parse.quote(path)}") for path in FILES}
    answers |= {f"{path} inline": server.browse(f"{link}?file={path}&inline") for path in FILES if "#" not in path}
    answers["whole"] = server.browse(f"{link}?download=1")

    for path, answer in answers.items():
        assert re.search(r"default-src 'none'; .*sandbox$", answer.headers["Content-Security-Policy"]), path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"].startswith("private, no-cache")
        assert "html" not in answer.headers["Content-Type"]
    shown_alone = {
        path for path, answer in answers.items() if answer.headers["Content-Disposition"].startswith("inline")
    }
    assert shown_alone == {"plots/queue.png inline", "plots/load.svg inline"}


def test_the_page_admits_its_own_script_and_style_alone(server: LocalCloud, link: str) -> None:
    answer = server.browse(link)

    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    for tag in ("script", "style"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"
    assert not re.search(r' style=|="https?:|\bonclick', answer.text)
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert '<html lang="en">' in answer.text


# Passwords


@pytest.fixture
def locked(server: LocalCloud) -> Iterator[str]:
    """A link with a password; its own server, as guesses are counted."""
    server.call("DELETE", "files", params={"key": "locked"})
    server.put("locked", zipped(FILES), params={"name": "locked.zip"})
    yield server.link("locked", password="geheim ß")
    server.link("locked", password="")


def test_a_password_opens_the_link_in_this_browser(locked: str) -> None:
    with requests.Session() as browser:
        browser.trust_env = False
        browser.headers["Accept"] = "text/html"
        before = [browser.get(f"{locked}{query}") for query in ("", "?file=README.txt", "?download=1", "?folder=")]
        wrong = browser.post(locked, data={"password": "falsch"})
        right = browser.post(f"{locked}?show=README.txt", data={"password": "geheim ß"})
        after = browser.get(f"{locked}?file=README.txt")

    assert [answer.status_code for answer in before] == [403] * 4
    assert all('type="password"' in answer.text and "README" not in answer.text for answer in before)
    assert (wrong.status_code, "not the password" in wrong.text) == (403, True)
    assert right.status_code == 200
    assert "Arrivals 0.8" in Page(right).text
    assert after.content == FILES["README.txt"]
    assert re.search(
        r"simcourier-link=[\w.]+; Max-Age=43200; HttpOnly; SameSite=Lax$", right.history[0].headers["Set-Cookie"]
    )


def test_programs_give_the_password_as_http_basic(server: LocalCloud, locked: str) -> None:
    without = server.get(locked)
    credentials = base64.b64encode("anyone:geheim ß".encode()).decode()

    with_it = server.get(f"{locked}?file=README.txt", Authorization=f"Basic {credentials}")
    odd = [server.get(locked, Authorization=f"Basic {text}").status_code for text in ("", "?", "/w==", "YQ==")]

    assert (without.status_code, without.json()["code"]) == (401, "password")
    assert without.headers["WWW-Authenticate"].startswith("Basic ")
    assert with_it.content == FILES["README.txt"]
    assert odd == [401] * 4


def test_a_ticket_ends_with_the_password_and_is_no_other_links(server: LocalCloud, locked: str) -> None:
    ticket = server.http.post(locked, data={"password": "geheim ß"}, allow_redirects=False, timeout=120)
    cookie = ticket.headers["Set-Cookie"].partition(";")[0]
    server.put("other locked", zipped(FILES))
    other = server.link("other locked", password="geheim ß")
    forged = [
        cookie[:-1],
        cookie.replace("=1", "=9"),
        "simcourier-link=",
        "simcourier-link=x.y",
        "simcourier-link=9999999999.",
    ]

    assert server.get(locked, Cookie=cookie).status_code == 200
    assert server.get(other, Cookie=cookie).status_code == 401
    assert [server.get(locked, Cookie=one).status_code for one in forged] == [401] * 5
    server.link("locked", password="changed")
    assert server.get(locked, Cookie=cookie).status_code == 401
    server.link("locked", password=None)
    assert server.get(locked).status_code == 200


def test_a_password_stays_when_the_bytes_are_replaced_or_the_end_is_changed(server: LocalCloud, locked: str) -> None:
    server.put("locked", zipped({"a": b"other"}))
    server.link("locked")

    assert server.get(locked).status_code == 401


def test_a_password_is_kept_as_a_digest_alone(server: LocalCloud, locked: str) -> None:
    server.http.post(locked, data={"password": "geheim ß"}, timeout=120)
    (record,) = [text for file in server.folder.glob("files/*/record.json") if '"locked"' in (text := file.read_text())]

    assert json.loads(record)["password"].startswith("scrypt:16384:8:1:")
    assert "geheim" not in record + server.log


def test_guessing_is_slowed_and_the_server_stays_quick_for_others() -> None:
    with LocalCloud() as server:
        for key in ("guessed", "free"):
            server.put(key, zipped(FILES))
        locked, free = server.link("guessed", password="right"), server.link("free")
        codes = guesses(lambda: server.http.post(locked, data={"password": "wrong"}, timeout=120).status_code)
        waiting = server.get(locked, Authorization="Basic " + base64.b64encode(b":wrong").decode())

        assert codes[:5] == [403] * 5
        assert codes[-2:] == [429] * 2
        assert (waiting.status_code, waiting.json()["code"]) == (429, "too_many_guesses")
        assert int(waiting.headers["Retry-After"]) >= 1
        assert server.get(free).status_code == 200
        assert len(server.events("link.wrong_password")) == codes.count(403)

        def opens() -> bool:
            answer = server.http.post(locked, data={"password": "right"}, allow_redirects=False, timeout=120)
            return answer.status_code == 303

        wait_until(opens, "the right password is looked at after the wait")


def test_the_cookie_is_for_https_alone_where_links_are() -> None:
    with LocalCloud(arguments=("--public-url", "https://files.example.org/cloud")) as server:
        server.put("secure", b"x")
        path = server.link("secure", password="right").partition("/cloud")[2]

        answer = server.http.post(f"{server.url}{path}", data={"password": "right"}, allow_redirects=False, timeout=120)

        assert answer.headers["Set-Cookie"].endswith("; Secure")
        assert "Path" not in answer.headers["Set-Cookie"]


def test_the_longest_password_can_be_told(server: LocalCloud) -> None:
    server.put("longest", b"x")
    longest = "\N{RACING CAR}" * 1024
    link = server.link("longest", password=longest)

    answer = server.http.post(link, data={"password": longest}, allow_redirects=False, timeout=120)

    assert (answer.status_code, answer.headers["Location"]) == (303, "?")


@pytest.mark.parametrize("body", [b"", b"password", b"password=%ff", b"x=1", b"password=" + b"x" * 9000])
def test_a_form_of_any_kind_is_refused_with_a_page(server: LocalCloud, locked: str, body: bytes) -> None:
    answer = server.http.post(locked, data=body, timeout=120)

    assert answer.status_code in {403, 429}
    assert "<h1>" in answer.text
