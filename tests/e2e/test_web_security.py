"""The site as a browser, and somebody with other intentions, meets it: requests to the real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import pytest

from tests.support.installation import Installation
from tests.support.scratch import free_ports, wait_until

HOST = "results.example.org"
PASSWORD = "a long password of the tests"
PAGES = ("/admin/login/", "/admin/simcourier/delivery/", "/api/backends", "/healthz", "/nowhere", "/favicon.ico",
         "/static/admin/css/base.css")  # fmt: skip

pytestmark = pytest.mark.xdist_group("web-security")  # one server


class Answer(NamedTuple):
    status: int
    headers: HTTPMessage
    text: str

    def cookies(self) -> dict[str, str]:
        """Each cookie with its attributes."""
        return {line.partition("=")[0]: line for line in self.headers.get_all("Set-Cookie", [])}


class Site:
    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, path: str, form: dict[str, str] | None = None, method: str = "GET", **headers: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=120)
        sent = {"Host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
        if form is not None:
            sent |= {"Content-Type": "application/x-www-form-urlencoded", "Referer": f"https://{HOST}/admin/login/"}
        try:
            connection.request(method if form is None else "POST", path, urlencode(form) if form else None, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.msg, answer.read().decode(errors="replace"))
        finally:
            connection.close()

    def sign_in(self, **headers: str) -> Answer:
        page = self.ask("/admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        cookie = page.cookies()["csrftoken"].partition(";")[0]
        form = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": token.group(1), "next": "/admin/"}
        return self.ask("/admin/login/", form, Cookie=cookie, **headers)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, ledger_template: Path) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("web") / "data"
    port, key = str(free_ports(1)[0]), "a secret key of more than fifty characters: qp74ztWfd2"
    with Installation(
        folder,
        template=ledger_template,
        web_port=port,
        public_url=f"https://{HOST}",
        secret_key=key,
        web_proxies="127.0.0.1",
    ) as installation:
        from ledger.models import StorageBackend

        StorageBackend.objects.all().delete()  # encrypted with the key of the other tests
        yield installation


@pytest.fixture(scope="module")
def site(one: Installation) -> Site:
    from django.contrib.auth.models import User

    User.objects.create_superuser("admin", password=PASSWORD)
    one.start("web")
    site = Site(int(one.environ["SIMCOURIER_WEB_PORT"]))

    def answers() -> bool:
        try:
            return site.ask("/healthz").status == 200
        except OSError:
            return False

    wait_until(answers, "the site answers")
    return site


def test_django_finds_nothing_to_say_against_the_settings(one: Installation) -> None:
    done = one.simcourier("manage", "check", "--deploy", "--fail-level", "WARNING")

    assert "no issues" in done.stdout


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_tells_the_browser_what_it_may_not_do_with_it(site: Site, path: str) -> None:
    answer = site.ask(path)

    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Strict-Transport-Security"] == "max-age=86400"
    if not path.startswith(("/static/", "/favicon")):
        assert "no-store" in answer.headers["Cache-Control"]
    if not path.startswith("/static/"):
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "path",
    ["", "simcourier/delivery/", "simcourier/deadletter/1/change/", "simcourier/storagebackend/add/", "auth/user/"],
)
def test_the_admin_is_behind_the_login_only(site: Site, path: str) -> None:
    answer = site.ask(f"/admin/{path}")

    assert answer.status == 302
    assert answer.headers["Location"].startswith("/admin/login/")


def test_cookies_travel_by_tls_only_and_end_with_the_browser_or_after_twelve_hours(site: Site) -> None:
    answer = site.sign_in()

    assert (answer.status, answer.headers["Location"]) == (302, "/admin/")
    session, token = answer.cookies()["sessionid"], answer.cookies()["csrftoken"]
    for word in ("HttpOnly", "Secure", "SameSite=Lax"):
        assert word in session
        assert word in token
    assert "Max-Age" not in session
    assert "expires" not in session

    from django.contrib.sessions.models import Session
    from django.utils.timezone import now

    newest = Session.objects.order_by("-expire_date").first()
    assert newest is not None
    assert 11.9 < (newest.expire_date - now()).total_seconds() / 3600 < 12.1
    own = session.partition(";")[0]
    assert site.ask("/admin/", Cookie=own).status == 200
    Session.objects.update(expire_date=now())
    assert site.ask("/admin/", Cookie=own).status == 302


def test_a_form_of_another_site_is_not_taken(site: Site) -> None:
    form = {"username": "admin", "password": PASSWORD}
    assert site.ask("/admin/login/", form).status == 403
    assert site.sign_in(Origin="https://evil.example.org").status == 403
    assert site.sign_in(Origin=f"https://{HOST}").status == 302


def test_what_a_proxy_got_without_tls_is_sent_to_https(site: Site) -> None:
    answer = site.ask("/admin/?next=x", X_Forwarded_Proto="http", X_Forwarded_Host="evil.example.org")

    assert (answer.status, answer.headers["Location"]) == (301, f"https://{HOST}/admin/?next=x")


def test_a_request_for_another_host_is_refused_in_a_sentence_that_does_not_repeat_it(site: Site) -> None:
    answer = site.ask("/admin/login/", Host="evil.example.org")

    assert answer.status == 400
    assert "evil" not in answer.text


@pytest.mark.parametrize("target", ["https://evil.example.org/", "//evil.example.org", "javascript:alert(1)"])
def test_the_login_sends_nobody_elsewhere(site: Site, target: str) -> None:
    page = site.ask("/admin/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token
    form = {"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": token.group(1), "next": target}
    answer = site.ask("/admin/login/", form, Cookie=page.cookies()["csrftoken"].partition(";")[0])

    assert (answer.status, answer.headers["Location"]) == (302, "/"), "the operator's front page"
    signed_in = "; ".join(line.partition(";")[0] for line in answer.cookies().values())
    assert site.ask("/", Cookie=signed_in).status == 200


def test_a_form_larger_than_any_of_ours_is_refused(site: Site) -> None:
    page = site.ask("/admin/login/")
    form = {"username": "x" * 3_000_000, "password": "x"}

    answer = site.ask("/admin/login/", form, Cookie=page.cookies()["csrftoken"].partition(";")[0])

    assert answer.status == 400
    assert "Traceback" not in answer.text


def test_whoever_asks_for_the_headers_alone_gets_them_and_leaves_no_warning_in_the_log(
    one: Installation, site: Site
) -> None:
    whole, alone = (site.ask("/admin/login/", method=method) for method in ("GET", "HEAD"))

    assert (alone.status, alone.text) == (200, "")
    assert alone.headers["Content-Type"] == whole.headers["Content-Type"]
    logs = "".join(log.read_text() for log in one.folder.glob("*-web.log"))
    assert "Listening" in logs
    assert "method=HEAD" not in logs
