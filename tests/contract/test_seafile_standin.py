"""The stand-in for Seafile has the service's odd sides, those too that the plugin keeps away from."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.standins.seafile.client import SeafileStandin

HOUR, DAY = 3600, 86400
RET_JSON = {"ret-json": "1"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeafileStandin]:
    with SeafileStandin(tmp_path_factory.mktemp("seafile")) as one:
        yield one


class Client:
    """Speaks to it as curl would."""

    def __init__(self, standin: SeafileStandin) -> None:
        self.standin = standin
        self.repo = f"/api2/repos/{standin.facts['repoid']}"

    def ask(self, method: str, path: str, *, headers: dict[str, str] | None = None, **how: Any) -> requests.Response:
        own = {"Authorization": f"Token {self.standin.facts['token']}"} | (headers or {})
        url = f"{self.standin.server}{path}"
        return requests.request(method, url, headers=own, timeout=120, allow_redirects=False, **how)

    def make_folder(self, path: str, **form: str) -> requests.Response:
        return self.ask("POST", f"{self.repo}/dir/", params={"p": path}, data={"operation": "mkdir"} | form)

    def link(self, folder: str = "/", **more: str) -> str:
        return str(self.ask("GET", f"{self.repo}/upload-link/", params={"p": folder} | more).json())

    def upload(self, data: bytes, name: str = "a.bin", *, link: str = "", **form: str) -> requests.Response:
        fields = {"parent_dir": "/"} | form
        return requests.post(
            link or self.link(), params=RET_JSON, data=fields, files={"file": (name, data)}, timeout=120
        )

    def chunk(self, data: bytes, place: str, name: str = "a.bin", *, link: str = "", **form: str) -> requests.Response:
        headers = {"Content-Range": place, "Content-Disposition": f'attachment; filename="{name}"'}
        fields = {"parent_dir": "/", "replace": "1"} | form
        files = {"file": ("x", data)}
        url = link or self.link()
        return requests.post(url, params=RET_JSON, headers=headers, data=fields, files=files, timeout=120)

    def held(self, name: str = "a.bin") -> int:
        path = self.repo.replace("/api2", "/api/v2.1") + "/file-uploaded-bytes/"
        return int(self.ask("GET", path, params={"parent_dir": "/", "file_name": name}).json()["uploadedBytes"])

    def content(self, path: str) -> bytes:
        link = self.ask("GET", f"{self.repo}/file/", params={"p": path, "reuse": "1"}).json()
        return requests.get(link, timeout=120).content

    def share(self, path: str, **how: Any) -> requests.Response:
        asked = {"repo_id": self.standin.facts["repoid"], "path": path, **how}
        return self.ask("POST", "/api/v2.1/share-links/", json=asked)


@pytest.fixture
def client(running: SeafileStandin) -> Iterator[Client]:
    yield Client(running)
    running.reset()


def test_a_gap_between_chunks_becomes_zeros_and_nobody_counts_the_bytes(client: Client) -> None:
    assert client.chunk(b"abcd", "bytes 0-3/10").json() == {"success": True}
    assert client.held() == 4

    (told,) = client.chunk(b"wxyz and more", "bytes 6-9/10").json()

    assert told["size"] == 19
    assert client.content("/a.bin") == b"abcd\0\0wxyz and more"
    assert client.held() == 0


def test_the_tail_of_a_longer_half_stays(client: Client) -> None:
    client.chunk(b"0123456789", "bytes 0-9/20")

    client.chunk(b"ab", "bytes 0-1/4")
    client.chunk(b"cd", "bytes 2-3/4")

    assert client.content("/a.bin") == b"abcd456789"


def test_a_last_chunk_that_fails_takes_all_with_it(client: Client) -> None:
    client.chunk(b"ab", "bytes 0-1/4")

    refused = client.chunk(b"cd", "bytes 2-3/4", parent_dir="/other")

    assert refused.status_code == 403
    client.chunk(b"ab", "bytes 0-1/4")
    client.standin.fail("collected")
    assert client.chunk(b"cd", "bytes 2-3/4").status_code == 409
    assert client.held() == 0


def test_a_half_is_kept_for_three_days(client: Client) -> None:
    client.chunk(b"ab", "bytes 0-1/4")
    client.standin.advance(3 * DAY - HOUR)
    assert client.held() == 2

    client.standin.advance(2 * HOUR)

    assert client.held() == 0


@pytest.mark.parametrize("c_server", [False, True])
def test_the_two_file_servers_differ_in_what_they_forgive(client: Client, c_server: bool) -> None:
    client.standin.change(c_server=c_server)

    malformed = client.chunk(b"ab", "bytes=0-1/4")
    nameless = requests.post(
        client.link(), headers={"Content-Range": "bytes 0-1/4"}, data={"parent_dir": "/"}, files={"file": ("x", b"ab")},
        timeout=120,
    )  # fmt: skip
    bad_name = client.upload(b"", "x" * 256)
    plus = client.chunk(b"ab", "bytes 0-1/2", "a+b%25.bin")
    by_query = client.upload(b"", "a.bin", link=client.link(replace="1"))

    assert malformed.status_code == (400 if c_server else 200)
    assert nameless.status_code == (400 if c_server else 500)
    assert bad_name.status_code == (440 if c_server else 400)
    assert plus.json()[0]["name"] == ("a+b%.bin" if c_server else "a b%.bin")
    assert by_query.json()[0]["name"] == "a.bin"
    again = client.upload(b"", "a.bin", link=client.link(replace="1"))
    assert again.json()[0]["name"] == ("a (1).bin" if c_server else "a.bin")


@pytest.mark.parametrize(("c_server", "kind"), [(False, "text/plain"), (True, "application/json")])
def test_an_error_of_the_file_server_is_no_strict_json(client: Client, c_server: bool, kind: str) -> None:
    client.standin.change(c_server=c_server)
    refused = client.upload(b"", parent_dir="/elsewhere")

    assert refused.headers["Content-Type"].startswith(kind)
    with pytest.raises(ValueError, match="control character"):
        json.loads(refused.text)
    assert json.loads(refused.text, strict=False)["error"].endswith("\n")


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"replace": "yes"}, 400), ({"parent_dir": "//"}, 400), ({"parent_dir": ""}, 400),
        ({"relative_path": "/a"}, 400), ({"relative_path": "a/b"}, 200), ({"parent_dir": "/gone"}, 403),
    ],
)  # fmt: skip
def test_the_fields_of_an_upload_are_looked_at(client: Client, form: dict[str, str], status: int) -> None:
    assert client.upload(b"x", **form).status_code == status


def test_a_name_that_is_taken_gets_a_number(client: Client) -> None:
    names = [client.upload(b"x", "a.tar.gz").json()[0]["name"] for _ in range(3)]

    assert names == ["a.tar.gz", "a.tar (1).gz", "a.tar (2).gz"]


def test_equal_content_has_equal_ids_and_no_content_forty_zeros(client: Client) -> None:
    ids = [client.upload(data, name).json()[0]["id"] for data, name in ((b"x", "a"), (b"x", "b"), (b"", "c"))]

    assert ids[0] == ids[1] != ids[2] == "0" * 40


def test_an_upload_link_lives_for_an_hour_or_until_a_restart(client: Client) -> None:
    link = client.link()
    assert client.upload(b"x", link=link).ok
    client.standin.advance(HOUR)
    assert client.upload(b"x", link=link).status_code == 403
    link = client.link()
    client.standin.restart()

    assert client.upload(b"x", link=link).status_code == 403


def test_quota_is_reached_when_it_is_met(client: Client) -> None:
    client.standin.change(total=10)

    assert client.chunk(b"x", "bytes 0-0/10").status_code == 443
    assert client.chunk(b"x", "bytes 0-0/9").status_code == 200


def test_a_folder_that_exists_gets_a_sister_unless_parents_are_asked_for(client: Client) -> None:
    assert client.make_folder("/a/b").status_code == 404
    assert client.make_folder("/a/b", create_parents="true").status_code == 201
    client.make_folder("/a/b", create_parents="true")

    client.make_folder("/a/b")

    assert client.standin.state()["folders"] == ["/a", "/a/b", "/a/b (1)"]
    as_json = client.ask("POST", f"{client.repo}/dir/", params={"p": "/c"}, json={"operation": "mkdir"})
    assert as_json.status_code == 400


def test_rename_and_move_answer_with_a_redirection(client: Client) -> None:
    client.upload(b"x", "a")
    client.make_folder("/d")

    renamed = client.ask("POST", f"{client.repo}/file/?p=/a", data={"operation": "rename", "newname": "b"})
    where = {"operation": "move", "dst_repo": client.standin.facts["repoid"], "dst_dir": "/d"}
    moved = client.ask("POST", f"{client.repo}/file/?p=/b", data=where)

    assert (renamed.status_code, moved.status_code) == (301, 301)
    assert list(client.standin.state()["files"]) == ["/d/b"]


def test_an_address_without_its_slash_is_redirected(client: Client) -> None:
    answer = client.ask("POST", "/api2/auth-token", data={})

    assert (answer.status_code, answer.headers["Location"]) == (301, "/api2/auth-token/")


def test_an_update_needs_the_file(client: Client) -> None:
    link = client.ask("GET", f"{client.repo}/update-link/?p=/").json()
    send: dict[str, Any] = {"data": {"target_file": "/a"}, "files": {"file": ("a", b"new")}, "timeout": 30}
    assert requests.post(link, **send).status_code == 441
    client.upload(b"old", "a")

    told = requests.post(link, **send)

    assert told.text == client.standin.state()["files"]["/a"]["id"]
    assert client.content("/a") == b"new"


def test_a_download_link_serves_once_unless_reuse_is_asked_for(client: Client) -> None:
    client.upload(b"x", "a")
    link = client.ask("GET", f"{client.repo}/file/?p=/a").json()

    assert [requests.get(link, timeout=120).status_code for _ in range(2)] == [200, 403]


def test_one_share_link_per_path_and_ended_ones_count(client: Client) -> None:
    client.upload(b"x", "a")
    first = client.share("/a", expire_days=1).json()
    client.standin.advance(2 * DAY)

    again = client.share("/a")

    assert again.status_code == 400
    assert first["token"] in again.json()["error_msg"]
    assert requests.get(f"{first['link']}?dl=1", timeout=120).status_code == 404
    extended = client.ask("PUT", f"/api/v2.1/share-links/{first['token']}/", json={"expire_days": 9}).json()
    assert not extended["is_expired"]
    assert requests.get(f"{first['link']}?dl=1", timeout=120).content == b"x"
    assert client.ask("DELETE", f"/api/v2.1/share-links/{first['token']}/").json() == {"success": True}
    assert client.share("/a").ok


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"expire_days": 3, "expiration_time": "2999-01-01T00:00:00+00:00"}, 400), ({"expire_days": "soon"}, 400),
        ({"password": "short"}, 400), ({"path": "/gone"}, 404), ({"path": ""}, 400), ({"expire_days": 3}, 200),
    ],
)  # fmt: skip
def test_the_rules_of_share_links(client: Client, how: dict[str, Any], status: int) -> None:
    client.upload(b"x", "a")

    assert client.share(**({"path": "/a"} | how)).status_code == status


def test_a_time_without_offset_is_the_server_s_own(client: Client) -> None:
    client.upload(b"x", "a")
    noon = datetime.now(UTC).replace(microsecond=0, tzinfo=None) + timedelta(days=1)

    told = client.share("/a", expiration_time=noon.isoformat()).json()["expire_date"]

    assert datetime.fromisoformat(told).replace(tzinfo=None) == noon
    assert datetime.fromisoformat(told) != noon.replace(tzinfo=UTC)


def test_a_folder_is_shared_as_a_page_with_its_files(client: Client) -> None:
    client.make_folder("/d")
    client.upload(b"x", "a", link=client.link("/d"), parent_dir="/d")
    link = client.share("/d").json()["link"]

    assert "/d/" in link
    assert "list of files" in requests.get(link, timeout=120).text
    assert requests.get(f"{link}files/?p=/a&dl=1", timeout=120).content == b"x"
    with zipfile.ZipFile(io.BytesIO(requests.get(f"{link}?dl=1", timeout=120).content)) as packed:
        assert packed.namelist() == ["a"]


def test_further_links_and_the_old_way_to_make_one(client: Client) -> None:
    client.upload(b"x", "a")
    link = client.share("/a").json()["link"]
    another = {"repo_id": client.standin.facts["repoid"], "path": "/a"}

    old = client.ask("PUT", f"{client.repo}/file/shared-link/", data={"p": "/a"})
    more = client.ask("POST", "/api/v2.1/multi-share-links/", json=another)

    assert old.headers["Location"] == link
    assert more.json()["link"] != link


def test_an_encrypted_library_opens_for_an_hour(client: Client) -> None:
    client.standin.change(encrypted=True)
    assert client.upload(b"x").status_code == 500
    assert client.ask("POST", f"{client.repo}/", data={"password": "guessed"}).status_code == 400
    password = {"password": client.standin.facts["library_password"]}

    assert client.ask("POST", f"{client.repo}/", data=password).json() == "success"

    assert client.upload(b"x").ok
    assert client.share("/a.bin").status_code == 403
    client.standin.advance(HOUR)
    assert client.ask("GET", f"{client.repo}/dir/").status_code == 440


def test_a_second_factor_is_told_in_a_header_and_a_device_can_be_trusted(client: Client) -> None:
    client.standin.change(two_factor=True)
    facts = client.standin.facts
    form = {"username": facts["user"], "password": facts["password"]}

    def sign_in(**headers: str) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.ask("POST", "/api2/auth-token/", data=form, headers=named)

    refused = sign_in()
    trusted = sign_in(X_Seafile_OTP=facts["one_time"], X_Seafile_2FA_Trust_Device="1")

    assert (refused.status_code, refused.headers["X-Seafile-OTP"]) == (400, "required")
    assert sign_in(X_SEAFILE_S2FA=trusted.headers["X-SEAFILE-S2FA"]).json()["token"] == facts["token"]


def test_a_device_has_a_token_of_its_own(client: Client) -> None:
    facts = client.standin.facts
    form = {"username": facts["user"], "password": facts["password"], "platform": "linux"}
    assert client.ask("POST", "/api2/auth-token/", data=form).status_code == 400
    form |= {"device_id": "1", "device_name": "worker"}

    token = client.ask("POST", "/api2/auth-token/", data=form).json()["token"]

    assert token != facts["token"]
    assert client.ask("GET", "/api2/auth/ping/", headers={"Authorization": f"Token {token}"}).json() == "pong"


def test_a_token_opens_its_own_paths_only(client: Client) -> None:
    own = {"Authorization": f"Token {client.standin.facts['repo_token']}"}

    assert client.ask("GET", "/api2/account/info/", headers=own).status_code == 401
    assert client.ask("GET", "/api/v2.1/via-repo-token/repo-info/").status_code == 401
    assert client.ask("GET", "/api/v2.1/via-repo-token/repo-info/", headers=own).json()["repo_name"]


def test_a_minute_s_requests_are_counted_on_the_service_s_clock(client: Client) -> None:
    client.standin.change(anonymous_limit=2)
    answers = [client.ask("GET", "/api2/ping/") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    client.standin.advance(int(answers[2].headers["Retry-After"]))
    assert client.ask("GET", "/api2/ping/").json() == "pong"


def test_after_a_reset_nothing_is_left(client: Client) -> None:
    first = client.standin.state()
    client.upload(b"x")
    client.chunk(b"x", "bytes 0-0/2", "b")
    client.share("/a.bin")

    client.standin.reset()

    assert client.standin.state() == first
