"""What the Dropbox plugin makes of answers, errors and names; what it does is in tests/contract."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from dropbox.content_hash import content_hash
from requests.adapters import BaseAdapter

from backends.contract import Stored
from backends.dropbox import Config, Dropbox, path_of
from backends.errors import BackendError, PermanentError, TransientError
from backends.registry import WrongConfig, configure
from backends.suite import KEYS, NAMES, _with_causes
from backends.suite_doubles import SampleArchive, SampleProgress

SECRETS = {"app_secret": "app-secret-canary", "refresh_token": "refresh-token-canary"}
ACCESS = "access-token-canary"
TOKEN = {"access_token": ACCESS, "expires_in": 14400, "token_type": "bearer"}
JSON = "application/json"
SPACE = "/2/users/get_space_usage"
FIND = "/2/files/get_metadata"
UPLOAD = "/2/files/upload"
APPEND = "/2/files/upload_session/append_v2"
DELETE = "/2/files/delete_v2"
LINK = "/2/sharing/create_shared_link_with_settings"
LIST = "/2/sharing/list_shared_links"
MODIFY = "/2/sharing/modify_shared_link_settings"


def answer(code: int, body: Any = None, kind: str = JSON, **headers: str) -> requests.Response:
    made = requests.Response()
    made.status_code = code
    made._content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    made.headers["Content-Type"] = kind
    made.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return made


def refusal(error: Any, code: int = 409) -> requests.Response:
    return answer(code, {"error_summary": "a/b/..", "error": error}, X_Dropbox_Request_Id="req7")


class Scripted(BaseAdapter):
    """Gives the answers that are set for an address's path; the last one again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.routes: dict[str, list[requests.Response | Exception]] = {"/oauth2/token": [answer(200, TOKEN)]}
        self.sent: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        self.sent.append(request)
        answers = self.routes[request.path_url]
        made = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(made, Exception):
            raise made
        made.request, made.url = request, str(request.url)
        return made

    def close(self) -> None:
        pass

    def arguments(self, path: str) -> list[Any]:
        """What was asked for at ``path``."""
        return [json.loads(one.body or "null") for one in self.sent if one.path_url == path]


@pytest.fixture
def service() -> Scripted:
    return Scripted()


@pytest.fixture
def backend(service: Scripted) -> Iterator[Dropbox]:
    with requests.Session() as http:
        http.mount("https://", service)
        yield Dropbox(Config.model_validate({"app_key": "key", **SECRETS}), http)


def usage(allocation: Any, used: int = 10) -> requests.Response:
    return answer(200, {"used": used, "allocation": allocation})


def account() -> requests.Response:
    name = dict.fromkeys(("given_name", "surname", "familiar_name", "display_name", "abbreviated_name"), "Anna")
    return answer(
        200,
        {
            "account_id": "dbid:" + "x" * 35,
            "name": name,
            "email": "anna@example.org",
            "email_verified": True,
            "disabled": False,
            "locale": "en",
            "referral_link": "https://db.example.org",
            "is_paired": False,
            "account_type": {".tag": "basic"},
            "root_info": {".tag": "user", "root_namespace_id": "1", "home_namespace_id": "1"},
        },
    )


def link(expires: str | None = None, url: str = "https://db.example.org/scl/fi/x/a.zip?rlkey=r&dl=0") -> dict[str, Any]:
    may = ["can_revoke", "can_set_expiry", "can_remove_expiry", "allow_download", "can_allow_download"]
    may += ["can_disallow_download", "allow_comments", "team_restricts_comments"]
    made = {
        ".tag": "file",
        "url": url,
        "name": "a.zip",
        "client_modified": "2026-01-02T03:04:05Z",
        "server_modified": "2026-01-02T03:04:05Z",
        "rev": "0123456789",
        "size": 1,
        "link_permissions": {"visibility_policies": [], **dict.fromkeys(may, True)},
    }
    return made | ({"expires": expires} if expires else {})


ENDS = datetime(2027, 3, 4, 5, 6, 7, tzinfo=UTC)
ENDS_TEXT = "2027-03-04T05:06:07Z"
STORED = Stored(key=f"{uuid.UUID(int=7)}/1/a.zip", size=1)
NOT_AUTHORIZED = {".tag": "settings_error", "settings_error": {".tag": "not_authorized"}}
EXISTS = {".tag": "shared_link_already_exists"}


