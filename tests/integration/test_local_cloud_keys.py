"""Upload keys and trusted networks of the storage server: who may do what, and sees what."""

from __future__ import annotations

import itertools
import json
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from local_cloud.keys import add
from tests.support.local_cloud import COMMAND, CONTENT, KEY, LocalCloud, added, as_, command, guesses
from tests.support.scratch import wait_until

ANNA, BORIS = "anna", "boris-2"


class Two:
    """A server with two keys, and nothing in the settings."""

    def __init__(self, server: LocalCloud) -> None:
        self.server = server
        self.anna, self.boris = (added(server.folder, name) for name in (ANNA, BORIS))


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    with LocalCloud(key="") as server:
        both = Two(server)
        yield both
        assert "Traceback" not in server.log
        assert [key for key in (both.anna, both.boris) if key in server.log] == []


# Keys


def test_a_key_is_recognisable_shown_once_and_kept_as_a_digest_that_only_its_owner_can_read(tmp_path: Path) -> None:
    key = added(tmp_path / "cloud", ANNA)

    assert key.startswith("sclc_")
    assert len(key) == len("sclc_") + 64
    file = tmp_path / "cloud" / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key not in file.read_text()
    assert key.removeprefix("sclc_") not in file.read_text()
    listed = command("keys", "list", "--folder", str(tmp_path / "cloud")).stdout
    assert ANNA in listed
    assert key not in listed


def test_keys_are_listed_with_their_limits_for_people_and_for_programs(tmp_path: Path) -> None:
    folder = ("--folder", str(tmp_path))
    added(tmp_path, ANNA, "--max-file", "50GiB", "--quota", "2TiB", "--rate", "20MiB/s")
    added(tmp_path, BORIS)

    header, anna, boris = command(*folder, "keys", "list").stdout.splitlines()
    listed = json.loads(command("keys", "list", "--json", *folder).stdout)

    assert header.split()[:2] == ["NAME", "ADDED"]
    assert anna.split()[2:] == ["50.0", "GiB", "2.0", "TiB", "20.0", "MiB/s"]
    assert boris.split()[2:] == ["-", "-", "-"]
    assert [(one["name"], one["max_file"], one["quota"], one["rate"]) for one in listed] == [
        (ANNA, 50 * 1024**3, 2 * 1024**4, 20 * 1024**2),
        (BORIS, None, None, None),
    ]
    assert set(listed[0]) == {"name", "added", "max_file", "quota", "rate"}


def test_a_running_server_takes_a_new_key_at_once_and_a_revoked_one_no_more(two: Two) -> None:
    key = added(two.server.folder, "carla")
    before = two.server.call("GET", "status", **as_(key)).status_code

    command("keys", "revoke", "carla", "--folder", str(two.server.folder))

    after = two.server.call("GET", "status", **as_(key)).status_code
    assert (before, after) == (200, 401)
    assert two.server.call("GET", "status", **as_(two.anna)).status_code == 200


def test_many_that_add_keys_at_once_lose_none(tmp_path: Path) -> None:
    def adds(number: int) -> None:
        assert add(tmp_path, f"key-{number}", max_file=None, quota=None, rate=None) is not None

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(adds, range(6)))

    listed = json.loads(command("keys", "list", "--json", "--folder", str(tmp_path)).stdout)
    assert sorted(one["name"] for one in listed) == [f"key-{number}" for number in range(6)]


def test_what_is_wrong_with_a_keys_command_is_one_sentence(tmp_path: Path) -> None:
    folder = ("--folder", str(tmp_path / "cloud"))
    added(tmp_path / "cloud", ANNA)
    wrong = {
        (
            "keys",
            "add",
            ANNA,
            *folder,
        ): f"There is a key {ANNA} already; choose another name, or revoke that",
        ("keys", "add", "an na", *folder): "is no name for a key",
        ("keys", "add", "../x", *folder): "is no name for a key",
        ("keys", "add", BORIS, "--quota", "5 apples", *folder): "e.g. 500MB or 10GiB",
        ("keys", "add", BORIS, "--rate", "fast", *folder): "e.g. 20MB/s",
        ("keys", "add", BORIS, "--rate", "0MB/s", *folder): "e.g. 20MB/s",
        ("keys", "add", BORIS, "--rate", "5MB/h", *folder): "e.g. 20MB/s",
        ("keys", "revoke", BORIS, *folder): f"There is no key {BORIS}; 'local-cloud keys list' shows them.",
        ("keys", "revoke", ANNA, "--folder", str(tmp_path / "nowhere")): f"There is no key {ANNA}",
        ("keys", "list"): "Name the server's folder: --folder, or SIMCOURIER_LOCAL_CLOUD_FOLDER.",
    }

    for arguments, told in wrong.items():
        last = command(*arguments, fails=True).stderr.splitlines()[-1]
        assert last.startswith("Error: "), arguments
        assert told in last, arguments


