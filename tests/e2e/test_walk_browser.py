"""A walk through all pages, as a researcher and as an operator: desktop and phone, light and dark."""

from __future__ import annotations

import io
import math
import shutil
import socket
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from tests.support.admin import Admin, start_site
from tests.support.archives import zipped
from tests.support.browser import browser, press, text
from tests.support.browser import field as form_field
from tests.support.events import event
from tests.support.installation import Installation, fetch, link_in
from tests.support.local_cloud import LocalCloud
from tests.support.scratch import free_ports
from tests.support.walk import look

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

pytestmark = [pytest.mark.full, pytest.mark.xdist_group("walk")]  # one browser, one installation

DATA = Path(__file__).resolve().parents[1] / "data"
SOURCES = {"omnetpp": DATA / "veins-cv2x", "sumo": DATA / "highway-ramp"}
TITLES = {
    "omnetpp": "C-V2X broadcasts on a highway, 120 vehicles",
    "ns3": "Wi-Fi, 6 stations, distance 50 m",
    "sumo": "Highway with a ramp, morning peak",
}
STATES = ("received", "working", "waiting", "delivered", "failed", "expired", "cancelled")
HOUR = 3600.0
FULL = "The account at Dropbox has no room for 13.2 MiB more, and nobody has made any for 14 days."
# What each operators' page is called, and where it is; a name in braces is the row that is meant.
OPERATORS_PAGES = {
    "overview": "/",
    "deliveries": "/admin/simcourier/delivery/",
    "deliveries-filtered": "/admin/simcourier/delivery/?state__exact=FAILED",
    "deliveries-found": "/admin/simcourier/delivery/?q=highway",
    "deliveries-none": "/admin/simcourier/delivery/?q=nosuchthing",
    "delivery": "/admin/simcourier/delivery/{failed}/change/",
    "mails": "/admin/simcourier/notification/",
    "mail": "/admin/simcourier/notification/{mail}/change/",
    "dead-letters": "/admin/simcourier/deadletter/?state=open",
    "dead-letter": "/admin/simcourier/deadletter/{letter}/change/",
    "backends": "/admin/simcourier/storagebackend/",
    "backend-new": "/admin/simcourier/storagebackend/add/",
    "tables": "/admin/",
    "accounts": "/admin/auth/user/",
    "password": "/admin/password_change/",
}


@dataclass
class World:
    """An installation in which everything has happened that can.

    Args:
        pages: of deliveries, by state.
        links: by simulator.
        reports: each from its archive, by simulator.
        rows: keys of rows that operators look at.
    """

    one: Installation
    site: str
    pages: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    reports: dict[str, Path] = field(default_factory=dict)
    rows: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("walk")


@pytest.fixture(scope="module")
def world(folder: Path, ledger_template: Path) -> Iterator[World]:
    port = free_ports(1)[0]
    site = f"http://127.0.0.1:{port}"
    with Installation(folder / "data", template=ledger_template, web_port=str(port), public_url=site) as one:
        one.start_cloud()
        world = World(one, start_site(one))
        worker = one.start("worker")
        one.start("email-sender")
        one.wait_ready()
        ids = {name: one.publish(results, title=TITLES[name]) for name, results in results_in(folder).items()}
        for name, event_id in ids.items():
            world.links[name] = link_in(one.wait_for_mail(event_id, 90))
            world.reports[name] = folder / name / "report.html"
            world.reports[name].parent.mkdir()
            with zipfile.ZipFile(io.BytesIO(fetch(world.links[name]))) as archive:
                world.reports[name].write_bytes(archive.read("summary/report.html"))
        one.stop(worker)
        world.pages["delivered"] = page_of(ids["omnetpp"], site)
        expire(one, ids["sumo"])
        world.pages["expired"] = page_of(ids["sumo"], site)
        worker = one.start("worker")
        one.wait_ready()
        leave_in_every_state(world, f"{socket.gethostname()}:{worker.pid}")
        yield world