# The config


@pytest.mark.parametrize(
    "config",
    [
        {"app_key": "k", "app_secret": "s", "refresh_token": "r"},
        {"app_key": "k", "app_secret": "", "refresh_token": " r\n"},
        {"app_key": "k", "refresh_token": "r"},
    ],
)
def test_a_config_is_taken_with_and_without_the_apps_secret(config: dict[str, str]) -> None:
    taken = configure("dropbox", "", config)

    assert isinstance(taken, Config)
    assert taken.refresh_token.get_secret_value() == "r"


def test_the_backend_token_may_be_the_refresh_token() -> None:
    taken = configure("dropbox-group", "r", {"app_key": "k"})

    assert isinstance(taken, Config)
    assert taken.refresh_token.get_secret_value() == "r"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"app_secret": "s", "refresh_token": "r"}, "Backend config, app_key: Field required"),
        ({"app_key": "k"}, "Backend config, refresh_token: Field required"),
        ({"app_key": "", "refresh_token": "r"}, "Backend config, app_key: one word"),
        ({"app_key": "k", "refresh_token": "two words"}, "Backend config, refresh_token: one word"),
        ({"app_key": "k", "refresh_token": "r", "acess_token": "a"}, "Backend config, acess_token: Extra"),
    ],
)
def test_a_wrong_config_is_refused_with_the_field(config: dict[str, str], told: str) -> None:
    with pytest.raises(WrongConfig) as caught:
        configure("dropbox", "", config)

    assert str(caught.value).startswith(told)


# Names


@pytest.mark.parametrize("name", [*NAMES, "a\x7fb", "trailing space ", "x" * 300 + ".zip", ". .", "CON", "a?b*c:d|e"])
def test_a_name_is_one_that_dropbox_and_every_recipients_system_take(name: str) -> None:
    root, folder, last = path_of(f"{uuid.uuid4()}/1/{name}").split("/")

    assert root == ""
    for part in (folder, last):
        assert 0 < len(part) <= 255
        assert part not in {".", ".."}
        assert part == part.strip(" ").rstrip(".")
        assert all(0x20 <= ord(one) < 0x10000 and one not in '<>:"/\\|?*\x7f' for one in part)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("Größe, 3rd run (1) & 'so'.zip", "Größe, 3rd run (1) & 'so'.zip"),
        ("漢字 \N{RACING CAR}.zip", "漢字 _.zip"),
        ("..", "results"),
        ("Desktop.ini", "_Desktop.ini"),
        ("ends with a dot.", "ends with a dot"),
        ("x" * 300 + ".zip", "x" * 251 + ".zip"),
        ("x" * 100 + "." + "y" * 300, "x" * 100 + "." + "y" * 154),
    ],
)
def test_a_name_is_changed_as_little_as_can_be(name: str, kept: str) -> None:
    assert path_of(f"{uuid.uuid4()}/1/{name}").rpartition("/")[2] == kept


def test_keys_that_dropbox_cannot_tell_apart_have_folders_of_their_own() -> None:
    keys = ["ID/1/a.zip", "id/1/a.zip", "id/1/A.zip", "id/1-/a.zip", "id/1/a.zip ", "id/1/a.zip.", "id/1/\ud800.zip"]
    keys += [pattern.format(id="id") for pattern in KEYS]

    folders = [path_of(key).split("/")[1] for key in keys]

    assert len({folder.lower() for folder in folders}) == len(keys)
    assert path_of("id/1/a.zip") == path_of("id/1/a.zip")


# What an answer means


def tagged(*tags: str) -> dict[str, Any]:
    """Unions within one another, as they are sent."""
    outer = {".tag": tags[0]}
    return outer if len(tags) == 1 else {**outer, tags[0]: tagged(*tags[1:])}


def written(reason: dict[str, Any]) -> dict[str, Any]:
    return {".tag": "path", "reason": reason, "upload_session_id": "x"}