def test_a_file_of_keys_that_is_damaged_is_told_and_lets_nobody_in() -> None:
    with LocalCloud(key="") as server:
        key = added(server.folder, ANNA)
        file = server.folder / "keys.json"
        whole = file.read_text()
        file.write_text('{"keys": [{"na')

        refused = [server.call("GET", "status"), server.call("GET", "status", **as_(key))]
        told = command("keys", "list", "--folder", str(server.folder), fails=True).stderr
        server.stop()
        start = subprocess.run(
            [*COMMAND, "--port", "0", "--folder", str(server.folder)], capture_output=True, text=True, check=False
        ).stderr
        file.write_text(whole)
        server.start()

        assert [(one.status_code, one.json()["code"]) for one in refused] == [(503, "no_keys")] * 2
        assert told == start == f"Error: {file} is damaged: put back a copy, or remove it and add the keys anew.\n"
        assert server.call("GET", "status", **as_(key)).status_code == 200


def test_every_command_shows_an_example() -> None:
    for arguments in ((), ("keys",), ("keys", "add"), ("keys", "list"), ("keys", "revoke")):
        assert f"\n  Example:\n    local-cloud {' '.join(arguments)}".rstrip() in command(*arguments, "--help").stdout


# Whose files


def test_nobody_sees_links_replaces_or_deletes_what_another_key_has_stored(two: Two) -> None:
    server = two.server
    assert server.put("mine", CONTENT, **as_(two.anna)).status_code == 201
    url = server.call("POST", "links", params={"key": "mine"}, json={"expires": None}, **as_(two.anna)).json()["url"]
    asked = {"params": {"key": "mine"}}

    assert server.call("GET", "files", **asked, **as_(two.boris)).status_code == 404
    assert server.call("POST", "links", **asked, json={"expires": None}, **as_(two.boris)).status_code == 404
    assert server.call("DELETE", "files", **asked, **as_(two.boris)).status_code == 204  # there is none of his
    assert server.put("mine", b"his own", **as_(two.boris)).status_code == 201

    assert server.fetch(url) == CONTENT
    assert server.call("GET", "files", **asked, **as_(two.anna)).json()["size"] == len(CONTENT)
    assert server.call("GET", "files", **asked, **as_(two.boris)).json()["size"] == len(b"his own")
    assert server.call("DELETE", "files", **asked, **as_(two.anna)).status_code == 204
    assert server.fetch(url) is None
    assert server.call("GET", "files", **asked, **as_(two.boris)).status_code == 200


def test_what_was_stored_before_there_were_owners_belongs_to_the_key_of_the_settings() -> None:
    with LocalCloud() as server:
        server.put("old", CONTENT)
        link = server.link("old")
        (record,) = server.folder.glob("files/*/record.json")
        facts = json.loads(record.read_text())
        assert facts.pop("owner") == "default"
        record.write_text(json.dumps(facts))
        other = added(server.folder, ANNA)
        server.kill()
        server.start()

        assert server.fetch(server.url + urlsplit(link).path) == CONTENT
        assert server.call("GET", "files", params={"key": "old"}, **as_(other)).status_code == 404
        assert urlsplit(server.link("old")).path == urlsplit(link).path
        assert server.call("DELETE", "files", params={"key": "old"}).status_code == 204


def test_the_key_of_the_settings_and_named_ones_are_valid_side_by_side() -> None:
    with LocalCloud() as server:
        key = added(server.folder, ANNA)

        answers = [server.call("GET", "status", **as_(one)).status_code for one in (KEY, key, "sclc_" + "0" * 64)]

        assert answers == [200, 200, 401]


# Without a key


def test_with_the_first_key_uploads_from_this_machine_need_one_and_after_the_last_they_do_not() -> None:
    with LocalCloud(key="") as server:
        answers = [server.put("a", CONTENT).status_code]
        added(server.folder, ANNA)
        answers.append(server.put("a", CONTENT).status_code)
        told = command("keys", "revoke", ANNA, "--folder", str(server.folder)).stderr
        answers.append(server.put("a", CONTENT).status_code)

        assert answers == [201, 401, 201]
        assert "No key is left" in told
        assert [event["keys"] for event in server.events("keys.changed")] == [[ANNA], []]


