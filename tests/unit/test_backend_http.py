"""What a service's HTTP answers mean, and what the local cloud's plugin makes of a service that is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter
from urllib3.exceptions import ProtocolError

from backends.contract import Stored
from backends.errors import BackendError, PermanentError, TransientError
from backends.http import call, error_of, retry_after
from backends.local import Local
from backends.suite_doubles import SampleArchive, SampleProgress

SECRET = "a-secret-nobody-may-read"


def answer(code: int, body: str = "", **headers: str) -> requests.Response:
    made = requests.Response()
    made.status_code = code
    made._content = body.encode()
    made.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return made


def failing(error: Exception) -> Callable[[], requests.Response]:
    def request() -> requests.Response:
        raise error

    return request


@pytest.mark.parametrize("code", [200, 201, 204, 304])
def test_an_answer_below_400_is_given_back(code: int) -> None:
    made = answer(code)

    assert call("The cloud", lambda: made) is made


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_an_answer_that_may_be_another_one_later_is_transient(code: int) -> None:
    with pytest.raises(TransientError, match=rf"The cloud answered {code}\.") as caught:
        call("The cloud", lambda: answer(code, Retry_After="17"))

    assert caught.value.retry_after == 17


@pytest.mark.parametrize(
    ("code", "scope"),
    [(400, "item"), (401, "backend"), (403, "backend"), (404, "item"), (409, "item"), (413, "item"), (422, "item"),
     (501, "item"), (505, "item"), (507, "backend")],
)  # fmt: skip
def test_an_answer_that_stays_is_permanent_for_the_archive_or_for_the_definition(code: int, scope: str) -> None:
    with pytest.raises(PermanentError) as caught:
        call("The cloud", lambda: answer(code))

    assert caught.value.scope == scope


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"error": "No such file."}', "The cloud answered 404: No such file."),
        ('{"error": null}', "The cloud answered 404: None"),
        ("<html>", "The cloud answered 404."),
        ('["error"]', "The cloud answered 404."),
        (json.dumps({"error": "x" * 5000}), "The cloud answered 404: " + "x" * 300),
    ],
)
def test_what_the_service_says_is_told_in_short(body: str, told: str) -> None:
    assert str(error_of("The cloud", answer(404, body))) == told


def test_no_answer_is_transient() -> None:
    for error in (
        requests.ReadTimeout(),
        requests.ConnectTimeout(),
        requests.ConnectionError("refused"),
        requests.exceptions.SSLError("certificate"),
        requests.exceptions.ChunkedEncodingError("cut"),
        requests.exceptions.ContentDecodingError("no gzip"),
    ):
        with pytest.raises(TransientError, match=r"^The cloud ") as caught:
            call("The cloud", failing(error))
        assert caught.value.__cause__ is error


def test_a_certificate_that_is_not_trusted_is_told_with_what_to_do() -> None:
    with pytest.raises(TransientError, match="REQUESTS_CA_BUNDLE"):
        call("The cloud", failing(requests.exceptions.SSLError("certificate verify failed")))


def test_what_our_own_reader_raised_comes_out_though_the_http_library_wraps_it() -> None:
    ours = PermanentError("The results are gone.")
    wrapped = ProtocolError("Connection aborted.")
    wrapped.__context__ = ours
    error = requests.ConnectionError(wrapped)
    error.__context__ = wrapped

    with pytest.raises(PermanentError) as caught:
        call("The cloud", failing(error))

    assert caught.value is ours


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("0", 0), ("120", 120), (" 7 ", 7), ("", None), ("soon", None), ("-5", None), ("\xb2", None)],
)
def test_retry_after_in_seconds(header: str, seconds: float | None) -> None:
    assert retry_after(answer(429, Retry_After=header)) == seconds


def test_retry_after_as_a_date() -> None:
    now = datetime.now(UTC)

    later = retry_after(answer(429, Retry_After=format_datetime(now + timedelta(minutes=5), usegmt=True)))
    earlier = retry_after(answer(429, Retry_After=format_datetime(now - timedelta(minutes=5), usegmt=True)))

    assert later is not None
    assert 290 < later <= 300
    assert earlier == 0
    assert retry_after(answer(429, Retry_After="Wed, 21 Oct 2026 07:28:00 -0000")) is None
    assert retry_after(answer(429)) is None


class Scripted(BaseAdapter):
    """Gives the same answer to every request."""

    def __init__(self, made: requests.Response) -> None:
        super().__init__()
        self.made = made
        self.sent: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        self.sent.append(request)
        self.made.request, self.made.url = request, str(request.url)
        return self.made

    def close(self) -> None:
        pass


def local(made: requests.Response) -> tuple[Local, Scripted]:
    http, adapter = requests.Session(), Scripted(made)
    http.mount("http://", adapter)
    return Local(Local.Config.model_validate({"server": "files.example.org", "key": SECRET}), http), adapter


CALLS: list[Callable[[Local], Any]] = [
    lambda backend: backend.check(),
    lambda backend: backend.link(Stored(key="k", size=1), None),
]


@pytest.mark.parametrize("use", CALLS)
@pytest.mark.parametrize(
    "made", [answer(200, "<html>"), answer(200, "[]"), answer(200, "{}"), answer(204), answer(301, Location="/x")]
)
def test_a_server_that_is_no_local_cloud_is_the_definitions_fault(
    use: Callable[[Local], Any], made: requests.Response
) -> None:
    backend, _ = local(made)

    with pytest.raises(PermanentError) as caught:
        use(backend)

    assert caught.value.scope == "backend"
    assert SECRET not in f"{caught.value!r}{caught.value.__cause__!r}"


@pytest.mark.parametrize("made", [answer(404), answer(404, '{"error": "?", "code": "unknown"}'), answer(410)])
def test_a_server_where_no_upload_can_begin_is_the_definitions_fault(made: requests.Response) -> None:
    backend, _ = local(made)

    with pytest.raises(PermanentError, match="no local cloud") as caught:
        backend.store(SampleArchive(10, key="a/1/x.zip", name="x.zip"), SampleProgress())

    assert caught.value.scope == "backend", "its deliveries wait, or go to their fallback"


@pytest.mark.parametrize(("status", "code"), [(400, "incomplete"), (422, "wrong_digest")])
def test_bytes_that_were_lost_on_the_way_may_be_sent_again(status: int, code: str) -> None:
    backend, _ = local(answer(status, json.dumps({"error": "Cut.", "code": code})))

    with pytest.raises(TransientError):
        backend.check()


def test_a_server_without_a_key_elsewhere_is_told_with_what_to_do() -> None:
    backend, _ = local(answer(403, json.dumps({"error": "No.", "code": "only_loopback"})))

    with pytest.raises(PermanentError, match="local-cloud keys add") as caught:
        backend.check()

    assert caught.value.scope == "backend"


def test_what_a_service_means_by_its_answers_is_for_its_plugin_to_say() -> None:
    def meaning(service: str, made: requests.Response) -> BackendError:
        return TransientError(f"{service} closes at night ({made.status_code}).")

    with pytest.raises(TransientError, match=r"The cloud closes at night \(403\)\."):
        call("The cloud", lambda: answer(403), meaning)


def test_a_redirection_is_no_deletion() -> None:
    backend, adapter = local(answer(301, Location="http://elsewhere.example.org/"))

    with pytest.raises(BackendError):
        backend.delete(Stored(key="k", size=1))

    assert len(adapter.sent) == 1


def test_the_key_goes_out_as_utf8() -> None:
    backend, adapter = local(answer(204))
    backend = Local(Local.Config.model_validate({"server": "files.example.org", "key": " schlüssel漢 "}), backend.http)

    backend.delete(Stored(key="k", size=1))

    sent: Any = adapter.sent[0].headers["Authorization"]
    assert sent == "Bearer schlüssel漢".encode()