@pytest.mark.parametrize(
    ("error", "kind", "scope", "told"),
    [
        (written(tagged("insufficient_space")), PermanentError, "backend", "no room left"),
        (written(tagged("team_folder_insufficient_space")), PermanentError, "backend", "no room left"),
        (written(tagged("no_write_permission")), PermanentError, "backend", "path/no_write_permission"),
        (written(tagged("access_restricted")), PermanentError, "backend", "access_restricted"),
        (written(tagged("malformed_path")), PermanentError, "item", r"\(request req7\): path/malformed_path"),
        (written({".tag": "malformed_path", "malformed_path": "why"}), PermanentError, "item", "path/malformed_path"),
        (written(tagged("disallowed_name")), PermanentError, "item", "disallowed_name"),
        (written(tagged("conflict", "folder")), PermanentError, "item", "path/conflict/folder"),
        (tagged("payload_too_large"), PermanentError, "item", "payload_too_large"),
        (tagged("properties_error", "does_not_fit_template"), PermanentError, "item", "properties_error"),
        (tagged("encryption_not_supported"), PermanentError, "backend", "encryption_not_supported"),
        (tagged("content_hash_mismatch"), TransientError, None, "did not receive the bytes"),
        (written(tagged("too_many_write_operations")), TransientError, None, "asks us to wait"),
        (written(tagged("upload_traffic_limit_reached")), TransientError, None, "no more uploads"),
        (written(tagged("a_tag_of_tomorrow")), TransientError, None, "does not know"),
        (tagged("a_tag_of_tomorrow"), TransientError, None, "does not know"),
    ],
)
def test_an_uploads_refusal_is_for_now_for_the_archive_or_for_the_definition(
    backend: Dropbox, service: Scripted, error: Any, kind: type[BackendError], scope: str | None, told: str
) -> None:
    service.routes[FIND] = [refusal(tagged("path", "not_found"))]
    service.routes[SPACE] = [usage({".tag": "individual", "allocated": 10_000})]
    service.routes[UPLOAD] = [refusal(error)]

    with pytest.raises(kind, match=told) as caught:
        backend.store(SampleArchive(1000, key=STORED.key, name="a.zip"), SampleProgress())

    assert getattr(caught.value, "scope", None) == scope


@pytest.mark.parametrize(
    ("made", "kind", "scope", "told"),
    [
        (refusal(tagged("invalid_access_token"), 401), PermanentError, "backend", "dropbox-authorize"),
        (refusal(tagged("user_suspended"), 401), PermanentError, "backend", "suspended"),
        (refusal(tagged("route_access_denied"), 401), PermanentError, "backend", "route_access_denied"),
        (refusal(tagged("a_tag_of_tomorrow"), 401), PermanentError, "backend", "other"),
        (refusal(tagged("other"), 401), PermanentError, "backend", "other"),
        (
            refusal({".tag": "missing_scope", "required_scope": "account_info.read"}, 401),
            PermanentError, "backend", r"permission account_info\.read: switch it on",
        ),
        (answer(400, "Invalid path.", "text/plain"), PermanentError, "item", "answered 400: Invalid path"),
        (
            answer(400, "Your app (ID: 1) lacks the required scope 'x'.", "text/plain"),
            PermanentError, "backend", "required scope",
        ),
        (refusal({".tag": "no_permission"}, 422), PermanentError, "backend", "root folder"),
        (answer(413, "large", "text/plain"), PermanentError, "item", r"answered 413\."),
        (answer(408, "", "text/plain"), TransientError, None, r"answered 408\."),
        (answer(500, "<html>", "text/html", X_Dropbox_Request_Id="req7"), TransientError, None,
         r"answered 500 \(request req7\)\."),
        (answer(200, "<html>", "text/html"), TransientError, None, "cannot be read"),
        (answer(200, {"used": 1}), TransientError, None, "cannot be read"),
        (answer(200, usage({}).text, f"{JSON}; charset=utf-8"), TransientError, None, "cannot be read"),
        (answer(404, "<html>", "text/html"), TransientError, None, "cannot be read"),
        (answer(409, {"error_summary": "x"}), TransientError, None, "cannot be read"),
        (answer(401, "<html>", "text/html"), TransientError, None, "cannot be read"),
        (requests.ReadTimeout("late"), TransientError, None, "in time"),
        (requests.ConnectTimeout("late"), TransientError, None, "in time"),
        (requests.ConnectionError("refused"), TransientError, None, "cannot be reached"),
        (requests.exceptions.SSLError("certificate"), TransientError, None, "REQUESTS_CA_BUNDLE"),
        (requests.exceptions.ChunkedEncodingError("cut"), TransientError, None, "broke off"),
    ],
)  # fmt: skip
def test_an_answer_is_for_now_for_the_archive_or_for_the_definition(
    backend: Dropbox, service: Scripted, made: Any, kind: type[BackendError], scope: str | None, told: str
) -> None:
    service.routes["/2/users/get_current_account"] = [account()]
    service.routes[SPACE] = [made]

    with pytest.raises(kind, match=told) as caught:
        backend.check()

    assert getattr(caught.value, "scope", None) == scope