def forwarded(server: LocalCloud, **headers: str) -> requests.Response:
    """An upload that a proxy on this machine passes on."""
    return server.put("passed on", CONTENT, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_what_a_proxy_passes_on_does_not_count_as_this_machine(header: str) -> None:
    with LocalCloud(key="") as server:
        refused = forwarded(server, **{header: "127.0.0.1"})

        assert (refused.status_code, refused.json()["code"]) == (403, "only_loopback")
        assert "through a proxy" in refused.json()["error"]
        assert server.keys() == []


def test_a_page_in_a_browser_does_not_count_as_this_machine() -> None:
    with LocalCloud(key="") as server:
        refused = forwarded(server, Origin="https://elsewhere.example")

        assert refused.status_code == 403
        assert "pages in a browser" in refused.json()["error"]


def test_behind_a_proxy_the_address_is_the_clients_and_nobody_can_make_one_up() -> None:
    arguments = ("--behind-proxy", "--trust-network", "10.10.160.0/24", "--proxy-network", "192.0.2.7/32")
    with LocalCloud(key="", arguments=arguments) as server:
        allowed = {
            "10.10.160.5": 201,
            "10.10.160.5, 192.0.2.7": 201,  # through two proxies of ours
            "10.10.160.5:1234": 201,
            "::ffff:10.10.160.5": 201,
            "10.10.161.5": 403,
            "10.10.160.5, 203.0.113.9": 403,  # whoever asks has written the first one
            "127.0.0.1, 203.0.113.9": 403,
            "203.0.113.9": 403,
            "10.10.160.5, nonsense": 403,
            "": 403,
        }

        answers = {hops: forwarded(server, X_Forwarded_For=hops).status_code for hops in allowed}

        assert answers == allowed
        assert server.put("no header at all", CONTENT).status_code == 403


def test_behind_a_proxy_links_begin_as_the_client_addressed_it() -> None:
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "files.example.org"}
    for arguments, begin in ((("--behind-proxy",), "https://files.example.org/f/"), ((), "http://127.0.0.1:")):
        with LocalCloud(arguments=arguments) as server:
            server.put("a", CONTENT)
            answer = server.call("POST", "links", params={"key": "a"}, json={"expires": None}, headers=headers)
            assert answer.json()["url"].startswith(begin)


def test_a_trusted_network_needs_no_key_though_there_are_keys_and_a_wrong_one_is_told() -> None:
    with LocalCloud(arguments=("--trust-network", "10.0.0.0/8,127.0.0.1/32", "--trust-network", "::1/128")) as server:
        without = server.http.get(f"{server.url}/api/v1/status", timeout=120)
        wrong = server.call("GET", "status", **as_("wrong"))

        assert (without.status_code, wrong.status_code) == (200, 401)
        assert "but not from 10.0.0.0/8, 127.0.0.1/32, ::1/128" in server.log


def test_trusted_networks_may_come_from_the_environment() -> None:
    with LocalCloud(key="", within=("env", "SIMCOURIER_LOCAL_CLOUD_TRUST_NETWORK=10.0.0.0/8, 192.0.2.0/24")) as server:
        assert "uploads come from this machine and from 10.0.0.0/8, 192.0.2.0/24 only" in server.log


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--trust-network", "10.10.160.10/24", "names a host, not a network; e.g. 10.10.160.0/24"),
        ("--trust-network", "everybody", "'everybody' is no network; e.g. 10.10.160.0/24"),
        ("--quota", "much", "'much' is no size"),
        ("--max-file", "-1", "'-1' is no size"),
        ("--keep-free", "5%", "'5%' is no size"),
        ("--proxy-network", "10.0.0.0/8", "means something together with --behind-proxy only"),
        ("--tls-cert", "cert.pem", "--tls-cert and --tls-key belong together"),
    ],
)
def test_a_wrong_option_is_told_in_one_sentence(tmp_path: Path, option: str, value: str, told: str) -> None:
    last = command(option, value, "--folder", str(tmp_path), fails=True).stderr.splitlines()[-1]

    assert last.startswith("Error: ")
    assert told in last


def test_a_mistyped_variable_is_told_instead_of_meaning_that_there_is_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMCOURIER_LOCAL_CLOUD_QUOTTA", "5TiB")

    told = command("--folder", str(tmp_path), fails=True).stderr

    assert "SIMCOURIER_LOCAL_CLOUD_QUOTTA is no setting; did you mean SIMCOURIER_LOCAL_CLOUD_QUOTA?" in told


# Guessing