@pytest.fixture(scope="module")
def chromium(folder: Path) -> Iterator[WebDriver]:
    with browser(folder / "browser") as page:
        yield page


@pytest.fixture(scope="module")
def operator(world: World, chromium: WebDriver) -> Admin:
    admin = Admin(chromium, world.site)
    admin.sign_in()
    return admin


def results_in(folder: Path) -> dict[str, Path]:
    """Results of three simulators."""
    flows = folder / "wifi"
    flows.mkdir()
    told = "".join(flow(number) for number in range(1, 7))
    (flows / "wifi.flowmon.xml").write_text(f"<FlowMonitor><FlowStats>{told}</FlowStats></FlowMonitor>")
    for name, source in SOURCES.items():
        shutil.copytree(source, folder / f"{name}-results", ignore=shutil.ignore_patterns("*.txt"))
    return {name: folder / f"{name}-results" for name in SOURCES} | {"ns3": flows}


def flow(number: int) -> str:
    """As ns-3's FlowMonitor writes it."""
    counts = [round(400 * math.exp(-((place - 6 - number) ** 2) / 9)) for place in range(25)]
    bins = "".join(
        f'<bin index="{place}" start="{place / 1000}" width="0.001" count="{count}" />'
        for place, count in enumerate(counts)
        if count
    )
    got = sum(counts)
    late = sum(count * place for place, count in enumerate(counts))
    return (
        f'<Flow flowId="{number}" timeFirstTxPacket="+2e+09ns" timeFirstRxPacket="+2.01e+09ns" '
        f'timeLastTxPacket="+9e+09ns" timeLastRxPacket="+1e+10ns" delaySum="+{late}e+06ns" jitterSum="+9e+07ns" '
        f'maxDelay="+2.6e+07ns" minDelay="+1e+06ns" txBytes="{(got + 40) * 1040}" rxBytes="{got * 1040}" '
        f'txPackets="{got + 40}" rxPackets="{got}" lostPackets="{7 * number}" timesForwarded="41">'
        f'<delayHistogram nBins="25">{bins}</delayHistogram></Flow>'
    )


def page_of(event_id: Any, site: str) -> str:
    from ledger.addresses import page_path

    return f"{site}{page_path(event_id)}"


def expire(one: Installation, event_id: str) -> None:
    """Let its keep days pass, and remove it."""
    from ledger.models import Notification, Placement
    from ledger.work import from_now

    Placement.objects.filter(delivery_id=event_id).update(remove_at=from_now(-1))
    long_ago = datetime.now(UTC).date() - timedelta(days=1)
    Notification.objects.filter(delivery_id=event_id).update(keep_until=long_ago)
    one.simcourier("expire")


def leave_in_every_state(world: World, worker: str) -> None:
    from ledger.api import Deliveries, Far, Stage, cancel, define, file_dead_letter, mark_unhealthy
    from ledger.models import DeadLetter, Notification

    titles = {
        "received": "M/M/1, load 0.9", "working": "M/M/1, load 0.8", "waiting": "M/M/1, load 0.7",
        "failed": "M/M/1, load 0.6", "cancelled": "M/M/1, load 0.5",
    }  # fmt: skip
    for state, title in titles.items():
        sent = event("/scratch/anna/mm1", backend="local", title=title, simulation_id=f"mm1-{state}")
        deliveries = Deliveries(worker, lease=HOUR, overdue=0 if state == "failed" else HOUR)  # its mail goes out
        deliveries.record(sent, sent.to_bytes(), None)
        world.pages[state], world.rows[state] = page_of(sent.id, world.site), sent.id
        if state == "cancelled":
            assert cancel(sent.id)
        if state in {"received", "cancelled"}:
            continue
        held: Any = deliveries.claim(sent, sent.to_bytes(), None)
        deliveries.enter(held, Stage.STORING)
        if state == "working":
            deliveries.progress(held, Far(3_200_000_000, 8_000_000_000, 40_000_000))
        elif state == "waiting":
            deliveries.wait(held, HOUR, "Seafile does not answer (connection refused).", counted=True)
        else:
            deliveries.fail(held, FULL)
    world.one.wait_for_mail(str(world.rows["failed"]))
    define("dropbox-group", name="Dropbox of the group", token="", config={"app_key": "a", "refresh_token": "b"})
    mark_unhealthy("dropbox-group", "Dropbox does not accept the refresh token any more; authorise again.", operator="")
    queue = world.one.settings.topology.recorder
    file_dead_letter(b'{"id": 7}', headers={}, queue=queue, reason="It is no event.", publisher="anna")
    file_dead_letter(b"<xml/>", headers={}, queue=queue, reason="It is not JSON.", publisher=None)
    world.rows["letter"] = DeadLetter.objects.values_list("pk", flat=True)[0]
    world.rows["mail"] = Notification.objects.get(delivery_id=world.rows["failed"]).pk