REASON = {"error_summary": "x", "error": {"reason": {".tag": "too_many_requests"}, "retry_after": 300}}


@pytest.mark.parametrize(
    ("made", "seconds"),
    [
        (answer(429, REASON, Retry_After="7"), 300),
        (answer(429, "slow down", "text/plain", Retry_After="7"), 7),
        (answer(429, "slow down", "text/plain"), 5),
        (answer(503, "later", "text/plain", Retry_After="17"), 17),
        (answer(503, "later", "text/plain"), None),
    ],
)
@pytest.mark.parametrize("where", [SPACE, "/oauth2/token"])
def test_how_long_dropbox_asks_to_wait_is_handed_on_and_nobody_sleeps(
    backend: Dropbox, service: Scripted, made: Any, seconds: float | None, where: str
) -> None:
    service.routes["/2/users/get_current_account"] = [account()]
    service.routes[where] = [made]

    with pytest.raises(TransientError) as caught:
        backend.check()

    assert caught.value.retry_after == seconds
    assert len([one for one in service.sent if one.path_url == where]) == 1


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"error": "invalid_grant", "error_description": "revoked"}, "dropbox-authorize"),
        ({"error": "invalid_client: Invalid client_id or client_secret"}, "not those of one app"),
    ],
)
def test_a_refused_refresh_is_the_definitions_fault(backend: Dropbox, service: Scripted, body: Any, told: str) -> None:
    service.routes["/oauth2/token"] = [answer(400, body)]

    with pytest.raises(PermanentError, match=told) as caught:
        backend.check()

    assert caught.value.scope == "backend"


def test_an_expired_access_token_is_renewed_on_the_way(backend: Dropbox, service: Scripted) -> None:
    service.routes["/2/users/get_current_account"] = [refusal(tagged("expired_access_token"), 401), account()]
    service.routes[SPACE] = [usage({".tag": "individual", "allocated": 110})]

    status = backend.check()

    assert (status.account, status.free_bytes) == ("Dropbox of Anna (anna@example.org)", 100)
    assert len([one for one in service.sent if one.path_url == "/oauth2/token"]) == 2


@pytest.mark.parametrize("path", ["/oauth2/token", SPACE])
def test_a_secret_that_an_answer_repeats_is_not_told(backend: Dropbox, service: Scripted, path: str) -> None:
    known = [*SECRETS.values(), *([ACCESS] if path == SPACE else [])]
    service.routes["/2/users/get_current_account"] = [account()]
    told = f"What is {' and '.join(known)}?"
    for made in (answer(400, told, "text/plain"), answer(500, told), answer(418, told), refusal(told, 401)):
        service.routes[path] = [made]

        with pytest.raises(BackendError) as caught:
            backend.check()

        text = "".join(f"{one!r} {one}\n" for one in _with_causes(caught.value))
        assert [one for one in known if one in text] == []


# Room


def team(limit: str, personal: int) -> dict[str, Any]:
    return {
        ".tag": "team",
        "used": 400,
        "allocated": 1000,
        "user_within_team_space_allocated": personal,
        "user_within_team_space_limit_type": {".tag": limit},
        "user_within_team_space_used_cached": 50,
    }


@pytest.mark.parametrize(
    ("allocation", "free"),
    [
        ({".tag": "individual", "allocated": 100}, 90),
        ({".tag": "individual", "allocated": 5}, 0),
        (team("off", 0), 600),
        (team("stop_sync", 200), 150),
        (team("stop_sync", 5000), 600),
        (team("alert_only", 200), 600),
        ({".tag": "an_allocation_of_tomorrow"}, None),
    ],
)
def test_free_space_is_what_the_account_and_its_team_leave(
    backend: Dropbox, service: Scripted, allocation: Any, free: int | None
) -> None:
    service.routes["/2/users/get_current_account"] = [account()]
    service.routes[SPACE] = [usage(allocation)]

    assert backend.check().free_bytes == free


