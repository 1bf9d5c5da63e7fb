"""An operator defines storage backends in the admin, in a browser, and presses "Check"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By

from tests.standins.dropbox.client import DropboxStandin
from tests.standins.seafile.client import SeafileStandin
from tests.support.accessibility import serious_barriers
from tests.support.admin import Admin, start_site
from tests.support.browser import browser, text
from tests.support.events import event
from tests.support.installation import KEY, Installation
from tests.support.scratch import free_ports, wait_until

STEPS = ("sign in", "store", "link", "fetch", "delete")


pytestmark = pytest.mark.xdist_group("admin-browser")  # one browser, one set of services


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("admin-browser")


@pytest.fixture(scope="module")
def one(folder: Path, ledger_template: Path) -> Iterator[Installation]:
    with Installation(folder / "data", template=ledger_template, web_port=str(free_ports(1)[0])) as one:
        yield one


@pytest.fixture(scope="module")
def services(folder: Path, one: Installation) -> Iterator[tuple[DropboxStandin, SeafileStandin]]:
    with DropboxStandin(folder / "dropbox") as dropbox, SeafileStandin(folder / "seafile") as seafile:
        one.environ |= dropbox.environment
        one.environ["SIMCOURIER_SEAFILE_SERVER"] = seafile.server
        yield dropbox, seafile


@pytest.fixture(scope="module")
def signed_in(one: Installation, services: object, folder: Path) -> Iterator[Admin]:
    del services
    one.start_cloud()
    address = start_site(one)
    with browser(folder / "browser") as page:
        admin = Admin(page, address)
        admin.sign_in()
        yield admin


@pytest.fixture
def admin(signed_in: Admin) -> Admin:
    """Signed in, where there is no definition."""
    from ledger.models import StorageBackend

    StorageBackend.objects.all().delete()
    return signed_in


def test_each_of_the_three_services_is_defined_and_checked(
    admin: Admin, one: Installation, services: tuple[DropboxStandin, SeafileStandin]
) -> None:
    dropbox, seafile = services
    definitions: dict[str, dict[str, object]] = {
        "dropbox": {"config": dropbox.config},
        "seafile": {"config": seafile.config},
        "local": {"token": f"127.0.0.1:{one.cloud_port}", "config": {"key": KEY}},
    }
    for identifier, secrets in definitions.items():
        admin.add(identifier, **secrets)  # type: ignore[arg-type] # a token, a config
        assert "was added successfully" in text(admin.page, ".messagelist"), admin.wrong_fields()
        source = admin.page.page_source
        assert not [word for word in secrets.get("config", {}).values() if word in source]  # type: ignore[attr-defined]

        told = admin.check()

        admin.keep_screenshot(f"checked-{identifier}")
        assert [line.partition(": ")[0] for line in told] == [f"Results in {identifier}, {step}" for step in STEPS]
    assert dropbox.state()["files"] == seafile.state()["files"] == {}


def test_a_definition_that_is_wrong_is_refused_with_the_field_named(admin: Admin) -> None:
    for identifier, token, config, wrong, said in (
        ("dropbox", "", {"app_key": "a"}, "storage_backend_config", "refresh_token"),
        ("seafile", "", {"token": "a1", "repoid": "my library"}, "storage_backend_config", "repoid"),
        ("local", "no address!", None, "storage_backend_token", "10.10.160.10:8976"),
        ("dropbux", "", None, "storage_backend_id", "dropbux"),
    ):
        admin.add(identifier, token=token, config=config)

        admin.keep_screenshot(f"refused-{identifier}")
        found = admin.wrong_fields()
        assert list(found) == [wrong]
        assert said in found[wrong]


def test_a_check_that_fails_says_at_which_step(admin: Admin, services: tuple[DropboxStandin, SeafileStandin]) -> None:
    _, seafile = services
    admin.add("seafile", config=seafile.config | {"token": "0" * 40})

    told = admin.check()

    admin.keep_screenshot("check-failed")
    assert any("does not accept the token" in line for line in told), told


def test_no_page_needs_what_the_content_security_policy_forbids(admin: Admin, one: Installation) -> None:
    from ledger.api import Deliveries, file_dead_letter

    sent = event(backend="local", title="<img src=x onerror=alert(1)>")
    Deliveries("host:1", lease=30, overdue=60).record(sent, sent.to_bytes(), None)
    file_dead_letter(b"<script>", headers={}, queue="q", reason="<script>alert(1)</script>", publisher=None)
    admin.add("local", token=f"127.0.0.1:{one.cloud_port}", config={"key": KEY})
    said_by: Any = admin.page  # Chromium's driver, which keeps what the browser's console says
    said_by.get_log("browser")
    site = admin.page.current_url.partition("/admin/")[0]
    pages = ("", "delivery/", f"delivery/{sent.id}/change/", "deadletter/", "storagebackend/", "storagebackend/add/")
    for path in (*(f"simcourier/{page}" for page in pages), "", "auth/user/", "auth/user/add/", "../"):
        admin.page.get(f"{site}/admin/{path}")

    said = [line for line in said_by.get_log("browser") if "Content Security Policy" in line["message"]]
    assert said == []
    inline = admin.page.find_elements(By.CSS_SELECTOR, "script:not([src]), style, [onclick]")
    assert [one.get_attribute("outerHTML") for one in inline] == []


def test_the_overview_keeps_itself_fresh_and_fits_a_phone(admin: Admin, one: Installation) -> None:
    from ledger.api import Deliveries, Far, Stage
    from ledger.models import Delivery

    Delivery.objects.all().delete()
    page = admin.page
    site = f"http://127.0.0.1:{one.environ['SIMCOURIER_WEB_PORT']}"
    admin.add("local", token=f"127.0.0.1:{one.cloud_port}", config={"key": KEY})
    deliveries = Deliveries("host:1", lease=300, overdue=600)
    first, second = event(backend="local", title="M/M/1 with rho = 0.8"), event(backend="local", title="Broken run")
    for each in (first, second):
        deliveries.record(each, each.to_bytes(), None)
    page.get(f"{site}/")
    assert "Single runs 2 " in text(page, "#live")
    held: Any = deliveries.claim(first, first.to_bytes(), None)
    deliveries.enter(held, Stage.STORING)
    deliveries.progress(held, Far(3_000_000, 8_000_000))
    failing: Any = deliveries.claim(second, second.to_bytes(), None)
    place = "return document.activeElement.getAttribute('aria-label')"
    page.execute_script("document.querySelector('[aria-label^=\"Single runs, in work\"]').focus()")
    page.execute_script("document.querySelector('#hours').open = true")
    deliveries.fail(failing, "The results folder is gone: /results/7 does not exist on any worker.")

    wait_until(lambda: "Broken run" in text(page, "#failures ~ ul"), "it is shown without reloading", step=0.5)
    assert "packaging and storing, 3.0 MB of 8.0 MB" in text(page, "#live")
    assert page.execute_script("return document.querySelector('#hours').open")
    assert page.execute_script(place) == "Single runs, in work: 1"  # the keyboard stays where it was
    wait_until(lambda: "free" in text(page, "#backends ~ .scroll"), "the room that is left is known", step=0.5)
    admin.keep_screenshot("overview")
    pause = page.find_element(By.ID, "live-pause")
    pause.click()
    assert (pause.text, pause.get_attribute("aria-pressed")) == ("Go on", "true")
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.execute_script(wide) <= 0
    phone: Any = page
    phone.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    page.get(f"{site}/")
    assert page.execute_script(wide) <= 0
    assert serious_barriers(page) == []
    admin.keep_screenshot("overview-phone")
    page.get(f"{site}/admin/simcourier/delivery/")
    admin.keep_screenshot("deliveries-phone")
    phone.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.get(f"{site}/admin/simcourier/delivery/")
    admin.keep_screenshot("deliveries")