@pytest.mark.parametrize("state", STATES)
def test_a_researcher_sees_where_a_delivery_is(state: str, world: World, chromium: WebDriver) -> None:
    chromium.get(world.pages[state])

    assert look(chromium, f"delivery-{state}") == []


def test_a_researcher_is_told_when_a_page_is_gone_and_when_to_come_back(world: World, chromium: WebDriver) -> None:
    chromium.get(f"{world.site}/d/nosuch/")
    assert look(chromium, "delivery-gone", refused=True) == []
    chromium.get(world.pages["delivered"])
    (again,) = [one for one in chromium.find_elements(By.TAG_NAME, "button") if one.text == "Send the mail again"]
    press(chromium, again)
    chromium.get(world.pages["delivered"])

    assert "asked for less than 10 minutes ago" in text(chromium, ".actions")
    assert look(chromium, "delivery-too-soon") == []
    chromium.get(world.pages["delivered"])
    chromium.delete_all_cookies()
    press(chromium, chromium.find_element(By.CSS_SELECTOR, "form button"))
    assert "load the page again" in text(chromium, "main")
    assert look(chromium, "delivery-no-cookies", refused=True) == []


@pytest.mark.parametrize("simulator", list(TITLES))
def test_a_researcher_reads_the_report_of_the_archive(simulator: str, world: World, chromium: WebDriver) -> None:
    chromium.get(world.reports[simulator].as_uri())

    assert look(chromium, f"report-{simulator}") == []


def test_a_researcher_opens_the_mail(folder: Path, world: World, chromium: WebDriver) -> None:
    world.one.simcourier("email", "preview", "-o", str(folder / "mails"))
    mails = sorted((folder / "mails").glob("*.html"))

    found = []
    for mail in mails:
        chromium.get(mail.as_uri())
        found += look(chromium, f"mail-{mail.stem}")

    assert len(mails) == 9
    assert found == []


def test_a_researcher_follows_the_link(world: World, chromium: WebDriver) -> None:
    link = world.links["omnetpp"]

    found = []
    for name, address in {
        "link": link,
        "link-folder": f"{link}?folder=summary/",
        "link-wrong": link.replace("/f/", "/f/x"),
    }.items():
        chromium.get(address)
        found += look(chromium, name, refused=name == "link-wrong")
    chromium.get(f"{link}?folder=summary/plots/")
    found += look(chromium, "link-gallery")
    chromium.get(str(chromium.find_element(By.CSS_SELECTOR, ".gallery a").get_attribute("href")))
    found += look(chromium, "link-picture")
    chromium.get(f"{link}?folder=summary/&show=summary/scalars.csv")
    found += look(chromium, "link-table")

    assert found == []