@pytest.mark.parametrize(("size", "grows", "allocated"), [(1000, False, 1009), (1000, True, 10)])
def test_an_archive_that_does_not_fit_is_refused_before_its_first_byte(
    backend: Dropbox, service: Scripted, size: int, grows: bool, allocated: int
) -> None:
    service.routes[FIND] = [refusal(tagged("path", "not_found"))]
    service.routes[SPACE] = [usage({".tag": "individual", "allocated": allocated})]

    with pytest.raises(PermanentError, match="no room left") as caught:
        backend.store(SampleArchive(size, key=STORED.key, name="a.zip", grows=grows), SampleProgress())

    assert caught.value.scope == "backend"


def test_what_dropbox_holds_in_the_end_is_compared_and_removed_if_it_is_something_else(
    backend: Dropbox, service: Scripted
) -> None:
    times = dict.fromkeys(("client_modified", "server_modified"), "2026-01-02T03:04:05Z")
    other = {"name": "a.zip", "id": "id:1", "rev": "0123456789", "size": 1000, "content_hash": "0" * 64, **times}
    service.routes[FIND] = [refusal(tagged("path", "not_found"))]
    service.routes[SPACE] = [usage({".tag": "individual", "allocated": 10_000})]
    service.routes[UPLOAD] = [answer(200, other)]
    service.routes[DELETE] = [answer(200, {"metadata": {".tag": "file", **other}})]
    service.routes["/2/files/list_folder"] = [answer(200, {"entries": [], "cursor": "c", "has_more": False})]

    with pytest.raises(TransientError, match="other bytes than were sent"):
        backend.store(SampleArchive(1000, key=STORED.key, name="a.zip"), SampleProgress())

    path = path_of(STORED.key)
    assert [one["path"] for one in service.arguments(DELETE)] == [path, path.rpartition("/")[0]]


@pytest.mark.parametrize("correct_offset", [5, 2000], ids=["fewer than were noted", "more than there are"])
def test_a_session_of_a_length_that_cannot_be_is_left_alone(
    backend: Dropbox, service: Scripted, correct_offset: int
) -> None:
    archive = SampleArchive(1000, key=STORED.key, name="a.zip")
    times = dict.fromkeys(("client_modified", "server_modified"), "2026-01-02T03:04:05Z")
    held = {"name": "a.zip", "id": "id:1", "rev": "0123456789", "size": 1000, **times}
    service.routes[FIND] = [refusal(tagged("path", "not_found"))]
    service.routes[SPACE] = [usage({".tag": "individual", "allocated": 10_000})]
    service.routes[APPEND] = [refusal({".tag": "incorrect_offset", "correct_offset": correct_offset})]
    service.routes[UPLOAD] = [answer(200, held | {"content_hash": content_hash(archive.content())})]
    noted = {"session": "x", "offset": 500, "sha256": hashlib.sha256(archive.content()[:500]).hexdigest()}

    assert backend.store(archive, SampleProgress(noted)).size == 1000


# Links


def test_a_link_fetches_the_file_at_once(backend: Dropbox, service: Scripted) -> None:
    service.routes[LINK] = [answer(200, link())]

    assert backend.link(STORED, None).url == "https://db.example.org/scl/fi/x/a.zip?rlkey=r&dl=1"
    assert "expires" not in service.arguments(LINK)[0]["settings"]


def test_a_link_ends_when_dropbox_says_so(backend: Dropbox, service: Scripted) -> None:
    service.routes[LINK] = [answer(200, link("2027-01-01T00:00:00Z"))]

    made = backend.link(STORED, ENDS)

    assert made.expires == datetime(2027, 1, 1, tzinfo=UTC)
    assert service.arguments(LINK)[0]["settings"]["expires"] == ENDS_TEXT


def test_without_a_plan_for_it_a_link_has_no_end_and_says_so(backend: Dropbox, service: Scripted) -> None:
    service.routes[LINK] = [refusal(NOT_AUTHORIZED), refusal(NOT_AUTHORIZED), answer(200, link())]

    assert backend.link(STORED, ENDS).expires is None