def test_behind_a_proxy_guesses_are_counted_per_client_and_without_one_the_header_changes_nothing() -> None:
    for arguments, other in ((("--behind-proxy",), 403), ((), 429)):
        with LocalCloud(arguments=arguments) as server:
            server.put("secret", CONTENT)
            link = server.link("secret", password="right")

            def guess(client: str, server: LocalCloud = server, link: str = link) -> int:
                headers = {"X-Forwarded-For": client, "Accept": "text/html"}
                return server.http.post(link, {"password": "wrong"}, headers=headers, timeout=120).status_code

            answers = guesses(partial(guess, "203.0.113.1"))

            assert answers[:5] == [403] * 5
            assert answers[-1] == 429
            assert guess("203.0.113.2") == other


def test_all_addresses_of_one_household_guess_together() -> None:
    with LocalCloud(arguments=("--behind-proxy",)) as server:
        server.put("secret", CONTENT)
        link = server.link("secret", password="right")

        def guess(client: str) -> int:
            headers = {"X-Forwarded-For": client, "Accept": "text/html"}
            return server.http.post(link, {"password": "wrong"}, headers=headers, timeout=120).status_code

        households = itertools.count()
        answers = guesses(lambda: guess(f"2001:db8:1:2::{next(households):x}"))

        assert answers[:5] == [403] * 5
        assert answers[-1] == 429
        assert guess("2001:db8:1:3::1") == 403


# The audit log and the metrics


def test_the_audit_log_tells_who_stored_fetched_and_deleted_what_without_any_secret(two: Two) -> None:
    server = two.server
    server.put("audited", CONTENT, **as_(two.anna))
    asked = {"params": {"key": "audited"}}
    url = server.call("POST", "links", **asked, json={"expires": None}, **as_(two.anna)).json()["url"]
    server.get(url)
    server.call("DELETE", "files", **asked, **as_(two.anna))
    server.call("DELETE", "files", **asked, **as_(two.anna))

    file, _, secret = url.split("/")[-2].partition(".")
    wait_until(lambda: bool(server.events("audit.deleted")), "the log tells of the end")
    told = [
        {name: value for name, value in event.items() if name not in {"timestamp", "level", "file"}}
        for kind in ("uploaded", "downloaded", "deleted")
        for event in server.events(f"audit.{kind}")
        if event["file"] == file
    ]
    size = len(CONTENT)
    assert told == [
        {"event": "audit.uploaded", "by": ANNA, "bytes": size, "peer": "127.0.0.1"},
        {
            "event": "audit.downloaded",
            "owner": ANNA,
            "bytes": size,
            "size": size,
            "complete": True,
            "peer": "127.0.0.1",
        },
        {"event": "audit.deleted", "by": ANNA, "bytes": size, "peer": "127.0.0.1"},
    ]
    assert secret not in server.log


def samples(text: str) -> dict[str, float]:
    """What Prometheus would read."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_the_metrics_count_what_happened() -> None:
    with LocalCloud() as server:
        named = added(server.folder, ANNA)
        server.put("a", CONTENT)
        server.put("b", CONTENT, **as_(named))
        server.get(server.link("a"))
        server.call("GET", "status", **as_("wrong"))

        answer = server.get(f"{server.url}/metrics")

        told = samples(answer.text)
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        expected = {
            "local_cloud_uploads_total": 2,
            "local_cloud_received_bytes_total": 2 * len(CONTENT),
            'local_cloud_downloads_total{complete="true"}': 1,
            "local_cloud_sent_bytes_total": len(CONTENT),
            'local_cloud_held_bytes{owner="anna"}': len(CONTENT),
            'local_cloud_held_bytes{owner="default"}': len(CONTENT),
            'local_cloud_refusals_total{code="no_key"}': 1,
            'local_cloud_requests_total{method="PUT",status="201"}': 2,
            "local_cloud_deleted_total": 0,
            "local_cloud_requests_in_progress": 1,
        }
        assert {name: told.get(name) for name in expected} == expected
        assert told["local_cloud_free_bytes"] > 0
        assert told["process_resident_memory_bytes"] > 10 * 1024**2
        assert told["process_open_fds"] > 5


def test_the_metrics_are_shown_to_this_machine_to_trusted_networks_and_to_keys_only() -> None:
    with LocalCloud(arguments=("--behind-proxy", "--trust-network", "10.0.0.0/8")) as server:

        def look(client: str, **headers: str) -> int:
            headers = {"X-Forwarded-For": client} | headers
            return server.http.get(f"{server.url}/metrics", headers=headers, timeout=120).status_code

        assert look("203.0.113.1") == 401
        assert look("203.0.113.1", Authorization="Bearer wrong") == 401
        assert look("203.0.113.1", Authorization=f"Bearer {KEY}") == 200
        assert look("10.1.2.3") == 200
        assert look("127.0.0.1") == 200