def test_a_link_asks_for_its_password_and_ends(chromium: WebDriver) -> None:
    with LocalCloud() as cloud:
        for key in ("secret.zip", "old.zip"):
            cloud.put(key, zipped({"log.txt": b"done\n"}))
        closed = cloud.link("secret.zip", password="open sesame", title="M/M/1, load 0.8")
        chromium.get(closed)
        found = look(chromium, "link-password", refused=True)
        form_field(chromium, "password").send_keys("sesame")
        press(chromium, chromium.find_element(By.CSS_SELECTOR, "form button"))
        found += look(chromium, "link-wrong-password", refused=True)
        form_field(chromium, "password").send_keys("open sesame")
        press(chromium, chromium.find_element(By.CSS_SELECTOR, "form button"))
        found += look(chromium, "link-opened")
        chromium.get(cloud.link("old.zip", "2020-01-01T00:00:00+00:00"))
        found += look(chromium, "link-expired", refused=True)

    assert found == []


def test_an_operator_who_is_not_signed_in(world: World, chromium: WebDriver) -> None:
    chromium.delete_all_cookies()
    chromium.get(f"{world.site}/")
    found = look(chromium, "sign-in")
    form_field(chromium, "username").send_keys("admin")
    form_field(chromium, "password").send_keys("a guess")
    press(chromium, chromium.find_element(By.CSS_SELECTOR, "[type=submit]"))
    found += look(chromium, "sign-in-refused")

    assert found == []


@pytest.mark.parametrize("name", list(OPERATORS_PAGES))
def test_an_operator_looks_around(name: str, world: World, operator: Admin) -> None:
    operator.page.get(world.site + OPERATORS_PAGES[name].format_map(world.rows))

    assert look(operator.page, f"operator-{name}") == []


def test_an_operator_finds_no_such_page(world: World, operator: Admin) -> None:
    operator.page.get(f"{world.site}/nosuch")
    found = look(operator.page, "operator-not-found", refused=True)
    operator.page.get(f"{world.site}/admin/simcourier/nosuch/")
    found += look(operator.page, "operator-not-found-in-admin", refused=True)
    operator.page.get(f"{world.site}/admin/simcourier/delivery/add/")
    found += look(operator.page, "operator-forbidden", refused=True)

    assert found == []


@pytest.mark.parametrize(
    ("action", "rows", "told"),
    [
        ("Try the selected deliveries again", "M/M/1, load 0.6", "1 delivery will be tried again"),
        ("Cancel the selected deliveries", "M/M/1, load 0.7", "1 delivery cancelled; nobody is mailed."),
        ("Send the mails of the selected deliveries again", TITLES["ns3"], "1 delivery will be mailed again"),
        ("Replay the selected dead letters", "It is not JSON.", "1 dead letter will be replayed"),
    ],
)
def test_an_operator_acts(action: str, rows: str, told: str, world: World, operator: Admin) -> None:
    page = operator.page
    page.get(f"{world.site}/admin/simcourier/{'deadletter' if 'letters' in action else 'delivery'}/")
    (row,) = page.find_elements(By.XPATH, f"//tr[contains(., '{rows}')]")
    row.find_element(By.CSS_SELECTOR, "input[type=checkbox]").click()
    Select(form_field(page, "action")).select_by_visible_text(action)
    press(page, page.find_element(By.CSS_SELECTOR, ".actions button"))

    assert told in text(page, ".messagelist")
    assert look(page, f"operator-{action.split(maxsplit=1)[0].lower()}") == []


def test_an_operator_changes_a_definition(world: World, operator: Admin) -> None:
    page = operator.page
    page.get(f"{world.site}/admin/simcourier/storagebackend/")
    page.find_element(By.LINK_TEXT, "Local cloud").click()
    found = look(page, "operator-definition")
    keep = form_field(page, "storage_backend_keep_days")
    keep.clear()
    keep.send_keys("-3")
    press(page, form_field(page, "_continue"))
    found += look(page, "operator-definition-refused")
    keep = form_field(page, "storage_backend_keep_days")
    keep.clear()
    keep.send_keys("60")
    press(page, form_field(page, "_continue"))
    assert "was changed successfully" in text(page, ".messagelist")
    operator.check()
    found += look(page, "operator-definition-checked")
    page.find_element(By.CSS_SELECTOR, "a.historylink").click()
    found += look(page, "operator-definition-history")

    assert found == []