def test_where_no_link_is_allowed_the_definition_cannot_be_used(backend: Dropbox, service: Scripted) -> None:
    service.routes[LINK] = [refusal(NOT_AUTHORIZED)]

    with pytest.raises(PermanentError, match="allows no such link") as caught:
        backend.link(STORED, ENDS)

    assert caught.value.scope == "backend"


@pytest.mark.parametrize(
    "exists", [EXISTS, {**EXISTS, "shared_link_already_exists": {".tag": "metadata", "metadata": link()}}]
)
def test_the_link_that_exists_is_found_and_given_the_new_end(backend: Dropbox, service: Scripted, exists: Any) -> None:
    service.routes[LINK] = [refusal(exists)]
    service.routes[LIST] = [answer(200, {"links": [], "has_more": True, "cursor": "c"}),
                            answer(200, {"links": [link()], "has_more": False})]  # fmt: skip
    service.routes[MODIFY] = [answer(200, link(ENDS_TEXT))]

    assert backend.link(STORED, ENDS).expires == ENDS
    assert service.arguments(MODIFY)[0]["settings"] == {"expires": ENDS_TEXT}


def test_the_end_of_a_link_that_exists_is_taken_away(backend: Dropbox, service: Scripted) -> None:
    service.routes[LINK] = [refusal(EXISTS)]
    service.routes[LIST] = [answer(200, {"links": [link(ENDS_TEXT)], "has_more": False})]
    service.routes[MODIFY] = [answer(200, link())]

    assert backend.link(STORED, None).expires is None
    assert service.arguments(MODIFY)[0]["remove_expiration"] is True


def test_the_end_of_a_link_that_may_not_be_changed_is_told_as_it_is(backend: Dropbox, service: Scripted) -> None:
    service.routes[LINK] = [refusal(EXISTS)]
    service.routes[LIST] = [answer(200, {"links": [link()], "has_more": False})]
    service.routes[MODIFY] = [refusal(NOT_AUTHORIZED)]

    assert backend.link(STORED, ENDS).expires is None


def test_a_plan_without_ends_that_hides_behind_a_link_that_exists_is_seen(backend: Dropbox, service: Scripted) -> None:
    service.routes[LINK] = [refusal(EXISTS), answer(200, link())]
    service.routes[LIST] = [answer(200, {"links": [], "has_more": False})]

    assert backend.link(STORED, ENDS).expires is None


USES: list[Callable[[Dropbox], Any]] = [
    lambda backend: backend.link(STORED, None),
    lambda backend: backend.link(STORED, ENDS),
]


@pytest.mark.parametrize("use", USES)
def test_a_link_to_what_is_not_there_is_this_archives_trouble(
    backend: Dropbox, service: Scripted, use: Callable[[Dropbox], Any]
) -> None:
    service.routes[LINK] = [refusal(tagged("path", "not_found"))]

    with pytest.raises(PermanentError) as caught:
        use(backend)

    assert caught.value.scope == "item"


def test_a_folder_that_holds_something_else_stays(backend: Dropbox, service: Scripted) -> None:
    """Whoever put a file of their own beside the archive keeps it."""
    entry = {".tag": "folder", "name": "theirs", "id": "id:1"}
    service.routes[LIST] = [refusal(tagged("path", "not_found"))]
    service.routes[DELETE] = [refusal(tagged("path_lookup", "not_found"))]
    service.routes["/2/files/list_folder"] = [answer(200, {"entries": [], "cursor": "c", "has_more": True})]
    service.routes["/2/files/list_folder/continue"] = [
        answer(200, {"entries": [entry], "cursor": "c", "has_more": False})
    ]

    backend.delete(STORED)

    assert [one["path"] for one in service.arguments(DELETE)] == [path_of(STORED.key)]


def test_a_file_is_found_where_it_was_put(backend: Dropbox, service: Scripted) -> None:
    """A later version may see another place for the same key."""
    service.routes[LINK] = [answer(200, link())]

    backend.link(STORED.model_copy(update={"reference": {"path": "/elsewhere/a.zip"}}), None)

    assert service.arguments(LINK)[0]["path"] == "/elsewhere/a.zip"
